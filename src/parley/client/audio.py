"""Ogg Opus from anywhere as small pages with their time: what a broadcast sends.

Takes bytes, gives blocks: reads no files (`sources.py`), keeps no time and sends nothing (`broadcasting.py`).

What comes has pages as its encoder liked them, often of a second each, and links that end and begin. What goes out has
pages of 100 ms that begin and end with a packet, so that whoever comes late hears it soon; and it is one link for as
long as the head stays the same, so that a file that loops is no stream that ends. Pictures are left out of the headers:
they go to every listener.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from parley.dialects.ogg import (
    RATE,
    Kind,
    OpusStream,
    OpusTags,
    Page,
    Pages,
    build_page,
    build_pages,
    packet_samples,
)

BLOCK_SAMPLES: Final = RATE // 10
#: Covers of albums are in the headers of files.
HEADER_BYTES_MAX: Final = 16 * 1024 * 1024
_PICTURES: Final = (b"METADATA_BLOCK_PICTURE=", b"COVERART=")


@dataclass(frozen=True, slots=True)
class Block:
    """One page on its way out. It begins `at_s` after the first, and is `length_s` long.

    `headers` are those of its link, the same object for all of its blocks; `closing` ends the link before.
    """

    headers: tuple[bytes, ...]
    data: bytes
    at_s: float
    length_s: float
    closing: bytes = b""


class Repaged:
    """Bytes in, blocks out. `serial` is that of the first link; the ones after it count on."""

    def __init__(self, serial: int) -> None:
        self._pages = Pages(from_start=True)
        self._stream = OpusStream(header_bytes_max=HEADER_BYTES_MAX)
        self._serial = serial - 1
        self._sequence = 0
        self._head = b""
        self._headers: tuple[bytes, ...] = ()
        self._closing = b""
        self._rest: bytearray | None = None
        self._packets: list[bytes] = []
        self._waiting = 0
        #: Samples of this link, and of all before it.
        self._granule = 0
        self._before = 0

    def feed(self, data: bytes) -> Iterator[Block]:
        """What these bytes complete. Raises: NotOggOpus."""
        for page in self._pages.feed(data):
            kind = self._stream.take(page)
            if kind is Kind.AUDIO:
                yield from self._audio(page)
            elif kind is Kind.HEADER and page.bos:
                self._rest = None
            elif kind is Kind.HEADER and self._stream.is_ready:
                yield from self._begin()

    def flush(self) -> Iterator[Block]:
        """What waits for more, after the last byte."""
        if self._packets:
            yield self._block()

    @property
    def has_begun(self) -> bool:
        return bool(self._headers)

    def last_page(self) -> bytes:
        """The page that ends the link, for after the last block."""
        page = build_page([], serial=self._serial, sequence=self._sequence, granule=self._granule, eos=True)
        return page.data

    def _begin(self) -> Iterator[Block]:
        head = self._stream.headers[0].packets()[0]
        if head == self._head:
            return
        yield from self.flush()
        if self._head:
            self._closing = self.last_page()
        self._before += self._granule
        self._head, self._granule, self._serial = head, 0, (self._serial + 1) & 0xFFFFFFFF
        kept = tuple(one for one in self._stream.tags.comments if not one.upper().startswith(_PICTURES))
        tags = OpusTags(self._stream.tags.vendor, kept)
        pages = [build_page([head], serial=self._serial, sequence=0, granule=0, bos=True)]
        pages += build_pages([tags.packet()], serial=self._serial, sequence=1, granule=0)
        self._headers, self._sequence = tuple(page.data for page in pages), len(pages)

    def _audio(self, page: Page) -> Iterator[Block]:
        packets = page.packets()
        if page.continued and packets:
            begun = self._rest
            self._rest = None
            if begun is not None:
                begun += packets[0]
                packets[0] = bytes(begun)
            elif not (len(packets) == 1 and not page.is_complete):
                del packets[0]  # the rest of a packet whose beginning was lost
            else:
                packets.clear()
        else:
            self._rest = None
        if not page.is_complete and packets:
            self._rest = bytearray(packets.pop())
        lost = self._stream.page_samples - sum(map(packet_samples, packets))
        if lost > 0:
            # A hole in what came, as long as its granule positions say, stays one.
            yield from self.flush()
            self._granule += lost
        for packet in packets:
            samples = packet_samples(packet)
            if not samples:
                continue
            if self._packets and self._segments + len(packet) // 255 + 1 > 255:
                yield self._block()
            self._packets.append(packet)
            self._waiting += samples
            if self._waiting >= BLOCK_SAMPLES:
                yield self._block()

    @property
    def _segments(self) -> int:
        return sum(len(packet) // 255 + 1 for packet in self._packets)

    def _block(self) -> Block:
        begun = self._granule
        self._granule += self._waiting
        length = self._waiting
        pages = build_pages(self._packets, serial=self._serial, sequence=self._sequence, granule=self._granule)
        self._sequence += len(pages)
        self._packets, self._waiting = [], 0
        closing, self._closing = self._closing, b""
        data = b"".join(page.data for page in pages)
        return Block(self._headers, data, (self._before + begun) / RATE, length / RATE, closing)
