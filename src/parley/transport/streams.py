"""Live audio over HTTP: `PUT /streams/{name}` broadcasts, `GET /streams/{name}` listens.

What cannot be refreshed follows its session, and ends with it; without a session that we keep it ends with its token.
The sockets are `stream_sockets.py`; who may, and what is audio, is decided below.
"""

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from parley.delivery.broadcast import Tuned
from parley.domain.errors import Refusal
from parley.domain.ids import ID_PATTERN
from parley.domain.principal import NOBODY, Principal
from parley.domain.streams import StreamView
from parley.service.ask import called_back
from parley.service.broadcast import Broadcast
from parley.service.streams import Scheduled, Streams
from parley.tokens.bearer import PLAIN, STREAM_AUDIO
from parley.transport import bodies
from parley.transport.frames import chunk
from parley.transport.http import Handlers
from parley.transport.http_protocol import LEND
from parley.transport.node import Node
from parley.transport.tcp import limit_unsent
from parley.transport.timers import LOOK_AGAIN_S

#: Unsent bytes in the transport from which on a listener is passed over: a few seconds of audio.
UNSENT_HIGH_BYTES: Final = 32_768
#: One who takes nothing for this long is not there any more.
STALLED_S: Final = 30.0
#: How often it is asked whether a session that we keep still stands, once the token itself has expired.
FOLLOW_S: Final = 60.0
#: How long the end of an answer may take to get out.
END_S: Final = 5.0
#: When to ask again for a stream that nobody broadcasts.
NOT_LIVE_RETRY_S: Final = 5

_ID: Final = re.compile(ID_PATTERN)
_HEADERS: Final = {"Content-Type": "audio/ogg", "Cache-Control": "no-store", "Accept-Ranges": "none"}


def stream_named(name: str) -> str:
    """The name, where it can be one. Raises: Refusal (`not_found`)."""
    if _ID.match(name) is None:
        raise Refusal("not_found", "There is no stream of this id.")
    return name


class StreamHandlers:
    """The answers; `drain` ends them all."""

    def __init__(self, streams: Streams, node: Node, handlers: Handlers) -> None:
        self._streams = streams
        self._node = node
        self._handlers = handlers
        self._live: dict[_Bare, None] = {}

    async def listen(self, request: Request) -> Response:
        """`GET /streams/{name}`; for HEAD what that would say."""
        stream, node = stream_named(request.path_params["stream"]), self._node
        if node.connections.is_full:
            raise Refusal("overloaded")
        principal = await self._handlers.bearer(request, STREAM_AUDIO, stream=stream)
        view = await _answer(partial(self._streams.may, stream, "listen", principal or NOBODY))
        if not view.live:
            raise Refusal("not_live", retry_after=NOT_LIVE_RETRY_S)
        if request.method == "HEAD" or LEND not in request.scope:
            head = Response(headers=_HEADERS)
            del head.headers["content-length"]  # nobody knows how long it will be, and it is not 0
            return head
        self._handlers.require_still(request, principal)  # from here on a revocation finds it
        return _Hearing(_Listening(node, self._streams, stream, principal, self._live))

    async def broadcast(self, request: Request) -> Response:
        """`PUT /streams/{name}`."""
        stream, node = stream_named(request.path_params["stream"]), self._node
        if node.connections.is_full:
            raise Refusal("overloaded")
        principal = await self._handlers.principal(request, PLAIN)
        sending = _Sending(node, self._streams, stream, principal, self._live)
        try:
            await _answer(sending.broadcast.begin)
            await sending.until_over(request)
        finally:
            sending.leave()
        return Response(status_code=204, headers={"Cache-Control": "no-store"})

    def drain(self) -> None:
        """The server stops: no answer may be waited for."""
        for bare in list(self._live):
            bare.finish(Refusal("unavailable", "The server is stopping.", retry_after=1))


async def _answer(ask: Callable[[Callable[[Any], None]], None]) -> StreamView:
    """What `ask` calls back with. Raises: the Refusal that it is."""
    outcome = await called_back(ask)
    if isinstance(outcome, Refusal):
        raise outcome
    assert isinstance(outcome, StreamView)
    return outcome


class _Bare(ABC):
    """A request that lasts, as one of the node's connections (`connections.Live`): whose it is, and what ends it."""

    dialect = "audio"

    def __init__(
        self,
        node: Node,
        streams: Streams,
        stream: str,
        principal: Principal | None,
        live: dict["_Bare", None],
    ) -> None:
        self._node = node
        self._streams = streams
        self._live = live
        self.stream = stream
        self.principal = principal
        self.begun_at_ms = node.clock_ms()
        self.heard_at_s = node.clock_s()
        #: Why it is over.
        self.over_by: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()
        self._following: Scheduled | None = None
        live[self] = None
        if principal is None:
            node.connections.add_nobody(self)
        else:
            node.connections.add(self, principal)
            self._follow()

    def finish(self, refusal: Refusal | None) -> None:
        """Let it end: None where that is as it should be."""
        if not self.over_by.done():
            self.over_by.set_result(refusal)
            if self.principal is not None:
                self._node.connections.disown(self, self.principal)

    def leave(self) -> None:
        """It is over."""
        self.finish(None)
        self._live.pop(self, None)
        self._node.connections.remove(self)
        if self._following is not None:
            self._following.cancel()
            self._following = None

    def _follow(self) -> None:
        """Look again when the token expires: what hangs on a session that we keep goes on while that stands."""
        principal, node = self.principal, self._node
        if principal is None or self.over_by.done():
            return
        left_s = principal.expires_at_s - node.clock_ms() / 1000
        if left_s > 0:
            self._follow_in(min(left_s, LOOK_AGAIN_S))
        elif not principal.kept:
            self.finish(Refusal("token_expired"))
        else:
            self.ask_rights()
            self._follow_in(FOLLOW_S)

    def _follow_in(self, seconds: float) -> None:
        node = self._node
        # A timer may be early by a hair: never look again at once.
        self._following = node.wheel.schedule(node.clock_s() + max(seconds, 0.001), self._follow)

    @abstractmethod
    def ask_rights(self) -> None:
        """Ask anew whether the bearer may still do this; `finish` where they may not."""

    # --- connections.Live ---

    def replaced(self) -> None:
        self.finish(Refusal("limit_exceeded", "Too many connections of this subject."))

    def revoked(self, reason: str) -> None:
        self.finish(Refusal("token_revoked"))

    def rights_changed(self) -> None:
        self.ask_rights()

    def fence(self) -> None:
        """`Broadcasts` hands nobody anything then."""
        return

    def unfence(self) -> None:
        return


class _Listening(_Bare):
    """One who listens by GET: a `delivery.broadcast.Listener`, and the borrower of its transport."""

    form = staticmethod(chunk)
    write: Callable[[bytes], None]

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.congested = False
        self._tuned: Tuned | None = None
        self._transport: asyncio.Transport | None = None
        self._stalled: Scheduled | None = None

    def begin(self, lend: Callable[[Any], asyncio.Transport]) -> None:
        """The head of the answer is written: chunks may follow."""
        self._transport = transport = lend(self)
        limit_unsent(transport, UNSENT_HIGH_BYTES)
        self.write = transport.write
        self._tuned = self._streams.broadcasts.join(self.stream, self)
        self._streams.tell(self.stream)

    def leave(self) -> None:
        super().leave()
        if self._tuned is not None:
            self._streams.broadcasts.leave(self.stream, self._tuned)
            self._tuned = None
            self._streams.tell(self.stream)
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def over(self) -> None:
        self.finish(None)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def ask_rights(self) -> None:
        def answered(outcome: StreamView | Refusal) -> None:
            if isinstance(outcome, Refusal) and outcome.status in (401, 403, 404):
                self.finish(outcome)

        assert self.principal is not None
        self._streams.may(self.stream, "listen", self.principal, answered, follows=True)

    # --- http_protocol.Borrower ---

    def writing_paused(self) -> None:
        self.congested = True
        if self._tuned is not None:
            self._tuned.regroup()
            node = self._node
            self._stalled = node.wheel.schedule(node.clock_s() + STALLED_S, self.abort)

    def writing_resumed(self) -> None:
        self.congested = False
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        if self._tuned is not None:
            self._tuned.regroup()


class _Hearing(Response):
    """The answer to one who listens: its head, then what is broadcast, until that or the listener is over."""

    def __init__(self, listening: _Listening) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._listening = listening

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        listening = self._listening
        lend = scope.pop(LEND)
        gone = asyncio.ensure_future(bodies.until_gone(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            if not gone.done() and not listening.over_by.done():
                listening.begin(lend)
                await asyncio.wait((gone, listening.over_by), return_when=asyncio.FIRST_COMPLETED)
        finally:
            listening.leave()
            lend(None)
            is_gone = gone.done()
            gone.cancel()
        if not is_gone:
            try:
                async with asyncio.timeout(END_S):
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
            except TimeoutError:
                listening.abort()


class _Sending(_Bare):
    """One who broadcasts by PUT."""

    def __init__(
        self, node: Node, streams: Streams, stream: str, principal: Principal, live: dict[_Bare, None]
    ) -> None:
        super().__init__(node, streams, stream, principal, live)
        self.broadcast = Broadcast(streams, stream, principal, self.finish)

    async def until_over(self, request: Request) -> None:
        """Raises: Refusal, where it is cut; ClientDisconnect, where the connection was."""
        reading = asyncio.ensure_future(self._read(request.receive))
        try:
            await asyncio.wait((reading, self.over_by), return_when=asyncio.FIRST_COMPLETED)
            if self.over_by.done() and (refusal := self.over_by.result()) is not None:
                self.broadcast.cut(refusal)
                raise refusal
            await reading
        except BaseException:
            self.broadcast.lost()
            raise
        finally:
            reading.cancel()

    async def _read(self, receive: Receive) -> None:
        broadcast, clock_s = self.broadcast, self._node.clock_s
        while not self.over_by.done():
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            self.heard_at_s = clock_s()
            broadcast.feed(message.get("body", b""))
            if not message.get("more_body", False):
                if not broadcast.has_begun:
                    broadcast.cut(Refusal("not_ogg_opus", "The body is not Ogg Opus: there is no page in it."))
                broadcast.end()
                return

    def leave(self) -> None:
        super().leave()
        self.broadcast.lost()

    def ask_rights(self) -> None:
        self.broadcast.reconsider()
