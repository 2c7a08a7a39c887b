"""Ogg pages, out of bytes and into bytes: found, checked, built, and numbered anew.

Knows nothing of what the pages carry (`ogg.py` does), moves no bytes and keeps no time. Source: RFC 3533.

**A page** is a header of 27 bytes, up to 255 lacing values, and the body whose length they add up to: 65,307 bytes at
most. It begins with `OggS` and a zero. A packet is cut into segments of 255 bytes; the first lacing value below 255
ends it, so one whose last value is 255 goes on in the next page. The granule position is the time at the end of the
last packet that the page completes, or -1 where it completes none.

**Sync.** What is not a page with the right CRC is skipped, up to the next `OggS` behind the place where the wrong one
began. What that costs is bounded: bytes skipped, and bytes checked in vain, are a debt that good pages pay back by
their size; whoever owes too much is refused. So the work is never more than a fixed multiple of the input, and never
more is held than one page.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from zlib import crc32

CAPTURE: Final = b"OggS\x00"
HEADER_BYTES: Final = 27
SEGMENTS_MAX: Final = 255
PAGE_BYTES_MAX: Final = HEADER_BYTES + SEGMENTS_MAX + SEGMENTS_MAX * 255
#: A page on which no packet ends has this granule position (RFC 3533 §6).
NO_GRANULE: Final = -1
#: Bytes skipped or checked in vain. Sixteen pages of the largest kind: a torn page costs two at most.
DEBT_BYTES_MAX: Final = 1024 * 1024

_CONTINUED, _BOS, _EOS = 1, 2, 4
_HEADER: Final = struct.Struct("<5xBqIIIB")
_PREFIX: Final = struct.Struct("<5sBqII")
_NO_CRC: Final = bytes(4)
_MIRRORED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_ALL_ONES: Final = 0xFFFFFFFF


class NotOggOpus(ValueError):
    """What came is not an Ogg Opus stream, or no longer; the text says why, in words for whoever sends it."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page: `data` is all of it. `is_complete`: its last packet ends here, rather than on the next page."""

    data: bytes
    granule: int
    serial: int
    sequence: int
    bos: bool
    eos: bool
    continued: bool
    is_complete: bool

    @property
    def lacing(self) -> bytes:
        return self.data[HEADER_BYTES : HEADER_BYTES + self.data[26]]

    @property
    def body(self) -> bytes:
        return self.data[HEADER_BYTES + self.data[26] :]

    def packets(self) -> list[bytes]:
        """What the page holds of each packet, in order: the first is a rest where `continued`, the last a beginning
        where not `is_complete`."""
        data, found = self.data, []
        start = at = HEADER_BYTES + data[26]
        for value in data[HEADER_BYTES:start]:
            at += value
            if value < 255:
                found.append(data[start:at])
                start = at
        if start < at or not self.is_complete:
            found.append(data[start:at])
        return found


def checksum(page: bytes) -> bytes:
    """The four bytes that belong at 22 of this page, whatever stands there.

    Ogg's CRC has the polynomial of zlib's, 0x04C11DB7, but takes the bits of each byte from the other end, begins with
    zero and inverts nothing. So the bytes are mirrored on their way in and out, and zlib does the work in C.
    """
    mirrored = page.translate(_MIRRORED)
    state = crc32(mirrored[26:], crc32(_NO_CRC, crc32(mirrored[:22], _ALL_ONES)))
    return (state ^ _ALL_ONES).to_bytes(4, "big").translate(_MIRRORED)


class Pages:
    """Bytes in, whole pages out, however they are cut. `lost_bytes` were no part of a page.

    `from_start`: the first byte is to be that of a page, and what is something else is refused with it.
    """

    def __init__(self, *, from_start: bool = False) -> None:
        self.lost_bytes = 0
        self._must_begin = from_start
        self._held = bytearray()
        self._debt_bytes = 0

    @property
    def pending_bytes(self) -> int:
        """Bytes of a page that has begun and is not whole yet; at most one page."""
        return len(self._held)

    def feed(self, data: bytes | bytearray | memoryview) -> list[Page]:
        """The pages that these bytes complete.

        Raises: NotOggOpus where too much of what came is no page. After this: feed nothing more.
        """
        held = self._held
        held += data
        if self._must_begin:
            if not held.startswith(CAPTURE[: len(held)]):
                held.clear()
                raise NotOggOpus("this is not Ogg: it does not begin with a page")
            self._must_begin = len(held) < len(CAPTURE)
        found: list[Page] = []
        at, end = 0, len(held)
        while True:
            begin = held.find(CAPTURE, at)
            if begin != at:
                # The last bytes may be the first of a capture pattern.
                begin = max(at, end - len(CAPTURE) + 1) if begin < 0 else begin
                self._lose(begin - at, begin - at)
                at = begin
                if end - at < len(CAPTURE):
                    break
            if end - at < HEADER_BYTES:
                break
            body = at + HEADER_BYTES + held[at + 26]
            if end < body:
                break
            stop = body + sum(held[at + HEADER_BYTES : body])
            if end < stop:
                break
            page = bytes(held[at:stop])
            if page[22:26] == checksum(page):
                found.append(_parsed(page))
                self._debt_bytes = max(0, self._debt_bytes - len(page))
                at = stop
            else:
                self._lose(1, len(page))
                at += 1
        del held[:at]
        return found

    def _lose(self, skipped: int, spent: int) -> None:
        self.lost_bytes += skipped
        self._debt_bytes += spent
        if self._debt_bytes > DEBT_BYTES_MAX:
            self._held.clear()
            raise NotOggOpus("this is not Ogg: too much of it is no page with a right checksum")


def parse_page(data: bytes) -> Page:
    """The one page that `data` is. Raises: NotOggOpus."""
    pages = Pages()
    found = pages.feed(data)
    if len(found) != 1 or pages.lost_bytes or pages.pending_bytes:
        raise NotOggOpus("this is not one whole Ogg page")
    return found[0]


def _parsed(data: bytes) -> Page:
    flags, granule, serial, sequence, _, segments = _HEADER.unpack_from(data)
    return Page(
        data,
        granule,
        serial,
        sequence,
        bool(flags & _BOS),
        bool(flags & _EOS),
        bool(flags & _CONTINUED),
        segments == 0 or data[HEADER_BYTES + segments - 1] < 255,
    )


# --- writing ----------------------------------------------------------------------------------------------------------


def build_page(
    packets: Iterable[bytes],
    *,
    serial: int,
    sequence: int,
    granule: int,
    bos: bool = False,
    eos: bool = False,
    continued: bool = False,
) -> Page:
    """One page of whole packets. Raises: ValueError where they need more than one page."""
    whole = list(packets)
    lacing = b"".join(_laced(len(packet)) for packet in whole)
    if len(lacing) > SEGMENTS_MAX:
        raise ValueError(f"{len(lacing)} segments do not fit in a page of {SEGMENTS_MAX}")
    return _built(lacing, b"".join(whole), serial, sequence, granule, bos=bos, eos=eos, continued=continued)


def build_pages(
    packets: Sequence[bytes], *, serial: int, sequence: int, granule: int, bos: bool = False, eos: bool = False
) -> list[Page]:
    """As many pages as these packets need, with following sequence numbers; the last has the granule position."""
    lacing, body = b"".join(_laced(len(packet)) for packet in packets), b"".join(packets)
    pages: list[Page] = []
    at, continued = 0, False
    for first in range(0, max(1, len(lacing)), SEGMENTS_MAX):
        part = lacing[first : first + SEGMENTS_MAX]
        is_last = first + SEGMENTS_MAX >= len(lacing)
        ends = any(value < 255 for value in part)
        pages.append(
            _built(
                part,
                body[at : at + sum(part)],
                serial,
                sequence + len(pages),
                granule if is_last or ends else NO_GRANULE,
                bos=bos and first == 0,
                eos=eos and is_last,
                continued=continued,
            )
        )
        at += sum(part)
        continued = bool(part) and part[-1] == 255
    return pages


def _laced(size: int) -> bytes:
    return b"\xff" * (size // 255) + bytes([size % 255])


def _built(
    lacing: bytes, body: bytes, serial: int, sequence: int, granule: int, *, bos: bool, eos: bool, continued: bool
) -> Page:
    flags = continued * _CONTINUED | bos * _BOS | eos * _EOS
    sequence &= _ALL_ONES
    head = _PREFIX.pack(CAPTURE, flags, granule, serial, sequence)
    rest = bytes([len(lacing)]) + lacing + body
    data = head + checksum(head + _NO_CRC + rest) + rest
    return Page(data, granule, serial, sequence, bos, eos, continued, not lacing or lacing[-1] < 255)


def renumbered(page: Page, *, serial: int, sequence: int, granule: int, eos: bool = False) -> Page:
    """The same packets as a page of another place or stream; its first page stays one."""
    sequence &= _ALL_ONES
    flags = page.data[5] & (_CONTINUED | _BOS) | eos * _EOS
    head = _PREFIX.pack(CAPTURE, flags, granule, serial, sequence)
    rest = page.data[26:]
    data = head + checksum(head + _NO_CRC + rest) + rest
    return Page(data, granule, serial, sequence, page.bos, eos, page.continued, page.is_complete)
