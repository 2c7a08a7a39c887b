"""The server that is looked at: opening sockets and asking by HTTP, and all that came back, to be searched for leaks.

Judges nothing: it says what was seen. Follows no redirect, uses no proxy, sends a request every tenth of a second.
"""

import asyncio
import json
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import urlencode, urlsplit

import httpx2
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, NegotiationError
from websockets.typing import Subprotocol

PACE_S: Final = 0.1
TIMEOUT_S: Final = 10.0
#: How long a socket that is open may take to say something, or to be closed.
SETTLE_S: Final = 1.5
FOREIGN: Final = "https://evil.example"
_PROBE: Final = json.dumps({"jsonrpc": "2.0", "id": "check", "method": "session.describe", "params": {}})


class Unreachable(Exception):
    """Nothing answers there."""


@dataclass
class Seen:
    """What became of one attempt to open a socket and ask it something.

    `status` is that of an HTTP refusal; else it was opened, and closed with `code`, or it stayed open: then it
    `answered` with a result, or was `refused`, or was silent.
    """

    status: int | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    subprotocol: str | None = None
    code: int | None = None
    reason: str = ""
    answered: bool = False
    refused: bool = False

    @property
    def is_out(self) -> bool:
        """Refused, or closed."""
        return self.status is not None or self.code is not None or self.refused

    def __str__(self) -> str:
        if self.status is not None:
            return f"refused by HTTP {self.status}"
        if self.code is not None:
            return f"opened and closed with {self.code} {self.reason}".rstrip()
        if self.answered:
            return "opened, and it answered"
        return "opened, and its request was refused" if self.refused else "opened, and it stayed open"


@dataclass
class Target:
    """One server. `good` is a token that it accepts, `expired` one that it no longer should."""

    origin: str
    socket_url: str
    host: str
    protocol: str
    tls: ssl.SSLContext | None
    good: str | None = field(default=None, repr=False)
    expired: str | None = field(default=None, repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    refresh: str | None = field(default=None, repr=False)
    #: (what was asked, all that came back as one text)
    answers: list[tuple[str, str]] = field(default_factory=list, repr=False)
    _next_at_s: float = 0.0
    _client: httpx2.AsyncClient | None = field(default=None, repr=False)

    @classmethod
    def of(cls, url: str, path: str, protocol: str, *, verify: bool = True) -> Self:
        """Raises: ValueError for what is no http(s) or ws(s) URL."""
        parts = urlsplit(url if "://" in url else f"http://{url}")
        scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
        if scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ValueError("it should be like https://chat.example.org")
        if not path.startswith("/"):
            raise ValueError("--path should begin with /")
        tls = None
        if scheme == "https":
            tls = ssl.create_default_context()
            if not verify:
                tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        base = parts.path.rstrip("/")
        origin = f"{scheme}://{parts.netloc}{base}"
        return cls(origin, f"ws{scheme[4:]}://{parts.netloc}{base}{path}", parts.netloc, protocol, tls)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        json_body: Any = None,
        form: dict[str, str] | None = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> httpx2.Response:
        """One request by HTTP. Raises: Unreachable."""
        await self._pace()
        if self._client is None:
            # One for all: how long an answer takes is looked at, and a first connection takes longer.
            verify = self.tls if self.tls is not None else False
            self._client = httpx2.AsyncClient(trust_env=False, timeout=TIMEOUT_S, verify=verify)
        try:
            answer = await self._client.request(
                method, self.origin + path, json=json_body, data=form, headers=list(headers)
            )
        except (httpx2.HTTPError, OSError) as problem:
            raise Unreachable(f"{self.origin} does not answer: {problem or type(problem).__name__}") from None
        heads = "\n".join(f"{name}: {value}" for name, value in answer.headers.multi_items())
        self.answers.append((f"{method} {path}", f"{heads}\n{answer.text}"))
        return answer

    async def open(
        self,
        *,
        bearer: str | None = None,
        subprotocols: Iterable[str] = (),
        query: dict[str, str] | None = None,
        origin: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> tuple[ClientConnection | None, Seen]:
        """Open a socket; None where it was refused. `subprotocols` are offered behind the protocol's own."""
        await self._pace()
        offered = [Subprotocol(one) for one in (self.protocol, *subprotocols) if one]
        given = [*headers, *([("Authorization", f"Bearer {bearer}")] if bearer is not None else [])]
        url = self.socket_url + (f"?{urlencode(query)}" if query else "")
        what = "an upgrade"
        try:
            socket = await connect(
                url,
                subprotocols=offered or None,
                additional_headers=given,
                origin=origin,  # type: ignore[arg-type]
                ssl=self.tls,
                proxy=None,
                open_timeout=TIMEOUT_S,
                ping_interval=None,
                close_timeout=2,
            )
        except InvalidStatus as refused:
            response = refused.response
            heads = list(response.headers.raw_items())
            text = "\n".join(f"{name}: {value}" for name, value in heads)
            self.answers.append((what, f"{text}\n{(response.body or b'').decode('utf-8', 'replace')}"))
            return None, Seen(status=response.status_code, headers=heads)
        except (NegotiationError, InvalidHandshake) as odd:
            self.answers.append((what, str(odd)))
            return None, Seen(status=0)
        except (OSError, TimeoutError) as problem:
            raise Unreachable(f"{self.socket_url} does not answer: {type(problem).__name__}") from None
        assert socket.response is not None
        heads = list(socket.response.headers.raw_items())
        self.answers.append((what, "\n".join(f"{name}: {value}" for name, value in heads)))
        return socket, Seen(headers=heads, subprotocol=socket.subprotocol)

    async def attempt(self, **how: Any) -> Seen:
        """Open a socket as `open` does, ask it who one is, and see what becomes of it."""
        socket, seen = await self.open(**how)
        if socket is not None:
            try:
                await self.settle(socket, seen)
            finally:
                await socket.close()
        return seen

    async def settle(self, socket: ClientConnection, seen: Seen, within_s: float = SETTLE_S) -> Seen:
        """Ask the socket who one is, and wait for its answer or its end."""
        seen.answered = seen.refused = False
        try:
            await socket.send(_PROBE)
        except ConnectionClosed as closed:
            self._closed(closed, seen)
            return seen
        return await self.hear(socket, seen, within_s)

    async def hear(self, socket: ClientConnection, seen: Seen, within_s: float) -> Seen:
        """Say nothing, and wait for an answer to what was asked before, or for the socket's end."""
        try:
            async with asyncio.timeout(within_s):
                while not seen.answered:
                    said = await socket.recv()
                    text = said if isinstance(said, str) else said.decode("utf-8", "replace")
                    self.answers.append(("a socket", text))
                    if (outcome := _is_result(text)) is not None:
                        seen.answered, seen.refused = outcome, not outcome
        except TimeoutError:
            pass
        except ConnectionClosed as closed:
            self._closed(closed, seen)
        return seen

    def _closed(self, closed: ConnectionClosed, seen: Seen) -> None:
        seen.code = closed.rcvd.code if closed.rcvd is not None else 1006
        seen.reason = closed.rcvd.reason if closed.rcvd is not None else ""
        self.answers.append(("a close", seen.reason))

    async def sign_in(self, username: str, password: str) -> httpx2.Response:
        return await self.ask("POST", "/auth/login", json_body={"username": username, "password": password})

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def _pace(self) -> None:
        now_s = time.monotonic()
        self._next_at_s = max(self._next_at_s, now_s) + PACE_S
        await asyncio.sleep(self._next_at_s - PACE_S - now_s)


def _is_result(text: str) -> bool | None:
    """Whether a text is the answer to our probe: True a result, False a refusal, None something else."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or message.get("id") not in ("check", None):
        return None
    if "result" in message:
        return True
    return False if "error" in message else None
