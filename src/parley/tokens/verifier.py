"""Says whether a token may be used now, and what it says: the whole check, in the order of TOKEN_CODES.

Fetches no keys and reads no clock: key sets are handed in and swapped whole, the time is an argument.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Final, Protocol

from parley.tokens.algorithms import ALGORITHMS, OWN_ALGORITHMS
from parley.tokens.claims import (
    EXTERNAL_REQUIRED,
    OWN_CLAIMS,
    OWN_REQUIRED,
    REGISTERED_CLAIMS,
    AccessClaims,
    audience_of,
    own_claims,
    require_claims,
    require_forms,
    require_usable,
)
from parley.tokens.errors import TokenRefused
from parley.tokens.issuer import ACCESS_TOKEN_TYPE
from parley.tokens.jws import JWS_BYTES_MAX, Jws, check_signature, parse_json_object, parse_jws
from parley.tokens.keys import KeySet
from parley.tokens.trusted_issuers import IdentityClaims, TrustedIssuer

# One entry is about 1 KiB, and what does not fit only costs the check that it would have saved.
CACHE_ENTRIES_MAX: Final = 10_000


class Revocations(Protocol):
    """What a Verifier asks last of all; `revocation.RevocationSet` is one."""

    def reason_for(self, claims: AccessClaims) -> str | None:
        """Why these claims are revoked, or None."""


class _Trust:
    """Whom we trust at one moment, and what was verified under it: swapped as one, so no answer outlives its keys."""

    __slots__ = ("issuers", "keys", "seen")

    def __init__(self, keys: KeySet, issuers: dict[str, TrustedIssuer]) -> None:
        self.keys = keys
        self.issuers = issuers
        # By SHA-256 of the whole token, signature included: the token itself is not kept.
        self.seen: OrderedDict[bytes, AccessClaims] = OrderedDict()


class Verifier:
    """Verifies access tokens of our own keys, and of trusted issuers under theirs."""

    def __init__(
        self,
        keys: KeySet,
        *,
        issuer: str = "parley",
        audience: str = "parley",
        trusted_issuers: Iterable[TrustedIssuer] = (),
        revocations: Revocations | None = None,
        cache_entries_max: int = CACHE_ENTRIES_MAX,
    ) -> None:
        """Raises: ValueError for two trusted issuers with one `issuer` or one `name`, or one with our own `issuer`."""
        self.issuer = issuer
        self.audience = audience
        self._revocations = revocations
        self._cache_entries_max = cache_entries_max
        self._trust = _Trust(keys, self._by_issuer(trusted_issuers))

    @property
    def keys(self) -> KeySet:
        """Our own keys, as they verify now."""
        return self._trust.keys

    @property
    def revocations(self) -> Revocations | None:
        """What is asked last of all, as it was handed in."""
        return self._revocations

    @property
    def trusted_issuers(self) -> tuple[TrustedIssuer, ...]:
        """The external issuers, as they are trusted now."""
        return tuple(self._trust.issuers.values())

    def replace(self, *, keys: KeySet | None = None, trusted_issuers: Iterable[TrustedIssuer] | None = None) -> None:
        """Trust these from now on, for every token, those seen before included; what is None stays.

        Raises: ValueError as the constructor does; then nothing has changed.
        """
        trust = self._trust
        issuers = trust.issuers if trusted_issuers is None else self._by_issuer(trusted_issuers)
        self._trust = _Trust(trust.keys if keys is None else keys, issuers)

    def verify(self, token: str, now_s: float) -> AccessClaims:
        """Return what an access token says, if it may be used at `now_s` (Unix seconds).

        Raises: TokenRefused with the first code, in the order of TOKEN_CODES from `token_malformed` on, that applies.
        """
        trust = self._trust
        if len(token) > JWS_BYTES_MAX or not token.isascii():
            raise TokenRefused("token_malformed")
        digest = hashlib.sha256(token.encode("ascii")).digest()
        claims = trust.seen.get(digest)
        if claims is None:
            claims = self._verify_access(token, trust, now_s)
            trust.seen[digest] = claims
            if len(trust.seen) > self._cache_entries_max:
                trust.seen.popitem(last=False)
        else:
            try:
                require_usable(claims, now_s)
            except TokenRefused as refusal:
                trust.seen.pop(digest, None)
                raise refusal.about(kid=None, issuer=claims.iss) from None
        self._require_unrevoked(claims)
        return claims

    def verify_identity(self, token: str, now_s: float) -> IdentityClaims:
        """Return what an external issuer's token says about a person; a token of our own is `token_wrong_type` here.

        Raises: TokenRefused, as `verify` does.
        """
        jws = parse_jws(token)
        claims = parse_json_object(jws.payload)
        try:
            external = self._check_signed(jws, claims, self._trust)
            if external is None:
                raise TokenRefused("token_wrong_type")
            self._check_external(external, jws, claims, token, now_s)
            return external.identity_claims(claims)
        except TokenRefused as refusal:
            raise refusal.about(kid=jws.kid, issuer=_text_or_none(claims.get("iss"))) from None

    def require_usable(self, claims: AccessClaims, now_s: float) -> None:
        """Raise unless claims that were verified before may be used at `now_s`: for live connections and tickets.

        Raises: TokenRefused (`token_not_yet_valid`, `token_expired`, `token_revoked`).
        """
        require_usable(claims, now_s)
        self._require_unrevoked(claims)

    def _verify_access(self, token: str, trust: _Trust, now_s: float) -> AccessClaims:
        jws = parse_jws(token)
        claims = parse_json_object(jws.payload)
        try:
            external = self._check_signed(jws, claims, trust)
            if external is not None:
                if external.use != "access":
                    raise TokenRefused("token_wrong_type")
                return self._check_external(external, jws, claims, token, now_s)
            return self._check_own(jws, claims, now_s)
        except TokenRefused as refusal:
            raise refusal.about(kid=jws.kid, issuer=_text_or_none(claims.get("iss"))) from None

    def _check_signed(self, jws: Jws, claims: dict[str, Any], trust: _Trust) -> TrustedIssuer | None:
        """Check forms and signature; return the external issuer whose token it is, None for one of ours.

        Keys are looked up under the unverified `iss`. A token without one is looked up among our own, and so is one
        that names our own `kid` under a trusted issuer: both then fail for that, if they do not fail before.
        """
        issuer = claims.get("iss")
        external = trust.issuers.get(issuer) if isinstance(issuer, str) else None
        if external is not None and (jws.kid in external.keys or jws.kid not in trust.keys):
            external.require_forms(claims)
            kid = jws.kid if jws.kid is not None else external.default_kid
            check_signature(jws.naming(kid), external.keys, algorithms=external.accepted_algorithms)
            return external
        if external is None and issuer is not None and issuer != self.issuer:
            require_forms(claims, REGISTERED_CLAIMS)  # a stranger's claims need not look like ours
            check_signature(jws, _NOBODY, algorithms=ALGORITHMS)
        require_forms(claims, OWN_CLAIMS)
        check_signature(jws, trust.keys, algorithms=OWN_ALGORITHMS)
        return None

    def _check_own(self, jws: Jws, claims: dict[str, Any], now_s: float) -> AccessClaims:
        if jws.media_type != ACCESS_TOKEN_TYPE:
            raise TokenRefused("token_wrong_type")
        require_claims(claims, OWN_REQUIRED)
        if claims["type"] == "guest":
            require_claims(claims, ("conversation",))
        if claims["iss"] != self.issuer:
            raise TokenRefused("token_wrong_issuer")
        if self.audience not in audience_of(claims):
            raise TokenRefused("token_wrong_audience")
        ours = own_claims(claims)
        require_usable(ours, now_s)
        return ours

    def _check_external(
        self, external: TrustedIssuer, jws: Jws, claims: dict[str, Any], token: str, now_s: float
    ) -> AccessClaims:
        if jws.media_type not in external.media_types:
            raise TokenRefused("token_wrong_type")
        require_claims(claims, EXTERNAL_REQUIRED)
        if external.audience not in audience_of(claims):
            raise TokenRefused("token_wrong_audience")
        mapped = external.access_claims(claims, token)
        require_usable(mapped, now_s)
        return mapped

    def _require_unrevoked(self, claims: AccessClaims) -> None:
        if self._revocations is not None and (reason := self._revocations.reason_for(claims)) is not None:
            raise TokenRefused("token_revoked", issuer=claims.iss, reason=reason)

    def _by_issuer(self, trusted_issuers: Iterable[TrustedIssuer]) -> dict[str, TrustedIssuer]:
        issuers: dict[str, TrustedIssuer] = {}
        for trusted in trusted_issuers:
            if trusted.issuer == self.issuer:
                raise ValueError(f"trusted issuer {trusted.name}: {trusted.issuer} is our own issuer")
            if trusted.issuer in issuers or any(trusted.name == other.name for other in issuers.values()):
                raise ValueError(f"trusted issuer {trusted.name}: its name and its issuer may be listed once only")
            issuers[trusted.issuer] = trusted
        return issuers


_NOBODY: Final = KeySet()


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None
