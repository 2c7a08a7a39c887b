"""Hostile broadcasters on a live server, by PUT and by socket, beside one that behaves.

    python -m fuzz.broadcast --seconds 10 --seed 1

What they send is `fuzz/ogg.py`'s, cut anywhere, in broken chunks, with a line that breaks. Fails on an ending that is
not allowed, on anything logged as an error, on a byte at a listener that belongs to no page, on memory that grows, and
where the one that behaves loses a page. The seed says what is sent.
"""

import asyncio
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import uvloop
import websockets
from tests.here import HereServer, serving, until
from tests.ogg import joined, link
from tests.streams import audio, listen, payloads, publish, put, unfenced

from fuzz.command import main, no_error_logged
from fuzz.ogg import Sender
from parley.dialects.ogg import Pages

ANSWERS = {"204", "400 invalid_request", "409 already_live", "415 not_ogg_opus", "429 rate_limited"}
CLOSES = {1000, 1005, 1006, 4400, 4409, 4429}
#: Beyond what the listeners of a few streams and the largest headers may hold.
GROWTH_KIB_MAX = 96 * 1024


class Hostile:
    """Broadcasts on a stream of its own, again and again, by whichever way."""

    def __init__(self, server: HereServer, number: int, chance: random.Random, seen: Counter[str]) -> None:
        self._server = server
        self._stream = f"show-{number}"
        self._token = server.token(f"hostile-{number}")
        self._chance = chance
        self._sender = Sender(chance)
        self._seen = seen

    async def run(self, until_s: float) -> None:
        async with self._server.native(self._token) as desk:
            await desk.call("stream.create", stream=self._stream)
            while time.monotonic() < until_s:
                async with listen(self._server, self._stream, max_size=None) as listener:
                    await listener.news()
                    await (self._put() if self._chance.random() < 0.5 else self._publish())
                    await desk.call("stream.stop", stream=self._stream)
                    pages = Pages()
                    pages.feed(listener.heard)
                    assert pages.lost_bytes == pages.pending_bytes == 0, "a listener got what is no page"
                    self._seen["heard KiB"] += len(listener.heard) // 1024

    def _pieces(self) -> list[bytes]:
        chance = self._chance
        first = joined(link(3, ends=chance.random() < 0.5)) if chance.random() < 0.8 else b""
        data = first + b"".join(self._sender.data() for _ in range(chance.choice([1, 2, 4])))
        if chance.random() < 0.2:
            data = chance.choice([b"RIFF", b"\x1aE\xdf\xa3", b"OggS", b"\0"]) * 50_000
        pieces = []
        while data and len(pieces) < 200:
            step = chance.choice([1, 27, 400, 5000, 60_000, 120_000])
            pieces.append(data[:step])
            data = data[step:]
        return pieces

    async def _put(self) -> None:
        chance = self._chance
        async with put(self._server, self._stream, self._token) as one:
            ending = chance.choice(["finish", "finish", "cut", "broken chunk"])
            with suppress(ConnectionError):
                for piece in self._pieces():
                    await one.send(piece)
                if ending == "finish":
                    await one.finish()
                elif ending == "broken chunk":
                    one.writer.write(chance.choice([b"zz\r\n", b"-1\r\n", b"ffffffffffffffffffff\r\n", b"\0" * 50]))
            if ending != "finish":  # what comes behind a broken chunk is not read, and is missed after 10 s
                one.cut()
                self._seen[ending] += 1
                return
            try:
                status = await one.head()
                answer = str(status) if status == 204 else " ".join(map(str, await one.refusal()))
            except (asyncio.IncompleteReadError, ConnectionError):
                answer = "hung up"
            self._seen[answer] += 1
            assert answer in ANSWERS or answer == "hung up", answer

    async def _publish(self) -> None:
        async with publish(self._server, self._stream, self._token) as one:
            with suppress(websockets.ConnectionClosed):
                for piece in self._pieces():
                    await one.send(piece)
                await one.socket.close(self._chance.choice([1000, 1001]))
            code, reason = await one.closed()
            self._seen[f"{code} {reason}"] += 1
            assert code in CLOSES or code == 1001, (code, reason)


async def behave(server: HereServer, until_s: float, seen: Counter[str]) -> None:
    """A page every 20 ms, and a listener who gets each."""
    token = server.token("ada")
    async with server.native(token) as desk:
        await desk.call("stream.create", stream="steady")
    head, pages = audio(250)
    async with publish(server, "steady", token) as ada, listen(server, "steady") as listener:
        await listener.news()
        await ada.news(live=True)
        await ada.send(head)
        sent = 0
        while time.monotonic() < until_s and sent < len(pages):
            await ada.send(pages[sent])
            sent += 1
            await asyncio.sleep(0.02)
        heard = await listener.pages(2 + sent)
        assert payloads(heard[2:]) == payloads(Pages().feed(b"".join(pages[:sent])))
        seen["behaved"] += sent


async def live(seconds: float, chance: random.Random) -> Counter[str]:
    seen = Counter[str]()
    with no_error_logged(), tempfile.TemporaryDirectory() as folder, unfenced():
        async with serving(Path(folder) / "data", limits__ping_interval=0) as server:
            until_s = time.monotonic() + seconds
            before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            async with asyncio.TaskGroup() as group:
                group.create_task(behave(server, until_s, seen))
                for number in range(3):
                    hostile = Hostile(server, number, random.Random(chance.random()), seen)
                    group.create_task(hostile.run(until_s))
            grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
            assert grown_kib < GROWTH_KIB_MAX, f"{grown_kib} KiB more than before"
            streams = server.server.parts.streams
            await until(lambda: not streams.broadcasters and not streams.broadcasts.listeners_in_all)
    return seen


def run(seconds: float, seed: int) -> Counter[str]:
    """What was seen. Raises: AssertionError, or whatever the server raises that it must not."""
    return uvloop.run(live(seconds, random.Random(seed)))


if __name__ == "__main__":
    sys.exit(main(__doc__, lambda seconds, seed: {"live": run(seconds, seed)}))
