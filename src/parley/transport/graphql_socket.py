"""GraphQL on a socket: `graphql-transport-ws` on `/graphql`, each operation under its own id.

A connection as any other, that is told of rooms by operation: a subscription is a reader of its own, with its
connection's socket and rights. Those that tell the same share one payload, which is made once; each puts its own head
before it.
What the messages mean is `dialects/graphql_transport_ws.py`; how a token lives and ends here is `bearer.py`'s.
"""

import functools
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

from parley.delivery.outbox import Place
from parley.delivery.readers import Subscription
from parley.dialects.dialect import Ended, Request
from parley.dialects.graphql_documents import Documents, error_of
from parley.dialects.graphql_operations import Operation, told
from parley.dialects.graphql_transport_ws import (
    NOTICES,
    GraphqlTransportWs,
    Living,
    Violation,
    closed_with,
    session_notice,
)
from parley.domain import replay, sessions
from parley.domain.errors import Refusal
from parley.domain.events import Event, Signal
from parley.domain.principal import Principal
from parley.tokens.bearer import credential_in_connection_init
from parley.transport.bearer import expiring
from parley.transport.connection import Connection
from parley.transport.frames import text_header
from parley.transport.wires import Wire


class Payloads:
    """What subscriptions that tell the same share (a `hub.Encoder`): one payload for each event, without its head.

    A payload ends in the closing brace of its message and a line feed, which JSON of ours never holds: so the hub may
    join several. The last ones are kept taken apart, for all who are given the same bytes.
    """

    __slots__ = ("__weakref__", "_between", "_bodies", "_joined", "_operation", "_tells", "epoch")

    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self.epoch = ""  # of the store, known once a subscription is answered
        self._tells = operation.calls[0].root.name
        self._joined = b""
        self._bodies: list[bytes] = []
        self._between: dict[int, list[bytes]] = {}

    def event(self, event: Event) -> bytes:
        return self._operation.told(told(event, self.epoch)) + b"}\n" if self._tells == "roomEvents" else b""

    def signal(self, signal: Signal) -> bytes:
        return self._operation.told(signal) + b"}\n" if self._tells == "roomSignals" else b""

    def frames(self, joined: bytes, head: bytes) -> bytes:
        """The frames of one subscription, whose messages begin with `head`."""
        if joined is not self._joined:
            self._joined, self._bodies, self._between = joined, joined.split(b"\n")[:-1], {}
        size = len(head)
        between = self._between.get(size)
        if between is None:
            # What stands around the heads is the same for all heads of one size, frame headers included.
            headers = [text_header(size + len(body)) for body in self._bodies]
            between = [b"%b%b" % pair for pair in zip([b"", *self._bodies], [*headers, b""], strict=True)]
            self._between[size] = between
        return head.join(between)


class Sockets:
    """What the GraphQL connections of a node share: the documents, and the payloads of those that tell the same."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._payloads: WeakValueDictionary[Any, Payloads] = WeakValueDictionary()

    @property
    def wire(self) -> Wire:
        return Wire(
            lambda: GraphqlTransportWs(self._documents),
            _Silent(),
            credential_in_connection_init,
            closed_with=closed_with,
        )

    def connection(self, *of: Any) -> "GraphqlConnection":
        """A connection, made of what each is made of."""
        return GraphqlConnection(self, *of)

    def payloads(self, operation: Operation) -> Payloads:
        """What this subscription shares with all of the same shape."""
        found = self._payloads.get(operation.shape)
        if found is None:
            found = self._payloads[operation.shape] = Payloads(operation)
        return found


class _Silent:
    """The encoder of a connection that is told of no room itself."""

    def event(self, event: Event) -> bytes:
        return b""

    def signal(self, signal: Signal) -> bytes:
        return b""


class _Reader:
    """One subscription's reading of a room (a `hub.Reader`). It is its own outbox too: what is put gets its head."""

    __slots__ = ("_connection", "_head", "_write", "encoder", "living")

    def __init__(self, connection: "GraphqlConnection", living: Living, encoder: Payloads) -> None:
        self._connection = connection
        self.encoder = encoder
        self._write = connection.write
        self._head = living.next_head
        self.living = living

    # --- as a reader ---

    @property
    def outbox(self) -> "_Reader":
        return self

    @property
    def subject(self) -> str:
        return self._connection.subject

    @property
    def name(self) -> str:
        return self._connection.name

    @property
    def is_admin(self) -> bool:
        return self._connection.is_admin

    def write(self, payloads: bytes) -> None:
        self._write(self.encoder.frames(payloads, self._head))

    def subscription_ended(self, subscription: Subscription, reason: str) -> None:
        self._connection.operation_ended(self.living, reason)

    def stranded(self, subscription: Subscription) -> None:
        self._connection.stranded(subscription)

    # --- as an outbox ---

    @property
    def congested(self) -> bool:
        return self._connection.outbox.congested

    def put_events(self, payloads: bytes, place: Place, before: int, *, asked: bool = False) -> None:
        if payloads:
            frames = self.encoder.frames(payloads, self._head)
            self._connection.outbox.put_events(frames, place, before, asked=asked)

    def next_page(self, read: Callable[[], None]) -> None:
        self._connection.outbox.next_page(read)

    def page_read(self) -> None:
        self._connection.outbox.page_read()

    def withhold(self) -> None:
        self._connection.outbox.withhold()


class GraphqlConnection(Connection):
    """A connection whose subscriptions go by the ids of their operations."""

    __slots__ = ("_joining", "_notices", "_sockets", "_until_it_reads")

    codec: GraphqlTransportWs

    def __init__(self, sockets: Sockets, *of: Any) -> None:
        super().__init__(*of)
        self._sockets = sockets
        self._notices: dict[str, Living] = {}
        self._joining = 0  # subscriptions that are not live yet
        self._until_it_reads: list[tuple[Request, Living]] = []

    # --- what it asks ---

    def _handle(self, request: Request, principal: Principal) -> None:
        living: Living | None = request.batch
        if living is None:
            self.put(self.codec.refused(request, Refusal("invalid_request")))  # a ping
        elif request.method == "complete":
            self._stop(living)
        elif isinstance(request.params, sessions.Renew):
            self._bearer.renew(request, request.params, principal)
        elif living.errors:
            self.put(self.codec.answer(living))
        elif living.left == 0:
            self.put(self.codec.answer(living))
            self.put(self.codec.complete(living))
        elif self.is_held:
            self.answered(request, Refusal("token_expired"))
        elif living.is_subscription:
            self._subscribe_to(request, living, principal)
        elif request.row is None or request.params is None:
            self.answered(request, request.refusal or Refusal("invalid_request"))
        elif isinstance(request.params, sessions.Describe):
            self.answered(request, sessions.describe(principal, self.id, self.node.clock_ms()))
        else:
            answered = functools.partial(self.answered, request)
            self.node.door.submit(request.row, request.params, principal, self._ordering, answered)

    def _answer(self, request: Request, result: Any) -> None:
        super()._answer(request, result)
        self.put(self.codec.complete(request.batch))

    def _subscribe_to(self, request: Request, living: Living, principal: Principal) -> None:
        limit = self.node.subscriptions_max
        if limit and len(self._subscriptions) + len(self._notices) + self._joining + len(self._until_it_reads) >= limit:
            self.answered(request, Refusal("limit_exceeded", f"A connection has at most {limit} subscriptions."))
        elif request.refusal is not None:
            self.answered(request, request.refusal)
        elif request.row is None:
            self._notices[living.id] = living
            if self._bearer.warned:  # before anybody could hear it
                self._tell(living, "session.expiring", expiring(principal))
        else:
            self._join(request, living, principal)

    def _join(self, request: Request, living: Living, principal: Principal) -> None:
        params, operation = request.params, living.operation
        assert isinstance(params, replay.Subscribe)
        assert operation is not None
        assert request.row is not None
        encoder = self._sockets.payloads(operation)
        reader = _Reader(self, living, encoder)

        def answered(subscription: Subscription | None, result: Any) -> None:
            joined(subscription, result)
            self._read_on()  # one that begins is answered nothing

        def joined(subscription: Subscription | None, result: Any) -> None:
            self._joining -= 1
            if subscription is None or isinstance(result, Refusal):
                if living.has_ended or self.is_closing:
                    return
                if self.reads:
                    self.answered(request, _refusal_of(result))
                else:
                    self._until_it_reads.append((request, living))
                return
            if living.has_ended:
                self.node.hub.unsubscribe(subscription)
                return
            encoder.epoch = result["epoch"]
            if result["reset"] or (params.after or 0) > result["seq"]:
                self.node.hub.unsubscribe(subscription)
                self.answered(request, _reset())
                return
            self._subscriptions[living.id] = subscription
            if params.after is not None and params.after < result["seq"]:
                # Live from here on; what came behind `after` is told first, from the log, as after a hold.
                self.node.hub.hold(subscription)
                subscription.told = params.after
                self._follow(subscription)

        if not self.reads:
            # An error would be the end of it, to any client; it begins once there is something to be told.
            self._until_it_reads.append((request, living))
            return
        self._joining += 1
        live = replay.Subscribe(room=params.room, epoch=params.epoch)
        self.node.door.subscribe(request.row, live, reader, principal, self._ordering, lambda: self.reads, answered)

    def go_on(self) -> None:
        super().go_on()
        waiting, self._until_it_reads = self._until_it_reads, []
        for request, living in waiting:
            if not living.has_ended and self.principal is not None:
                self._join(request, living, self.principal)

    def _stop(self, living: Living) -> None:
        """The client has ended an operation. What a query of it comes to is not told."""
        self.codec.forget(living)
        self._notices.pop(living.id, None)
        self._until_it_reads = [one for one in self._until_it_reads if one[1] is not living]
        subscription = self._subscriptions.pop(living.id, None)
        if subscription is not None:
            self.node.hub.unsubscribe(subscription)

    # --- what it is told ---

    def operation_ended(self, living: Living, reason: str) -> None:
        """Its bearer may not read the room any more: nothing follows the error."""
        self._subscriptions.pop(living.id, None)
        assert living.operation is not None
        (call,) = living.operation.calls
        refusal = Refusal("forbidden", "You may not read this room any more.", reason=reason)
        if not self.is_closing:
            self.put(self.codec.error(living, [error_of(refusal, path=[call.key])]))

    def notice(self, name: str, body: dict[str, Any]) -> None:
        if name not in NOTICES:
            super().notice(name, body)
        elif not self.is_closing:
            for living in self._notices.values():
                self._tell(living, name, body)

    def _tell(self, living: Living, name: str, body: dict[str, Any]) -> None:
        assert living.operation is not None
        self.put(b"%b%b}" % (living.next_head, living.operation.told(session_notice(name, body))))

    # --- how it ends ---

    def _broken(self, ended: Ended) -> None:
        if not isinstance(ended, Violation):
            super()._broken(ended)
            return
        self.notice("session.closing", {"code": ended.code, "reason": ended.reason, "reconnect": False})
        self.end(ended.code, ended.reason, said=(ended.own_code, ended.own_reason))

    def leave(self) -> None:
        super().leave()
        self._notices = {}
        self._until_it_reads = []


def _refusal_of(result: Any) -> Refusal:
    # A page that does not reach the head is never asked for: without `after` there is none.
    return result if isinstance(result, Refusal) else _reset()


def _reset() -> Refusal:
    return Refusal("conflict", "The log is another one: drop what you hold, and subscribe without `after`.", reset=True)
