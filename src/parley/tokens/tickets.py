"""Tickets: opaque, short-lived, one-use stand-ins for a token, for places where a URL is all there is.

Holds those of one process in memory. Draws no randomness and reads no clock: both are arguments.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from parley.tokens.claims import AccessClaims, require_usable
from parley.tokens.errors import TokenRefused

TICKET_TTL_S: Final = 30.0
TICKET_BYTES: Final = 32
# An entry is well under 1 KiB; at 30 s each this is more than 300 handshakes by ticket a second.
TICKETS_MAX: Final = 10_000


class TicketsFull(Exception):
    """As many tickets are open as the store holds: tell the client to come back later."""


@dataclass(slots=True)
class _Ticket:
    claims: AccessClaims
    until_s: float
    stream: str | None = None


class TicketStore:
    """Open tickets, by the hash of each, so that whoever reads the memory finds none to use."""

    def __init__(
        self,
        token_bytes: Callable[[int], bytes],
        *,
        ttl_s: float = TICKET_TTL_S,
        tickets_max: int = TICKETS_MAX,
    ) -> None:
        """`token_bytes(n)` gives n unpredictable bytes: `secrets.token_bytes`."""
        self.ttl_s = ttl_s
        self._token_bytes = token_bytes
        self._tickets_max = tickets_max
        # In the order of minting, which is that of their ends.
        self._tickets: dict[bytes, _Ticket] = {}

    def mint(self, claims: AccessClaims, now_s: float) -> str:
        """Return a ticket for the bearer of `claims`, good once within `ttl_s` seconds of `now_s`.

        Raises: TicketsFull.
        """
        self._forget_expired(now_s)
        if len(self._tickets) >= self._tickets_max:
            raise TicketsFull
        ticket = base64.urlsafe_b64encode(self._token_bytes(TICKET_BYTES)).rstrip(b"=").decode("ascii")
        self._tickets[_digest(ticket)] = _Ticket(claims, now_s + self.ttl_s)
        return ticket

    def redeem(self, ticket: str, now_s: float, *, stream: str | None = None) -> AccessClaims:
        """Use `ticket` up and return the claims that it stands for.

        With `stream` the first use binds it to that stream, for which it serves again until its time is over: media
        elements ask twice. After this: Verifier.require_usable, for the token may have been revoked meanwhile.

        Raises: TokenRefused (`ticket_invalid`).
        """
        digest = _digest(ticket)
        found = self._tickets.get(digest)
        if found is None or now_s >= found.until_s or (found.stream is not None and found.stream != stream):
            raise TokenRefused("ticket_invalid")
        if stream is None:
            del self._tickets[digest]
        else:
            found.stream = stream
        try:
            require_usable(found.claims, now_s)
        except TokenRefused:
            raise TokenRefused("ticket_invalid") from None
        return found.claims

    def _forget_expired(self, now_s: float) -> None:
        for digest, ticket in list(self._tickets.items()):
            if ticket.until_s > now_s:
                break
            del self._tickets[digest]

    def __len__(self) -> int:
        return len(self._tickets)


def _digest(ticket: str) -> bytes:
    return hashlib.sha256(ticket.encode("utf-8", "surrogatepass")).digest()
