"""A small token server of somebody else's, with a switch for each mistake that `parley check` should find.

Without a switch it makes none of them. It shares nothing with Parley but the ways in which a token arrives, and is
built of other parts: Starlette, uvicorn's own WebSockets, PyJWT.
"""

import asyncio
import base64
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import jwt
import uvicorn
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm, HMACAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

#: Each mistake, and the finding of `parley check` that names it.
FAULTS: Final = {
    "takes alg none": "forged: alg none",
    "checks no signature": "forged: changed claims",
    "takes a public key as a secret": "forged: HS256 with a public key",
    "takes a key from the header": "forged: a key in the header (jwk)",
    "takes expired tokens": "an expired token",
    "takes refresh tokens as access tokens": "a refresh token",
    "lets any page open a socket": "foreign pages, sockets",
    "lets any page read answers": "foreign pages, requests",
    "takes tokens in URLs": "tokens in URLs",
    "lets sockets outlive their tokens": "a socket after its token",
    "lets sockets outlive their sign-out": "after a sign-out: the socket",
    "lets tokens outlive their sign-out": "after a sign-out: the token",
    "refuses pages by HTTP": "refusals, for pages",
    "refuses without a challenge": "refusals, for programs",
    "echoes the token as subprotocol": "tokens in answers",
    "echoes the token in errors": "tokens in answers",
    "publishes private keys": "published keys",
    "knows names faster": "who has an account",
    "says which names there are": "who has an account",
    "waits for a first message for ever": "no credential",
    "answers anybody": "no credential",
    "takes tickets twice": "tickets",
    "never notices stolen refresh tokens": "a refresh token, stolen",
    "lets its answers be cached": "signing in",
    "sends bare pages": "headers of pages",
}
USER: Final = "ada"
PASSWORD: Final = "a long password"
AUTHENTICATION_S: Final = 0.3
GRACE_S: Final = 0.3


class BadToken(Exception):
    """The message is the code."""


class FaultyServer:
    """`fault` is one of FAULTS, or None; access tokens last `ttl_s`."""

    def __init__(self, fault: str | None, ttl_s: float = 60) -> None:
        assert fault is None or fault in FAULTS
        self.fault = fault
        self.ttl_s = ttl_s
        self.port = 0
        self.key = ec.generate_private_key(ec.SECP256R1())
        public = json.loads(ECAlgorithm.to_jwk(self.key.public_key()))
        self.jwk = {**public, "kid": "k1", "alg": "ES256", "use": "sig"}
        self.jwk.pop("key_ops", None)
        info = serialization.PublicFormat.SubjectPublicKeyInfo
        self.pem = self.key.public_key().public_bytes(serialization.Encoding.PEM, info)
        self.refresh: dict[str, str] = {}  # refresh token -> session; the used ones stay
        self.used: set[str] = set()
        self.over: set[str] = set()
        self.tickets: dict[str, str] = {}
        self.sockets: dict[str, set[WebSocket]] = {}
        self.app = Starlette(
            routes=[
                Route("/", self.page),
                Route("/.well-known/jwks.json", self.jwks, methods=["GET", "OPTIONS"]),
                Route("/auth/login", self.login, methods=["POST", "OPTIONS"]),
                Route("/auth/refresh", self.refreshed, methods=["POST"]),
                Route("/auth/logout", self.logout, methods=["POST"]),
                Route("/auth/tickets", self.ticket, methods=["POST"]),
                WebSocketRoute("/ws", self.socket),
            ]
        )

    # --- tokens ---

    def issue(self, sid: str, *, kind: str = "access", ttl_s: float | None = None) -> str:
        now = time.time()
        lasts_s = self.ttl_s if ttl_s is None else ttl_s
        claims = {"iss": "faulty", "aud": "faulty", "sub": USER, "sid": sid, "kind": kind, "iat": now}
        return jwt.encode(
            {**claims, "exp": now + lasts_s, "jti": secrets.token_hex(8)}, self.key, "ES256", headers={"kid": "k1"}
        )

    def verify(self, token: str) -> dict[str, Any]:
        """Raises: BadToken."""
        try:
            header = jwt.get_unverified_header(token)
            claims = self._claims(token, header)
        except (jwt.PyJWTError, ValueError) as bad:
            expired = isinstance(bad, jwt.ExpiredSignatureError)
            raise BadToken("token_expired" if expired else "token_invalid") from None
        if claims.get("kind") != "access" and self.fault != "takes refresh tokens as access tokens":
            raise BadToken("token_wrong_type")
        if claims.get("sid") in self.over and self.fault != "lets tokens outlive their sign-out":
            raise BadToken("token_revoked")
        return claims

    def _claims(self, token: str, header: dict[str, Any]) -> dict[str, Any]:
        options: Any = {"verify_aud": False, "verify_exp": self.fault != "takes expired tokens"}
        unverified: Any = {"verify_signature": False}
        if self.fault == "checks no signature":
            return jwt.decode(token, options=unverified)
        if self.fault == "takes alg none" and header.get("alg") == "none":
            return jwt.decode(token, options=unverified)
        if self.fault == "takes a key from the header" and "jwk" in header:
            return jwt.decode(token, ECAlgorithm.from_jwk(header["jwk"]), ["ES256"], options=options)  # type: ignore[arg-type]
        if self.fault == "takes a public key as a secret" and header.get("alg") == "HS256":
            signing_input, _, signature = token.rpartition(".")
            octets = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
            # PyJWT itself refuses a PEM as a secret; whoever takes it wrote the check by hand.
            if HMACAlgorithm(HMACAlgorithm.SHA256).verify(signing_input.encode(), self.pem, octets):
                return jwt.decode(token, options=unverified)
        return jwt.decode(token, self.key.public_key(), ["ES256"], options=options)

    # --- HTTP ---

    async def page(self, request: Request) -> Response:
        headers = {
            "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        return HTMLResponse(
            "<!doctype html><title>chat</title>", headers={} if self.fault == "sends bare pages" else headers
        )

    def _cors(self, request: Request) -> dict[str, str]:
        if self.fault != "lets any page read answers" or "origin" not in request.headers:
            return {}
        origin = request.headers["origin"]
        return {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"}

    async def jwks(self, request: Request) -> Response:
        jwk = self.jwk
        if self.fault == "publishes private keys":
            jwk = {**json.loads(ECAlgorithm.to_jwk(self.key)), "kid": "k1"}
        return JSONResponse({"keys": [jwk]}, headers=self._cors(request))

    async def login(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=self._cors(request))
        body = await request.json()
        is_known = body.get("username") == USER
        if self.fault is None or (is_known and self.fault == "knows names faster"):
            await asyncio.sleep(0.1)  # what a hash takes, where that makes a difference
        if not is_known or body.get("password") != PASSWORD:
            code = (
                "unknown_user" if not is_known and self.fault == "says which names there are" else "invalid_credentials"
            )
            return JSONResponse({"code": code}, 401, headers=self._cors(request))
        return self._tokens(secrets.token_hex(8))

    def _tokens(self, sid: str) -> Response:
        refresh = self.issue(sid, kind="refresh", ttl_s=600)
        self.refresh[refresh] = sid
        headers = {} if self.fault == "lets its answers be cached" else {"Cache-Control": "no-store"}
        return JSONResponse({"access_token": self.issue(sid), "refresh_token": refresh}, headers=headers)

    async def refreshed(self, request: Request) -> Response:
        token = (await request.json())["refresh_token"]
        sid = self.refresh.get(token)
        if sid is None or sid in self.over:
            return JSONResponse({"code": "invalid_grant"}, 401)
        if token in self.used and self.fault != "never notices stolen refresh tokens":
            await self._end(sid)
            return JSONResponse({"code": "invalid_grant"}, 401)
        self.used.add(token)
        return self._tokens(sid)

    def _bearer(self, request: Request) -> dict[str, Any]:
        return self.verify(request.headers.get("authorization", "").removeprefix("Bearer "))

    async def logout(self, request: Request) -> Response:
        with suppress(BadToken):
            await self._end(self._bearer(request)["sid"])
        return Response(status_code=204)

    async def _end(self, sid: str) -> None:
        self.over.add(sid)
        if self.fault != "lets sockets outlive their sign-out":
            for socket in list(self.sockets.get(sid, ())):
                await socket.close(4403, "revoked")

    async def ticket(self, request: Request) -> Response:
        try:
            self._bearer(request)
        except BadToken as bad:
            return JSONResponse({"code": str(bad)}, 401)
        ticket = secrets.token_urlsafe(16)
        self.tickets[ticket] = request.headers["authorization"].removeprefix("Bearer ")
        return JSONResponse({"ticket": ticket}, 201)

    # --- sockets ---

    async def socket(self, socket: WebSocket) -> None:
        origin = socket.headers.get("origin")
        if origin is not None and self.fault != "lets any page open a socket":
            await socket.send_denial_response(JSONResponse({"code": "origin_denied"}, 403))
            return
        offered = [one.strip() for one in socket.headers.get("sec-websocket-protocol", "").split(",")]
        by_page = [one.removeprefix("bearer.") for one in offered if one.startswith("bearer.")]
        selected = "parley.v1" if "parley.v1" in offered else None
        if by_page and self.fault == "echoes the token as subprotocol":
            selected = f"bearer.{by_page[0]}"
        token = self._presented(socket, by_page)
        if token is None and self.fault != "answers anybody":
            await self._wait_in_vain(socket, selected)
            return
        try:
            claims = self.verify(token) if token is not None else {"sid": "nobody", "exp": time.time() + 60}
        except BadToken as bad:
            await self._refuse(socket, selected, str(bad), by_page=bool(by_page), token=token or "")
            return
        await socket.accept(selected)
        await self._serve(socket, claims)

    def _presented(self, socket: WebSocket, by_page: list[str]) -> str | None:
        if by_page:
            return by_page[0]
        if (authorization := socket.headers.get("authorization")) is not None:
            return authorization.removeprefix("Bearer ")
        if (ticket := socket.query_params.get("ticket")) is not None:
            if self.fault == "takes tickets twice":
                return self.tickets.get(ticket, "")
            return self.tickets.pop(ticket, "")
        if self.fault == "takes tokens in URLs":
            return socket.query_params.get("token")
        return None

    async def _refuse(self, socket: WebSocket, selected: str | None, code: str, *, by_page: bool, token: str) -> None:
        if by_page and self.fault != "refuses pages by HTTP":
            await socket.accept(selected)
            await socket.close(4401, code)
            return
        headers = {} if self.fault == "refuses without a challenge" else {"WWW-Authenticate": "Bearer"}
        detail = {"detail": f"bad token {token}"} if self.fault == "echoes the token in errors" else {}
        await socket.send_denial_response(JSONResponse({"code": code, **detail}, 401, headers=headers))

    async def _wait_in_vain(self, socket: WebSocket, selected: str | None) -> None:
        await socket.accept(selected)
        with suppress(WebSocketDisconnect, TimeoutError, RuntimeError):
            for_ever = self.fault == "waits for a first message for ever"
            async with asyncio.timeout(None if for_ever else AUTHENTICATION_S):
                while True:
                    await socket.receive_text()
                    if not for_ever:
                        break
        with suppress(RuntimeError):
            await socket.close(4401, "token_missing")

    async def _serve(self, socket: WebSocket, claims: dict[str, Any]) -> None:
        theirs = self.sockets.setdefault(claims.get("sid", ""), set())
        theirs.add(socket)
        outlives = self.fault in ("lets sockets outlive their tokens", "takes expired tokens")
        until = None if outlives else asyncio.get_running_loop().time() + claims["exp"] - time.time() + GRACE_S
        try:
            async with asyncio.timeout_at(until):
                while True:
                    message = json.loads(await socket.receive_text())
                    answer: dict[str, Any] = {"jsonrpc": "2.0", "id": message.get("id")}
                    if time.time() < claims["exp"] or outlives:
                        answer["result"] = {"subject": claims.get("sub")}
                    else:
                        answer["error"] = {"code": -32001, "message": "token_expired"}
                    await socket.send_text(json.dumps(answer))
        except TimeoutError:
            with suppress(RuntimeError):
                await socket.close(4401, "token_expired")
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            theirs.discard(socket)


@asynccontextmanager
async def faulty(fault: str | None, ttl_s: float = 60) -> AsyncIterator[FaultyServer]:
    """Serve with this mistake, in the test's own loop."""
    served = FaultyServer(fault, ttl_s)
    config = uvicorn.Config(
        served.app, port=0, log_level="critical", lifespan="off", ws="websockets-sansio", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    server.capture_signals = _nothing  # type: ignore[method-assign]
    running = asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    served.port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        server.should_exit = True
        await running


def _nothing() -> Any:
    from contextlib import nullcontext

    return nullcontext()
