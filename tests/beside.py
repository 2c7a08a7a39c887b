"""The command line beside a running server: `parley …` as a process of its own, on the server's data and settings."""

import os
import subprocess
import sys

from tests.serving import PATIENCE_S, ROOT, ServerProcess


def parley(server: ServerProcess, *arguments: str, stdin: str = "") -> str:
    """Standard output, without its last newline, of a command that succeeds."""
    ran = run(server, *arguments, stdin=stdin)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.removesuffix("\n")


def run(server: ServerProcess, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "parley", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **server.settings, "PARLEY_DATA": str(server.data)},
        timeout=4 * PATIENCE_S,
        check=False,
    )
