"""Live audio on sockets: `/streams/{name}/publish` and `/streams/{name}/listen`, spoken as `parley.stream.v1`.

Text messages are the native dialect's, so that a token is shown, renewed, held and ended as on `/ws`; binary messages
are whole Ogg pages. A public stream's listener may be nobody.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, Literal

from parley.delivery.broadcast import Tuned
from parley.dialects.dialect import Ended
from parley.domain import sessions
from parley.domain.errors import Refusal
from parley.domain.principal import NOBODY, OPERATOR, Principal
from parley.domain.streams import StreamView
from parley.service.broadcast import Broadcast
from parley.service.streams import Streams
from parley.tokens.bearer import STREAM_LISTEN_SOCKET, STREAM_SOCKET, Credential
from parley.transport.command_socket import CommandConnection
from parley.transport.first_message import refuse_token
from parley.transport.frames import frame_binary
from parley.transport.handshake import Place
from parley.transport.node import Node
from parley.transport.sockets import Socket
from parley.transport.streams import UNSENT_HIGH_BYTES, stream_named
from parley.transport.websocket import WebSocket
from parley.transport.wires import Wire

#: Binary messages kept while the lease is being asked for; nothing more is read meanwhile.
EARLY_MAX: Final = 64
#: How a broadcast's refusal closes its socket (CONTRACT 2); another refusal is what the broadcaster may not.
_CLOSED_WITH: Final = {
    "already_live": 4409,
    "not_ogg_opus": 4400,
    "rate_limited": 4429,
    "stalled": 4408,
    "unavailable": 1013,
    "overloaded": 1013,
}
#: Of these the broadcaster does not come back: its place is free at once.
_ENDS_THE_BROADCAST: Final = frozenset({4403})


class StreamSockets:
    """Finds the place of an upgrade under `/streams/`."""

    def __init__(self, streams: Streams, wire: Wire, carriers: frozenset[str]) -> None:
        self._streams = streams
        self._wire = wire
        self._waits = "message" in carriers

    def takes(self, path: str) -> bool:
        """Whether a path is that of a stream's socket, whatever stream it names."""
        parts = path.split("/")
        return len(parts) == 4 and parts[1] == "streams" and parts[3] in ("listen", "publish")

    def place(self, path: str) -> Place | None:
        if not self.takes(path):
            return None
        parts = path.split("/")
        try:
            stream = stream_named(parts[2])
        except Refusal:
            return None
        if parts[3] == "listen":
            return Place(STREAM_LISTEN_SOCKET, self._wire, ready=partial(self._ready, stream, "listen"))
        return Place(STREAM_SOCKET, self._wire, ready=partial(self._ready, stream, "publish"))

    def _ready(
        self,
        stream: str,
        action: Literal["listen", "publish"],
        principal: Principal | None,
        ready: Callable[[Callable[..., CommandConnection] | Refusal], None],
    ) -> None:
        streams = self._streams
        listens = action == "listen"

        def answered(outcome: StreamView | Refusal) -> None:
            is_open = isinstance(outcome, StreamView)
            if isinstance(outcome, Refusal):
                waits = outcome.code == "token_missing" and self._waits
                if not waits and outcome.code != "forbidden":  # that is said on the socket, where a page can read it
                    ready(outcome)
                    return
            kind: type[_OnStream] = Listening if listens else Publishing
            ready(partial(kind, streams=streams, stream=stream, is_open=is_open and listens))

        # Whoever will show a token yet is told now whether there is such a stream.
        nobody = NOBODY if listens else OPERATOR
        streams.may(stream, action if principal or listens else "listen", principal or nobody, answered)


class _OnStream(CommandConnection):
    """What both have: the stream, and the news of it. A `service.streams.Watcher`."""

    __slots__ = ("_is_open", "_stream", "_streams", "_watches")

    def __init__(
        self,
        node: Node,
        wire: Wire,
        address: str,
        principal: Principal | None,
        credential: Credential | None = None,
        *,
        streams: Streams,
        stream: str,
        is_open: bool,
    ) -> None:
        super().__init__(node, wire, address, principal, credential)
        self._streams = streams
        self._stream = stream
        self._is_open = is_open
        self._watches = False

    @property
    def dialect(self) -> str:
        return "stream"

    def _watch(self, view: StreamView) -> None:
        self._watches = True
        self._streams.watch(self._stream, self)
        self.stream_changed(self._streams.news_frame(view))

    def stream_changed(self, frame: bytes) -> None:
        if self.reads:
            self._said_at_s = self.node.clock_s()
            self.outbox.put(frame)

    def go_on(self) -> None:
        super().go_on()
        if self._watches and self.reads:
            self._streams.tell(self._stream)  # what was told meanwhile did not reach it

    def stream_deleted(self) -> None:
        """The broadcast, if this is one, is cut by its fence."""

    def leave(self) -> None:
        super().leave()
        if self._watches:
            self._watches = False
            self._streams.unwatch(self._stream, self)


class Listening(_OnStream):
    """A listener: a `delivery.broadcast.Listener`."""

    __slots__ = ("_tuned",)

    form = staticmethod(frame_binary)

    def __init__(self, *parts: Any, **more: Any) -> None:
        super().__init__(*parts, **more)
        self._tuned: Tuned | None = None

    @property
    def congested(self) -> bool:
        return self.outbox.congested

    def stream_deleted(self) -> None:
        # Told twice, by the bus and by the poll: there may be another stream of this id by then.
        self._ask()

    def over(self) -> None:
        """The socket outlives the broadcast, and gets the next."""

    def opened(self, ws: Socket) -> None:
        super().opened(ws)
        assert isinstance(ws, WebSocket)
        ws.limit_unsent(UNSENT_HIGH_BYTES)

    def _introduce(self) -> None:
        if self.principal is None and self._is_open:
            self.node.connections.add_nobody(self)
            self.begin(None)
        else:
            super()._introduce()

    def begin(self, principal: Principal | None) -> None:
        super().begin(principal)
        self._ask()

    def _ask(self) -> None:
        """Listen, or go on listening, where that is allowed now."""

        def answered(outcome: StreamView | Refusal) -> None:
            if self.is_closing:
                return
            if isinstance(outcome, Refusal):
                if outcome.status in (401, 403, 404):
                    self.close(4403, "stopped" if outcome.code == "not_found" else "forbidden")
                else:
                    self.close(1013, "overloaded")
            elif self._tuned is None:
                self._watch(outcome)
                self.outbox.flush()
                self._tuned = self._streams.broadcasts.join(self._stream, self, is_muted=not self.reads)
                self._streams.tell(self._stream)

        self._streams.may(self._stream, "listen", self.principal or NOBODY, answered)

    def text(self, data: bytes) -> None:
        if self.principal is None and self._first is None and not self.is_closing:
            self._ask_as_nobody(data)
        else:
            super().text(data)

    def _ask_as_nobody(self, data: bytes) -> None:
        """Who needs no token may still show one, and can do nothing else."""
        try:
            requests = self.codec.receive(data)
        except Ended as ended:
            self.end(ended.code, ended.reason)
            return
        for request in requests:
            if not isinstance(request.params, sessions.Authenticate):
                self.put(self.codec.refused(request, request.refusal or Refusal("token_missing")))
                continue

            def admitted(outcome: Principal | BaseException, request: Any = request) -> None:
                if self.is_closing:
                    return
                if not isinstance(outcome, Principal):
                    refusal = outcome if isinstance(outcome, Refusal) else Refusal("unavailable")
                    refuse_token(self, request, refusal)
                elif self.principal is not None:
                    self.put(self.codec.refused(request, Refusal("conflict")))
                else:
                    node = self.node
                    self.principal = outcome
                    node.connections.add(self, outcome)
                    self.answered(request, sessions.describe(outcome, self.id, node.clock_ms()))
                    self._bearer.watch()

            self.node.admission.admit_token(request.params.token, admitted)

    def binary(self, data: bytes) -> None:
        if self.principal is None and self._first is None:
            self.end(1003, "text messages only")
        else:
            super().binary(data)

    def writing_paused(self) -> None:
        super().writing_paused()
        if self._tuned is not None:
            self._tuned.regroup()

    def writing_resumed(self) -> None:
        super().writing_resumed()
        if self._tuned is not None:
            self._tuned.regroup()

    def hand_over_nothing(self) -> None:
        super().hand_over_nothing()
        if self._tuned is not None:
            self._tuned.mute()

    def go_on(self) -> None:
        super().go_on()
        if self._tuned is not None and self.reads:
            self._tuned.unmute()

    def became(self, before: Principal) -> None:
        super().became(before)
        self._ask()

    def leave(self) -> None:
        super().leave()
        if self._tuned is not None:
            self._streams.broadcasts.leave(self._stream, self._tuned)
            self._tuned = None
            self._streams.tell(self._stream)


class Publishing(_OnStream):
    """A broadcaster."""

    __slots__ = ("_broadcast", "_early_pages", "_is_on_air")

    def __init__(self, *parts: Any, **more: Any) -> None:
        super().__init__(*parts, **more)
        self._broadcast: Broadcast | None = None
        self._is_on_air = False
        self._early_pages: list[bytes] = []

    def begin(self, principal: Principal | None) -> None:
        super().begin(principal)
        assert principal is not None
        assert self.ws is not None
        self.ws.pause_reading()
        self._broadcast = Broadcast(self._streams, self._stream, principal, self._cut)
        self._broadcast.begin(self._begun_on_air)

    def _begun_on_air(self, outcome: StreamView | Refusal) -> None:
        if self.is_closing or self.ws is None or self._broadcast is None:
            return
        if isinstance(outcome, Refusal):
            self._cut(outcome)
            return
        self._is_on_air = True
        self._watch(outcome)
        self.ws.resume_reading()
        early, self._early_pages = self._early_pages, []
        for data in early:
            self._broadcast.feed(data)

    def binary(self, data: bytes) -> None:
        node = self.node
        if node.clock_s() >= node.wheel.next_deadline_s:
            node.wheel.run_due(node.clock_s())
        broadcast = self._broadcast
        if self.is_closing:
            return
        if broadcast is None:
            super().binary(data)
        elif self._is_on_air:
            broadcast.feed(data)
        elif len(self._early_pages) < EARLY_MAX:
            self._early_pages.append(data)

    def _cut(self, refusal: Refusal) -> None:
        code = _CLOSED_WITH.get(refusal.code, 4403)
        if code == 1013:
            self.close(code, "overloaded")
        elif code != 4403:
            self.close(code, refusal.code)
        else:
            reason = {"token_revoked": "revoked", "stopped": "stopped"}.get(refusal.code, "forbidden")
            self.close(code, reason)

    def hand_over_nothing(self) -> None:
        super().hand_over_nothing()
        if self._broadcast is not None:
            self._broadcast.is_held = self.is_held

    def go_on(self) -> None:
        super().go_on()
        if self._broadcast is not None:
            self._broadcast.is_held = self.is_held

    def became(self, before: Principal) -> None:
        super().became(before)
        if self._broadcast is not None and self.principal is not None:
            self._broadcast.principal = self.principal
            self._broadcast.reconsider()

    def end(self, code: int, reason: str, said: tuple[int, str] | None = None) -> None:
        if self._broadcast is not None and not self.is_closing:
            if code in _ENDS_THE_BROADCAST:
                self._broadcast.end()
            else:
                self._broadcast.lost()
        super().end(code, reason, said)

    def lost(self) -> None:
        ended_well = isinstance(self.ws, WebSocket) and self.ws.peer_closed_code == 1000
        super().lost()
        if self._broadcast is not None:
            if ended_well:
                self._broadcast.end()
            else:
                self._broadcast.lost()
