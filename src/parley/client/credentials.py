"""Where the next access token comes from: one fixed token, a callback, or a sign-in that is renewed.

Tokens and passwords stay in memory and out of every `repr`. Does not touch sockets: `connection.py` asks for a token.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypedDict, Unpack
from urllib.parse import urlsplit

import httpx2

from parley.client.errors import ConnectionLost, NoOtherToken, SessionRefused

TokenCallback = Callable[[], Awaitable[str]]


class Credentials(Protocol):
    async def access(self, refused: str | None) -> str:
        """A token that is not `refused`, the last one that the server did not take or will soon not take any more.

        Raises: SessionRefused where there is none (or, where it `passes`, not now), ConnectionLost.
        """

    async def close(self) -> None: ...


class FixedToken:
    """The one token that there is."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def access(self, refused: str | None) -> str:
        if self._token == refused:
            raise NoOtherToken
        return self._token

    async def close(self) -> None:
        pass


class CallbackToken:
    """Asks its user. What the callback raises passes through on the first connection; later it is tried again."""

    def __init__(self, callback: TokenCallback) -> None:
        self._callback = callback

    async def access(self, refused: str | None) -> str:
        token = await self._callback()
        if token == refused:
            raise NoOtherToken
        return token

    async def close(self) -> None:
        pass


class SignIn:
    """A name and a password, then refresh tokens; where those are no longer taken, the password again.

    Raises from `access`: SessionRefused (`invalid_credentials`), ConnectionLost.
    """

    def __init__(self, base: str, username: str, password: str, *, timeout_s: float = 10) -> None:
        self._username = username
        self._password = password
        self._refresh_token: str | None = None
        self._token: str | None = None
        self._turn = asyncio.Lock()
        self._http = httpx2.AsyncClient(base_url=base, timeout=timeout_s)

    async def access(self, refused: str | None) -> str:
        # One use for each refresh token: calls that come together take turns, and the second finds what it needs.
        async with self._turn:
            if self._token is None or self._token == refused:
                self._token = await self._renewed()
            return self._token

    async def close(self) -> None:
        await self._http.aclose()

    async def _renewed(self) -> str:
        if self._refresh_token is not None:
            try:
                return await self._post("/auth/refresh", {"refresh_token": self._refresh_token})
            except SessionRefused as refusal:
                if refusal.passes:
                    raise
                self._refresh_token = None  # used up, revoked, or a server that keeps no sessions: sign in again
        return await self._post("/auth/login", {"username": self._username, "password": self._password})

    async def _post(self, path: str, body: dict[str, str]) -> str:
        try:
            answer = await self._http.post(path, json=body)
        except httpx2.HTTPError as error:
            raise ConnectionLost(f"{path}: {type(error).__name__}") from error
        if answer.status_code != 200:
            raise SessionRefused.of_http(answer.status_code, answer.content, answer.headers)
        grant = answer.json()
        self._refresh_token = grant.get("refresh_token")
        token: str = grant["access_token"]
        return token


def origins(url: str) -> tuple[str, str]:
    """Where the server at `url` (`http(s)://` or `ws(s)://`) is for HTTP and for WebSockets. Raises: ValueError."""
    parts = urlsplit(url)
    schemes = {"http": ("http", "ws"), "ws": ("http", "ws"), "https": ("https", "wss"), "wss": ("https", "wss")}
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError(f"not the URL of a server: {parts.scheme or url}")
    http, ws = schemes[parts.scheme]
    base = parts.netloc + parts.path.rstrip("/").removesuffix("/ws")
    return f"{http}://{base}", f"{ws}://{base}"


class Ways(TypedDict, total=False):
    """The ways of being somebody, of which one is given: `username` goes with `password`."""

    token: str | None
    token_callback: TokenCallback | None
    username: str | None
    password: str | None


def chosen(base: str, *, may_be_none: bool = False, **ways: Unpack[Ways]) -> Credentials | None:
    """The one way of being somebody that was given; None where none was, and that is enough. Raises: ValueError."""
    token, token_callback, username = ways.get("token"), ways.get("token_callback"), ways.get("username")
    given = [token is not None, token_callback is not None, username is not None].count(True)
    if given > 1 or (given == 0 and not may_be_none):
        raise ValueError("say who you are by one of token, token_callback, and username with password")
    if token is not None:
        return FixedToken(token)
    if token_callback is not None:
        return CallbackToken(token_callback)
    return None if username is None else SignIn(base, username, ways.get("password") or "")
