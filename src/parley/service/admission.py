"""Who stands behind a credential: from a token to the principal that acts, with the rights the store holds now.

Verifies tokens and keeps, for a bounded number of sessions, what the store said of them, until something changes.
Does not know how a credential came, nor how a refusal is said.
"""

import functools
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from parley.domain.errors import Refusal
from parley.domain.ports import Decision, Job, Store
from parley.domain.principal import Principal
from parley.domain.sign_ins import Meet, Resolve
from parley.service.issuers import Issuers
from parley.service.tickets import Tickets
from parley.tokens import AccessClaims, IdentityClaims, TokenRefused, Verifier, require_same_bearer

#: Sessions whose rights are remembered; about 300 bytes each.
REMEMBERED_MAX: Final = 50_000
#: What the answer says of a refused token besides the code.
_TOLD: Final = ("claim", "carrier", "off_by_s")

Admitted = Callable[[Principal | BaseException], None]
Verified = Callable[[AccessClaims | Refusal], None]
Claims = TypeVar("Claims", AccessClaims, IdentityClaims)


def refusal_of(refused: TokenRefused) -> Refusal:
    """A token's refusal in the words of the domain. Says what the token claims of itself, never the token."""
    facts = {name: value for name in _TOLD if (value := getattr(refused, name)) is not None}
    told = refused.meaning
    if refused.code == "carrier_disabled":
        told = f"This server does not accept a credential by the carrier `{refused.carrier}`."
    refusal = Refusal(refused.code, told, **facts)
    # For the operator: it knows the key and the issuer too. Its traceback would hold the frame that holds the refusal,
    # a circle that only the collector opens.
    refusal.__cause__ = refused.with_traceback(None)
    return refusal


class Admission:
    """`admit` turns a token into a principal; `forget` is called when an account changes."""

    def __init__(
        self,
        verifier: Verifier,
        issuers: Issuers,
        store: Store,
        tickets: Tickets,
        clock_s: Callable[[], float],
    ) -> None:
        self._verifier = verifier
        self._issuers = issuers
        self._tickets = tickets
        self._store = store
        self._clock_s = clock_s
        # (subject, session, claimed roles) -> (kept, roles): both sides of "as far as the store agrees".
        self._remembered: OrderedDict[tuple[str, str, tuple[str, ...]], tuple[bool, frozenset[str]]] = OrderedDict()
        self._changes = 0

    def verified(self, token: str, done: Verified) -> None:
        """The claims of a token, or a Refusal with a token code.

        `done` is called at once, unless the token's key has to be asked for first.
        """
        self._verified(self._verifier.verify, token, done)

    def identified(self, token: str, done: Callable[[IdentityClaims | Refusal], None]) -> None:
        """As `verified`, for an external issuer's word on a person: it lets nobody in."""
        self._verified(self._verifier.verify_identity, token, done)

    def _verified(
        self,
        verify: Callable[[str, float], Claims],
        token: str,
        done: Callable[[Claims | Refusal], None],
        *,
        asks: bool = True,
    ) -> None:
        outcome: Claims | Refusal
        try:
            outcome = verify(token, self._clock_s())
        except TokenRefused as refused:
            if asks and refused.code == "token_unknown_key":
                again = functools.partial(self._verified, verify, token, done, asks=False)
                if self._issuers.ask(token, again):
                    return
            outcome = refusal_of(refused)
        done(outcome)

    def admit_token(self, token: str, done: Admitted) -> None:
        """The principal of a token: `done` is called at once where its key and its rights are known."""

        def verified(claims: AccessClaims | Refusal) -> None:
            if isinstance(claims, Refusal):
                done(claims)
            else:
                self.admit(claims, done)

        self.verified(token, verified)

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
        is_ours = claims.iss == self._verifier.issuer

        def resolved(outcome: Decision | BaseException) -> None:
            if isinstance(outcome, BaseException):
                done(outcome)
                return
            kept, roles, is_stored = outcome.reply
            if not (is_ours or is_stored):
                # Somebody else's, seen for the first time: a row, so that an admin can see and disable them.
                meet = Meet(name=principal.name)
                self._store.write(Job(meet, principal, met))
                return
            settle(kept, roles)

        def met(outcome: Decision | BaseException) -> None:
            if isinstance(outcome, BaseException):
                done(outcome)
            else:
                settle(False, outcome.reply)

        def settle(kept: bool, roles: frozenset[str]) -> None:
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

        # Only our own sessions are kept: what another issuer calls its session may be spelt like one of them.
        resolve = Resolve(session=claims.sid if is_ours else "")
        self._store.read(Job(resolve, principal, resolved))

    def lapsed(self, principal: Principal) -> Refusal | None:
        """Why one who was admitted a while ago may not act any more: their token was revoked, or has expired.

        For whoever waited for something in between and is not found by a revocation yet, as a connection is.
        """
        if principal.claims is None:
            return None
        try:
            self._verifier.require_usable(principal.claims, self._clock_s())
        except TokenRefused as refused:
            return refusal_of(refused)
        return None

    def redeem(self, ticket: str, done: Admitted, *, stream: str | None = None) -> None:
        """As `admit`, for the bearer of the token that minted the ticket, which is used up.

        A ticket dies with its token: whatever is wrong with that is said of the ticket, `ticket_invalid`.
        """

        def admitted(outcome: Principal | BaseException) -> None:
            if isinstance(outcome, Refusal) and outcome.status == 401:
                dead = Refusal("ticket_invalid")
                dead.__cause__ = outcome.__cause__
                outcome = dead
            done(outcome)

        def redeemed(claims: AccessClaims | Refusal) -> None:
            if isinstance(claims, Refusal):
                done(claims)
                return
            try:
                self._verifier.require_usable(claims, self._clock_s())
            except TokenRefused as refused:
                admitted(refusal_of(refused))
            else:
                self.admit(claims, admitted)

        self._tickets.redeem(ticket, redeemed, stream=stream)

    def renew(self, current: AccessClaims, token: str, done: Admitted) -> None:
        """As `admit_token`, for a token that is to take the place of `current` (also `subject_mismatch`)."""

        def verified(claims: AccessClaims | Refusal) -> None:
            if isinstance(claims, Refusal):
                done(claims)
                return
            try:
                require_same_bearer(current, claims)
            except TokenRefused as refused:
                done(refusal_of(refused))
            else:
                self.admit(claims, done)

        self.verified(token, verified)

    def forget(self, subject: str) -> None:
        """Something about this subject changed: ask the store again. Rare, so a walk through all is no matter."""
        self._changes += 1
        for key in [key for key in self._remembered if key[0] == subject]:
            del self._remembered[key]


def _with(principal: Principal, kept: bool, roles: frozenset[str]) -> Principal:
    return msgspec.structs.replace(principal, kept=kept, roles=roles)
