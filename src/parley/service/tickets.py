"""Tickets: minted for the bearer of a token, and turned back into its claims, once.

The ticket itself is only ever in the answer and in the URL it is for; the store knows its digest.
"""

import dataclasses
import hashlib
from collections.abc import Callable

import msgspec

from parley.domain import tickets
from parley.domain.errors import Refusal
from parley.domain.ports import Decision, Job, Store
from parley.domain.principal import OPERATOR
from parley.service.ask import ask
from parley.tokens import AccessClaims, Grants

TICKET_BYTES = 32
_CHARS_MAX = 100


class Tickets:
    """`random_text(n)` gives unguessable URL-safe text of at least n bytes of chance."""

    def __init__(
        self, store: Store, *, ttl_s: float, clock_ms: Callable[[], int], random_text: Callable[[int], str]
    ) -> None:
        self.ttl_s = ttl_s
        self._store = store
        self._clock_ms = clock_ms
        self._random_text = random_text

    async def mint(self, claims: AccessClaims) -> str:
        """A ticket for the bearer of these claims. Raises: Refusal (`unavailable`)."""
        ticket = self._random_text(TICKET_BYTES)
        expires_at_ms = self._clock_ms() + int(self.ttl_s * 1000)
        mint = tickets.Mint(digest=_digest(ticket), claims=_to_json(claims), expires_at_ms=expires_at_ms)
        await ask(self._store.write, mint, OPERATOR)
        return ticket

    def redeem(self, ticket: str, done: Callable[[AccessClaims | Refusal], None], *, stream: str | None = None) -> None:
        """Use a ticket up: `done` on the loop, with its claims or a Refusal (`ticket_invalid`, `unavailable`)."""
        if len(ticket) > _CHARS_MAX:
            done(Refusal("ticket_invalid"))
            return

        def decided(outcome: Decision | BaseException) -> None:
            if isinstance(outcome, Decision):
                done(_from_json(outcome.reply))
            else:
                done(outcome if isinstance(outcome, Refusal) else Refusal("unavailable"))

        self._store.write(Job(tickets.Redeem(digest=_digest(ticket), stream=stream), OPERATOR, decided))


def _digest(ticket: str) -> str:
    return hashlib.sha256(ticket.encode()).hexdigest()


def _to_json(claims: AccessClaims) -> str:
    members = {field.name: getattr(claims, field.name) for field in dataclasses.fields(claims)}
    members["grants"] = None if claims.grants is None else claims.grants.to_claim()
    return msgspec.json.encode(members).decode()


def _from_json(text: str) -> AccessClaims:
    members = msgspec.json.decode(text)
    members["aud"], members["roles"] = tuple(members["aud"]), tuple(members["roles"])
    if members["grants"] is not None:
        members["grants"] = Grants.parse(members["grants"])
    return AccessClaims(**members)
