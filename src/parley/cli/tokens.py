"""`parley token …`: issue an access token by hand, verify one, say in words what one is.

What is wrong with a token is decided by `parley.tokens`, by the very verifier that the server uses.
"""

import os
import time
from typing import TYPE_CHECKING, Any

import click

from parley.cli.terms import (
    Given,
    Noun,
    Problem,
    clock_ms,
    find_account,
    given,
    loaded_keyring,
    opened_store,
    read_token,
)

if TYPE_CHECKING:
    from parley.store import Store
    from parley.tokens import RevocationSet

_ACTIONS = ("read", "send", "manage", "listen", "publish")


@click.group(cls=Noun)
def token() -> None:
    """Issue, verify and explain access tokens. `-` reads one from standard input."""


@token.command()
@click.option("--subject", required=True, metavar="S", help="An account's username or id, or any subject.")
@click.option(
    "--type", "kind", type=click.Choice(["account", "service"]), default="account", show_default=True, help="Of bearer."
)
@click.option(
    "--role",
    "roles",
    type=click.Choice(["member", "agent", "admin"]),
    multiple=True,
    help="May be given several times; without it the account's, or member.",
)
@click.option("--ttl", type=float, metavar="N", help="Seconds until it expires; without it, as at a sign-in.")
@click.option(
    "--grant", "grants", multiple=True, metavar="room:x=read,send", help="Narrow the token; may be given several times."
)
@given
def issue(
    given: Given, subject: str, kind: str, roles: tuple[str, ...], ttl: float | None, grants: tuple[str, ...]
) -> None:
    """Issue an access token and print it."""
    from parley.domain.ids import IdSource
    from parley.store.keyring import note_long_token
    from parley.tokens import Issuer

    auth = given.settings.auth
    ttl_s = auth.access_ttl if ttl is None else ttl
    if not 0 < ttl_s <= 1e10:
        raise click.UsageError("--ttl should be a number of seconds above 0.")
    narrowed = _grants(grants)
    with opened_store(given.settings) as store:
        account = find_account(store, subject)
    if account is not None and account.disabled:
        click.echo("parley: the account is disabled: its tokens are refused with token_revoked", err=True)
    keyring = loaded_keyring(given.settings)
    new_id = IdSource(clock_ms, os.urandom)
    now_s = time.time()
    try:
        made = Issuer(keyring.signing_key, issuer=auth.issuer, audience=auth.audience).issue(
            sub=subject if account is None else account.id,
            type=kind,
            roles=roles or (("member",) if account is None else sorted(account.role_set)),
            name=None if account is None else account.name,
            # Fresh: no session that the store keeps, so it is refreshed by nobody and revoked by its own id.
            sid=new_id(),
            jti=new_id(),
            now_s=now_s,
            ttl_s=ttl_s,
            grants=narrowed,
            auth_time=now_s,
        )
    except ValueError as error:
        words = {"sub": "--subject should be 1 to 320 printable ASCII characters without space"}
        raise Problem(words.get(str(error).split()[0], str(error)) + ".") from None
    if keyring.files and ttl_s > max(auth.access_ttl, auth.guest_ttl):
        note_long_token(given.settings.data / "keys", keyring.signing_key.kid, int((now_s + ttl_s) * 1000))
    click.echo(made)


def _grants(texts: tuple[str, ...]) -> dict[str, list[str]] | None:
    """`room:x=read,send`, several times; what is said twice of one resource adds up."""
    from parley.tokens import Grants, TokenRefused

    if not texts:
        return None
    grants: dict[str, list[str]] = {}
    for text in texts:
        resource, equals, actions = text.rpartition("=")
        listed = [action.strip() for action in actions.split(",") if action.strip()]
        try:
            Grants.parse({resource: listed})
        except TokenRefused:
            listed = []
        if not equals or not listed:
            raise click.UsageError(
                f"--grant {text!r} should be like room:x=read,send or stream:radio-*=listen, of {', '.join(_ACTIONS)}."
            )
        grants[resource] = [*grants.get(resource, []), *(a for a in listed if a not in grants.get(resource, []))]
    return grants


@token.command()
@click.argument("token", metavar="TOKEN|-")
@given
def verify(given: Given, token: str) -> None:
    """Print the token's claims as JSON; or the code of its refusal on standard error, with exit status 1."""
    import json

    from parley.tokens import TokenRefused

    try:
        claims = _verified(given, read_token(token))
    except TokenRefused as refused:
        click.echo(refused.code, err=True)
        raise SystemExit(1) from None
    click.echo(json.dumps(claims, ensure_ascii=False, indent=2))


def _verified(given: Given, token: str) -> dict[str, Any]:
    """The payload of a token that the server would accept now. Raises: TokenRefused."""
    from parley.domain.errors import Refusal
    from parley.domain.principal import Principal
    from parley.domain.sign_ins import Resolve
    from parley.tokens import TokenRefused, Verifier, parse_jws
    from parley.tokens.jws import parse_json_object

    auth = given.settings.auth
    keyring = loaded_keyring(given.settings)
    with opened_store(given.settings) as store:
        verifier = Verifier(keyring.keyset, issuer=auth.issuer, audience=auth.audience, revocations=_revocations(store))
        claims = verifier.verify(token, time.time())
        try:
            store.execute(Resolve(session=claims.sid), Principal.of(claims))
        except Refusal as refusal:
            if refusal.code != "token_revoked":
                raise
            raise TokenRefused("token_revoked", reason="disabled") from None
    return parse_json_object(parse_jws(token).payload)


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


@token.command()
@click.argument("token", metavar="TOKEN|-")
@given
def explain(given: Given, token: str) -> None:
    """Say what a token is, which key signed it, whether it would be refused, and what to do."""
    from parley.cli.explain import explained
    from parley.tokens import TokenRefused

    text = read_token(token)
    keyring = loaded_keyring(given.settings)
    refused: TokenRefused | None = None
    try:
        _verified(given, text)
    except TokenRefused as refusal:
        refused = refusal
    for line in explained(text, refused, keyring, given.settings.auth, now_s=time.time()):
        click.echo(line)
