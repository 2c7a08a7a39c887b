"""`/graphql` over HTTP: queries by GET, queries and mutations by POST, and the page for whoever looks with a browser.

Asks who it is, hands each field's command to the door, and answers once the last is over. Documents and answers are the
dialect's (`dialects/graphql_*`); subscriptions are `graphql_socket.py`'s.
"""

import asyncio
import functools
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from parley.dialects import graphql_http
from parley.dialects.graphql_documents import Documents, Refused, error_of
from parley.dialects.graphql_operations import Asked, Call, Operation, asked_in, prepare, refused
from parley.dialects.graphql_schema import sdl
from parley.domain import sessions
from parley.domain.errors import Refusal
from parley.domain.principal import Principal
from parley.service.door import Door
from parley.transport import bodies, problems
from parley.transport.pages import Pages, matches

_HEADERS: Final = {"Cache-Control": "no-store", "Vary": "Accept"}
_HERE_IS_NO_CONNECTION: Final = "This is about a connection, and there is none here."


class GraphqlHandlers:
    """The answers. `principal` says who asks, or raises the refusal of their credential; `read` gives their body."""

    def __init__(
        self,
        door: Door,
        pages: Pages,
        principal: Callable[[Request], Awaitable[Principal]],
        read: Callable[[Request, Principal], Awaitable[bytes]],
        documents: Documents,
        clock_ms: Callable[[], int],
    ) -> None:
        self._door = door
        self._pages = pages
        self._principal = principal
        self._read = read
        self._documents = documents
        self._clock_ms = clock_ms

    async def get(self, request: Request) -> Response:
        """`GET /graphql`: a query, or the page."""
        kind = graphql_http.media_type(request.headers.getlist("accept"), with_page=True)
        if kind == graphql_http.HTML:
            page = self._pages.answer(request, "graphql/index.html")
            page.headers.add_vary_header("Accept")
            return page
        principal = await self._principal(request)
        query_string = request.scope["query_string"].decode("latin-1")
        return await self._answer(kind, principal, lambda: graphql_http.asked_by_get(query_string), only_queries=True)

    async def schema(self, request: Request) -> Response:
        """`GET /graphql/schema.graphql`: the schema as text, which is no secret."""
        body, etag = _schema_text()
        headers = {"Cache-Control": "no-cache", "ETag": etag}
        if matches(request.headers.getlist("if-none-match"), etag):
            return Response(status_code=304, headers=headers)
        return Response(body, headers={**headers, "Content-Type": "text/plain; charset=utf-8"})

    async def post(self, request: Request) -> Response:
        """`POST /graphql`: one operation."""
        kind = graphql_http.media_type(request.headers.getlist("accept"))
        principal = await self._principal(request)
        bodies.require_media_type(request, (bodies.JSON,))
        body = await self._read(request, principal)
        return await self._answer(kind, principal, lambda: asked_in(body))

    async def _answer(
        self, kind: str, principal: Principal, ask: Callable[[], Asked], *, only_queries: bool = False
    ) -> Response:
        try:
            asked = ask()
        except Refusal as refusal:
            return _said(refused([error_of(refusal)]), kind, 400)
        try:
            operation = prepare(self._documents, asked)
            if operation.kind == "subscription":
                raise Refused([error_of(Refusal("unknown_command", "Subscriptions need a WebSocket."))])
        except Refused as wrong:
            return _said(refused(wrong.errors), kind, graphql_http.status_of_refused(kind))
        if only_queries and operation.kind != "query":
            return problems.response(Refusal("method_not_allowed", "A mutation is sent by POST."), [("Allow", "POST")])
        return _said(operation.answer(await self._carry_out(operation, principal)), kind, 200)

    async def _carry_out(self, operation: Operation, principal: Principal) -> list[Any]:
        """What each call came to, in one line; once all are there."""
        left = len(operation.calls)
        outcomes: list[Any] = [None] * left
        if not left:
            return outcomes
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ordering = self._door.ordering()

        def answered(index: int, outcome: Any) -> None:
            nonlocal left
            outcomes[index] = outcome
            left -= 1
            if not left and not over.done():
                over.set_result(None)

        for index, call in enumerate(operation.calls):
            self._begin(call, principal, ordering, functools.partial(answered, index))
        await over
        return outcomes

    def _begin(self, call: Call, principal: Principal, ordering: Any, answered: Callable[[Any], None]) -> None:
        row, params = call.root.row, call.params
        assert row is not None
        if isinstance(params, sessions.Describe):
            answered(sessions.describe(principal, None, self._clock_ms()))
        elif row.kind == "connection":
            answered(Refusal("unknown_command", _HERE_IS_NO_CONNECTION))
        elif params is None:
            answered(call.refusal or Refusal("invalid_request"))
        else:
            self._door.submit(row, params, principal, ordering, answered)


@functools.cache
def _schema_text() -> tuple[bytes, str]:
    body = sdl().encode()
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _said(body: bytes, kind: str, status: int) -> Response:
    return Response(body, status, headers={**_HEADERS, "Content-Type": f"{kind}; charset=utf-8"})
