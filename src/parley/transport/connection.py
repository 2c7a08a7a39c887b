"""One socket's life: who stands behind it, what it asked, what it is told, and how it ends.

Joins a socket, a dialect and the door. Its principal may change while it lives; every decision asks the present one.
Knows no frames (`websocket`), no JSON (`dialects`), no rooms (`delivery`) and no store.
"""

import functools
import logging
from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final

from parley.delivery.hub import Hub
from parley.delivery.outbox import Outbox, Turn
from parley.delivery.readers import Subscription
from parley.dialects.dialect import Ended, Request
from parley.domain import presence, replay, sessions
from parley.domain.errors import Refusal
from parley.domain.ids import is_reserved, rfc3339
from parley.domain.principal import ROLES, Principal
from parley.service.admission import Admission, refusal_of
from parley.service.door import Door
from parley.service.limits import Buckets
from parley.service.refusals import Refusals
from parley.tokens import TokenRefused
from parley.tokens.bearer import Credential
from parley.transport.connections import Connections
from parley.transport.frames import frame_ping, frame_text
from parley.transport.timers import Timer, Wheel
from parley.transport.wires import Socket, Wire

log = logging.getLogger(__name__)

#: A silent connection is told so this often, whatever PING_INTERVAL is: pages cannot see RFC 6455 pings.
QUIET_S: Final = 25.0
#: Unsent bytes in the transport from which on frames wait in the outbox instead.
CONGESTED_BYTES: Final = 65_536
#: Commands under way for one connection; with more, no more is read from it.
UNDER_WAY_MAX: Final = 512
FIRST_MESSAGE_BYTES_MAX: Final = 16_384
#: Where the time to authenticate is off: nobody waits for longer, and one who waits is counted as pending.
OFF_S: Final = 86_400.0
#: How long to wait before what was missed is read again, where the store is away.
STRANDED_S: Final = 1.0
#: Messages kept while the first one's token is being looked up.
EARLY_MAX: Final = 64

# Close codes after which a client must not come back by itself (CONTRACT, "Close codes").
_FINAL: Final = frozenset({4400, 4403, 4409})
# Those who end with these may not read any more: what is pending for them is taken back.
_NO_LONGER_READS: Final = frozenset({4401, 4403})
_PING: Final = frame_ping()


@dataclass(slots=True)
class Timing:
    """Seconds; 0 is off for `ping_interval_s`, `lifetime_s` and `authentication_s`.

    `margin_s` before its token expires a connection is warned; for `grace_s` after it, it is held.
    """

    ping_interval_s: float = 25
    ping_timeout_s: float = 20
    lifetime_s: float = 86_400
    authentication_s: float = 5
    margin_s: float = 30
    grace_s: float = 25


@dataclass(slots=True)
class Node:
    """What all connections of a node share. `clock_s` is the loop's, `clock_ms` gives Unix milliseconds."""

    door: Door
    hub: Hub
    turn: Turn
    admission: Admission
    connections: Connections
    wheel: Wheel
    clock_s: Callable[[], float]
    clock_ms: Callable[[], int]
    new_id: Callable[[], str]
    bad_tokens: Buckets
    refusals: Refusals
    carriers: Collection[str]
    timing: Timing = field(default_factory=Timing)
    slow_consumer_bytes: int = 1_048_576
    subscriptions_max: int = 100
    #: close code -> how often; read by the metrics.
    closed: Counter[int] = field(default_factory=Counter)


class Connection:
    """A `websocket.Receiver` and a `hub.Reader`.

    Made with the principal that the handshake found, and its `credential`, or with none: then the first message must
    authenticate. A dialect with a greeting of its own (`Wire`) waits for that in any case.
    """

    __slots__ = (
        "_address",
        "_begun",
        "_closing",
        "_credential",
        "_dialect",
        "_early",
        "_expiry",
        "_fenced",
        "_held",
        "_id",
        "_keepalive",
        "_lifetime",
        "_node",
        "_ordering",
        "_paused",
        "_quiet",
        "_said_at_s",
        "_subscriptions",
        "_unsure",
        "_waiting",
        "_warned",
        "_wire",
        "_ws",
        "begun_at_ms",
        "encoder",
        "outbox",
        "principal",
        "write",
    )

    outbox: Outbox
    write: Callable[[bytes], None]

    def __init__(
        self,
        node: Node,
        wire: Wire,
        address: str,
        principal: Principal | None,
        credential: Credential | None = None,
    ) -> None:
        self._node = node
        self._wire = wire
        self._dialect = wire.codec()
        self.encoder = wire.encoder
        self._address = address
        self.principal = principal
        self._credential = credential
        self._begun = False
        self._id: str | None = None
        self._ws: Socket | None = None
        self._subscriptions: dict[str, Subscription] = {}
        self._ordering = node.door.ordering()
        self._closing = False
        self._waiting: Timer | None = None
        self._early: deque[tuple[Callable[[bytes], None], bytes]] | None = None
        self._keepalive: Timer | None = None
        self._quiet: Timer | None = None
        self._lifetime: Timer | None = None
        self._expiry: Timer | None = None
        self._held = False
        self._warned = False
        self._fenced = False
        self._unsure = 0
        self.begun_at_ms = 0
        self._said_at_s = 0.0
        self._paused = False

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
            self._id = self._node.new_id()
        return self._id

    @property
    def dialect(self) -> str:
        return self._dialect.name

    @property
    def heard_at_s(self) -> float:
        return self._ws.last_heard_s if self._ws is not None else 0.0

    @property
    def _reads(self) -> bool:
        """Whether events may be handed to it now."""
        return not (self._closing or self._held or self._fenced or self._unsure)

    # --- the socket's life (websocket.Receiver) ---

    def opened(self, ws: Socket) -> None:
        self._ws = ws
        ws.set_unsent_high_bytes(CONGESTED_BYTES)
        node = self._node
        self.write = ws.write
        self.outbox = Outbox(ws, node.turn, node.slow_consumer_bytes, self._too_slow)
        self._introduce()

    def _introduce(self) -> None:
        """The socket is there: begin, or wait for the first message."""
        node = self._node
        if self.principal is None:
            node.connections.wait(self._address)
        else:
            node.connections.add(self, self.principal)
            if self._wire.credential_in is None:
                self._begin(self.principal)
                return
        wait_s = node.timing.authentication_s or OFF_S
        self._waiting = node.wheel.schedule(node.clock_s() + wait_s, self._nobody_came)

    def text(self, data: bytes) -> None:
        node = self._node
        if node.clock_s() >= node.wheel.next_deadline_s:
            # A process that was paused wakes up to its sockets before its timers: what is due takes effect first.
            node.wheel.run_due(node.clock_s())
        if self._closing:
            return
        principal = self.principal
        try:
            if principal is None or not self._begun:
                self._first(self.text, self._dialect.receive, data)
                return
            for request in self._dialect.receive(data):
                self._handle(request, principal)
        except Ended as ended:
            self._broken(ended)
            return
        if self._ordering.under_way > UNDER_WAY_MAX and not self._paused and self._ws is not None:
            self._paused = True
            self._ws.pause_reading()

    def binary(self, data: bytes) -> None:
        if self._closing:
            return
        principal = self.principal
        try:
            if principal is None or not self._begun:
                self._first(self.binary, self._dialect.receive_binary, data)
                return
            for request in self._dialect.receive_binary(data):
                self._handle(request, principal)
        except Ended as ended:
            self._broken(ended)

    def _broken(self, ended: Ended) -> None:
        if self._begun or self._wire.credential_in is not None:
            self.close(ended.code, ended.reason)
        else:
            self._not_authenticated(None, Refusal("token_missing"))

    def pong(self) -> None:
        """That it was heard of is all that matters, and the socket has noted it."""

    def writing_paused(self) -> None:
        self.outbox.congested = True
        if self._ws is None or not self._ws.is_polled:
            self._ordering.hold()
        for subscription in self._subscriptions.values():
            subscription.regroup()

    def writing_resumed(self) -> None:
        for subscription in self._subscriptions.values():
            subscription.regroup()
        self.outbox.drained()
        # One who polls drains by bits: what was handed over for the last polls comes first.
        if not self.outbox.congested and self._ws is not None and self._ws.unpolled_bytes <= CONGESTED_BYTES:
            self._ordering.release()

    def rewired(self) -> None:
        """The socket has another `write`; it says that it drains, next."""
        if self._ws is not None:
            self.write = self._ws.write

    def drain(self) -> None:
        self.close(1012, "restarting")

    def lost(self) -> None:
        self._leave()
        node = self._node
        if self.principal is not None:
            node.connections.remove(self, self.principal)
        elif self._waiting is not None:
            node.connections.waited(self._address)
        for timer in (self._waiting, self._keepalive, self._quiet, self._lifetime, self._expiry):
            if timer is not None:
                timer.cancel()
        self._waiting = self._keepalive = self._quiet = self._lifetime = self._expiry = None

    # --- who ---

    def _begin(self, principal: Principal | None) -> None:
        """The bearer is known (or none is needed), and one of `Connections`: act for them from now on."""
        node = self._node
        self._begun = True
        self.begun_at_ms = node.clock_ms()
        self._fenced = node.connections.is_fenced
        now_s = node.clock_s()
        self._said_at_s = now_s
        keeps_alive = self._wire.keeps_alive
        if keeps_alive:
            self._quiet = node.wheel.schedule(now_s + QUIET_S, self._say_ping)
        if keeps_alive and node.timing.ping_interval_s:
            self._keepalive = node.wheel.schedule(now_s + node.timing.ping_interval_s, self._keep_alive)
        if node.timing.lifetime_s:
            self._lifetime = node.wheel.schedule(now_s + node.timing.lifetime_s, self._grown_old)
        self._watch_expiry()

    def _first(self, again: Callable[[bytes], None], receive: Callable[[bytes], list[Request]], data: bytes) -> None:
        """The first message, which signs in: the dialect's greeting, or `session.authenticate` alone.

        Raises: Ended.
        """
        if self._early is not None:  # the token is being looked up; what follows it waits
            if len(self._early) < EARLY_MAX:
                self._early.append((again, data))
                return
            self._not_authenticated(None, Refusal("rate_limited", "Wait for the answer to `session.authenticate`."))
            return
        if len(data) > FIRST_MESSAGE_BYTES_MAX:
            self._not_authenticated(None, Refusal("too_large", "The first message has at most 16 KiB."))
            return
        requests = receive(data)
        if not requests:
            return
        request = requests[0]
        if request.is_aside:
            self._put(self._dialect.refused(request, request.refusal or Refusal("not_found")))
            return
        if request.greeting is None and (
            request.batch is not None or not isinstance(request.params, sessions.Authenticate)
        ):
            refusal = request.refusal if request.batch is None and request.refusal is not None else None
            self._not_authenticated(request if request.batch is None else None, refusal or Refusal("token_missing"))
            return
        try:
            token = self._token_in(request)
        except Refusal as refusal:
            self._bad_token(request, refusal)
            return
        if token is None:
            assert self.principal is not None
            self._admitted(request, None, self.principal)
        else:
            self._early = deque()
            self._node.admission.admit_token(token, functools.partial(self._admitted, request, token))

    def _token_in(self, request: Request) -> str | None:
        """The token of a first message; None where the handshake's bearer is to act. Raises: Refusal."""
        if isinstance(request.params, sessions.Authenticate):
            return request.params.token
        assert self._wire.credential_in is not None
        try:
            credential = self._wire.credential_in(request.greeting, self._node.carriers, beside=self._credential)
        except TokenRefused as refused:
            raise refusal_of(refused) from None
        if credential is None:
            raise Refusal("token_missing")
        return None if credential is self._credential else credential.secret

    def _admitted(self, request: Request, token: str | None, outcome: Principal | BaseException) -> None:
        if self._closing:
            return
        if not isinstance(outcome, Principal):
            refusal = outcome if isinstance(outcome, Refusal) else Refusal("unavailable")
            self._bad_token(request, refusal, token)
            return
        self._stop_waiting()
        if self.principal is None:
            self.principal = outcome
            self._node.connections.add(self, outcome)
        self._put(self._dialect.result(request, sessions.describe(outcome, self.id, self._node.clock_ms())))
        self._begin(outcome)
        early, self._early = self._early, None
        for again, data in early or ():
            again(data)

    def _bad_token(self, request: Request, refusal: Refusal, token: str | None = None) -> None:
        counted = self._counted(refusal, "the first message", token)
        if counted.code == "rate_limited":
            self._put(self._dialect.refused(request, counted))
            self._end(4429, "rate_limited")
        else:
            self._not_authenticated(request, refusal)

    def _counted(self, refusal: Refusal, place: str, token: str | None) -> Refusal:
        """The refusal of a bad token, noted; or of one too many of them."""
        node = self._node
        if refusal.status != 401:
            return refusal
        if wait_s := node.bad_tokens.take(self._address, node.clock_s()):
            return Refusal("rate_limited", retry_after=round(wait_s, 3))
        node.refusals.note(refusal, place=place, address=self._address, carrier="message", token=token)
        return refusal

    def _not_authenticated(self, request: Request | None, refusal: Refusal) -> None:
        if request is not None:
            self._put(self._dialect.refused(request, refusal))
        elif self._wire.credential_in is None:
            self._put(self._dialect.refused(Request(None, None, id=b"null"), refusal))
        self._end(4401, refusal.code if refusal.status == 401 else "token_missing")

    def _nobody_came(self) -> None:
        self._end(4408, "authentication_timeout")

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
            if self.principal is None:
                self._node.connections.waited(self._address)

    # --- how long, and as what ---

    def _watch_expiry(self) -> None:
        """Do what the time asks for, and look again when it will ask for more.

        One place for all of it: a process that was paused may have slept through the warning, the hold and the grace.
        """
        node, principal = self._node, self.principal
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if self._closing or principal is None:
            return
        timing = node.timing
        left_s = principal.expires_at_s - node.clock_ms() / 1000
        if left_s > timing.margin_s:
            next_s = left_s - timing.margin_s
        elif left_s > 0:
            if not self._warned:
                self._warned = True
                self.notice("session.expiring", expiring(principal))
            next_s = left_s
        elif left_s > -timing.grace_s:
            # Held: nothing is handed to the socket that its bearer may not read now; only a new token helps.
            self._held = True
            self._hand_over_nothing()
            next_s = left_s + timing.grace_s
        else:
            self.close(4401, "token_expired")
            return
        # A timer may be early by a hair: never look again at once.
        self._expiry = node.wheel.schedule(node.clock_s() + max(next_s, 0.001), self._watch_expiry)

    def _hand_over_nothing(self) -> None:
        for subscription in self._subscriptions.values():
            self._node.hub.hold(subscription)
        self.outbox.withhold()

    def _renew(self, request: Request, params: sessions.Renew, principal: Principal) -> None:
        node = self._node
        assert principal.claims is not None

        def renewed(outcome: Principal | BaseException) -> None:
            if self._closing:
                return
            if not isinstance(outcome, Principal):
                refusal = outcome if isinstance(outcome, Refusal) else Refusal("unavailable")
                self._answered(request, self._counted(refusal, "session.refresh", params.token))
                return
            self._become(outcome)
            self._answered(request, sessions.describe(outcome, self.id, node.clock_ms()))
            self._release()

        node.admission.renew(principal.claims, params.token, renewed)

    def rights_changed(self) -> None:
        """Something about the bearer's account changed: ask what they may, and hand over nothing until then."""
        if self._closing or self.principal is None or self.principal.claims is None:
            return
        self._unsure += 1
        self._hand_over_nothing()
        self._ask_rights()

    def _ask_rights(self) -> None:
        principal = self.principal
        if self._closing or principal is None or principal.claims is None:
            return

        def admitted(outcome: Principal | BaseException) -> None:
            if self._closing or self.principal is None:
                return
            if self.principal.claims is not principal.claims:
                self._ask_rights()  # it was renewed meanwhile, perhaps with what was read before the change
                return
            if isinstance(outcome, Principal):
                self._become(outcome)
            elif isinstance(outcome, Refusal) and outcome.code == "token_revoked":
                self.revoked("revoked")
                return
            else:  # the store is away: what they may is not known until it is back
                node = self._node
                node.wheel.schedule(node.clock_s() + STRANDED_S, self._ask_rights)
                return
            self._unsure -= 1
            self._go_on()

        self._node.admission.admit(principal.claims, admitted)

    def revoked(self, reason: str) -> None:
        """Its token, session, subject or conversation was revoked."""
        self.close(4403, reason)

    def _become(self, principal: Principal) -> None:
        """Act as this principal from now on: new roles and grants apply at once."""
        node, before = self._node, self.principal
        assert before is not None
        node.connections.remove(self, before)
        self.principal = principal
        node.connections.add(self, principal)
        if principal.expires_at_s != before.expires_at_s:
            self._warned = False
            self._watch_expiry()
        if principal.roles == before.roles and principal.grants == before.grants:
            return
        roles = [role for role in ROLES if role in principal.roles]
        self.notice("session.changed", {"roles": roles})
        for subscription in list(self._subscriptions.values()):
            granted = principal.grants is None or principal.grants.allows("read", f"room:{subscription.room}")
            node.hub.reconsider(subscription, granted=granted)
        if self._reads and any(is_reserved(one.room) for one in self._subscriptions.values()):
            # Who reads a room of the server's own kind is a matter of roles that the hub does not know: each read asks.
            self._hand_over_nothing()
            self._go_on()

    def _release(self) -> None:
        """End the hold: what was missed comes from the store, at the socket's own pace, and then what is new."""
        if self._held:
            self._held = False
            self._go_on()

    def fence(self) -> None:
        """This node does not know what was revoked: hand over nothing until it has read again."""
        self._fenced = True
        self._hand_over_nothing()

    def unfence(self) -> None:
        if self._fenced:
            self._fenced = False
            self._go_on()

    def _go_on(self) -> None:
        for subscription in list(self._subscriptions.values()):
            self._follow(subscription)

    def _follow(self, subscription: Subscription) -> None:
        principal = self.principal
        if principal is not None and self._reads and not subscription.is_live:
            self._node.door.follow(subscription, principal, lambda: self._reads)

    # --- what it asks ---

    def _handle(self, request: Request, principal: Principal) -> None:
        row, params = request.row, request.params
        if isinstance(params, sessions.Renew):
            self._renew(request, params, principal)
        elif self._held:
            self._put(self._dialect.refused(request, Refusal("token_expired")))
        elif row is None or params is None:
            self._put(self._dialect.refused(request, request.refusal or Refusal("invalid_request")))
        elif row.kind == "connection":
            self._about_itself(request, principal)
        elif (
            isinstance(params, presence.TypingSet)
            and (here := self._subscriptions.get(params.room)) is not None
            and here.role is not None
            and principal.grants is None
        ):
            # Nothing is stored and the membership is known: the cheapest thing that a socket can ask.
            self._node.door.type(params, principal)
            if request.id is not None:
                self._put(self._dialect.result(request, {}))
        else:
            self._node.door.submit(row, params, principal, self._ordering, functools.partial(self._answered, request))

    def _about_itself(self, request: Request, principal: Principal) -> None:
        params = request.params
        if isinstance(params, replay.Subscribe):
            self._subscribe(request, params, principal)
        elif isinstance(params, replay.Unsubscribe) and principal.is_guest and params.room != principal.conversation:
            self._answered(request, Refusal("not_found"))
        elif isinstance(params, replay.Unsubscribe):
            # In order with the subscription before it, which may still be reading, and with what was sent before it.
            self._ordering.run(functools.partial(self._unsubscribe, request, params.room), writes=True, alone=True)
        elif isinstance(params, sessions.Describe):
            self._answered(request, sessions.describe(principal, self.id, self._node.clock_ms()))
        else:
            self._answered(request, Refusal("conflict", "This connection is authenticated already."))

    def _subscribe(self, request: Request, params: replay.Subscribe, principal: Principal) -> None:
        node = self._node
        limit = node.subscriptions_max
        if limit and params.room not in self._subscriptions and len(self._subscriptions) >= limit:
            refusal = Refusal("limit_exceeded", f"A connection has at most {limit} subscriptions.")
            self._put(self._dialect.refused(request, refusal))
            return

        def answered(subscription: Subscription | None, result: Any) -> None:
            self._subscriptions.pop(params.room, None)  # the hub ended it when this one began
            if subscription is not None and limit and len(self._subscriptions) >= limit:
                node.hub.unsubscribe(subscription)  # several were asked for at once
                result = Refusal("limit_exceeded")
            elif subscription is not None:
                self._subscriptions[params.room] = subscription
            self._answered(request, result)

        assert request.row is not None
        node.door.subscribe(request.row, params, self, principal, self._ordering, lambda: self._reads, answered)

    def _unsubscribe(self, request: Request, room: str, over: Callable[[], None]) -> None:
        subscription = self._subscriptions.pop(room, None)
        if subscription is not None:
            self._node.hub.unsubscribe(subscription)
        self._answered(request, {})
        over()

    def _answered(self, request: Request, result: Any) -> None:
        if self._closing:
            return
        dialect = self._dialect
        self._put(dialect.refused(request, result) if isinstance(result, Refusal) else dialect.result(request, result))
        if self._paused and self._ordering.under_way < UNDER_WAY_MAX // 2 and self._ws is not None:
            self._paused = False
            self._ws.resume_reading()

    # --- what it is told ---

    def subscription_ended(self, subscription: Subscription, reason: str) -> None:
        self._subscriptions.pop(subscription.room, None)
        self.notice("subscription.ended", {"room": subscription.room, "reason": reason})

    def stranded(self, subscription: Subscription) -> None:
        """What it missed cannot be read now: try again shortly, for as long as it lives."""
        node = self._node
        node.wheel.schedule(node.clock_s() + STRANDED_S, functools.partial(self._follow, subscription))

    def notice(self, name: str, body: dict[str, Any]) -> None:
        if not self._closing:
            self._put(self._dialect.notice(name, body))

    def _put(self, message: bytes | None) -> None:
        if message is not None and self._ws is not None:
            self._said_at_s = self._node.clock_s()
            outbox = self.outbox
            outbox.put_answer(frame_text(message))
            if outbox.congested and outbox.waiting_bytes > CONGESTED_BYTES:
                self._ordering.hold()  # one that is polled and does not ask

    def _keep_alive(self) -> None:
        node, ws = self._node, self._ws
        if self._closing or ws is None:
            return
        timing = node.timing
        now_s = node.clock_s()
        if ws.silent_s(now_s) >= timing.ping_interval_s + timing.ping_timeout_s:
            self._leave()
            ws.abort()
            return
        if not self.outbox.congested:
            self.outbox.put(_PING)
        # The deadline may fall between two pings: look again then.
        dead_at_s = ws.last_heard_s + timing.ping_interval_s + timing.ping_timeout_s
        self._keepalive = node.wheel.schedule(min(now_s + timing.ping_interval_s, dead_at_s), self._keep_alive)

    def _say_ping(self) -> None:
        if self._closing:
            return
        node = self._node
        now_s = node.clock_s()
        heard = [node.hub.flushed_at_s(subscription) for subscription in self._subscriptions.values()]
        said_at_s = max(self._said_at_s, *heard) if heard else self._said_at_s
        if now_s - said_at_s >= QUIET_S - 0.05:
            self.notice("ping", {})
            said_at_s = now_s
        self._quiet = node.wheel.schedule(said_at_s + QUIET_S, self._say_ping)

    # --- how it ends ---

    def close(self, code: int, reason: str) -> None:
        """Say why, then close. `code` and `reason` are the native column of CONTRACT, "Close codes"."""
        if self._closing:
            return
        if self.principal is not None and (code in (1012, 1013) or code >= 4400):
            body = {"code": code, "reason": reason, "reconnect": code not in _FINAL}
            self.notice("session.closing", body)
            self._put(self._dialect.goodbye(code))
        self._end(code, reason)

    def replaced(self) -> None:
        self.close(4409, "replaced")

    def _grown_old(self) -> None:
        self.close(1012, "lifetime")

    def _too_slow(self) -> None:
        self._end(4420, "slow_consumer")

    def _end(self, code: int, reason: str, said: tuple[int, str] | None = None) -> None:
        """`said` is what the socket is closed with, where that is not the dialect's word for `code` and `reason`."""
        if self._closing or self._ws is None:
            return
        if code in _NO_LONGER_READS:
            self._hand_over_nothing()
        self._leave()
        self._node.closed[code] += 1
        if self._ws.is_polled:
            self.outbox.congested = False  # what is left waits for the last poll
        self.outbox.flush()
        self._ws.close(*(said or self._wire.closed_with(code, reason)))

    def _leave(self) -> None:
        """Read and be told nothing more. What the rooms have pending for it is written first."""
        self._closing = True
        self._ordering.abandon()
        subscriptions, self._subscriptions = self._subscriptions, {}
        for subscription in subscriptions.values():
            self._node.hub.unsubscribe(subscription)


def expiring(principal: Principal) -> dict[str, Any]:
    """The body of `session.expiring`."""
    return {"expires_at": rfc3339(int(principal.expires_at_s * 1000))}


class TurnedAway:
    """The receiver of a socket that was upgraded only so that a browser can read why it is refused."""

    __slots__ = ("_code", "_reason")

    def __init__(self, code: int, reason: str) -> None:
        self._code = code
        self._reason = reason

    def opened(self, ws: Socket) -> None:
        ws.close(self._code, self._reason)

    def _nothing(self, *_: object) -> None:
        return

    text = binary = pong = writing_paused = writing_resumed = drain = lost = _nothing
