"""One socket's life: what comes from it, what it is told, what it may be handed now, and how it ends.

Joins a socket, a dialect and the door. How its bearer is found is `first_message`'s, how they change `bearer`'s; what
requests mean is `command_socket`'s, `graphql_socket`'s and `stream_sockets`'. Knows no frames (`websocket`), no JSON
(`dialects`), no rooms (`delivery`) and no store.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

from parley.delivery.outbox import Outbox
from parley.delivery.readers import Subscription
from parley.dialects.dialect import Ended, Request
from parley.domain.errors import Refusal
from parley.domain.ids import is_reserved
from parley.domain.principal import ROLES, Principal
from parley.tokens.bearer import Credential
from parley.transport.bearer import Bearer
from parley.transport.first_message import FirstMessage, turn_away
from parley.transport.frames import frame_text
from parley.transport.keepalive import Keepalive
from parley.transport.node import Node
from parley.transport.sockets import Socket
from parley.transport.timers import Timer
from parley.transport.wires import Wire

#: Unsent bytes in the transport from which on frames wait in the outbox instead.
CONGESTED_BYTES: Final = 65_536
#: Commands under way for one connection; with more, or with more bytes of large ones, no more is read from it.
UNDER_WAY_MAX: Final = 512
LARGE_BYTES: Final = 4096
LARGE_UNDER_WAY_BYTES_MAX: Final = 1_048_576
#: Results that wait behind a fence, from which on no command begins.
WITHHELD_MAX: Final = 8
#: How long to wait before what was missed is read again, where the store is away.
STRANDED_S: Final = 1.0

# Close codes after which a client must not come back by itself (CONTRACT, "Close codes").
_FINAL: Final = frozenset({4400, 4403, 4409})
# Those who end with these may not read any more: what is pending for them is taken back.
_NO_LONGER_READS: Final = frozenset({4401, 4403})


class Connection(ABC):
    """A `sockets.Receiver`, and one of `Connections` once its bearer is known.

    Made with the principal that the handshake found, and its `credential`, or with none: then the first message must
    authenticate. A dialect with a greeting of its own (`Wire`) waits for that in any case.

    `is_held`, `is_fenced`, `unsure`: why it may be handed no event now. Its bearer's token has expired; this node does
    not know what was revoked; so many changes of their rights are being asked about.
    """

    __slots__ = (
        "_bearer",
        "_behind",
        "_first",
        "_id",
        "_keepalive",
        "_large_bytes",
        "_lifetime",
        "_ordering",
        "_paused",
        "_said_at_s",
        "_subscriptions",
        "_withheld",
        "address",
        "begun_at_ms",
        "codec",
        "credential",
        "encoder",
        "is_closing",
        "is_fenced",
        "is_held",
        "node",
        "outbox",
        "principal",
        "unsure",
        "wire",
        "write",
        "ws",
    )

    outbox: Outbox
    write: Callable[[bytes], None]

    def __init__(
        self, node: Node, wire: Wire, address: str, principal: Principal | None, credential: Credential | None = None
    ) -> None:
        self.node = node
        self.wire = wire
        self.codec = wire.codec()
        self.encoder = wire.encoder
        self.address = address
        self.principal = principal
        self.credential = credential
        self.ws: Socket | None = None
        self.begun_at_ms = 0
        self.is_closing = False
        self.is_held = False
        self.is_fenced = False
        self.unsure = 0
        self._id: str | None = None
        self._first: FirstMessage | None = None
        self._bearer = Bearer(self)
        self._behind: list[Request] | None = None  # what came behind a renewal that is under way
        self._keepalive: Keepalive | None = None
        self._lifetime: Timer | None = None
        self._subscriptions: dict[str, Subscription] = {}
        self._ordering = node.door.ordering()
        self._paused = False
        self._withheld: list[tuple[Request, Any]] | None = None  # results, while it is fenced
        self._large_bytes = 0  # of messages, since nothing large was under way
        self._said_at_s = 0.0

    # --- what others ask of it ---

    @property
    def subject(self) -> str:
        return self.principal.subject if self.principal else ""

    @property
    def name(self) -> str:
        return self.principal.name if self.principal else ""

    @property
    def is_admin(self) -> bool:
        return self.principal is not None and "admin" in self.principal.roles

    @property
    def id(self) -> str:
        if self._id is None:
            self._id = self.node.new_id()
        return self._id

    @property
    def dialect(self) -> str:
        return self.codec.name

    @property
    def heard_at_s(self) -> float:
        return self.ws.last_heard_s if self.ws is not None else 0.0

    def told_at_s(self) -> float:
        """When it was last told anything, by itself or by a room, on the loop's clock."""
        heard = [self.node.hub.flushed_at_s(subscription) for subscription in self._subscriptions.values()]
        return max(self._said_at_s, *heard) if heard else self._said_at_s

    @property
    def reads(self) -> bool:
        """Whether events may be handed to it now."""
        return not (self.is_closing or self.is_held or self.is_fenced or self.unsure)

    # --- the socket's life (sockets.Receiver) ---

    def opened(self, ws: Socket) -> None:
        self.ws = ws
        ws.set_unsent_high_bytes(CONGESTED_BYTES)
        self.write = ws.write
        self.outbox = Outbox(ws, self.node.turn, self.node.slow_consumer_bytes, self._too_slow)
        self._introduce()

    def _introduce(self) -> None:
        """The socket is there: begin, or wait for the first message."""
        principal = self.principal
        if principal is not None:
            self.node.connections.add(self, principal)
            if self.wire.credential_in is None:
                self.begin(principal)
                return
        self._first = FirstMessage(self)

    def begin(self, principal: Principal | None) -> None:
        """The bearer is known (or none is needed), and one of `Connections`: act for them from now on."""
        node = self.node
        self._first = None
        self.begun_at_ms = node.clock_ms()
        self.is_fenced = node.connections.is_fenced
        now_s = node.clock_s()
        self._said_at_s = now_s
        if self.wire.keeps_alive:
            self._keepalive = Keepalive(self, now_s)
        if node.timing.lifetime_s:
            self._lifetime = node.wheel.schedule(now_s + node.timing.lifetime_s, self._grown_old)
        self._bearer.watch()

    def text(self, data: bytes) -> None:
        node = self.node
        if node.clock_s() >= node.wheel.next_deadline_s:
            # A process that was paused wakes up to its sockets before its timers: what is due takes effect first.
            node.wheel.run_due(node.clock_s())
        if self.is_closing:
            return
        first = self._first
        try:
            if first is not None:
                first.take(self.text, self.codec.receive, data)
                return
            self._take(self.codec.receive(data))
        except Ended as ended:
            self._broken(ended)
            return
        waiting = self._ordering.under_way if self._behind is None else len(self._behind)
        if self._withheld is not None:
            waiting += len(self._withheld)
        if waiting <= 1:
            self._large_bytes = 0
        if len(data) > LARGE_BYTES:
            self._large_bytes += len(data)
        is_much = waiting > UNDER_WAY_MAX or (waiting > 1 and self._large_bytes > LARGE_UNDER_WAY_BYTES_MAX)
        if is_much and not self._paused and self.ws is not None:
            self._paused = True
            self.ws.pause_reading()

    def binary(self, data: bytes) -> None:
        if self.is_closing:
            return
        first = self._first
        try:
            if first is not None:
                first.take(self.binary, self.codec.receive_binary, data)
                return
            self._take(self.codec.receive_binary(data))
        except Ended as ended:
            self._broken(ended)

    def _take(self, requests: list[Request]) -> None:
        for request in requests:
            if self.is_closing:
                return
            if self._behind is not None:
                self._behind.append(request)
                continue
            # Asked for each: one before it in a batch may have been a renewal.
            principal = self.principal
            assert principal is not None
            self._handle(request, principal)

    def wait_for_renewal(self) -> None:
        """Commands take effect in the order sent: what comes behind a renewal is for whoever it makes of the bearer."""
        self._behind = []

    def renewal_over(self) -> None:
        behind, self._behind = self._behind, None
        if not behind or self.is_closing:
            return
        try:
            self._take(behind)
        except Ended as ended:
            self._broken(ended)
        self._read_on()

    def _broken(self, ended: Ended) -> None:
        if self._first is None or self.wire.credential_in is not None:
            self.close(ended.code, ended.reason)
        else:
            turn_away(self, None, Refusal("token_missing"))

    def writing_paused(self) -> None:
        self.outbox.congested = True
        if self.ws is None or not self.ws.is_polled:
            self._ordering.hold()
        for subscription in self._subscriptions.values():
            subscription.regroup()

    def writing_resumed(self) -> None:
        for subscription in self._subscriptions.values():
            subscription.regroup()
        self.outbox.drained()
        self._begin_more()

    def _begin_more(self) -> None:
        # One who polls drains by bits: what was handed over for the last polls comes first.
        if not self.outbox.congested and self.ws is not None and self.ws.unpolled_bytes <= CONGESTED_BYTES:
            self._ordering.release()

    def rewired(self) -> None:
        """The socket has another `write`; it says that it drains, next."""
        if self.ws is not None:
            self.write = self.ws.write

    def drain(self) -> None:
        self.close(1012, "restarting")

    def lost(self) -> None:
        self.leave()
        self.node.connections.remove(self)
        for waiting in (self._first, self._keepalive, self._bearer):
            if waiting is not None:
                waiting.stop()
        if self._lifetime is not None:
            self._lifetime.cancel()
            self._lifetime = None

    # --- its bearer ---

    def rights_changed(self) -> None:
        self._bearer.rights_changed()

    def became(self, before: Principal) -> None:
        """It acts as its new `principal` from now on, and as `before` no longer."""
        principal = self.principal
        assert principal is not None
        if principal.roles == before.roles and principal.grants == before.grants:
            return
        roles = [role for role in ROLES if role in principal.roles]
        self.notice("session.changed", {"roles": roles})
        for subscription in list(self._subscriptions.values()):
            granted = principal.grants is None or principal.grants.allows("read", f"room:{subscription.room}")
            self.node.hub.reconsider(subscription, granted=granted)
        if self.reads and any(is_reserved(one.room) for one in self._subscriptions.values()):
            # Who reads a room of the server's own kind is a matter of roles that the hub does not know: each read asks.
            self.hand_over_nothing()
            self.go_on()

    # --- what it may be handed now ---

    def hand_over_nothing(self) -> None:
        for subscription in self._subscriptions.values():
            self.node.hub.hold(subscription)
        self.outbox.withhold()

    def fence(self) -> None:
        """This node does not know what was revoked: hand over nothing until it has read again."""
        self.is_fenced = True
        self.hand_over_nothing()

    def unfence(self) -> None:
        if self.is_fenced:
            self.is_fenced = False
            withheld, self._withheld = self._withheld, None
            if withheld:
                for request, result in withheld:
                    self.answered(request, result)
                self._begin_more()
            self.go_on()

    def go_on(self) -> None:
        """One reason to hand over nothing is gone: where it was the last, read on from what was told."""
        for subscription in list(self._subscriptions.values()):
            self._follow(subscription)

    def _follow(self, subscription: Subscription) -> None:
        principal = self.principal
        if principal is not None and self.reads and not subscription.is_live and not subscription.is_awaited:
            self.node.door.follow(subscription, principal, lambda: self.reads)

    def stranded(self, subscription: Subscription) -> None:
        """What it missed cannot be read now: try again shortly, for as long as it lives."""
        node = self.node
        node.wheel.schedule(node.clock_s() + STRANDED_S, functools.partial(self._follow, subscription))

    # --- what it asks ---

    @abstractmethod
    def _handle(self, request: Request, principal: Principal) -> None:
        """Carry out one request, of those that come once it has begun; what it comes to is for `answered`."""

    def answered(self, request: Request, result: Any) -> None:
        """What it asked for has come to this: a result as the wire has it, or a Refusal."""
        if self.is_closing:
            return
        if self.is_fenced and not isinstance(result, Refusal) and _is_of_the_store(request):
            self._withheld = self._withheld or []
            self._withheld.append((request, result))
            if len(self._withheld) >= WITHHELD_MAX:
                self._ordering.hold()
            return
        self._answer(request, result)
        self._read_on()

    def _answer(self, request: Request, result: Any) -> None:
        codec = self.codec
        self.put(codec.refused(request, result) if isinstance(result, Refusal) else codec.result(request, result))

    def _read_on(self) -> None:
        if self._paused and not self._behind and self.ws is not None:
            # The one that is being answered is under way still.
            few = 1 if self._large_bytes > LARGE_UNDER_WAY_BYTES_MAX else UNDER_WAY_MAX // 2
            if self._ordering.under_way <= few:
                self._paused = False
                self.ws.resume_reading()

    # --- what it is told ---

    def notice(self, name: str, body: dict[str, Any]) -> None:
        if not self.is_closing:
            self.put(self.codec.notice(name, body))

    def put(self, message: bytes | None) -> None:
        """Hand over one message of its codec's, behind what waits; None is nothing."""
        if message is not None and self.ws is not None and not self.is_closing:
            self._said_at_s = self.node.clock_s()
            outbox = self.outbox
            outbox.put_answer(frame_text(message))
            if outbox.congested and outbox.waiting_bytes > CONGESTED_BYTES:
                self._ordering.hold()  # one that is polled and does not ask

    # --- how it ends ---

    def close(self, code: int, reason: str) -> None:
        """Say why, then close. `code` and `reason` are the native column of CONTRACT, "Close codes"."""
        if self.is_closing:
            return
        if self.principal is not None and (code in (1012, 1013) or code >= 4400):
            body = {"code": code, "reason": reason, "reconnect": code not in _FINAL}
            self.notice("session.closing", body)
            self.put(self.codec.goodbye(code))
        self.end(code, reason)

    def revoked(self, reason: str) -> None:
        """Its token, session, subject or conversation was revoked."""
        self.close(4403, reason)

    def replaced(self) -> None:
        self.close(4409, "replaced")

    def _grown_old(self) -> None:
        self.close(1012, "lifetime")

    def _too_slow(self) -> None:
        self.end(4420, "slow_consumer")

    def end(self, code: int, reason: str, said: tuple[int, str] | None = None) -> None:
        """Close without a word, once what waits is written.

        `said` is what the socket is closed with, where that is not the dialect's word for `code` and `reason`.
        """
        if self.is_closing or self.ws is None:
            return
        if code in _NO_LONGER_READS:
            self.hand_over_nothing()
        self.leave()
        self.node.closed[code] += 1
        if self.ws.is_polled:
            self.outbox.congested = False  # what is left waits for the last poll
        self.outbox.flush()
        self.outbox.discard()  # what the socket does not take now must not come behind its CLOSE (RFC 6455 §5.5.1)
        self.ws.close(*(said or self.wire.closed_with(code, reason)))

    def leave(self) -> None:
        """Read and be told nothing more. What the rooms have pending for it is written first."""
        if self.principal is not None and not self.is_closing:
            self.node.connections.disown(self, self.principal)
        self.is_closing = True
        self._ordering.abandon()
        subscriptions, self._subscriptions = self._subscriptions, {}
        for subscription in subscriptions.values():
            self.node.hub.unsubscribe(subscription)


def _is_of_the_store(request: Request) -> bool:
    """Whether a result tells more than the connection knows of itself."""
    return request.row is not None and request.row.kind != "connection"
