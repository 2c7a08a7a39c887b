"""Ids, subjects and times: their forms, which ids are the server's own, and how new ones are made.

Draws no randomness and reads no clock: `IdSource` is given both.
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from struct import Struct
from typing import Annotated, Final

from msgspec import Meta

ID_PATTERN: Final = r"^[A-Za-z0-9._~-]{1,64}\Z"
SUBJECT_PATTERN: Final = r"^[!-~]{1,320}\Z"

Id = Annotated[str, Meta(pattern=ID_PATTERN)]
Subject = Annotated[str, Meta(pattern=SUBJECT_PATTERN)]
#: An id that a client chooses: shorter, so that the server can append to it (`<id>.notes`).
ChosenId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._~-]{1,56}\Z")]

_SUBJECT = re.compile(SUBJECT_PATTERN)


def is_reserved(room_id: str) -> bool:
    """Whether a room id is of the server's own kind, so that no client may choose it."""
    return room_id == "queue" or room_id.endswith(".notes") or room_id.startswith(("c-", "s-"))


def is_subject(text: str) -> bool:
    return _SUBJECT.match(text) is not None


_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 (in UTC, as all that is told)
_LAST_MS: Final = 253_402_300_799_999


@lru_cache(maxsize=4096)
def rfc3339(at_ms: int) -> str:
    """Unix milliseconds, 0 or more, as RFC 3339 UTC with milliseconds: `2026-11-22T09:30:00.000Z`.

    What lies beyond the year 9999, as the `exp` of a token that is to last for ever may, is told as its last moment.
    """
    told = (_EPOCH + timedelta(milliseconds=min(at_ms, _LAST_MS))).isoformat(timespec="milliseconds")
    return told + "Z"


_TAILS: Final = Struct(">64Q")


class IdSource:
    """Makes UUIDv7 ids (RFC 9562 §5.7) that ascend within one process, also within one millisecond.

    `clock_ms` gives Unix milliseconds, `random_bytes(n)` n unpredictable bytes. Not thread-safe: one for each thread.
    """

    def __init__(self, clock_ms: Callable[[], int], random_bytes: Callable[[int], bytes]) -> None:
        self._clock_ms = clock_ms
        self._random_bytes = random_bytes
        self._last = 0  # of the leading 60 bits: 48 of time, 12 of counter
        self._tails: list[int] = []  # random, not yet used: asking for each id alone costs more than the id

    def __call__(self) -> str:
        lead = self._last + 1
        now = self._clock_ms() << 12
        if now > lead:
            lead = now
        self._last = lead
        if not self._tails:
            self._tails.extend(_TAILS.unpack(self._random_bytes(_TAILS.size)))
        tail = self._tails.pop()
        return (
            f"{lead >> 28:08x}-{lead >> 12 & 0xFFFF:04x}-7{lead & 0xFFF:03x}"
            f"-{tail >> 48 & 0x3FFF | 0x8000:04x}-{tail & 0xFFFF_FFFF_FFFF:012x}"
        )
