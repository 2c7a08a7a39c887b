"""The application: which path takes which method, whose origin may call it, and what is on every answer.

Upgrades never come here (`upgrade`). What the answers are is `http.py`, `pages.py` and `health.py`.

What is checked first is reported: path, method, origin; the rest is the handler's.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from parley.dialects.graphql_documents import Documents
from parley.domain.errors import Refusal
from parley.service.admission import Admission
from parley.service.door import Door, incident
from parley.service.helpdesk import Helpdesk
from parley.service.limits import Buckets
from parley.service.refusals import Refusals
from parley.service.sessions import Sessions
from parley.service.sign_in import SignIn
from parley.service.tickets import Tickets
from parley.transport import problems
from parley.transport.addresses import Addresses, Network
from parley.transport.auth import LIMIT_KEY, Auth
from parley.transport.conversations import Conversations
from parley.transport.graphql import GraphqlHandlers
from parley.transport.health import Dependency, Health
from parley.transport.http import Handlers
from parley.transport.origins import Origins
from parley.transport.pages import Pages
from parley.transport.streams import StreamHandlers

log = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[Response]]
#: Told of every request once it is over: method, path without the query, status (499: the client went before an
#: answer), milliseconds, address.
Access = Callable[[str, str, int, float, str], None]

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_CORS_PATHS: Final = frozenset({"/.well-known/jwks.json", "/rpc", "/graphql", "/conversations"})
_CORS_FOLDERS: Final = ("/auth/", "/rpc/", "/graphql/", "/socket.io/", "/conversations/", "/streams/")
_PREFLIGHT_S_MAX: Final = 7200
#: How long, and how much, whoever is refused in the middle of a long body may go on sending: hanging up on unread
#: bytes would make the kernel send a reset, and the client might never see the refusal.
_LINGER_S: Final = 2.0
_LINGER_BYTES_MAX: Final = 4 * 1024 * 1024
_PATH_CHARS_MAX: Final = 200
_SEGMENT_CHARS_MAX: Final = 64
_ON_EVERY_ANSWER: Final = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))


def _log_access(method: str, path: str, status: int, took_ms: float, address: str) -> None:
    log.info("%s %s %d %.1f ms %s", method, path, status, took_ms, address)


def _nothing_to_stand_on() -> Iterable[Dependency]:
    return ()


async def _no_metrics(_: Request) -> bytes:
    return b""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppParts:
    """What the application is made of. `clock_s` is monotonic, `clock_ms` gives Unix milliseconds.

    `bad_tokens` and `refusals` are shared with the handshake, `documents` with the GraphQL sockets. `web` is the folder
    of the pages.
    """

    door: Door
    admission: Admission
    sign_in: SignIn
    sessions: Sessions
    tickets: Tickets
    helpdesk: Helpdesk
    jwks: Callable[[], Mapping[str, Any]]
    origins: Origins
    addresses: Addresses
    carriers: Collection[str]
    bad_tokens: Buckets
    refusals: Refusals
    request_bytes_max: int
    clock_s: Callable[[], float]
    clock_ms: Callable[[], int]
    readiness: Callable[[], Iterable[Dependency]] = _nothing_to_stand_on
    metrics: Callable[[Request], Awaitable[bytes]] = _no_metrics
    metrics_allow: Collection[Network] = ()
    access: Access = _log_access
    documents: Documents = field(default_factory=Documents)
    #: What answers at `/socket.io/`, whatever the method.
    socketio: ASGIApp | None = None
    #: What answers under `/streams/`.
    streams: Callable[[Handlers], StreamHandlers] | None = None
    #: Who may frame `/widget`.
    widget_origins: Collection[str] = ()
    web: Traversable = field(default_factory=lambda: files("parley") / "web")


def create_app(parts: AppParts) -> ASGIApp:
    """The ASGI application of one node: give it to uvicorn as its app, with `lifespan="off"`."""
    handlers = Handlers(
        door=parts.door,
        admission=parts.admission,
        jwks=parts.jwks,
        carriers=parts.carriers,
        bad_tokens=parts.bad_tokens,
        refusals=parts.refusals,
        request_bytes_max=parts.request_bytes_max,
        clock_s=parts.clock_s,
        clock_ms=parts.clock_ms,
    )
    auth = Auth(
        parts.sign_in, parts.sessions, parts.tickets, handlers.principal, handlers.read, parts.request_bytes_max
    )
    conversations = Conversations(parts.helpdesk, handlers.bearer, handlers.read)
    pages = Pages(parts.web, parts.origins, parts.widget_origins)
    graphql = GraphqlHandlers(parts.door, pages, handlers.principal, handlers.read, parts.documents, parts.clock_ms)
    health = Health(parts.readiness, parts.metrics, parts.metrics_allow, parts.addresses)
    places: list[tuple[str, dict[str, Handler]]] = [
        ("/", {"GET": pages.chat}),
        ("/agent", {"GET": pages.agent}),
        ("/widget", {"GET": pages.widget}),
        ("/widget.js", {"GET": pages.widget_script}),
        ("/listen/{stream}", {"GET": pages.listen}),
        ("/broadcast/{stream}", {"GET": pages.broadcast}),
        ("/static/{path:path}", {"GET": pages.static}),
        ("/auth/login", {"POST": auth.login}),
        ("/auth/refresh", {"POST": auth.refresh}),
        ("/auth/logout", {"POST": auth.logout}),
        ("/auth/revoke", {"POST": auth.revoke}),
        ("/auth/tickets", {"POST": auth.mint_ticket}),
        ("/.well-known/jwks.json", {"GET": handlers.jwks}),
        ("/rpc", {"POST": handlers.rpc}),
        ("/conversations", {"POST": conversations.start}),
        ("/graphql", {"GET": graphql.get, "POST": graphql.post}),
        ("/graphql/schema.graphql", {"GET": graphql.schema}),
        ("/ws", {"GET": _upgrade_required}),
        ("/healthz", {"GET": health.healthz}),
        ("/readyz", {"GET": health.readyz}),
        ("/metrics", {"GET": health.metrics}),
    ]
    if parts.streams is not None:
        streams = parts.streams(handlers)
        places += [
            ("/streams/{stream}", {"GET": streams.listen, "PUT": streams.broadcast}),
            ("/streams/{stream}/listen", {"GET": _upgrade_required}),
            ("/streams/{stream}/publish", {"GET": _upgrade_required}),
        ]
    routes = [Route(path, endpoint=_Place(methods, parts.origins)) for path, methods in places]
    if parts.socketio is not None:
        routes.append(Route("/socket.io/", endpoint=parts.socketio))
    router = Router(routes=routes, redirect_slashes=False, default=_nowhere)
    return _Edge(router, parts)


async def _upgrade_required(_: Request) -> Response:
    headers = [("Upgrade", "websocket"), ("Connection", "Upgrade")]
    return problems.response(Refusal("upgrade_required"), headers)


async def _nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    raise Refusal("not_found", "There is nothing at this path.")


class _Place:
    """One path: the methods it takes and who answers them. HEAD is answered where GET is, without its body."""

    def __init__(self, handlers: Mapping[str, Handler], origins: Origins) -> None:
        self._handlers = handlers
        self._origins = origins
        self._allow = ", ".join([*handlers, *(["HEAD"] if "GET" in handlers else []), "OPTIONS"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = await self._answer(request)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        method = request.method
        handler = self._handlers.get("GET" if method == "HEAD" else method)
        if handler is None:
            allow = [("Allow", self._allow)]
            if method == "OPTIONS":
                return Response(status_code=204, headers=dict(allow))
            return problems.response(Refusal("method_not_allowed"), allow)
        if method not in _SAFE_METHODS:
            origin = _origin_of(request.headers.getlist("origin"))
            if not self._origins.admits(origin):
                raise self._origins.denied(origin)
        return await handler(request)


def _origin_of(values: list[str]) -> str | None:
    # Two of them are no origin at all, whatever they say.
    return ", ".join(values) if values else None


class _Edge:
    """The outermost: turns refusals and bugs into problems, adds what is on every answer, and tells of each request."""

    def __init__(self, app: ASGIApp, parts: AppParts) -> None:
        self._app = app
        self._origins = parts.origins
        self._addresses = parts.addresses
        self._access = parts.access
        self._body_bytes_max = parts.request_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun_s = time.perf_counter()
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        client = scope["client"]
        address = self._addresses.client(client[0] if client else None, headers)
        scope[LIMIT_KEY] = self._addresses.limit_key(address)
        exchange = _Exchange(receive, send, self._cors(scope, headers), headers, self._body_bytes_max)
        try:
            await self._answer(scope, exchange)
        finally:
            path = _loggable(scope)
            self._access(scope["method"], path, exchange.status, (time.perf_counter() - begun_s) * 1000, address)

    async def _answer(self, scope: Scope, exchange: "_Exchange") -> None:
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            return
        except Refusal as refusal:
            response = problems.response(refusal)
        except Exception as bug:
            response = problems.response(incident(bug, f"{scope['method']} {_loggable(scope)}"))
            if exchange.has_begun:
                raise  # half an answer is out: only cutting the connection says that it is not the whole
        else:
            return
        await response(scope, exchange.receive, exchange.send)

    def _cors(self, scope: Scope, headers: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
        path = scope["path"]
        if path not in _CORS_PATHS and not path.startswith(_CORS_FOLDERS):
            return []
        said = [(b"vary", b"Origin")]
        origin = _origin_of([value for name, value in headers if name == "origin"])
        if origin is None or not self._origins.admits(origin):
            return said
        said.append((b"access-control-allow-origin", origin.encode("latin-1")))
        asked = next((value for name, value in headers if name == "access-control-request-method"), None)
        if scope["method"] != "OPTIONS" or asked is None:
            said.append((b"access-control-expose-headers", b"Retry-After, WWW-Authenticate"))
            return said
        return [
            *said,
            (b"vary", b"Access-Control-Request-Method, Access-Control-Request-Headers"),
            # The star is all but `Authorization`, which has to be named; old browsers take it for a header's name.
            (b"access-control-allow-headers", b"Authorization, Content-Type, *"),
            (b"access-control-max-age", str(_PREFLIGHT_S_MAX).encode()),
        ]


class _Exchange:
    """One request and its answer on their way through: what is added, and what is left unread."""

    def __init__(
        self,
        receive: Receive,
        send: Send,
        cors: list[tuple[bytes, bytes]],
        request_headers: list[tuple[str, str]],
        body_bytes_max: int,
    ) -> None:
        self._receive = receive
        self._send = send
        self._cors = cors
        self._is_preflight = any(name == b"access-control-allow-headers" for name, _ in cors)
        self._unread = _body_of_unknown_end(request_headers, body_bytes_max)
        self._lingers = False
        self.has_begun = False
        self.status = 499

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            self._unread = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            self.status = message["status"]
            await self._send({**message, "headers": self._headers(message)})
        elif self._lingers and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._linger()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await self._send(message)

    def _headers(self, message: Message) -> list[tuple[bytes, bytes]]:
        headers = list(message.get("headers", ()))
        given = {name for name, _ in headers}
        headers += [header for header in _ON_EVERY_ANSWER if header[0] not in given]
        headers += self._cors
        if self._is_preflight:
            headers += [(b"access-control-allow-methods", value) for name, value in headers if name == b"allow"]
        if self._unread:
            self._lingers = True
            headers = [header for header in headers if header[0] != b"connection"] + [(b"connection", b"close")]
        return headers

    async def _linger(self) -> None:
        left = _LINGER_BYTES_MAX
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while self._unread and left > 0:
                    message = await self.receive()
                    left -= len(message.get("body", b""))


def _body_of_unknown_end(headers: list[tuple[str, str]], bytes_max: int) -> bool:
    """Whether more may come than a request may have: uvicorn reads on, and drops, what an answer left unread."""
    for name, value in headers:
        # Whoever waits for a `100 Continue` and is refused instead may send the body or not: nobody can tell which.
        if name in ("transfer-encoding", "expect"):
            return True
        if name == "content-length":
            return not (value.isascii() and value.isdigit() and len(value) < 16 and int(value) <= bytes_max)
    return False


def _loggable(scope: Scope) -> str:
    """The path, without what might be a credential: ids have at most 64 characters, a token has more."""
    path = scope.get("raw_path", b"").decode("ascii", "backslashreplace")[: _PATH_CHARS_MAX * 2]
    segments = [part if len(part) <= _SEGMENT_CHARS_MAX else "…" for part in path.split("/")]
    return "/".join(segments)[:_PATH_CHARS_MAX]
