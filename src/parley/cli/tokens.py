"""`parley token …`: issue an access token by hand, verify one, say in words what one is, revoke it.

What is wrong with a token is decided by `parley.tokens`, by the very verifier that the server uses.
"""

import os
import time
from typing import TYPE_CHECKING

import click

from parley.cli.terms import (
    Given,
    Noun,
    Problem,
    checked,
    clock_ms,
    find_account,
    given,
    loaded_keyring,
    opened_store,
    read_token,
)

if TYPE_CHECKING:
    from parley.domain.revocation import Revoke, RevokeToken

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

    from parley.cli.verifying import judged
    from parley.tokens import parse_jws
    from parley.tokens.jws import parse_json_object

    text = read_token(token)
    verdict = judged(given, text)
    if verdict.refused is not None:
        click.echo(verdict.refused.code, err=True)
        raise SystemExit(1)
    click.echo(json.dumps(parse_json_object(parse_jws(text).payload), ensure_ascii=False, indent=2))


@token.command()
@click.argument("token", metavar="TOKEN|ID|-")
@given
def explain(given: Given, token: str) -> None:
    """Say what a token is, which key signed it, whether it would be refused, and what to do.

    ID is the incident of a refusal, as it stands in the log and in answers: then it says what came, and why not.
    """
    from parley.cli.explain import explained, is_incident, retold

    text = read_token(token)
    if is_incident(text):
        from parley.store.refusals import find

        record = find(given.settings.data, text)
        if record is None:
            raise Problem(
                f"No refusal of {text} is kept here. It may be too old, of another node, or, where the answer was "
                "`internal`, in the log."
            )
        lines = retold(record, loaded_keyring(given.settings), given.settings.auth)
    else:
        from parley.cli.verifying import judged

        lines = explained(text, judged(given, text), given.settings.auth, now_s=time.time())
    for line in lines:
        click.echo(line)


@token.command()
@click.argument("token", metavar="TOKEN|-", required=False)
@click.option("--session", metavar="ID", help="A sign-in: its refresh token and all its access tokens.")
@click.option("--subject", metavar="S", help="All sign-ins up to now of an account's username or id, or any subject.")
@given
def revoke(given: Given, token: str | None, session: str | None, subject: str | None) -> None:
    """Revoke a token, a session or a subject: live sockets under it end within a second.

    A refresh token counts for its session. A sign-in that comes later is not touched.
    """
    from parley.domain.revocation import Revoke, RevokeToken

    if [token, session, subject].count(None) != 2:
        raise click.UsageError("Name one: TOKEN, --session ID or --subject S.")
    command: Revoke | RevokeToken | None
    if token is not None:
        command = _revocation_of(given, read_token(token))
    else:
        named = {"session": session} if session is not None else {"subject": subject}
        command = checked(Revoke, **named)
    if command is None:
        return
    with opened_store(given.settings) as store:
        if isinstance(command, Revoke) and command.subject is not None:
            account = find_account(store, command.subject)
            command = Revoke(subject=command.subject if account is None else account.id)
        store.execute(command)


def _revocation_of(given: Given, token: str) -> "Revoke | RevokeToken | None":
    """What revokes this token; None where nobody can use it any more. Raises: Problem for what is no token of ours."""
    from parley.cli.verifying import judged
    from parley.domain.errors import Refusal
    from parley.domain.revocation import Revoke, RevokeToken
    from parley.domain.sign_ins import used_refresh_token

    keyring = loaded_keyring(given.settings)
    try:
        return Revoke(session=used_refresh_token(keyring.refresh_key, token)[0])
    except Refusal:
        pass  # then it is an access token
    verdict = judged(given, token, revocations=False)
    if verdict.claims is not None:
        claims = verdict.claims
        until_ms = int((claims.exp + claims.exp_leeway_s) * 1000)
        return RevokeToken(token_id=claims.jti, subject=claims.sub, until_ms=until_ms)
    assert verdict.refused is not None
    if verdict.refused.code == "token_expired":
        return None
    raise Problem(f"It is not revoked, for nobody could use it: {verdict.refused.code}. {verdict.refused.meaning}")
