"""Several processes on one port: a parent that starts them, starts anew one that dies, and passes signals on.

The parent serves nothing, has no loop and no thread, so that forking it is safe at any time. What a worker does is
given to it.
"""

import contextlib
import logging
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

#: How long the workers have to drain before they are killed: the orchestrator's patience is 10 s.
PATIENCE_S: Final = 9.0
#: A worker that dies sooner than this after its start is started again only after as long a wait.
SETTLED_S: Final = 1.0
_OBEYED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class Worker:
    """What a worker process is given. `ready` once it accepts; `parent_lives` becomes readable once the parent died."""

    def __init__(self, port: int, socket_path: Path, ready_fd: int, parent_lives: int) -> None:
        self.port = port
        self.socket_path = socket_path
        self.parent_lives = parent_lives
        self._ready_fd = ready_fd

    def ready(self) -> None:
        os.write(self._ready_fd, b"%d\n" % os.getpid())


class Workers:
    """`work(worker)` is one worker's whole life in its own process and gives its exit status; `say(url)` the address,
    once all accept."""

    def __init__(self, host: str, port: int, count: int, work: Callable[[Worker], int], say: Callable[[str], None]):
        self._host = host
        self._count = count
        self._work = work
        self._say = say
        # Bound and never listening: it holds the port while workers come and go.
        self._holder = reuse_port(host, port)
        self._port: int = self._holder.getsockname()[1]
        self._directory = Path(tempfile.mkdtemp(prefix="parley-"))
        self._pids: dict[int, tuple[int, float]] = {}
        self._ready: set[int] = set()
        self._due: list[tuple[float, int]] = []
        self._has_said = False
        self._stops_at_s: float | None = None
        self._status = 0

    def run(self) -> int:
        """Until SIGTERM or SIGINT, and every worker has ended."""
        wake_up, woken = os.pipe()
        for fd in (wake_up, woken):
            os.set_blocking(fd, False)
        ready, self._say_ready = os.pipe()
        os.set_blocking(ready, False)
        self._parent_lives, self._parent = os.pipe()
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        for signum in _OBEYED:
            signal.signal(signum, lambda *_: None)
        try:
            for number in range(self._count):
                self._start(number)
            while self._pids or (self._due and self._stops_at_s is None):
                select.select([wake_up, ready], [], [], self._wait_s())
                for told in _read(wake_up):
                    self._obey(told)
                for pid in _read(ready).split():
                    self._is_ready(int(pid))
                self._reap()
                self._start_due()
                if self._stops_at_s is not None and time.monotonic() > self._stops_at_s:
                    self._tell(signal.SIGKILL)
                    self._status = 1
        finally:
            self._tell(signal.SIGKILL)
            signal.set_wakeup_fd(-1)
            self._holder.close()
            shutil.rmtree(self._directory, ignore_errors=True)
        return self._status

    def _start(self, number: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        # Else one that comes before the child has its own handlers would be taken by the parent's, and lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, _OBEYED)
        pid = os.fork()
        if pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _OBEYED)
            self._pids[pid] = (number, time.monotonic())
            return
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for signum in _OBEYED:
                signal.signal(signum, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it reads the keys soon enough
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _OBEYED)
            os.close(self._parent)
            self._holder.close()
            path = self._directory / f"{number}.sock"
            path.unlink(missing_ok=True)
            status = self._work(Worker(self._port, path, self._say_ready, self._parent_lives))
        except BaseException as problem:
            from parley.logs import redacted

            print(f"parley: {redacted(str(problem) or type(problem).__name__)}", file=sys.stderr)  # noqa: T201
        finally:
            with contextlib.suppress(Exception):
                logging.shutdown()
                sys.stderr.flush()
            os._exit(status)

    def _obey(self, signum: int) -> None:
        if signum in (signal.SIGTERM, signal.SIGINT):
            self._stop()
        elif signum == signal.SIGHUP:
            self._tell(signal.SIGHUP)

    def _stop(self) -> None:
        if self._stops_at_s is None:
            self._stops_at_s = time.monotonic() + PATIENCE_S
            self._due.clear()
            self._tell(signal.SIGTERM)

    def _is_ready(self, pid: int) -> None:
        self._ready.add(pid)
        if not self._has_said and self._ready >= self._pids.keys() and len(self._ready) == self._count:
            self._has_said = True
            self._say(f"http://{self._host}:{self._port}")

    def _reap(self) -> None:
        for pid, (number, began_s) in list(self._pids.items()):
            ended, how = os.waitpid(pid, os.WNOHANG)
            if not ended:
                continue
            del self._pids[pid]
            was_ready = pid in self._ready
            self._ready.discard(pid)
            status = os.waitstatus_to_exitcode(how)
            if self._stops_at_s is not None:
                if was_ready:  # one that was still starting had nothing to drain
                    self._status = self._status or abs(status)
                continue
            if not was_ready and not self._has_said:
                # It could not start at all, and neither will another.
                self._status = abs(status) or 1
                self._stop()
                continue
            log.error("worker %d ended with %d: another is started", number, status)
            now_s = time.monotonic()
            self._due.append((now_s if now_s - began_s > SETTLED_S else now_s + SETTLED_S, number))

    def _start_due(self) -> None:
        now_s = time.monotonic()
        due, self._due = self._due, []
        for at_s, number in due:
            if at_s <= now_s and self._stops_at_s is None:
                self._start(number)
            else:
                self._due.append((at_s, number))

    def _wait_s(self) -> float | None:
        moments = [at_s for at_s, _ in self._due] + ([] if self._stops_at_s is None else [self._stops_at_s])
        return max(0.0, min(moments) - time.monotonic()) + 0.01 if moments else None

    def _tell(self, signum: signal.Signals) -> None:
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)


def reuse_port(host: str, port: int) -> socket.socket:
    """A socket bound to an address that others of this user may be bound to as well; not listening yet."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host.strip("[]"), port))
    except BaseException:
        bound.close()
        raise
    return bound


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 4096)
    except BlockingIOError:
        return b""
