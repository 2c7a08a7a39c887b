"""Who a connection acts for, for how long, and as what: their token's expiry and renewal, and changes of their rights.

Before the token expires its bearer is warned; after it the connection is held for the grace, then closed with 4401.
What a hold means for what is read is the connection's; whether a token is good, `service.admission`'s.
"""

from typing import Any, Final, Protocol

from parley.dialects.dialect import Request
from parley.domain import sessions
from parley.domain.errors import Refusal
from parley.domain.ids import rfc3339
from parley.domain.principal import Principal
from parley.transport.connections import Live
from parley.transport.node import Node
from parley.transport.timers import LOOK_AGAIN_S, Timer

#: How long to wait before the store is asked again, where it was away.
ASK_AGAIN_S: Final = 1.0


class Borne(Live, Protocol):
    """The connection. While `is_held` or `unsure` it is handed nothing that its bearer might not read now."""

    principal: Principal | None
    is_held: bool
    unsure: int

    @property
    def node(self) -> Node: ...
    @property
    def address(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def is_closing(self) -> bool: ...
    def became(self, before: Principal) -> None:
        """It acts as its new `principal` from now on, no longer as `before`."""

    def hand_over_nothing(self) -> None: ...
    def go_on(self) -> None:
        """One reason to hand over nothing is gone."""

    def wait_for_renewal(self) -> None: ...
    def renewal_over(self) -> None: ...
    def answered(self, request: Request, result: Any) -> None: ...
    def notice(self, name: str, body: dict[str, Any]) -> None: ...
    def close(self, code: int, reason: str) -> None: ...


class Bearer:
    """`warned`: whether the present token's end was announced."""

    __slots__ = ("_connection", "_expiry", "warned")

    def __init__(self, connection: Borne) -> None:
        self._connection = connection
        self._expiry: Timer | None = None
        self.warned = False

    def stop(self) -> None:
        """The connection is over."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    def watch(self) -> None:
        """Do what the time asks for, and look again when it will ask for more.

        One place for all of it: a process that was paused may have slept through the warning, the hold and the grace.
        """
        self.stop()
        connection = self._connection
        node, principal = connection.node, connection.principal
        if connection.is_closing or principal is None:
            return
        timing = node.timing
        left_s = principal.expires_at_s - node.clock_ms() / 1000
        if left_s > timing.margin_s:
            next_s = left_s - timing.margin_s
        elif left_s > 0:
            if not self.warned:
                self.warned = True
                connection.notice("session.expiring", expiring(principal))
            next_s = left_s
        elif left_s > -timing.grace_s:
            # Held: nothing is handed to the socket that its bearer may not read now; only a new token helps.
            connection.is_held = True
            connection.hand_over_nothing()
            next_s = left_s + timing.grace_s
        else:
            connection.close(4401, "token_expired")
            return
        # A timer may be early by a hair: never look again at once.
        next_s = min(max(next_s, 0.001), LOOK_AGAIN_S)
        self._expiry = node.wheel.schedule(node.clock_s() + next_s, self.watch)

    def renew(self, request: Request, params: sessions.Renew, principal: Principal) -> None:
        """`session.refresh`: a new token for the same bearer, which also ends a hold."""
        connection = self._connection
        node = connection.node
        assert principal.claims is not None

        def renewed(outcome: Principal | BaseException) -> None:
            if connection.is_closing:
                return
            if not isinstance(outcome, Principal):
                refusal = outcome if isinstance(outcome, Refusal) else Refusal("unavailable")
                counted = node.counted(refusal, "session.refresh", connection.address, params.token)
                connection.answered(request, counted)
                connection.renewal_over()
                return
            self._become(outcome)
            connection.answered(request, sessions.describe(outcome, connection.id, node.clock_ms()))
            if connection.is_held:
                # What was missed comes from the store, at the socket's own pace, and then what is new.
                connection.is_held = False
                connection.go_on()
            connection.renewal_over()

        connection.wait_for_renewal()
        node.admission.renew(principal.claims, params.token, renewed)

    def rights_changed(self) -> None:
        """Something about the bearer's account changed: ask what they may, and hand over nothing until then."""
        connection = self._connection
        if connection.is_closing or connection.principal is None or connection.principal.claims is None:
            return
        connection.unsure += 1
        connection.hand_over_nothing()
        self._ask_rights()

    def _ask_rights(self) -> None:
        connection = self._connection
        principal = connection.principal
        if connection.is_closing or principal is None or principal.claims is None:
            return

        def admitted(outcome: Principal | BaseException) -> None:
            if connection.is_closing or connection.principal is None:
                return
            if connection.principal.claims is not principal.claims:
                self._ask_rights()  # it was renewed meanwhile, perhaps with what was read before the change
                return
            if isinstance(outcome, Principal):
                self._become(outcome)
            elif isinstance(outcome, Refusal) and outcome.code == "token_revoked":
                connection.revoked("revoked")
                return
            else:  # the store is away: what they may is not known until it is back
                node = connection.node
                node.wheel.schedule(node.clock_s() + ASK_AGAIN_S, self._ask_rights)
                return
            connection.unsure -= 1
            connection.go_on()

        connection.node.admission.admit(principal.claims, admitted)

    def _become(self, principal: Principal) -> None:
        """Act as this principal from now on: new roles and grants apply at once."""
        connection = self._connection
        before = connection.principal
        assert before is not None
        # `Connections` finds a connection by its principal.
        connections = connection.node.connections
        connections.disown(connection, before)
        connection.principal = principal
        connections.add(connection, principal)
        if principal.expires_at_s != before.expires_at_s:
            self.warned = False
            self.watch()
        connection.became(before)


def expiring(principal: Principal) -> dict[str, Any]:
    """The body of `session.expiring`."""
    return {"expires_at": rfc3339(int(principal.expires_at_s * 1000))}
