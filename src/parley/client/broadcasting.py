"""One broadcast: bytes of a source at their own pace, over a socket that may be lost, until they end or we are cut.

Time passes whether there is a line or not, as it does for those who listen: what is older than a few seconds when the
line comes back is dropped, and they hear a gap. Shows nothing: `on_air.py` does.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, Final

from parley.client.audio import Block, Repaged
from parley.client.close_codes import Timing
from parley.client.connection import State
from parley.client.credentials import Credentials
from parley.client.errors import ConnectionLost, SessionRefused
from parley.client.line import Carrier, Line
from parley.client.sources import Source
from parley.client.stream_socket import SOON, StreamSocket
from parley.dialects.ogg import NotOggOpus

#: How far ahead of its time a page may go out, so that it is there in time.
LEAD_S: Final = 0.3
#: A source that has been silent for so long has not to be caught up with.
LATE_S: Final = 3.0
#: What waits for a line.
KEPT_S: Final = 3.0
#: The server keeps our place for 10 s after it noticed that the line is dead, which may take it as long again.
OWN_PLACE_S: Final = 25.0
#: How long the end of the source waits for a line.
END_S: Final = 10.0


class Broadcast:
    """`on_change` is called whenever one of the attributes below has changed, but for the time on air."""

    def __init__(
        self,
        ws: str,
        stream: str,
        credentials: Credentials,
        source: Source,
        *,
        carrier: Carrier = "header",
        timing: Timing = SOON,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.stream = stream
        self.source = source
        self.state = State("connecting")
        #: The stream as the server tells it (`listeners`, `title`), once it has.
        self.described: dict[str, Any] = {}
        #: Seconds of the source that were sent, and that no line took.
        self.sent_s = 0.0
        self.dropped_s = 0.0
        #: Where the source is, in its own time.
        self.position_s = 0.0
        #: The loop's time when the first page went out.
        self.since_s: float | None = None
        self._on_change = on_change
        self._level_db: float | None = None
        self._blocks: deque[Block] = deque()
        self._came = asyncio.Event()
        self._finished = asyncio.Event()
        self._last_page = b""
        self._socket = StreamSocket(
            ws,
            stream,
            "publish",
            credentials,
            carrier=carrier,
            timing=timing,
            on_state=self._enter,
            on_stream=self._describe,
            is_over=self._is_over,
            wanted=self._wanted,
        )

    async def run(self) -> None:
        """Until the source ends.

        Raises: SessionRefused (`already_live`, `stopped`, `revoked`, `not_ogg_opus`, …), ConnectionLost where no line
        came up at all or none for the end, NotOggOpus, SourceFailed.
        """
        filling = asyncio.create_task(self._fill())
        sending = asyncio.create_task(self._socket.run(self._send))
        finished = asyncio.create_task(self._finished.wait())
        try:
            await asyncio.wait({filling, sending, finished}, return_when=asyncio.FIRST_COMPLETED)
            if filling.done():
                filling.result()
            if self._finished.is_set():
                async with asyncio.timeout(END_S):
                    await sending
            await sending
        except TimeoutError:
            raise ConnectionLost("no line came for the end of the broadcast") from None
        finally:
            for task in (filling, sending, finished):
                task.cancel()
            await asyncio.gather(filling, sending, finished, return_exceptions=True)
            self._enter(State("ended"))

    @property
    def level_db(self) -> float | None:
        """How loud it is now, in dB below the loudest possible; None where nobody knows."""
        level = self.source.level_db(self.position_s)
        if level is not None:
            self._level_db = level
        return self._level_db

    def finish(self) -> None:
        """Send what waits, say that it was the last, and be done."""
        self._finished.set()
        self._came.set()

    # --- from the source, at its pace ---

    async def _fill(self) -> None:
        loop = asyncio.get_running_loop()
        audio = Repaged(secrets.randbits(32))
        begun_s: float | None = None
        async with aclosing(self.source.pieces()) as pieces:
            async for piece in pieces:
                for block in audio.feed(piece):
                    now_s = loop.time()
                    if begun_s is None or now_s > begun_s + block.at_s + LATE_S:
                        begun_s = now_s - block.at_s
                    due_s = begun_s + block.at_s - LEAD_S
                    if now_s < due_s:
                        await asyncio.sleep(due_s - now_s)
                    self._put(block)
                    self._last_page = audio.last_page()
                if self._finished.is_set():
                    return
        if not audio.has_begun:
            raise NotOggOpus("there is no Ogg Opus in it")
        for block in audio.flush():
            self._put(block)
        self._last_page = audio.last_page()
        self.finish()

    def _put(self, block: Block) -> None:
        self._blocks.append(block)
        self.position_s = block.at_s
        while block.at_s - self._blocks[0].at_s > KEPT_S:
            self.dropped_s += self._blocks.popleft().length_s
        self._came.set()

    # --- to the server ---

    async def _send(self, line: Line) -> None:
        told: tuple[bytes, ...] | None = None
        while True:
            while self._blocks:
                # It stays where it is until it is gone: a line that ends meanwhile leaves it to the next one.
                block = self._blocks[0]
                if block.headers is not told:
                    if told is not None and block.closing:
                        await line.send(block.closing)
                    for page in block.headers:
                        await line.send(page)
                    told = block.headers
                await line.send(block.data)
                if self._blocks and self._blocks[0] is block:
                    self._blocks.popleft()
                self.sent_s += block.length_s
                if self.since_s is None:
                    self.since_s = asyncio.get_running_loop().time()
                    self._on_change()
            if self._finished.is_set():
                if told is not None:
                    await line.send(self._last_page)
                return
            self._came.clear()
            await self._came.wait()

    # --- what becomes of it ---

    async def _wanted(self) -> None:
        """A line that brings nothing would be cut as stalled."""
        while not self._blocks and not self._finished.is_set():
            self._came.clear()
            await self._came.wait()

    def _is_over(self, end: ConnectionLost | SessionRefused, was_up: bool) -> bool:
        if not isinstance(end, SessionRefused) or end.close_code != 4409:
            return False
        # Our own dead line may hold the place still; whoever else holds it will not give it up.
        lost_at_s = self._socket.lost_at_s
        if end.code != "already_live" or not was_up or lost_at_s is None:
            return True
        return asyncio.get_running_loop().time() > lost_at_s + OWN_PLACE_S

    def _enter(self, state: State) -> None:
        self.state = state
        self._on_change()

    def _describe(self, stream: dict[str, Any]) -> None:
        self.described = stream
        self._on_change()
