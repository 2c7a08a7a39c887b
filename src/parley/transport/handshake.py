"""Who may open a socket: every check of an upgrade, in the contract's order, and how each refusal is said.

Paths, limits, origin, subprotocol, credential, token. A refusal is HTTP where a program sees it, and an accepted socket
closed at once where only a browser would (CONTRACT, "Refusals"). What happens on the socket is `connection.py`.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from parley.delivery.hub import Encoder
from parley.dialects.dialect import Dialect
from parley.domain.errors import Refusal
from parley.domain.principal import Principal
from parley.service.admission import refusal_of
from parley.tokens.bearer import Endpoint, Presented, find_credential
from parley.tokens.errors import TokenRefused
from parley.transport.addresses import Addresses
from parley.transport.connection import Connection, Node, TurnedAway
from parley.transport.origins import Origins
from parley.transport.problems import refused
from parley.transport.upgrade import Accept, Refuse, UpgradeRequest
from parley.transport.websocket import Receiver

Respond = Callable[[Accept | Refuse], bool]

#: Close codes for what is said on an accepted socket.
_CLOSED_WITH: Final = {401: 4401, 403: 4403, 429: 4429, 503: 1013}


@dataclass(frozen=True, slots=True)
class Place:
    """A path that takes upgrades: which credentials it looks at, and what is spoken there."""

    endpoint: Endpoint
    dialect: Dialect
    encoder: Encoder


class Handshake:
    """`decide` is called for every upgrade request (see `transport.upgrade`)."""

    def __init__(
        self,
        node: Node,
        places: Mapping[str, Place],
        origins: Origins,
        addresses: Addresses,
        request_bytes_max: int,
    ) -> None:
        self._node = node
        self._places = places
        self._origins = origins
        self._addresses = addresses
        self._request_bytes_max = request_bytes_max
        #: "accepted" or a code -> how often; read by the metrics.
        self.outcomes: Counter[str] = Counter()

    def decide(self, request: UpgradeRequest, respond: Respond) -> None:
        place = self._places.get(request.path)
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
        presented: Presented | None = None
        unpresented: TokenRefused | None = None
        try:
            presented = find_credential(
                request.headers, query=request.query, endpoint=place.endpoint, carriers=node.carriers
            )
        except TokenRefused as refused_token:
            unpresented = refused_token
        waits = presented is not None and presented.credential is None
        if node.connections.is_full or (waits and not node.connections.may_wait(address)):
            self._refuse(respond, Refusal("overloaded"))
            return
        origin = request.header("origin")
        if not self._origins.admits(origin):
            self._refuse(respond, self._origins.denied(origin))
            return
        if unpresented is not None or presented is None:
            assert unpresented is not None
            self._refuse(respond, refusal_of(unpresented))
            return
        credential = presented.credential
        if credential is None:
            self._accept(respond, place, presented, Connection(node, place.dialect, place.encoder, address, None))
            return
        by_http = presented.refused_by_http

        def turn_down(bad: BaseException) -> None:
            refusal = bad if isinstance(bad, Refusal) else Refusal("unavailable")
            self._refuse_credential(respond, place, presented, address, refusal, by_http=by_http)

        def admitted(outcome: Principal | BaseException) -> None:
            if isinstance(outcome, Principal):
                connection = Connection(node, place.dialect, place.encoder, address, outcome)
                self._accept(respond, place, presented, connection)
            else:
                turn_down(outcome)

        if credential.kind == "ticket":
            node.admission.redeem(credential.secret, admitted)
            return
        try:
            claims = node.admission.verify(credential.secret)
        except Refusal as bad:
            turn_down(bad)
        else:
            node.admission.admit(claims, admitted)

    def _accept(self, respond: Respond, place: Place, presented: Presented, receiver: Receiver) -> None:
        self.outcomes["accepted"] += 1
        respond(Accept(receiver, presented.subprotocol, self._request_bytes_max))

    def _refuse_credential(
        self, respond: Respond, place: Place, presented: Presented, address: str, bad: Refusal, *, by_http: bool
    ) -> None:
        node = self._node
        if bad.status == 401 and (wait_s := node.bad_tokens.take(address, node.clock_s())):
            bad = Refusal("rate_limited", "Too many bad tokens from this address.", retry_after=round(wait_s, 3))
        if by_http:
            self._refuse(respond, bad)
            return
        self.outcomes[bad.code] += 1
        turned_away = TurnedAway(_CLOSED_WITH.get(bad.status, 4401), bad.code)
        respond(Accept(turned_away, presented.subprotocol, self._request_bytes_max))

    def _refuse(self, respond: Respond, refusal: Refusal) -> None:
        self.outcomes[refusal.code] += 1
        respond(refused(refusal))
