"""The file of refused credentials: one JSON object on a line, the newest last, and no more than two files of it.

Several processes may write to it. What is in a record is `service/refusals.py`; nothing secret is.
"""

import contextlib
import fcntl
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

log = logging.getLogger(__name__)

NAME: Final = "refusals.jsonl"
#: Each of the two files: some two thousand records.
BYTES_MAX: Final = 1_048_576
#: Records that wait to be written; with more, the oldest are lost. The disk may hang.
WAITING_MAX: Final = 1000


class RefusalFile:
    """`keep` returns at once: `run` has what it is given done in a thread."""

    def __init__(
        self, directory: Path, run: Callable[[Callable[[], None]], object], *, bytes_max: int = BYTES_MAX
    ) -> None:
        self._path = directory / NAME
        self._run = run
        self._bytes_max = bytes_max
        self._lock = threading.Lock()  # held for a moment only, never while something is written
        self._waiting: deque[dict[str, Any]] = deque(maxlen=WAITING_MAX)
        self._is_writing = False
        self._failed = False

    def keep(self, record: dict[str, Any]) -> None:
        with self._lock:
            self._waiting.append(record)
            begins, self._is_writing = not self._is_writing, True
        if begins:
            self._run(self._write_all)

    def _write_all(self) -> None:
        while True:
            with self._lock:
                records = list(self._waiting)
                self._waiting.clear()
                if not records:
                    self._is_writing = False
                    return
            try:
                self._write(b"".join(msgspec.json.encode(record) + b"\n" for record in records))
            except OSError as problem:
                if not self._failed:
                    log.warning("refusals can't be recorded: %s", problem.strerror)
                self._failed = True
            else:
                self._failed = False

    def _write(self, lines: bytes) -> None:
        file = self._opened()
        try:
            os.write(file, lines)
            if os.fstat(file).st_size >= self._bytes_max:
                self._path.rename(older(self._path))
        finally:
            os.close(file)  # and with it the lock

    def _opened(self) -> int:
        """The file, locked; not one that somebody else has just put aside."""
        while True:
            flags = os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
            file = os.open(self._path, flags, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                if os.fstat(file).st_ino == self._path.stat().st_ino:
                    return file
            except FileNotFoundError:
                pass
            except BaseException:
                os.close(file)
                raise
            os.close(file)


def older(path: Path) -> Path:
    return path.with_suffix(".1.jsonl")


def find(directory: Path, incident: str) -> dict[str, Any] | None:
    """The record of an incident, None where there is none (any more). Raises: OSError."""
    path = directory / NAME
    for one in (path, older(path)):
        with contextlib.suppress(FileNotFoundError):
            for line in one.read_bytes().splitlines():
                if incident.encode() in line:
                    with contextlib.suppress(msgspec.DecodeError):
                        record = msgspec.json.decode(line)
                        if isinstance(record, dict) and record.get("incident") == incident:
                            return record
    return None
