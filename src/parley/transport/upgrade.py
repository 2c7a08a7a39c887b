"""The HTTP side of a WebSocket: what was asked, what is answered, and the wait for a decision between them.

Who may open a socket is decided elsewhere (`handshake`); what happens on it afterwards is `websocket`'s.
"""

import asyncio
import hashlib
import logging
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from parley.transport.problems import Refuse as Refuse
from parley.transport.problems import header_line
from parley.transport.problems import problem as problem
from parley.transport.sockets import Receiver
from parley.transport.websocket import WebSocket, open_websocket

log = logging.getLogger(__name__)

# How long a decision may take before the peer gets a 503 instead.
DECISION_TIMEOUT_S = 20.0

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3


class Accept:
    """Switch protocols and hand the socket to `receiver`."""

    __slots__ = ("headers", "message_bytes_max", "receiver", "subprotocol")

    def __init__(
        self,
        receiver: Receiver[WebSocket],
        subprotocol: str | None = None,
        message_bytes_max: int = 131_072,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        self.receiver = receiver
        self.subprotocol = subprotocol
        self.message_bytes_max = message_bytes_max
        self.headers = headers


class HandOn:
    """Let somebody else answer: `begin(transport, early, members)` takes the transport over."""

    __slots__ = ("begin",)

    def __init__(self, begin: Callable[[asyncio.Transport, bytes, set[Any]], None]) -> None:
        self.begin = begin


class UpgradeRequest:
    """One request to become a WebSocket, as it was sent.

    `method`, `path` and `query` are undecoded (`path` without the query); `headers` are (lower-case name, value) in
    their order; `client` is the peer's (address, port), None on a Unix socket.
    """

    __slots__ = ("_malformed", "client", "headers", "http_version", "is_secure", "method", "path", "query")

    def __init__(
        self,
        *,
        method: str,
        target: str,
        http_version: str,
        headers: list[tuple[str, str]],
        client: tuple[str, int] | None,
        is_secure: bool,
    ) -> None:
        self.method = method
        self.path, self.query = split_target(target)
        self.http_version = http_version
        self.headers = headers
        self.client = client
        self.is_secure = is_secure
        self._malformed: Refuse | bool | None = False  # not looked at yet

    def __repr__(self) -> str:
        # Never the query or the headers: they may carry a credential.
        return f"<UpgradeRequest {self.method} {self.path}>"

    def header(self, name: str) -> str | None:
        """The first value of a header (lower-case `name`)."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def header_values(self, name: str) -> list[str]:
        """Every value of a header, lines apart, commas not yet split."""
        return [value for key, value in self.headers if key == name]

    @property
    def subprotocols(self) -> list[str]:
        """What `Sec-WebSocket-Protocol` offers, in order."""
        offered = ",".join(self.header_values("sec-websocket-protocol")).split(",")
        return [token for part in offered if (token := part.strip())]

    @property
    def is_well_formed(self) -> bool:
        return self.malformed() is None

    def malformed(self) -> Refuse | None:
        """The refusal of a request that is no proper upgrade (RFC 6455 §4.2.1, §4.4), None for one that is."""
        if isinstance(self._malformed, bool):
            self._malformed = self._find_fault()
        return self._malformed

    def _find_fault(self) -> Refuse | None:
        if self.method != "GET":
            return problem(405, "method_not_allowed", "A WebSocket is opened with GET.", [("Allow", "GET")])
        versions = self.header_values("sec-websocket-version")
        if versions != ["13"]:
            return problem(
                426,
                "upgrade_required",
                "Sec-WebSocket-Version must be 13.",
                [("Sec-WebSocket-Version", "13"), ("Upgrade", "websocket")],
            )
        if self.http_version == "1.0":
            return problem(400, "invalid_request", "A WebSocket needs HTTP/1.1.")
        if len(self.header_values("host")) != 1:
            return problem(400, "invalid_request", "Exactly one Host header is required.")
        keys = self.header_values("sec-websocket-key")
        if len(keys) != 1 or not _is_key(keys[0]):
            return problem(400, "invalid_request", "Sec-WebSocket-Key must be 16 bytes in base64, once.")
        return None


def split_target(target: str) -> tuple[str, str]:
    """Path and query of a request's target, undecoded; a proxy may send the whole URL (RFC 9112 §3.2.2)."""
    path, _, query = target.partition("#")[0].partition("?")
    if not path.startswith("/"):
        path = "/" + path.partition("://")[2].partition("/")[2]
    return path, query


def _is_key(value: str) -> bool:
    try:
        return len(value) == 24 and len(b64decode(value, validate=True)) == 16
    except ValueError:
        return False


def accept_value(key: str) -> bytes:
    """`Sec-WebSocket-Accept` for a `Sec-WebSocket-Key` (RFC 6455 §4.2.2)."""
    return b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest())


class Upgrade:
    """One upgrade request until it is answered; `http_protocol` makes it, and goes on being the protocol meanwhile.

    Subclasses by `upgrade_protocol` are what uvicorn gets as `ws=`.
    """

    __slots__ = ("_deadline", "_members", "_release", "_request", "_transport", "early", "is_answered")

    decide: ClassVar[Callable[[UpgradeRequest, Callable[[Accept | Refuse | HandOn], bool]], None]]
    takes: ClassVar[Callable[[str], bool]]
    call_at: ClassVar[Callable[[float, Callable[[], None]], Any] | None] = None
    clock: ClassVar[Callable[[], float] | None] = None

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any]) -> None:
        self._members: set[Any] = server_state.connections
        self._deadline: asyncio.TimerHandle | None = None
        self.is_answered = False

    def begin(
        self, transport: asyncio.Transport, request: UpgradeRequest, early: bytes, release: Callable[[], None]
    ) -> None:
        """Ask for the decision. Where it is not there on return, reading waits for it.

        `early` is what came behind the request; `release` is called when the transport has another protocol.
        """
        self._transport = transport
        self._request = request
        self.early = early
        self._release = release
        try:
            type(self).decide(request, self.respond)
        except Exception:
            log.exception("an upgrade could not be decided")
            self.respond(problem(500, "internal", "The server failed."))
        if not self.is_answered:
            transport.pause_reading()
            late = problem(503, "unavailable", "No decision was reached in time.", [("Retry-After", "5")])
            self._deadline = asyncio.get_running_loop().call_later(DECISION_TIMEOUT_S, self.respond, late)

    def abandon(self) -> None:
        """The peer has gone: the answer will find nobody."""
        self._answered()

    def _answered(self) -> None:
        self.is_answered = True
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def respond(self, outcome: Accept | Refuse | HandOn) -> bool:
        """Answer the request, once.

        False where the peer has gone, or where an `Accept` met a request that is not well formed (it is refused as
        such): the receiver will hear nothing at all.
        """
        transport = self._transport
        was_answered = self.is_answered
        self._answered()
        if was_answered or transport.is_closing():
            return False
        if isinstance(outcome, HandOn):
            self._release()
            outcome.begin(transport, self.early, self._members)
            return True
        if isinstance(outcome, Accept):
            malformed = self._request.malformed()
            if malformed is None:
                self._accept(outcome)
                return True
            transport.write(malformed.encoded)
            transport.close()
            return False
        transport.write(outcome.encoded)
        transport.close()
        return True

    def _accept(self, outcome: Accept) -> None:
        key = self._request.header("sec-websocket-key")
        assert key is not None
        head = [
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
            accept_value(key),
            b"\r\n",
        ]
        if outcome.subprotocol is not None:
            head.append(header_line("Sec-WebSocket-Protocol", outcome.subprotocol))
        head += [header_line(name, value) for name, value in outcome.headers]
        head.append(b"\r\n")
        transport = self._transport
        transport.write(b"".join(head))
        self._release()
        loop = asyncio.get_running_loop()
        open_websocket(
            transport,
            outcome.receiver,
            outcome.message_bytes_max,
            members=self._members,
            clock=type(self).clock or loop.time,
            call_at=type(self).call_at or loop.call_at,
            early=self.early,
        )


def upgrade_protocol(
    decide: Callable[[UpgradeRequest, Callable[[Accept | Refuse | HandOn], bool]], None],
    *,
    takes: Callable[[str], bool] = lambda _: True,
    call_at: Callable[[float, Callable[[], None]], Any] | None = None,
    clock: Callable[[], float] | None = None,
) -> type[Upgrade]:
    """The class for uvicorn's `ws=`.

    `decide(request, respond)` is called for each upgrade request, also for one that is not well formed, so that an
    unknown path can be told first. It calls `respond` once, before it returns or later. On a path that `takes` none, a
    request to upgrade is a plain one (RFC 9110 §7.8). `call_at` and `clock` are for the deadlines of closing sockets: a
    timer wheel's, or the loop's own where they are left out.
    """
    slots = {"__slots__": (), "decide": staticmethod(decide), "takes": staticmethod(takes)}
    if call_at is not None:
        slots["call_at"] = staticmethod(call_at)
    if clock is not None:
        slots["clock"] = staticmethod(clock)
    return type("BoundUpgrade", (Upgrade,), slots)
