"""A token's life on an open socket: warned, renewed in place, held, ended. The one place where adapters' timers run.

    until `expires_at_s` less the margin   live
    until `expires_at_s`                   warned: `session.expiring` was sent once
    until the grace is over                held: nothing is handed over, only a renewal is heard
    from then on                           ended: 4401 `token_expired`
    revoked, at any time                   ended: 4403 and the reason

Writes to no socket: it says what to send and when it is over, and the clock is the gate's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from parley.tokens.adapters.gate import Gate
from parley.tokens.bearer import Credential
from parley.tokens.claims import AccessClaims, require_same_bearer
from parley.tokens.errors import TokenRefused

# A clock that was set is noticed after this at the latest; until then timers run by the one they were set by.
LOOK_AGAIN_S: Final = 60.0
# RFC 6455 §5.5: a close frame has 125 bytes, two of them for the code; what is longer is cut.
REASON_BYTES_MAX: Final = 120

Notify = Callable[[str, dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a socket is closed, and whether its client may come back (for 4401 with a new token)."""

    code: int
    reason: str
    reconnect: bool

    def notice(self) -> dict[str, Any]:
        """The parameters of `session.closing`."""
        return {"code": self.code, "reason": self.reason, "reconnect": self.reconnect}


class Lifetime:
    """One live socket's token. `notify(method, params)` sends the client a notice; `claims` are those in force."""

    def __init__(self, gate: Gate, claims: AccessClaims, notify: Notify, *, grace_s: float | None = None) -> None:
        self.claims = claims
        self._gate = gate
        self._notify = notify
        self._grace_s = gate.grace_s if grace_s is None else grace_s
        self._is_warned = False
        self._is_over = False
        self._look = asyncio.Event()
        self._released = asyncio.Event()

    @property
    def expires_at_s(self) -> float:
        """Unix seconds from which on the token in force may not be used."""
        return self.claims.exp + self.claims.exp_leeway_s

    @property
    def is_held(self) -> bool:
        """Whether nothing may be handed over now: by the clock, since timers may come late."""
        return self._is_over or self._gate.clock() >= self.expires_at_s

    @property
    def is_over(self) -> bool:
        """Whether `watch` has said how it ended."""
        return self._is_over

    async def renew(self, token: str) -> AccessClaims:
        """Put `token` in the place of the one in force, which stays where this raises.

        Raises: TokenRefused (any token code; `subject_mismatch` for a token of somebody else).
        """
        claims = await self._gate.verify(Credential("token", token, "message"))
        require_same_bearer(self.claims, claims)
        if self._is_over:
            raise TokenRefused("token_expired")  # it came while the socket was being closed
        self.claims = claims
        self._is_warned = False
        self._released.set()
        self.wake()
        return claims

    async def watch(self) -> Ending:
        """Live until it is over and say why. After this: tell the client, and close the socket."""
        telling: set[asyncio.Task[None]] = set()
        try:
            while True:
                now_s = self._gate.clock()
                ending = self._ending(now_s)
                if ending is not None:
                    return ending
                if now_s >= self.expires_at_s - self._gate.margin_s and not self._is_warned:
                    self._is_warned = True
                    # Beside, not before: a peer that reads nothing must not keep its own end from coming.
                    task = asyncio.ensure_future(self._warn())
                    telling.add(task)
                    task.add_done_callback(telling.discard)
                self._look.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(self._next_s() - now_s, LOOK_AGAIN_S)):
                        await self._look.wait()
        finally:
            self._is_over = True
            self._released.set()
            for task in telling:
                task.cancel()
            await asyncio.gather(*telling, return_exceptions=True)

    def wake(self) -> None:
        """Look at the clock and the revocations now."""
        self._look.set()

    async def usable(self) -> None:
        """Wait while it is held; returns at once when it is over, for then the socket says so itself."""
        while self.is_held and not self._is_over:
            self._released.clear()
            await self._released.wait()

    @contextlib.contextmanager
    def registered(self) -> Iterator[None]:
        """Within this the gate knows of it, and revocations reach it."""
        self._gate._begin(self)
        try:
            yield
        finally:
            self._gate._end(self)

    def session(self) -> dict[str, Any]:
        """What a client is told of its session: the result of `session.refresh`."""
        claims = self.claims
        return {
            "subject": claims.sub,
            "type": claims.type,
            "name": claims.display_name,
            "roles": list(claims.roles),
            "session": claims.sid,
            "expires_at": rfc3339(self.expires_at_s),
            "server_time": rfc3339(self._gate.clock()),
        }

    async def _warn(self) -> None:
        await self._notify("session.expiring", {"expires_at": rfc3339(self.expires_at_s)})

    def _ending(self, now_s: float) -> Ending | None:
        revocations = self._gate.verifier.revocations
        reason = None if revocations is None else revocations.reason_for(self.claims)
        if reason is not None:
            return Ending(4403, _cut(reason), reconnect=False)
        if now_s >= self.expires_at_s + self._grace_s:
            return Ending(4401, "token_expired", reconnect=True)
        return None

    def _next_s(self) -> float:
        """When something is due next, if nothing happens before."""
        return self.expires_at_s + self._grace_s if self._is_warned else self.expires_at_s - self._gate.margin_s


def refusal_facts(refusal: TokenRefused) -> dict[str, Any]:
    """A refusal as a message on a socket has it: `code` and `status`, nothing of the token."""
    return {"code": refusal.code, "status": refusal.status}


def rfc3339(at_s: float) -> str:
    """Unix seconds as RFC 3339 UTC with milliseconds; a year that no calendar has is the last one."""
    try:
        at = datetime.fromtimestamp(at_s, UTC)
    except (ValueError, OverflowError, OSError):
        at = datetime.max.replace(tzinfo=UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cut(reason: str) -> str:
    return reason.encode("utf-8", "replace")[:REASON_BYTES_MAX].decode("utf-8", "ignore")
