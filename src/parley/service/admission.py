"""Who stands behind a credential: from a token to the principal that acts, with the rights the store holds now.

Verifies tokens and keeps, for a bounded number of sessions, what the store said of them, until something changes.
Does not know how a credential came, nor how a refusal is said.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

from parley.domain.errors import Refusal
from parley.domain.ports import Decision, Job, Store
from parley.domain.principal import Principal
from parley.domain.sign_ins import Resolve
from parley.service.tickets import Tickets
from parley.tokens import AccessClaims, TokenRefused, Verifier, require_same_bearer

#: Sessions whose rights are remembered; about 300 bytes each.
REMEMBERED_MAX: Final = 50_000

Admitted = Callable[[Principal | BaseException], None]


def refusal_of(refused: TokenRefused) -> Refusal:
    """A token's refusal in the words of the domain. Says what the token claims of itself, never the token."""
    facts = {name: value for name, value in refused.facts.items() if name in ("claim", "carrier", "off_by_s")}
    return Refusal(refused.code, refused.meaning, **facts)


class Admission:
    """`admit` turns a token into a principal; `forget` is called when an account changes."""

    def __init__(self, verifier: Verifier, store: Store, tickets: Tickets, clock_s: Callable[[], float]) -> None:
        self._verifier = verifier
        self._tickets = tickets
        self._store = store
        self._clock_s = clock_s
        # (subject, session, claimed roles) -> (kept, roles): both sides of "as far as the store agrees".
        self._remembered: OrderedDict[tuple[str, str, tuple[str, ...]], tuple[bool, frozenset[str]]] = OrderedDict()
        self._changes = 0

    def verify(self, token: str) -> AccessClaims:
        """Raises: Refusal with a token code."""
        try:
            return self._verifier.verify(token, self._clock_s())
        except TokenRefused as refused:
            raise refusal_of(refused) from None

    def admit(self, claims: AccessClaims, done: Admitted) -> None:
        """The principal of verified claims: `done` is called at once where the rights are known, else on the loop.

        It is given a Refusal (`token_revoked`, `unavailable`) where the store has it so.
        """
        principal = Principal.of(claims)
        key = (claims.sub, claims.sid, claims.roles)
        known = self._remembered.get(key)
        if known is not None:
            self._remembered.move_to_end(key)
            done(_with(principal, *known))
            return
        changes = self._changes

        def resolved(outcome: Decision | BaseException) -> None:
            if isinstance(outcome, BaseException):
                done(outcome)
                return
            kept, roles = outcome.reply
            try:
                self._verifier.require_usable(claims, self._clock_s())  # while we asked, it may have been revoked
            except TokenRefused as refused:
                done(refusal_of(refused))
                return
            if changes == self._changes:  # else what was read may be of before the change
                self._remembered[key] = (kept, roles)
                if len(self._remembered) > REMEMBERED_MAX:
                    self._remembered.popitem(last=False)
            done(_with(principal, kept, roles))

        self._store.read(Job(Resolve(session=claims.sid), principal, resolved))

    def redeem(self, ticket: str, done: Admitted, *, stream: str | None = None) -> None:
        """As `admit`, for the bearer of the token that minted the ticket, which is used up."""

        def redeemed(claims: AccessClaims | Refusal) -> None:
            if isinstance(claims, Refusal):
                done(claims)
                return
            try:
                self._verifier.require_usable(claims, self._clock_s())
            except TokenRefused as refused:
                done(refusal_of(refused))
            else:
                self.admit(claims, done)

        self._tickets.redeem(ticket, redeemed, stream=stream)

    def renew(self, current: AccessClaims, token: str) -> AccessClaims:
        """The claims of a token that is to take the place of `current`. Raises: Refusal (also `subject_mismatch`)."""
        claims = self.verify(token)
        try:
            require_same_bearer(current, claims)
        except TokenRefused as refused:
            raise refusal_of(refused) from None
        return claims

    def forget(self, subject: str) -> None:
        """Something about this subject changed: ask the store again. Rare, so a walk through all is no matter."""
        self._changes += 1
        for key in [key for key in self._remembered if key[0] == subject]:
            del self._remembered[key]


def _with(principal: Principal, kept: bool, roles: frozenset[str]) -> Principal:
    return msgspec.structs.replace(principal, kept=kept, roles=roles)
