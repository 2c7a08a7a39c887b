"""Listening to one stream: its pages over a socket that may be lost, as one Ogg Opus file that goes on.

Waits while the stream is off the air. Writes and plays nothing: `on_air.py` does. What was lost on the way stays a hole
in the time; a broadcast that follows another goes on where that ended.
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

from parley.client.audio import HEADER_BYTES_MAX
from parley.client.close_codes import Timing
from parley.client.connection import State
from parley.client.credentials import Credentials
from parley.client.line import Carrier, Line
from parley.client.stream_socket import SOON, StreamSocket
from parley.dialects.ogg import RATE, Continuous, Kind, NotOggOpus, OpusStream, Page, Pages


class Listening:
    """`write` gets whole pages: headers first. `on_change` is called whenever an attribute below changed."""

    def __init__(
        self,
        ws: str,
        stream: str,
        credentials: Credentials | None,
        write: Callable[[bytes], None],
        *,
        carrier: Carrier = "header",
        timing: Timing = SOON,
        once: bool = False,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`once`: the end of the broadcast is the end of this; one that is not on the air yet is waited for."""
        self.stream = stream
        self.state = State("connecting")
        #: The stream as the server tells it (`live`, `listeners`, `title`), once it has.
        self.described: dict[str, Any] = {}
        self.heard_s = 0.0
        self._once = once
        self._write = write
        self._on_change = on_change
        self._over = asyncio.Event()
        self._pages = Pages()
        self._audio = OpusStream(header_bytes_max=HEADER_BYTES_MAX)
        self._made: Continuous | None = None
        self._head = b""
        self._failed: Exception | None = None
        self._line: Line | None = None
        self._socket = StreamSocket(
            ws,
            stream,
            "listen",
            credentials,
            carrier=carrier,
            timing=timing,
            sound=self._hear,
            on_state=self._enter,
            on_stream=self._describe,
        )

    async def run(self) -> None:
        """Until `finish`, or for `once` the end of the broadcast.

        Raises: SessionRefused (`not_found`, `token_missing`, `revoked`, …), ConnectionLost where no line came up,
        NotOggOpus where the server sends none, OSError where `write` does.
        """
        try:
            await self._socket.run(self._listen)
        finally:
            self._enter(State("ended"))
        if self._failed is not None:
            raise self._failed
        if self._made is not None:
            self._write(self._made.end().data)

    def finish(self) -> None:
        self._over.set()

    async def _listen(self, line: Line) -> None:
        await self._over.wait()

    def _hear(self, line: Line, data: bytes) -> None:
        if line is not self._line:
            # Each line begins anew, with header pages.
            self._line = line
            self._pages = Pages()
            self._audio = OpusStream(header_bytes_max=HEADER_BYTES_MAX)
        try:
            for page in self._pages.feed(data):
                kind = self._audio.take(page)
                if kind is Kind.AUDIO:
                    self._take(page)
                elif kind is Kind.HEADER and self._audio.is_ready:
                    self._begin()
        except (NotOggOpus, OSError) as error:
            self._failed = error
            self._over.set()

    def _begin(self) -> None:
        head = self._audio.headers[0].packets()[0]
        if self._made is not None and head == self._head:
            return
        if self._made is not None:
            self._write(self._made.end().data)
        self._head = head
        self._made = Continuous(secrets.randbits(32))
        self._write(b"".join(page.data for page in self._made.headers(self._audio.headers)))

    def _take(self, page: Page) -> None:
        assert self._made is not None
        self._write(self._made.audio(page, self._audio.page_samples).data)
        self.heard_s += self._audio.page_samples / RATE
        if self._once and page.eos:
            self._over.set()
        self._on_change()

    def _enter(self, state: State) -> None:
        self.state = state
        self._on_change()

    def _describe(self, stream: dict[str, Any]) -> None:
        self.described = stream
        if self._once and self.heard_s and not stream.get("live"):
            self._over.set()
        self._on_change()
