"""Who may open a socket: every check of an upgrade, in the contract's order, and how each refusal is said.

Paths, limits, origin, subprotocol, credential, token. A refusal is HTTP where a program sees it, and an accepted socket
closed at once where only a browser would (CONTRACT, "Refusals"). What happens on the socket is `connection.py`.
"""

import functools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from parley.domain.errors import Refusal
from parley.domain.principal import Principal
from parley.service.admission import refusal_of
from parley.service.ask import called_back
from parley.tokens.bearer import Credential, Endpoint, Presented, find_credential
from parley.tokens.errors import TokenRefused
from parley.transport.addresses import Addresses
from parley.transport.auth import LIMIT_KEY
from parley.transport.command_socket import CommandConnection
from parley.transport.connection import Connection
from parley.transport.engine import Engine
from parley.transport.handing_on import HandingOn, unknown_session
from parley.transport.node import Node
from parley.transport.origins import Origins
from parley.transport.polling import session_asked
from parley.transport.problems import refused
from parley.transport.sockets import Receiver, Socket
from parley.transport.upgrade import Accept, HandOn, Refuse, UpgradeRequest
from parley.transport.websocket import WebSocket
from parley.transport.wires import Wire

Respond = Callable[[Accept | Refuse | HandOn], bool]

#: Close codes for what is said on an accepted socket.
_CLOSED_WITH: Final = {401: 4401, 403: 4403, 429: 4429, 503: 1013}


@dataclass(frozen=True, slots=True)
class Place:
    """A path that takes upgrades: which credentials it looks at, and what is spoken there, over which `engine`.

    `connection` makes a connection of a node, a wire, an address, a principal and its credential. `ready` is asked,
    where there is one, what else must be so before the upgrade: it gives what makes the connection, or a Refusal.
    """

    endpoint: Endpoint
    wire: Wire
    engine: Engine | None = None
    connection: Callable[..., Connection] = CommandConnection
    ready: "Ready | None" = None


#: Called with the principal, if one is known, and with whom to tell.
Ready = Callable[[Principal | None, Callable[[Callable[..., Connection] | Refusal], None]], None]


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

    text = binary = writing_paused = writing_resumed = drain = lost = _nothing


class Handshake:
    """`decide` is called for every upgrade of a path that `takes` one, `poll` for a session over HTTP.

    `more` finds the places whose paths hold a name, `takes_more` says which paths those are.
    """

    def __init__(
        self,
        node: Node,
        places: Mapping[str, Place],
        origins: Origins,
        addresses: Addresses,
        request_bytes_max: int,
        more: Callable[[str], Place | None] = lambda _: None,
        takes_more: Callable[[str], bool] = lambda _: False,
        handing_on: HandingOn | None = None,
    ) -> None:
        self._node = node
        self._places = places
        self._more = more
        self._takes_more = takes_more
        self._handing_on = handing_on
        self._origins = origins
        self._addresses = addresses
        self._request_bytes_max = request_bytes_max
        #: "accepted" or a code -> how often; read by the metrics.
        self.outcomes: Counter[str] = Counter()

    def takes(self, path: str) -> bool:
        """Whether sockets are opened at a path at all; elsewhere a request is answered as if it asked for none."""
        return path in self._places or self._takes_more(path)

    def decide(self, request: UpgradeRequest, respond: Respond) -> None:
        place = self._places.get(request.path) or self._more(request.path)
        if place is None:
            self._refuse(respond, Refusal("not_found", "Nothing is opened at this path."))
            return
        malformed = request.malformed()
        if malformed is not None:
            self.outcomes["malformed"] += 1
            respond(malformed)
            return
        node = self._node
        address = self._addresses.limit_key(
            self._addresses.client(request.client[0] if request.client else None, request.headers)
        )
        try:
            sid = session_asked(request.query, "websocket") if place.engine is not None else None
            if place.engine is not None and sid is not None:
                self._go_over(place.engine, sid, request, respond)
                return
            presented = self._present(request.headers, request.query, place.endpoint, address)
        except Refusal as refusal:
            self._refuse(respond, node.refusals.noted(refusal, place=request.path, address=address))
            return
        credential = presented.credential
        if credential is None:
            self._let_in(respond, place, presented, address, None)
            return

        def admitted(outcome: Principal | BaseException) -> None:
            if isinstance(outcome, Principal):
                self._let_in(respond, place, presented, address, outcome)
            else:
                refusal = outcome if isinstance(outcome, Refusal) else Refusal("unavailable")
                counted = self._counted(refusal, request.path, address, credential)
                self._refuse_credential(respond, place, presented, counted)

        self._admit(credential, admitted)

    async def poll(self, request: Request, place: Place, endpoint: Endpoint) -> Connection:
        """The connection of a session that begins over HTTP. Raises: Refusal."""
        address: str = request.scope[LIMIT_KEY]
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.scope["headers"]]
        path = request.url.path
        try:
            try:
                presented = self._present(headers, request.url.query, endpoint, address)
            except Refusal as refusal:
                raise self._node.refusals.noted(refusal, place=path, address=address) from None
            credential = presented.credential
            if credential is None:
                return self._polled(CommandConnection(self._node, place.wire, address, None))
            outcome: Principal | BaseException = await called_back(functools.partial(self._admit, credential))
            if isinstance(outcome, Principal):
                outcome = self._node.admission.lapsed(outcome) or outcome
            if isinstance(outcome, Principal):
                return self._polled(CommandConnection(self._node, place.wire, address, outcome, credential))
            bad = outcome if isinstance(outcome, Refusal) else Refusal("unavailable")
            raise self._counted(bad, path, address, credential)
        except Refusal as refusal:
            self.outcomes[refusal.code] += 1
            raise

    def require_origin(self, headers: Iterable[tuple[str, str]]) -> None:
        """Raises: Refusal (`origin_denied`) for an origin that may not call."""
        values = [value for name, value in headers if name == "origin"]
        origin = ", ".join(values) if values else None  # an empty one is there, and is nobody's
        if not self._origins.admits(origin):
            raise self._origins.denied(origin)

    # --- who may ---

    def _present(self, headers: Collection[tuple[str, str]], query: str, endpoint: Endpoint, address: str) -> Presented:
        """What a request presents, once all that comes before the token itself is in order. Raises: Refusal."""
        node = self._node
        presented: Presented | None = None
        unpresented: TokenRefused | None = None
        try:
            presented = find_credential(headers, query=query, endpoint=endpoint, carriers=node.carriers)
        except TokenRefused as refused_token:
            unpresented = refused_token
        waits = presented is not None and presented.credential is None
        if node.connections.is_full or (waits and not node.connections.may_wait(address)):
            raise Refusal("overloaded")
        self.require_origin(headers)
        if presented is None:
            assert unpresented is not None
            raise refusal_of(unpresented)
        return presented

    def _admit(self, credential: Credential, admitted: Callable[[Principal | BaseException], None]) -> None:
        admission = self._node.admission
        if credential.kind == "ticket":
            admission.redeem(credential.secret, admitted)
            return
        admission.admit_token(credential.secret, admitted)

    def _counted(self, bad: Refusal, path: str, address: str, credential: Credential) -> Refusal:
        """The refusal of a bad credential, noted; or of one too many of them."""
        node = self._node
        if bad.status == 401 and (wait_s := node.bad_tokens.take(address, node.clock_s())):
            return Refusal("rate_limited", "Too many bad tokens from this address.", retry_after=round(wait_s, 3))
        token = credential.secret if credential.kind == "token" else None
        return node.refusals.noted(bad, place=path, address=address, carrier=credential.carrier, token=token)

    # --- how it is said ---

    def _polled(self, connection: Connection) -> Connection:
        self.outcomes["accepted"] += 1
        return connection

    def _go_over(self, engine: Engine, sid: str, request: UpgradeRequest, respond: Respond) -> None:
        """A session that is polled wants to go over to this WebSocket; no credential is looked at. Raises: Refusal."""
        session = engine.find(sid)
        if session is None:
            address = None if self._handing_on is None else self._handing_on.elsewhere(sid, request.headers)
            if self._handing_on is None or address is None:
                raise unknown_session()
            respond(HandOn(self._handing_on.tunnel(address, request).begin))
            return
        self.require_origin(request.headers)
        receiver: Receiver[WebSocket] = session.candidate() or TurnedAway(4400, "bad_request")
        respond(Accept(receiver, None, self._request_bytes_max))

    def _let_in(
        self, respond: Respond, place: Place, presented: Presented, address: str, principal: Principal | None
    ) -> None:
        """What the request presents is in order: accept it, once all else is."""

        def ready(connection: Callable[..., Connection] | Refusal) -> None:
            if isinstance(connection, Refusal):
                self._refuse(respond, connection)
            elif principal is not None and (lapsed := self._node.admission.lapsed(principal)) is not None:
                self._refuse_credential(respond, place, presented, lapsed)
            else:
                made = connection(self._node, place.wire, address, principal, presented.credential)
                self._accept(respond, place, presented, made)

        if place.ready is None:
            ready(place.connection)
        else:
            place.ready(principal, ready)

    def _accept(self, respond: Respond, place: Place, presented: Presented, connection: Connection) -> None:
        self.outcomes["accepted"] += 1
        receiver: Receiver[WebSocket] = connection if place.engine is None else place.engine.session(connection)
        respond(Accept(receiver, presented.subprotocol, self._request_bytes_max))

    def _refuse_credential(self, respond: Respond, place: Place, presented: Presented, bad: Refusal) -> None:
        if presented.refused_by_http:
            self._refuse(respond, bad)
            return
        self.outcomes[bad.code] += 1
        turned_away = TurnedAway(*place.wire.closed_with(_CLOSED_WITH.get(bad.status, 4401), bad.code))
        respond(Accept(turned_away, presented.subprotocol, self._request_bytes_max))

    def _refuse(self, respond: Respond, refusal: Refusal) -> None:
        self.outcomes[refusal.code] += 1
        respond(refused(refusal))
