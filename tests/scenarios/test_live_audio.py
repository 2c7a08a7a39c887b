"""A known signal goes on the air as the tutorial says, and is heard, from the start and by who comes late."""

import asyncio
import math
import os
import re
import subprocess
from array import array
from collections.abc import Iterator
from operator import mul
from pathlib import Path

import httpx2
import pytest

from parley.client.credentials import origins
from parley.client.listening import Listening
from tests.ogg import decoded
from tests.serving import PATIENCE_S, ROOT, ServerProcess, die_with_parent

pytestmark = pytest.mark.anyio

SECONDS = 2.4
#: From 200 Hz up: each moment of it sounds like no other.
SWEEP = f"aevalsrc='0.5*sin(2*PI*(200*t+150*t*t))':d={SECONDS}"
RATE = 4000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "data", "--demo") as one:
        yield one


def line_of_the_tutorial(url: str, song: Path) -> str:
    text = (ROOT / "docs" / "tutorials" / "on-the-air.md").read_text()
    found = re.search(r"^ffmpeg -re .*?streams/radio$", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found.group().replace("http://127.0.0.1:8000", url).replace("song.mp3", f"{song} -v error")


def samples(pcm: bytes) -> "array[int]":
    return array("h", pcm)


def correlation(heard: "array[int]", sent: "array[int]") -> float:
    """Of all that was heard but its first and last tenth of a second, with what was sent at the best place for it."""
    heard = heard[RATE // 10 : -RATE // 10]
    probe = heard[: RATE // 4]
    places = range(len(sent) - len(heard) + 1)
    begin = max(places, key=lambda at: sum(map(mul, probe, sent[at : at + len(probe)])))
    sent = sent[begin : begin + len(heard)]
    return sum(map(mul, heard, sent)) / math.sqrt(sum(map(mul, heard, heard)) * sum(map(mul, sent, sent)))


async def late(url: str) -> bytes:
    """What a player hears from now on, to the end."""
    heard = b""
    async with httpx2.AsyncClient(timeout=PATIENCE_S) as http, http.stream("GET", f"{url}/streams/radio") as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/ogg")
        async for piece in answer.aiter_bytes():
            heard += piece
    return heard


async def test_what_ffmpeg_puts_on_the_air_is_what_is_heard(server: ServerProcess, tmp_path: Path) -> None:
    song = tmp_path / "sweep.flac"
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", SWEEP, "-ar", "48000", str(song)], check=True)
    early, waits, on_air = bytearray(), asyncio.Event(), asyncio.Event()

    def told() -> None:
        if listener.described:
            waits.set()
        if listener.heard_s > 0.5:
            on_air.set()

    listener = Listening(origins(server.url)[1], "radio", None, early.extend, once=True, on_change=told)
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        group.create_task(listener.run())
        await waits.wait()
        put = await asyncio.create_subprocess_exec(
            *("bash", "-c", line_of_the_tutorial(server.url, song)),
            env={**os.environ, "TOKEN": await asyncio.to_thread(server.login, "ada")},
            preexec_fn=die_with_parent,
        )
        await on_air.wait()
        came_late = await late(server.url)
        assert await put.wait() == 0
    sent = samples(decoded(song.read_bytes(), rate=RATE))
    from_the_start, from_then_on = (samples(decoded(bytes(one), rate=RATE)) for one in (early, came_late))
    assert abs(len(from_the_start) / RATE - SECONDS) < 0.03
    # The newest page is of before: of up to two tenths of a second.
    assert 0.5 < len(from_then_on) / RATE < SECONDS - 0.25
    assert correlation(from_the_start, sent) > 0.99
    assert correlation(from_then_on, sent) > 0.99
