"""Where a broadcast's bytes come from: files, and ffmpeg with its level."""

import asyncio
import subprocess
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from parley.client.sources import FfmpegSource, FileSource, SourceFailed, any_file, playing
from parley.dialects.ogg import OpusStream, Pages
from tests.here import until
from tests.ogg import encoded
from tests.serving import PATIENCE_S

pytestmark = pytest.mark.anyio


async def test_a_file_comes_as_it_is_and_again_where_it_loops(tmp_path: Path) -> None:
    path = tmp_path / "a.opus"
    path.write_bytes(encoded(0.2))
    assert b"".join([piece async for piece in FileSource(path).pieces()]) == path.read_bytes()
    found = b""
    async with aclosing(FileSource(path, loops=True).pieces()) as pieces:
        while len(found) < 3 * path.stat().st_size:
            found += await anext(pieces)
    assert found.startswith(path.read_bytes() * 3)


async def test_an_empty_file_does_not_loop_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    assert [piece async for piece in FileSource(path, loops=True).pieces()] == []


async def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceFailed, match="No such file"):
        await anext(FileSource(tmp_path / "none").pieces())


async def test_ffmpeg_encodes_any_file_and_tells_how_loud_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a tone.wav"
    tone = "sine=frequency=440:duration=0.5,volume=-20dB"
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", tone, str(path)], check=True)
    source = FfmpegSource(any_file(str(path), loops=False), path.name)
    pages, stream = Pages(), OpusStream()
    levels = []
    async for piece in source.pieces():
        for page in pages.feed(piece):
            stream.take(page)
        levels.append(source.level_db(stream.position_s))
    assert 0.5 <= stream.position_s < 0.56
    assert stream.head.channels == 2
    levels.append(source.level_db(1))
    # A sine of ffmpeg's is at -18 dB peak, -21 dB in the mean; 20 dB less here.
    assert [level for level in levels if level is not None][-1] == pytest.approx(-41, abs=2)


async def test_what_ffmpeg_cannot_read_is_said_in_its_words(tmp_path: Path) -> None:
    path = tmp_path / "no sound.mp3"
    path.write_text("no sound")
    source = FfmpegSource(any_file(str(path), loops=False), path.name)
    with pytest.raises(SourceFailed, match=r"no sound\.mp3: ffmpeg says: .*Invalid"):
        async for _ in source.pieces():
            pass


async def test_what_a_sound_card_records_is_encoded_until_nobody_wants_it() -> None:
    """ALSA's `null` is a card that is everywhere, and hears nothing that could be compared."""
    source = FfmpegSource(playing("alsa:null", {}), "null")
    pages, stream = Pages(), OpusStream()
    async with aclosing(source.pieces()) as pieces:
        while stream.position_s < 0.5:
            for page in pages.feed(await anext(pieces)):
                stream.take(page)


async def test_ffmpeg_is_ended_also_while_what_it_made_lies_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, made, start = tmp_path / "a tone.wav", [], asyncio.create_subprocess_exec
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=duration=1", str(path)], check=True)

    async def noted(*command: Any, **options: Any) -> asyncio.subprocess.Process:
        made.append(await start(*command, **options))
        return made[0]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    pieces = FfmpegSource(any_file(str(path), loops=True), path.name).pieces()
    await anext(pieces)
    await until(lambda: made[0].stdout._paused)
    async with asyncio.timeout(PATIENCE_S):
        await pieces.aclose()


async def test_without_ffmpeg_it_is_said_what_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceFailed, match="ffmpeg is not installed"):
        FfmpegSource([], "x")


def test_what_the_machine_plays_is_where_its_sound_server_says(tmp_path: Path) -> None:
    there = {"XDG_RUNTIME_DIR": str(tmp_path)}
    assert playing("", there)[1] == "alsa"
    (tmp_path / "pulse").mkdir()
    (tmp_path / "pulse" / "native").touch()
    assert playing("", there)[1] == "pulse"
    assert playing("", there)[-1] == "@DEFAULT_MONITOR@"
    assert playing("speakers.monitor", there)[-1] == "speakers.monitor"
    assert playing("alsa:hw:Loopback,1", there)[-4:] == ["-thread_queue_size", "64", "-i", "hw:Loopback,1"]
    assert playing("hw:1", {})[-1] == "hw:1"
    assert playing("", {"PULSE_SERVER": "tcp:studio"})[1] == "pulse"
