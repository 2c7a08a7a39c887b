"""What the server would say of one token: by the same verifier, with the keys and revocations of this moment.

An external issuer's keys are read, or fetched from where its settings say, for the one token that is asked about.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parley.cli.terms import Given, loaded_keyring, opened_store

if TYPE_CHECKING:
    from parley.config import Settings
    from parley.store import Store
    from parley.store.keyring import Keyring
    from parley.tokens import AccessClaims, KeySet, RevocationSet, TokenRefused, TrustedIssuer


@dataclass
class Verdict:
    """`claims` where it would be accepted, else `refused`. `trouble` says why its issuer's keys could not be had."""

    keyring: "Keyring"
    claims: "AccessClaims | None" = None
    refused: "TokenRefused | None" = None
    trouble: str | None = None


def judged(given: Given, token: str, *, revocations: bool = True) -> Verdict:
    """What comes of a token now; without `revocations`, what would if nothing were revoked or disabled."""
    from parley.domain.errors import Refusal
    from parley.domain.principal import Principal
    from parley.domain.sign_ins import Resolve
    from parley.tokens import TokenRefused, Verifier

    settings = given.settings
    auth = settings.auth
    verdict = Verdict(loaded_keyring(settings))
    trusted, verdict.trouble = _trusted(settings, token)
    with opened_store(settings) as store:
        verifier = Verifier(
            verdict.keyring.keyset,
            issuer=auth.issuer,
            audience=auth.audience,
            trusted_issuers=trusted,
            revocations=_revocations(store) if revocations else None,
        )
        try:
            claims = verifier.verify(token, time.time())
            if revocations:
                session = claims.sid if claims.iss == auth.issuer else ""
                store.execute(Resolve(session=session), Principal.of(claims))
        except TokenRefused as refused:
            verdict.refused = refused
        except Refusal as refusal:
            if refusal.code != "token_revoked":
                raise
            verdict.refused = TokenRefused("token_revoked", reason="disabled")
        else:
            verdict.claims = claims
    return verdict


def _trusted(settings: "Settings", token: str) -> "tuple[list[TrustedIssuer], str | None]":
    """The external issuers; the keys of the one that the token names are had, where that is possible."""
    from parley.config import SettingsError
    from parley.config.issuers import KeyFile, trusted_issuer
    from parley.tokens import KeySet, TokenRefused, parse_jws
    from parley.tokens.jws import parse_json_object

    trouble = None
    try:
        named = parse_json_object(parse_jws(token).payload).get("iss")
    except TokenRefused:
        named = None
    trusted = []
    for external in settings.auth.issuers:
        keys: KeySet | None = None
        if external.issuer == named:
            file = KeyFile.of(external)
            try:
                if file is not None:
                    keys = file.read()
                elif external.jwks_url is not None:
                    keys, trouble = _fetched(external.jwks_url, settings)
            except SettingsError as problem:
                trouble = str(problem)
        trusted.append(trusted_issuer(external, keys))
    return trusted, trouble


def _fetched(url: str, settings: "Settings") -> "tuple[KeySet, str | None]":
    import asyncio

    from parley.tokens import KeySet
    from parley.tokens.adapters.jwks_http import JwksSource

    source = JwksSource(url, allow=settings.outgoing.allow)
    published = asyncio.run(source.refresh())
    # As on the server: what is published is no secret.
    return KeySet(key for key in published if not key.is_secret), source.failure


def _revocations(store: "Store") -> "RevocationSet":
    from parley.domain.revocation import InForce
    from parley.tokens import RevocationSet

    revoked = RevocationSet()
    for row in store.execute(InForce()).reply:
        kind, _, name = row.target.partition(":")
        facts = {"until_s": row.until_ms / 1000, "reason": row.reason}
        match kind:
            case "token":
                revoked.revoke_token(name, **facts)
            case "session":
                revoked.revoke_session(name, **facts)
            case "conversation":
                revoked.revoke_conversation(name, **facts)
            case "subject":
                revoked.revoke_subject(name, before_s=row.before_ms / 1000, **facts)
    return revoked
