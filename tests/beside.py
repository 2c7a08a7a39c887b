"""The command line beside a running server: `parley …` as a process of its own, on the server's data and settings."""

import os
import subprocess
import tempfile

from tests.nursery import NURSERY
from tests.serving import PATIENCE_S, ROOT, ServerProcess


def parley(server: ServerProcess, *arguments: str, stdin: str = "") -> str:
    """Standard output, without its last newline, of a command that succeeds."""
    ran = run(server, *arguments, stdin=stdin)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.removesuffix("\n")


def run(server: ServerProcess, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **server.settings, "PARLEY_DATA": str(server.data)}
    with tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        told.write(stdin.encode())
        told.seek(0)
        command = NURSERY.start(
            arguments, env=env, cwd=str(ROOT), stdin=told.fileno(), stdout=out.fileno(), stderr=err.fileno()
        )
        status = command.wait(4 * PATIENCE_S)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(arguments, status, out.read().decode(), err.read().decode())
