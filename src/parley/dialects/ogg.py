"""Ogg Opus as a broadcast needs it: which page is header and which is audio, and how much time it is.

Does not decode, frame pages (`ogg_pages.py`), move bytes or read a clock. Source: RFC 7845; RFC 6716 §3.1 for the
length of a packet.

**A link** is one logical stream: a first page with the packet `OpusHead` alone, then `OpusTags` on pages of its own,
then audio, up to the page that says it is the last. A broadcast is a chain of links: after the last page of one a new
one begins, as an encoder that loops or comes back makes it. A new first page in the middle of the audio begins a new
link too, for its encoder may have died; one among the headers is another stream beside ours, and refused.

**Time** is counted in samples of 48 kHz. A page's is what its packets say of themselves, or how far its granule
position is from the one before, whichever is more: neither alone is to be trusted by who wants to know whether a
broadcaster is ahead. Bytes count as time too (`paced_s`), for headers have none and are copied to every listener.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from parley.dialects.ogg_pages import (
    NO_GRANULE,
    PAGE_BYTES_MAX,
    NotOggOpus,
    Page,
    Pages,
    build_page,
    build_pages,
    checksum,
    parse_page,
    renumbered,
)

__all__ = [
    "NO_GRANULE",
    "PAGE_BYTES_MAX",
    "RATE",
    "Continuous",
    "Kind",
    "NotOggOpus",
    "OpusHead",
    "OpusStream",
    "OpusTags",
    "Page",
    "Pages",
    "build_page",
    "build_pages",
    "checksum",
    "packet_samples",
    "parse_page",
    "renumbered",
]

#: Granule positions count samples of 48 kHz, whatever the input was (RFC 7845 §4).
RATE: Final = 48_000
#: Headers go to every listener first, so they must fit in what may wait for one: a cover picture does not.
HEADER_BYTES_MAX: Final = 128 * 1024
HEADER_PAGES_MAX: Final = 64
#: Pages in a row that add no time: of other streams, empty, or of a packet that does not end.
TIMELESS_PAGES_MAX: Final = 64
#: A granule position further ahead than this is a broken one; a real pause of an hour is a new link.
JUMP_SAMPLES_MAX: Final = 3600 * RATE
#: RFC 6716 §2.1.1: an Opus stream has 510 kbit/s at most; and a page of 20 ms has 28 bytes of header.
STREAM_BYTES_PER_S: Final = 66_000
#: RFC 6716 §3.2.5: no packet is longer than 120 ms.
PACKET_SAMPLES_MAX: Final = 5760

#: Samples in a frame by the configuration, the upper five bits of a packet's first byte (RFC 6716 §3.1).
_FRAME_SAMPLES: Final = (*(480, 960, 1920, 2880) * 3, *(480, 960) * 2, *(120, 240, 480, 960) * 4)


class Kind(Enum):
    """What a page is to a broadcast. A HEADER that is `bos` begins a new link; OTHER pages are to be dropped."""

    HEADER = "header"
    AUDIO = "audio"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class OpusHead:
    """RFC 7845 §5.1. `streams` is how many Opus streams lie in each packet."""

    channels: int
    pre_skip: int
    input_rate: int
    gain: int
    family: int
    streams: int

    @classmethod
    def parse(cls, packet: bytes) -> "OpusHead":
        """Raises: NotOggOpus."""
        if packet[:8] != b"OpusHead":
            raise NotOggOpus(f"this is Ogg, but not Opus: it begins with {_named(packet)}")
        if len(packet) < 19:
            raise NotOggOpus("the Opus header is cut short")
        if packet[8] & 0xF0:
            raise NotOggOpus(f"the Opus header has the unknown version {packet[8]}")
        channels, family = packet[9], packet[18]
        streams = 1
        if family:
            if len(packet) < 21 + channels:
                raise NotOggOpus("the Opus header has no whole channel mapping")
            streams = packet[19]
            if streams == 0 or packet[20] > streams or (family == 1 and channels > 8):
                raise NotOggOpus("the Opus header has an impossible channel mapping")
        if channels == 0 or (family == 0 and channels > 2):
            raise NotOggOpus(f"the Opus header speaks of {channels} channels")
        return cls(
            channels,
            int.from_bytes(packet[10:12], "little"),
            int.from_bytes(packet[12:16], "little"),
            int.from_bytes(packet[16:18], "little", signed=True),
            family,
            streams,
        )

    def packet(self) -> bytes:
        """As a packet; of mono or stereo only. Raises: ValueError."""
        if self.family:
            raise ValueError("only mono and stereo are written here")
        numbers = (self.pre_skip.to_bytes(2, "little"), self.input_rate.to_bytes(4, "little"))
        return (
            b"OpusHead\x01"
            + bytes([self.channels])
            + b"".join(numbers)
            + self.gain.to_bytes(2, "little", signed=True)
            + b"\0"
        )


@dataclass(frozen=True, slots=True)
class OpusTags:
    """RFC 7845 §5.2. `comments` are `NAME=value`, as they stand there: UTF-8 by the standard, any bytes in truth."""

    vendor: bytes
    comments: tuple[bytes, ...]

    @classmethod
    def parse(cls, packet: bytes) -> "OpusTags":
        """What follows the last comment is padding. Raises: NotOggOpus."""
        if packet[:8] != b"OpusTags":
            raise NotOggOpus("the second packet is no Opus comment header")
        vendor, at = _field(packet, 8)
        if len(packet) < at + 4:
            raise NotOggOpus("the comment header is cut short")
        count, at = int.from_bytes(packet[at : at + 4], "little"), at + 4
        if count > (len(packet) - at) // 4:
            raise NotOggOpus("the comment header promises more comments than it has")
        comments = []
        for _ in range(count):
            comment, at = _field(packet, at)
            comments.append(comment)
        return cls(vendor, tuple(comments))

    def packet(self) -> bytes:
        fields = b"".join(len(one).to_bytes(4, "little") + one for one in self.comments)
        vendor = len(self.vendor).to_bytes(4, "little") + self.vendor
        return b"OpusTags" + vendor + len(self.comments).to_bytes(4, "little") + fields


def _field(packet: bytes, at: int) -> tuple[bytes, int]:
    end = at + 4 + int.from_bytes(packet[at : at + 4], "little")
    if len(packet) < at + 4 or len(packet) < end:
        raise NotOggOpus("the comment header is cut short")
    return packet[at + 4 : end], end


def _named(packet: bytes) -> str:
    known = {b"\x01vorbis": "Vorbis", b"\x7fFLAC": "FLAC", b"Speex   ": "Speex", b"\x80theora": "Theora video"}
    for magic, name in known.items():
        if packet.startswith(magic):
            return name
    return "something else" if packet else "an empty packet"


def packet_samples(packet: bytes) -> int:
    """The length of an Opus packet in samples of 48 kHz; 0 for one that is none (RFC 6716 §3.1, §3.2)."""
    if not packet:
        return 0
    code = packet[0] & 3
    counted = packet[1] & 0x3F if len(packet) > 1 else 0
    frames = (1, 2, 2, counted)[code]
    samples = frames * _FRAME_SAMPLES[packet[0] >> 3]
    return samples if samples <= PACKET_SAMPLES_MAX else 0


class OpusStream:
    """One broadcast, page by page. `headers` are the pages that a listener of the present link needs first."""

    head: OpusHead
    tags: OpusTags

    def __init__(self, *, header_bytes_max: int = HEADER_BYTES_MAX) -> None:
        self._header_bytes_max = header_bytes_max
        self._header_pages_max = max(HEADER_PAGES_MAX, header_bytes_max // 4096)
        self.headers: list[Page] = []
        #: Whether `headers` are all there, and what follows is audio.
        self.is_ready = False
        #: Whether the present link has said that it is over; a new one may begin.
        self.has_ended = False
        self.links = 0
        #: Samples so far, over all links, what decoders skip at the beginning of each included.
        self.samples = 0
        #: What the last page that was taken added to them.
        self.page_samples = 0
        self._skipped = 0
        self._bytes_s = 0.0
        self._serial = 0
        self._granule: int | None = None
        self._tags = bytearray()
        self._header_bytes = 0
        self._timeless = 0
        self._begun_samples: int | None = None
        self._has_audio = True

    @property
    def position_s(self) -> float:
        """Seconds that a listener from the beginning has heard, pre-skip taken off (RFC 7845 §4.2)."""
        return max(0, self.samples - self._skipped) / RATE

    @property
    def paced_s(self) -> float:
        """Seconds of real time that all of this is good for: its audio, or its bytes where they are more."""
        return max(self.samples / RATE, self._bytes_s)

    def take(self, page: Page) -> Kind:
        """The next page of the broadcast.

        Raises: NotOggOpus, with the reason in words. After that: take nothing more.
        """
        self.page_samples = 0
        if page.bos:
            self._begin(page)
            kind = Kind.HEADER
        elif not self.links:
            raise NotOggOpus("it does not begin with the first page of a stream")
        elif page.serial != self._serial or self.has_ended:
            kind = Kind.OTHER
        elif self.is_ready:
            self._hear(page)
            kind = Kind.AUDIO
        else:
            self._keep(page)
            kind = Kind.HEADER
        self._bytes_s += len(page.data) / (STREAM_BYTES_PER_S * self.head.streams)
        if kind is Kind.HEADER or self.page_samples:
            self._timeless = 0
        else:
            self._timeless += 1
            if self._timeless > TIMELESS_PAGES_MAX:
                raise NotOggOpus(f"{self._timeless} pages in a row hold no audio")
        return kind

    def _begin(self, page: Page) -> None:
        if not self._has_audio:
            raise NotOggOpus("a stream begins before the one before it had any audio")
        if page.continued or not page.is_complete or len(packets := page.packets()) != 1:
            raise NotOggOpus("the first page of an Ogg Opus stream holds one packet, its header")
        self.head = OpusHead.parse(packets[0])
        self._serial = page.serial
        self.headers = [page]
        self.is_ready = self.has_ended = self._has_audio = False
        self.links += 1
        self._granule = self._begun_samples = None
        self._tags.clear()
        self._header_bytes = len(page.data)
        if page.eos:
            raise NotOggOpus("the stream ends with its first page")

    def _keep(self, page: Page) -> None:
        self._header_bytes += len(page.data)
        if self._header_bytes > self._header_bytes_max or len(self.headers) >= self._header_pages_max:
            raise NotOggOpus(
                f"its headers have more than {self._header_bytes_max // 1024} KiB, or {self._header_pages_max} pages: "
                "leave out pictures"
            )
        if page.continued != bool(self._tags):
            raise NotOggOpus("a page of the comment header is missing")
        packets = page.packets()
        self._tags += packets[0] if packets else b""
        if self._tags[:8] != b"OpusTags"[: len(self._tags)]:
            raise NotOggOpus("the second packet is no Opus comment header")
        if len(packets) > 1 or page.eos:
            raise NotOggOpus("audio begins on the page of the comment header")
        self.headers.append(page)
        if packets and page.is_complete:
            self.tags = OpusTags.parse(bytes(self._tags))
            self._tags.clear()
            self._skipped += self.head.pre_skip
            self.is_ready = True

    def _hear(self, page: Page) -> None:
        samples = self._completed(page)
        if page.granule >= 0:
            if self._granule is not None:
                ahead = page.granule - self._granule
                if ahead - samples > JUMP_SAMPLES_MAX:
                    raise NotOggOpus("a granule position jumps by more than an hour")
                samples = max(samples, ahead)
            self._granule = page.granule
        self.page_samples = samples
        self.samples += samples
        self._has_audio = self._has_audio or samples > 0
        self.has_ended = page.eos

    def _completed(self, page: Page) -> int:
        """Samples of the packets that end on this page. One that began earlier said there how long it is."""
        data = page.data
        start = at = 27 + data[26]
        samples, begun = 0, self._begun_samples if page.continued else None
        is_rest = page.continued
        for value in data[27:start]:
            at += value
            if value < 255:
                if not is_rest:
                    samples += packet_samples(data[start : min(at, start + 2)])
                elif begun is not None:
                    samples += begun
                is_rest, start = False, at
        if not page.is_complete and not is_rest:
            begun = packet_samples(data[start : start + 2])
        self._begun_samples = begun if not page.is_complete else None
        return samples


class Continuous:
    """Makes one link of many: pages with one serial, every sequence number, and granule positions that only grow.

    For who writes on where the broadcaster's links and losses end: listeners whose players know no chains, and files.
    A link may go on without its headers where its OpusHead is the same as before.
    """

    def __init__(self, serial: int, *, sequence: int = 0, samples: int = 0) -> None:
        self.serial = serial
        self.sequence = sequence
        self.samples = samples

    def headers(self, pages: Iterable[Page]) -> list[Page]:
        return [self._next(page, 0 if page.granule != NO_GRANULE else NO_GRANULE) for page in pages]

    def audio(self, page: Page, samples: int) -> Page:
        """`samples` is what the page adds (`OpusStream.page_samples`), and what was lost before it, if anything was."""
        self.samples += samples
        return self._next(page, self.samples if page.granule != NO_GRANULE else NO_GRANULE)

    def end(self) -> Page:
        """An empty last page; nothing follows."""
        page = build_page([], serial=self.serial, sequence=self.sequence, granule=self.samples, eos=True)
        self.sequence += 1
        return page

    def _next(self, page: Page, granule: int) -> Page:
        made = renumbered(page, serial=self.serial, sequence=self.sequence, granule=granule)
        self.sequence += 1
        return made
