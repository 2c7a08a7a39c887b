"""Ogg Opus made for tests: pages by hand, whose packets only look like Opus, and real ones from ffmpeg.

Checks nothing: what a test sends is made here.
"""

import subprocess

from parley.dialects.ogg import OpusHead, OpusTags, Page, build_page, build_pages

#: The first byte of a packet of one frame of 20 ms (RFC 6716 §3.1: configuration 31, mono, code 0).
TOC_20_MS = 0xF8
FRAME = 960
HEAD = OpusHead(channels=1, pre_skip=312, input_rate=48_000, gain=0, family=0, streams=1)
TAGS = OpusTags(b"tests", (b"TITLE=A test",))


def packet(number: int, size: int = 40) -> bytes:
    return bytes([TOC_20_MS]) + number.to_bytes(4, "big") + bytes(size - 5)


def headers(*, serial: int = 1, tags: OpusTags = TAGS) -> list[Page]:
    first = build_page([HEAD.packet()], serial=serial, sequence=0, granule=0, bos=True)
    return [first, *build_pages([tags.packet()], serial=serial, sequence=1, granule=0)]


def link(
    pages: int = 5, *, serial: int = 1, packets: int = 1, ends: bool = True, size: int = 40, tags: OpusTags = TAGS
) -> list[Page]:
    """One logical stream with so many pages of audio, of so many packets of 20 ms each."""
    made = headers(serial=serial, tags=tags)
    for number in range(pages):
        made.append(
            build_page(
                [packet(number * packets + one, size) for one in range(packets)],
                serial=serial,
                sequence=len(made),
                granule=(number + 1) * packets * FRAME,
                eos=ends and number == pages - 1,
            )
        )
    return made


def joined(pages: list[Page]) -> bytes:
    return b"".join(page.data for page in pages)


def encoded(seconds: float, *, source: str = "sine=frequency=440", page_ms: int = 20) -> bytes:
    """Real Ogg Opus, of a signal that ffmpeg makes."""
    command = f"ffmpeg -v error -f lavfi -i {source}:duration={seconds} -c:a libopus -b:a 32k"
    made = subprocess.run(
        [*command.split(), "-page_duration", str(page_ms * 1000), "-f", "ogg", "-"], capture_output=True, check=True
    )
    return made.stdout


def decoded(audio: bytes, *, rate: int = 48_000) -> bytes:
    """Mono samples of 16 bits. Raises: AssertionError where ffmpeg finds anything to remark."""
    command = ["ffmpeg", "-v", "warning", "-i", "-", "-f", "s16le", "-ac", "1", "-ar", str(rate), "-"]
    made = subprocess.run(command, input=audio, capture_output=True)
    assert (made.returncode, made.stderr) == (0, b"")
    return made.stdout
