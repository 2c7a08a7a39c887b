"""The command line as its users run it: a process, real files, one line for whatever goes wrong."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from parley.cli import main
from tests.cli.running import Ran, Run


@pytest.fixture
def parley(tmp_path: Path) -> Run:
    """Run `parley …` with a directory of data of its own; keyword arguments become `PARLEY_…` variables.

    A forked process: as real as any, without the third of a second that importing everything takes.
    """

    def run(*arguments: str, stdin: str = "", **settings: str) -> Ran:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
        given = {"PARLEY_DATA": str(tmp_path / "data")} | {f"PARLEY_{name}": value for name, value in settings.items()}
        with tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            told.write(stdin.encode())
            told.seek(0)
            pid = os.fork()
            if pid == 0:
                _become_parley(arguments, clean | given, tmp_path, (told.fileno(), out.fileno(), err.fileno()))
            _, status = os.waitpid(pid, 0)
            out.seek(0)
            err.seek(0)
            ran = Ran(arguments, os.waitstatus_to_exitcode(status), out.read().decode(), err.read().decode())
        assert "Traceback" not in ran.stderr
        return ran

    return run


def _become_parley(
    arguments: tuple[str, ...], environ: dict[str, str], cwd: Path, files: tuple[int, int, int]
) -> NoReturn:
    status = 99
    try:
        for number, file in enumerate(files):
            os.dup2(file, number)
        sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
        os.environ.clear()
        os.environ.update(environ)
        os.chdir(cwd)
        status = main(list(arguments))
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


@pytest.fixture
def fresh_parley(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start `python -m parley …` from nothing."""

    def start(*arguments: str) -> subprocess.Popen[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
        return subprocess.Popen(
            [sys.executable, "-m", "parley", *arguments],
            env=clean | {"PARLEY_DATA": str(tmp_path / "data")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start
