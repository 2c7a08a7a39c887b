"""The first message of a connection, which signs it in or ends it, and the wait for it.

The dialect's greeting, or `session.authenticate` alone. There only until the connection begins. While the token is
being looked up nothing more is read, and what had been waits here. What the token must be is `service.admission`'s.
"""

import functools
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from parley.dialects.dialect import Dialect, Request
from parley.domain import sessions
from parley.domain.errors import Refusal
from parley.domain.principal import Principal
from parley.service.admission import refusal_of
from parley.tokens import TokenRefused
from parley.tokens.bearer import Credential
from parley.transport.connections import Live
from parley.transport.node import Node
from parley.transport.sockets import Socket
from parley.transport.timers import Timer
from parley.transport.wires import Wire

BYTES_MAX: Final = 16_384
#: Where the time to authenticate is off: nobody waits for longer, and one who waits is counted as pending.
OFF_S: Final = 86_400.0
#: Messages kept while the first one's token is being looked up; nothing more is read meanwhile.
EARLY_MAX: Final = 64


class Stranger(Live, Protocol):
    """A connection that has not begun: its `principal` is the handshake's, or None."""

    principal: Principal | None

    @property
    def node(self) -> Node: ...
    @property
    def wire(self) -> Wire: ...
    @property
    def codec(self) -> Dialect: ...
    @property
    def address(self) -> str: ...
    @property
    def credential(self) -> Credential | None: ...
    @property
    def id(self) -> str: ...
    @property
    def ws(self) -> Socket | None: ...
    @property
    def is_closing(self) -> bool: ...
    def begin(self, principal: Principal) -> None:
        """Act for its bearer from now on."""

    def put(self, message: bytes | None) -> None: ...
    def end(self, code: int, reason: str) -> None: ...


class FirstMessage:
    """The wait begins when it is made, and ends with `stop`."""

    __slots__ = ("_connection", "_early", "_timer")

    def __init__(self, connection: Stranger) -> None:
        node = connection.node
        self._connection = connection
        self._early: deque[tuple[Callable[[bytes], None], bytes]] | None = None
        if connection.principal is None:
            node.connections.wait(connection.address)
        wait_s = node.timing.authentication_s or OFF_S
        self._timer: Timer | None = node.wheel.schedule(node.clock_s() + wait_s, self._nobody_came)

    def stop(self) -> None:
        """It is over, or its bearer is known."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            if self._connection.principal is None:
                self._connection.node.connections.waited(self._connection.address)

    def take(self, again: Callable[[bytes], None], receive: Callable[[bytes], list[Request]], data: bytes) -> None:
        """A message, which `receive` decodes; what waits is given to `again` once the connection has begun.

        Raises: Ended.
        """
        connection = self._connection
        if self._early is not None:  # the token is being looked up; what follows it waits
            if len(self._early) < EARLY_MAX:
                self._early.append((again, data))
                return
            refusal = Refusal("rate_limited", "Wait for the answer to `session.authenticate`.")
            turn_away(connection, None, refusal)
            return
        requests = receive(data)
        if len(data) > BYTES_MAX:
            # Read all the same: what it asks says where its sender looks for the refusal.
            asked = requests[0] if requests and requests[0].batch is None else None
            turn_away(connection, asked, Refusal("too_large", "The first message has at most 16 KiB."))
            return
        if not requests:
            return
        request = requests[0]
        if request.is_aside:
            connection.put(connection.codec.refused(request, request.refusal or Refusal("not_found")))
            return
        if request.greeting is None and (
            request.batch is not None or not isinstance(request.params, sessions.Authenticate)
        ):
            missing = request.refusal if request.batch is None and request.refusal is not None else None
            turn_away(connection, request if request.batch is None else None, missing or Refusal("token_missing"))
            return
        try:
            token = self._token_in(request)
        except Refusal as refused:
            refuse_token(connection, request, refused)
            return
        if token is None:
            assert connection.principal is not None
            self._looked_up(request, None, connection.principal)
        else:
            self._early = deque()
            connection.node.admission.admit_token(token, functools.partial(self._looked_up, request, token))
            if self._early is not None and not connection.is_closing and connection.ws is not None:
                connection.ws.pause_reading()

    def _token_in(self, request: Request) -> str | None:
        """The token of a first message; None where the handshake's bearer is to act. Raises: Refusal."""
        if isinstance(request.params, sessions.Authenticate):
            return request.params.token
        connection = self._connection
        credential_in, shown = connection.wire.credential_in, connection.credential
        assert credential_in is not None
        try:
            credential = credential_in(request.greeting, connection.node.carriers, beside=shown)
        except TokenRefused as refused:
            raise refusal_of(refused) from None
        if credential is None:
            raise Refusal("token_missing")
        return None if credential is shown else credential.secret

    def _looked_up(self, request: Request, token: str | None, outcome: Principal | BaseException) -> None:
        connection = self._connection
        if connection.is_closing:
            return
        if not isinstance(outcome, Principal):
            refusal = outcome if isinstance(outcome, Refusal) else Refusal("unavailable")
            refuse_token(connection, request, refusal, token)
            return
        self.stop()
        if connection.ws is not None:
            connection.ws.resume_reading()
        node = connection.node
        if connection.principal is None:
            connection.principal = outcome
            node.connections.add(connection, outcome)
        connection.put(connection.codec.result(request, sessions.describe(outcome, connection.id, node.clock_ms())))
        connection.begin(outcome)
        early, self._early = self._early, None
        for again, data in early or ():
            again(data)

    def _nobody_came(self) -> None:
        self._connection.end(4408, "authentication_timeout")


def turn_away(connection: Stranger, request: Request | None, refusal: Refusal) -> None:
    """End one that has not signed in, saying why: with 4401; 1013 where nobody can say now."""
    if request is not None:
        connection.put(connection.codec.refused(request, refusal))
    elif connection.wire.credential_in is None:
        connection.put(connection.codec.refused(Request(None, None, id=b"null"), refusal))
    if refusal.status == 503:
        connection.end(1013, "overloaded")  # nothing is wrong with the token: come back with it
    else:
        is_told = refusal.status == 401 or refusal.code == "ambiguous_credentials"
        connection.end(4401, refusal.code if is_told else "token_missing")


def refuse_token(connection: Stranger, request: Request, refusal: Refusal, token: str | None = None) -> None:
    """Count a token that does not sign in, and end its connection; `token` is the one that was looked up."""
    counted = connection.node.counted(refusal, "the first message", connection.address, token)
    if counted.code == "rate_limited":
        connection.put(connection.codec.refused(request, counted))
        connection.end(4429, "rate_limited")
    else:
        turn_away(connection, request, refusal)
