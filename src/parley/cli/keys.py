"""`parley key …`: the keys that sign tokens.

What is on disk is `store/keyring.py`.
"""

from typing import TYPE_CHECKING, Final

import click

from parley.cli.terms import Given, Noun, Problem, clock_ms, given, loaded_keyring, opened_store

if TYPE_CHECKING:
    from parley.store.keyring import KeyFile

#: A new key is published this long before it signs: others may keep our published keys for 5 minutes.
PUBLISHED_FIRST_MS: Final = 600_000


@click.group(cls=Noun)
def key() -> None:
    """The keys that sign access tokens."""


@key.command("list")
@given
def list_keys(given: Given) -> None:
    """List the keys: kid, algorithm, state and when it was made, separated by tabs."""
    with opened_store(given.settings):
        pass  # where the database is not upgraded, that is what is said first
    keyring = loaded_keyring(given.settings)
    signing = keyring.signing_key
    if not keyring.files:
        click.echo(f"{signing.kid}\t{signing.algorithm}\tsigns\tfrom PARLEY_AUTH__SECRET")
    for file in sorted(keyring.files, key=lambda file: file.created_at_ms):
        _show(file, signs=file.kid == signing.kid)


@key.command()
@click.option("--now", "at_once", is_flag=True, help="Sign with it at once, before others have seen it published.")
@given
def rotate(given: Given, at_once: bool) -> None:
    """Make a new key: published at once, it signs after 10 minutes. Prints its line of the list."""
    from parley.store import keyring

    auth = given.settings.auth
    if auth.algorithm == "HS256":
        raise Problem("With HS256 there are no keys to rotate: change PARLEY_AUTH__SECRET.")
    loaded_keyring(given.settings)  # the first key, where there is none yet
    now_ms = clock_ms()
    signs_from_ms = now_ms if at_once else now_ms + PUBLISHED_FIRST_MS
    made = keyring.rotate(given.settings.data / "keys", auth.algorithm, now_ms=now_ms, signs_from_ms=signs_from_ms)
    _show(made, signs=at_once)


@key.command()
@click.argument("kid")
@given
def retire(given: Given, kid: str) -> None:
    """Let a key sign no more; it verifies until the last token it signed is out. Prints its line of the list."""
    from parley.store import keyring

    auth = given.settings.auth
    if auth.algorithm == "HS256":
        raise Problem("With HS256 there are no keys to retire: change PARLEY_AUTH__SECRET.")
    token_ms = int(max(auth.access_ttl, auth.guest_ttl) * 1000)
    retired = keyring.retire(given.settings.data / "keys", auth.algorithm, kid, now_ms=clock_ms(), token_ms=token_ms)
    _show(retired, signs=False)


def _show(file: "KeyFile", *, signs: bool) -> None:
    from parley.domain.ids import rfc3339

    state = "signs" if signs else _state(file)
    click.echo("\t".join((file.kid, file.algorithm, state, rfc3339(file.created_at_ms))))


def _state(file: "KeyFile") -> str:
    from parley.domain.ids import rfc3339

    now_ms = clock_ms()
    if file.is_out(now_ms):
        return "out"
    if file.verifies_until_ms is not None:
        return f"verifies until {rfc3339(file.verifies_until_ms)}"
    return f"signs from {rfc3339(file.signs_from_ms)}" if file.signs_from_ms > now_ms else "verifies"
