"""The player's own Ogg reader and writer beside ffmpeg's: holes, dirt, packets over pages, one stream after another."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.npm import need

Pages = list[bytes]


def ffmpeg(*arguments: str | Path) -> bytes:
    """What it writes to its standard output; a warning fails."""
    command = [
        need("ffmpeg", "it makes and reads what the player's modules read and make"),
        "-nostdin",
        "-v",
        "warning",
    ]
    done = subprocess.run([*command, *arguments], capture_output=True, timeout=60, check=True)
    assert done.stderr == b""
    return done.stdout


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of two tones, 60 ms a page."""
    path = tmp_path_factory.mktemp("ogg") / "recorded.ogg"
    tones = "aevalsrc=0.3*sin(440*2*PI*t)|0.3*sin(660*2*PI*t):d=3:s=48000"
    ffmpeg("-f", "lavfi", "-i", tones, "-c:a", "libopus", "-b:a", "96k", "-page_duration", "60000", path)
    return path


def split(path: Path) -> Pages:
    whole = path.read_bytes()
    return [b"OggS" + rest for rest in whole.split(b"OggS")[1:]]


@pytest.fixture
def run(repository: Path, tmp_path: Path) -> Any:
    """Reads a file, or pages, with the page's modules."""

    def read(what: Path | Pages, output: Path | None = None) -> dict[str, Any]:
        if isinstance(what, list):
            path = tmp_path / "given.ogg"
            path.write_bytes(b"".join(what))
        else:
            path = what
        script = repository / "tests" / "web" / "player_modules.mjs"
        modules = repository / "src" / "parley" / "web" / "player"
        command = [need("node", "the modules run on it"), script, modules, path, *([output] if output else [])]
        done = subprocess.run(command, capture_output=True, timeout=60, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return read


def test_what_ffmpeg_wrote_is_read_packet_by_packet(run: Any, recorded: Path) -> None:
    read = run(recorded)
    assert read["heads"] == [{"channels": 2, "preSkip": 312, "gain": 1, "isPlain": True}]
    assert [page["sequence"] for page in read["pages"]] == list(range(len(split(recorded))))
    assert (read["pages"][0]["isFirst"], read["pages"][-1]["isLast"]) == (True, True)
    packets = read["packets"]
    assert {packet["samples"] for packet in packets} == {960}
    assert [packet["at"] for packet in packets[:-3]] == [960 * number for number in range(len(packets) - 3)]
    assert not any(packet["isAfterLoss"] for packet in packets)


def test_what_it_writes_is_decoded_to_the_same_samples(run: Any, recorded: Path, tmp_path: Path) -> None:
    written = tmp_path / "written.ogg"
    run(recorded, written)
    before, after = (ffmpeg("-i", path, "-f", "s16le", "-") for path in (recorded, written))
    assert len(before) == 3 * 48_000 * 4
    assert after.startswith(before)
    # Every third packet ends a page of 60 ms; checksums are ours, so ours read them too.
    again = run(written)
    assert [page["granule"] for page in again["pages"][:5]] == [0, 0, 2880, 5760, 8640]
    assert again["packets"][:-3] == run(recorded)["packets"][:-3]


def test_a_listener_who_joins_late_has_lost_nothing(run: Any, recorded: Path) -> None:
    pages = split(recorded)
    read = run(pages[:2] + pages[20:])
    assert not any(packet["isAfterLoss"] for packet in read["packets"])
    assert read["packets"][0]["at"] == run(pages[:20])["packets"][-1]["at"] + 960


def test_after_a_hole_the_first_packet_says_so(run: Any, recorded: Path) -> None:
    pages = split(recorded)
    packets = run(pages[:10] + pages[12:])["packets"]
    after = [packet for packet in packets if packet["isAfterLoss"]]
    assert [packet["at"] for packet in after] == [run(pages[:12])["packets"][-1]["at"] + 960]


def test_dirt_and_bad_pages_are_passed_over(run: Any, recorded: Path) -> None:
    pages = split(recorded)
    bad = bytearray(pages[5])
    bad[-1] ^= 1
    dirty = [*pages[:5], bytes(bad), b"OggS\0 is no page" * 9, *pages[6:-1], pages[-1][:-1]]
    found = run(dirty)["pages"]
    assert [page["sequence"] for page in found] == [*range(5), *range(6, len(pages) - 1)]


def test_one_stream_follows_another(run: Any, recorded: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.ogg"
    run(recorded, other)
    read = run(split(recorded)[:8] + split(other))
    assert len(read["heads"]) == 2
    again = read["packets"].index(read["packets"][0], 1)
    assert [packet["at"] for packet in read["packets"][again : again + 3]] == [0, 960, 1920]
    assert not any(packet["isAfterLoss"] for packet in read["packets"])


def test_a_packet_over_several_pages_is_put_together(run: Any, recorded: Path, tmp_path: Path) -> None:
    # Each packet of 510 kbit/s is longer than the 255 bytes of one segment; ffmpeg's pages of 1 ms hold one each.
    path = tmp_path / "loud.ogg"
    noise = "anoisesrc=d=1:r=48000:a=0.5:seed=1"
    ffmpeg("-f", "lavfi", "-i", noise, "-c:a", "libopus", "-b:a", "256k", "-page_duration", "1000", path)
    lengths = [packet["bytes"] for packet in run(path)["packets"]]
    assert len(lengths) > 45
    assert max(lengths) > 600
    cut: Pages = []
    for number, page in enumerate(split(path)):
        cut.extend(two_pages(page, number) if number >= 2 else [page])
    assert [packet["bytes"] for packet in run(cut)["packets"]] == lengths


def two_pages(page: bytes, number: int) -> Pages:
    """The same in two pages, cut inside of a packet after its first segment; numbered anew from `number`."""
    count, head = page[26], 27 + page[26]
    lacing, body = page[27:head], page[head:]
    if count < 2 or lacing[0] != 255:
        return [sealed(page[:18] + (2 + 2 * (number - 2)).to_bytes(4, "little") + page[22:])]
    first = 2 + 2 * (number - 2)
    begun = page[:6] + b"\xff" * 8 + page[14:18] + first.to_bytes(4, "little") + bytes(4) + b"\x01\xff" + body[:255]
    flags = bytes([page[5] | 1])
    rest = page[:5] + flags + page[6:18] + (first + 1).to_bytes(4, "little") + bytes(4) + bytes([count - 1])
    return [sealed(begun), sealed(rest + lacing[1:] + body[255:])]


def sealed(page: bytes) -> bytes:
    """With the checksum that it should have."""
    rest = 0
    page = page[:22] + bytes(4) + page[26:]
    for byte in page:
        rest ^= byte << 24
        for _ in range(8):
            rest = ((rest << 1) ^ 0x04C11DB7 if rest & 0x80000000 else rest << 1) & 0xFFFFFFFF
    return page[:22] + rest.to_bytes(4, "little") + page[26:]
