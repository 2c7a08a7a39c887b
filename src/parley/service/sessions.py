"""Staying signed in and signing out: refresh tokens used, sessions ended, single tokens revoked.

What using a refresh token comes to is decided in `domain/sign_ins.py`; how one begins is `sign_in.py`.
"""

from collections.abc import Callable

from parley.domain import revocation, sign_ins
from parley.domain.errors import Refusal
from parley.domain.ports import Store
from parley.domain.principal import OPERATOR, Principal
from parley.service.ask import ask
from parley.service.sign_in import SignedIn, signed_in
from parley.tokens import Issuer, TokenRefused, Verifier


class Sessions:
    """`issuer` gives the issuer of this moment; `clock_s` is Unix time."""

    def __init__(
        self,
        store: Store,
        verifier: Verifier,
        *,
        issuer: Callable[[], Issuer],
        refresh_key: bytes,
        access_ttl_s: float,
        guest_ttl_s: float,
        refresh_ttl_s: float,
        clock_s: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._verifier = verifier
        self._issuer = issuer
        self._refresh_key = refresh_key
        self._access_ttl_s = access_ttl_s
        self._guest_ttl_s = guest_ttl_s
        self._refresh_ttl_s = refresh_ttl_s
        self._clock_s = clock_s
        self._new_id = new_id

    async def refresh(self, token: str) -> SignedIn:
        """The next refresh token and a fresh access token. Raises: Refusal (`invalid_grant`, `unavailable`)."""
        session_id, generation = sign_ins.used_refresh_token(self._refresh_key, token)
        expires_at_ms = int((self._clock_s() + self._refresh_ttl_s) * 1000)
        use = sign_ins.Refresh(session=session_id, generation=generation, expires_at_ms=expires_at_ms)
        refreshed: sign_ins.Refreshed = (await ask(self._store.write, use, OPERATOR)).reply
        if refreshed.stolen:
            raise Refusal("invalid_grant")
        return signed_in(
            refreshed.session,
            refreshed.bearer,
            issuer=self._issuer(),
            refresh_key=self._refresh_key,
            now_s=self._clock_s(),
            access_ttl_s=self._guest_ttl_s if refreshed.bearer.type == "guest" else self._access_ttl_s,
            token_id=self._new_id(),
        )

    async def sign_out(self, principal: Principal) -> None:
        """End the session of the one who asks, its live connections included. Raises: Refusal (`unavailable`)."""
        await ask(self._store.write, revocation.Revoke(session=principal.session), principal)

    async def revoke(self, token: str, principal: Principal) -> None:
        """Revoke an access token, or the session of a refresh token (RFC 7009).

        Without effect where it is not theirs, or no token at all: the answer must not tell.
        """
        try:
            session_id, _ = sign_ins.used_refresh_token(self._refresh_key, token)
        except Refusal:
            await self._revoke_access(token, principal)
            return
        try:
            await ask(self._store.write, revocation.Revoke(session=session_id), principal)
        except Refusal as refusal:
            if refusal.code not in ("not_found", "forbidden"):  # nobody's, or not a narrowed token's affair
                raise

    async def _revoke_access(self, token: str, principal: Principal) -> None:
        try:
            claims = self._verifier.verify(token, self._clock_s())
        except TokenRefused:
            return  # no token of ours, or one that nobody can use any more
        if claims.sub != principal.subject and "admin" not in principal.roles:
            return
        if principal.grants is not None and claims.jti != principal.token_id:
            return
        until_ms = int((claims.exp + claims.exp_leeway_s) * 1000)
        revoked = revocation.RevokeToken(token_id=claims.jti, subject=claims.sub, until_ms=until_ms)
        await ask(self._store.write, revoked, principal)
