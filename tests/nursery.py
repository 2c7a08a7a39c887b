"""`parley …` as a process of its own, forked from one that has imported everything: started in a tenth of the time.

A process as any other: its own environment, files and exit status; nothing of the tests is in it. The long form of the
tests starts each as its users do, and so do the tests of the command line and of workers.

    pytest ── the nursery, which imports and waits ── one for each command, which waits for it ── the command
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import IO, Any, Final

#: With the first command it imports all there is: half a minute where eight other things want the same two cores.
PATIENCE_S: Final = 90.0
#: Imported by a command only when it is needed, so that its `import` is not seen in ours.
BESIDE: Final = ("alembic.command", "alembic.runtime.migration", "psycopg", "uvicorn", "uvloop", "httptools", "redis")


def die_with_parent() -> None:
    """In a child: whatever becomes of its parent, it goes with it (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Command:
    """A running command, as far as `subprocess.Popen` would be asked about it."""

    def __init__(self, line: socket.socket, pid: int) -> None:
        self.pid = pid
        self.stdout: IO[str] | None = None
        self.returncode: int | None = None
        self._line = line
        self._lock = threading.Lock()

    def wait(self, timeout: float | None = None) -> int:
        with self._lock:
            if self.returncode is None:
                self._line.settimeout(timeout)
                try:
                    told = self._line.recv(64)
                except (TimeoutError, BlockingIOError):
                    raise subprocess.TimeoutExpired("parley", timeout or 0) from None
                # Without a word: the nursery was killed, and all of its own with it.
                self.returncode = int(told or b"-9")
                self._line.close()
            return self.returncode

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Nursery:
    """Made with the first command; it ends with pytest, and all of its commands with it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._line: socket.socket | None = None

    def start(
        self, arguments: Sequence[str], *, env: Mapping[str, str], cwd: str, stdin: int, stdout: int, stderr: int
    ) -> Command:
        """`parley ARGUMENTS`; the three are open files, by their numbers."""
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        asked = json.dumps([list(arguments), dict(env), cwd]).encode()
        with self._lock, its:
            line = self._line = self._line or self._begin()
            socket.send_fds(line, [asked], [its.fileno(), stdin, stdout, stderr])
        ours.settimeout(PATIENCE_S)
        return Command(ours, int(ours.recv(64)))

    def start_piped(self, arguments: Sequence[str], *, env: Mapping[str, str], cwd: str, stderr: int) -> Command:
        """With nothing on its standard input, and with `stdout` to read what it writes."""
        reading, writing = os.pipe()
        nothing = os.open(os.devnull, os.O_RDONLY)
        try:
            command = self.start(arguments, env=env, cwd=cwd, stdin=nothing, stdout=writing, stderr=stderr)
        finally:
            os.close(writing)
            os.close(nothing)
        command.stdout = os.fdopen(reading)
        return command

    def _begin(self) -> socket.socket:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        with its:
            subprocess.Popen(
                [sys.executable, "-m", "tests.nursery", str(its.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                pass_fds=[its.fileno()],
            )
        return ours


NURSERY: Final = Nursery()


def _wait_for_commands(line: socket.socket) -> None:
    """The nursery's own life: until pytest has gone."""
    import parley

    for module in pkgutil.walk_packages(parley.__path__, "parley."):
        if "migrations" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in BESIDE:
        importlib.import_module(name)
    assert threading.active_count() == 1, "what has threads can't be forked"
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how those ended that wait for commands
    while True:
        asked, files, _, _ = socket.recv_fds(line, 1 << 20, 4)
        if not asked:
            return
        if os.fork() == 0:
            _wait_for_one(json.loads(asked), files)
        for file in files:
            os.close(file)


def _wait_for_one(asked: Any, files: list[int]) -> None:
    die_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    told, *standard = files
    pid = os.fork()
    if pid == 0:
        die_with_parent()
        _become(asked, standard)
    for file in standard:
        os.close(file)
    os.write(told, b"%d" % pid)
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(OSError):  # nobody wants to know any more
        os.write(told, b"%d" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _become(asked: Any, standard: list[int]) -> None:
    arguments, environ, cwd = asked
    status = 99
    try:
        for number, file in enumerate(standard):
            os.dup2(file, number)
        os.closerange(3, 1024)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(environ)
        sys.argv = ["parley", *arguments]
        from parley.cli import main

        status = main(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        threading._shutdown()  # type: ignore[attr-defined]  # as the interpreter does: threads end first
    finally:
        os._exit(status)


if __name__ == "__main__":
    _wait_for_commands(socket.socket(fileno=int(sys.argv[1])))
