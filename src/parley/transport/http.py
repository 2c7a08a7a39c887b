"""What is asked and answered by HTTP: the public keys, commands by `POST /rpc`, and who asks. Signing in is `auth.py`.

Each handler does what the contract's row says, or raises the Refusal that the application turns into a problem. Paths,
methods and origins are `app.py`; what a command may is decided behind the door.
"""

import asyncio
import functools
import hashlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from parley.dialects import dialect
from parley.dialects.native import NULL_ID, Native
from parley.domain import sessions
from parley.domain.errors import Refusal
from parley.domain.principal import Principal
from parley.service.admission import Admission, refusal_of
from parley.service.ask import called_back
from parley.service.door import Door, incident
from parley.service.limits import Buckets
from parley.service.refusals import Refusals
from parley.tokens import TokenRefused
from parley.tokens.bearer import PLAIN, Credential, Endpoint, find_credential
from parley.transport import bodies
from parley.transport.auth import LIMIT_KEY
from parley.transport.pages import matches

#: Seconds for which others may keep our public keys: a new one signs 10 minutes after it is published.
JWKS_S_MAX: Final = 300
_NO_STORE: Final = {"Cache-Control": "no-store"}


class Handlers:
    """The answers. `clock_s` is monotonic, `clock_ms` gives Unix milliseconds; a `request_bytes_max` of 0 is off."""

    def __init__(
        self,
        *,
        door: Door,
        admission: Admission,
        jwks: Callable[[], Mapping[str, Any]],
        carriers: Collection[str],
        bad_tokens: Buckets,
        refusals: Refusals,
        request_bytes_max: int,
        clock_s: Callable[[], float],
        clock_ms: Callable[[], int],
    ) -> None:
        self._door = door
        self._admission = admission
        self._jwks = jwks
        self._carriers = carriers
        self._bad_tokens = bad_tokens
        self._refusals = refusals
        self._request_bytes_max = request_bytes_max
        self._clock_s = clock_s
        self._clock_ms = clock_ms
        self._native = Native()

    async def jwks(self, request: Request) -> Response:
        """`GET /.well-known/jwks.json`."""
        body = msgspec.json.encode(self._jwks())
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {"Cache-Control": f"public, max-age={JWKS_S_MAX}", "ETag": etag}
        if matches(request.headers.getlist("if-none-match"), etag):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type="application/jwk-set+json")

    async def rpc(self, request: Request) -> Response:
        """`POST /rpc`: one request or a batch, in its own order; refused commands are answers with status 200."""
        principal = await self.principal(request)
        bodies.require_media_type(request, (bodies.JSON,))
        body = await self.read(request, principal)
        answer = await self._carry_out(self._native.receive(body), principal)
        if answer is None:
            return Response(status_code=204, headers=_NO_STORE)
        return Response(answer, headers=_NO_STORE, media_type=bodies.JSON)

    async def principal(self, request: Request, endpoint: Endpoint = PLAIN) -> Principal:
        """Who asks. Raises: Refusal, of the credential; `rate_limited` where bad ones come too often from there."""
        principal = await self.bearer(request, endpoint)
        assert principal is not None, "an endpoint whose credential is not optional"
        return principal

    async def bearer(self, request: Request, endpoint: Endpoint, *, stream: str | None = None) -> Principal | None:
        """As `principal`, where nobody may ask too: None. A ticket is one for `stream`."""
        address, place = request.scope[LIMIT_KEY], request.url.path
        try:
            presented = find_credential(
                request.headers.items(),
                query=request.scope["query_string"].decode("latin-1"),
                endpoint=endpoint,
                carriers=self._carriers,
            )
        except TokenRefused as refused:
            raise self._refusals.noted(refusal_of(refused), place=place, address=address) from None
        credential = presented.credential
        if credential is None:
            return None
        try:
            principal = await self._admitted(credential, stream)
        except Refusal as refusal:
            if refusal.status == 401 and (wait_s := self._bad_tokens.take(address, self._clock_s())):
                told = "Too many bad tokens from this address."
                raise Refusal("rate_limited", told, retry_after=round(wait_s + 0.0005, 3)) from None
            token = credential.secret if credential.kind == "token" else None
            raise self._refusals.noted(
                refusal, place=place, address=address, carrier=credential.carrier, token=token
            ) from None
        self.require_still(request, principal)
        return principal

    async def read(self, request: Request, principal: Principal | None) -> bytes:
        """The body. Raises: Refusal, also where its bearer may not act any more: some take their time to send it."""
        body = await bodies.read(request, self._request_bytes_max)
        self.require_still(request, principal)
        return body

    def require_still(self, request: Request, principal: Principal | None) -> None:
        """Raises: Refusal, where one who was admitted may not act any more."""
        refusal = self._admission.lapsed(principal) if principal is not None else None
        if refusal is not None:
            address, place = request.scope[LIMIT_KEY], request.url.path
            raise self._refusals.noted(refusal, place=place, address=address)

    async def _admitted(self, credential: Credential, stream: str | None) -> Principal:
        if credential.kind == "ticket":
            admit = functools.partial(self._admission.redeem, credential.secret, stream=stream)
        else:
            admit = functools.partial(self._admission.admit_token, credential.secret)
        outcome: Principal | BaseException = await called_back(admit)
        if isinstance(outcome, Principal):
            return outcome
        if isinstance(outcome, Refusal):
            raise outcome
        raise incident(outcome, "admission")

    async def _carry_out(self, requests: list[dialect.Request], principal: Principal) -> bytes | None:
        """All of them, in one line; the answer once the last is over, None where none is due."""
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ordering = self._door.ordering()
        said: list[bytes] = []
        left = len(requests)

        def answered(request: dialect.Request, result: Any) -> None:
            nonlocal left
            native = self._native
            refused = isinstance(result, Refusal)
            answer = native.refused(request, result) if refused else native.result(request, result)
            if answer is not None:
                said.append(answer)
            left -= 1
            if not left and not over.done():
                over.set_result(None)

        for request in requests:
            if request.refusal is not None and request.refusal.code == "invalid_request" and request.id is not None:
                request.id = NULL_ID  # CONTRACT: here it is null, whatever came; on a socket it finds who waits
            self._begin(request, principal, ordering, functools.partial(answered, request))
        await over
        return said[0] if said else None

    def _begin(
        self, request: dialect.Request, principal: Principal, ordering: Any, answered: Callable[[Any], None]
    ) -> None:
        row, params = request.row, request.params
        if row is not None and row.kind == "connection" and row.params is not sessions.Describe:
            answered(Refusal("unknown_command", "This is about a connection, and there is none here."))
        elif row is None or params is None:
            answered(request.refusal or Refusal("invalid_request"))
        elif isinstance(params, sessions.Describe):
            answered(sessions.describe(principal, None, self._clock_ms()))
        else:
            self._door.submit(row, params, principal, ordering, answered)
