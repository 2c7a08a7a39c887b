"""Hostile Ogg, made up at random: pages that are right, nearly right, and none at all, cut anywhere.

    python -m fuzz.ogg --seconds 10 --seed 1

Feeds the codec as a server does, and listens as one relays. Fails on whatever is raised but NotOggOpus, on more memory
or time than the codec promises, on a page that comes out and is none, and on relayed time that goes back.
The seed says what is sent.
"""

import random
import sys
import time
from collections import Counter

from tests.ogg import TAGS, headers, joined, link, packet

from fuzz.command import main
from parley.dialects.ogg import (
    HEADER_BYTES_MAX,
    HEADER_PAGES_MAX,
    PAGE_BYTES_MAX,
    Continuous,
    Kind,
    NotOggOpus,
    OpusStream,
    OpusTags,
    Page,
    Pages,
    build_page,
    build_pages,
    checksum,
    parse_page,
    renumbered,
)


class Sender:
    """Makes up what a broadcaster sends."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def pages(self) -> list[Page]:
        chance = self._chance
        serial = chance.choice([1, 1, 1, 2, 2**32 - 1])
        match chance.randrange(8):
            case 0:
                return headers(serial=serial, tags=OpusTags(b"v", (bytes(chance.choice([9, 300, 70_000, 200_000])),)))
            case 1:
                return headers(serial=serial)[:1] * chance.choice([1, 2, 50])
            case 2:
                contents = [chance.randbytes(chance.randrange(300)), TAGS.packet(), b"OpusHead", b"", packet(0)]
                return [self.odd(chance.choices(contents, k=chance.randrange(4)), serial)]
            case 3:
                return [self.odd([], serial)] * chance.choice([1, 5, 200])
            case 4:
                long = packet(0, chance.choice([5, 255, 60_000, 140_000]))
                made = build_pages([long, packet(1)], serial=serial, sequence=9, granule=chance.randrange(2**20))
                return made[chance.randrange(2) :]
            case _:
                return link(chance.randrange(1, 30), serial=serial, packets=chance.randrange(1, 4))

    def odd(self, packets: list[bytes], serial: int) -> Page:
        chance = self._chance
        return build_page(
            packets,
            serial=serial,
            sequence=chance.randrange(2**32),
            granule=chance.choice([-1, 0, 960, chance.randrange(-(2**63), 2**63)]),
            bos=chance.random() < 0.3,
            eos=chance.random() < 0.2,
            continued=chance.random() < 0.2,
        )

    def data(self) -> bytes:
        chance = self._chance
        made = b"".join(joined(self.pages()) for _ in range(chance.randrange(1, 6)))
        for _ in range(chance.choice([0, 0, 0, 1, 3])):
            made = self.mutated(made)
        return made

    def mutated(self, data: bytes) -> bytes:
        chance = self._chance
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                return data[:at] + chance.randbytes(1) + data[at + 1 :]
            case 1:
                return data[:at] + data[at + chance.choice([1, 30, 1000]) :]
            case 2:
                return data[:at] + chance.choice([b"OggS\0", b"OggS" * 100, chance.randbytes(200)]) + data[at:]
            case 3:
                return data[:at] + (b"OggS\0" + b"\xff" * 22) * chance.choice([1, 50, 3000]) + data[at:]
            case _:
                # A wrong header whose checksum is right.
                begin = data.rfind(b"OggS\0", 0, at)
                head = bytearray(data[max(0, begin) :][:PAGE_BYTES_MAX])
                if begin < 0 or len(head) < 27:
                    return data
                head[chance.choice([5, 6, 13, 14, 18])] = chance.randrange(256)
                length = 27 + head[26] + sum(head[27 : 27 + head[26]])
                head = head[:length]
                head[22:26] = checksum(bytes(head))
                return data[:begin] + bytes(head) + data[begin + length :]


def broadcast(sender: Sender, chance: random.Random, seen: Counter[str]) -> int:
    """One broadcaster until it is refused or has said enough; the bytes that it sent."""
    pages, stream, relay = Pages(), OpusStream(), Continuous(5)
    sent = granule = 0
    try:
        for _ in range(chance.choice([1, 3, 10])):
            data = sender.data() if sent else joined(link(2, ends=chance.random() < 0.7)) + sender.data()
            at = 0
            while at < len(data):
                step = chance.choice([1, 26, 27, 300, 4096, 70_000, len(data)])
                for page in pages.feed(data[at : at + step]):
                    seen[(kind := stream.take(page)).value] += 1
                    assert parse_page(page.data) == page
                    assert renumbered(page, serial=page.serial, sequence=page.sequence, granule=page.granule,
                                      eos=page.eos).packets() == page.packets()  # fmt: skip
                    assert len(stream.headers) <= HEADER_PAGES_MAX
                    assert sum(len(one.data) for one in stream.headers) <= HEADER_BYTES_MAX + PAGE_BYTES_MAX
                    assert stream.page_samples >= 0
                    if kind is Kind.AUDIO:
                        made = relay.audio(page, stream.page_samples)
                        assert made.granule == -1 or made.granule >= granule
                        granule = max(granule, made.granule)
                assert pages.pending_bytes < PAGE_BYTES_MAX
                at += step
            sent += len(data)
        seen["served"] += 1
    except NotOggOpus:
        seen["refused"] += 1
    return sent


def run(seconds: float, seed: int) -> Counter[str]:
    """What was seen. Raises: AssertionError, or whatever the codec raises that it must not."""
    chance = random.Random(seed)
    sender, seen = Sender(chance), Counter[str]()
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        begun_s = time.process_time()
        sent = broadcast(sender, chance, seen)
        seen["KiB"] += sent // 1024
        # Linear in the input: two seconds and ten microseconds for each byte are far beyond what it takes.
        assert time.process_time() - begun_s < 2 + sent * 1e-5, f"{sent} bytes took too long"
    return seen


if __name__ == "__main__":
    sys.exit(main(__doc__, lambda seconds, seed: {"codec": run(seconds, seed)}))
