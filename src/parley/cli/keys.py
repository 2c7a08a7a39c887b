"""`parley key …`: the keys that sign tokens.

What is on disk is `store/keyring.py`.
"""

from typing import TYPE_CHECKING

import click

from parley.cli.terms import Given, Noun, clock_ms, given, loaded_keyring

if TYPE_CHECKING:
    from parley.store.keyring import KeyFile


@click.group(cls=Noun)
def key() -> None:
    """The keys that sign access tokens."""


@key.command("list")
@given
def list_keys(given: Given) -> None:
    """List the keys: kid, algorithm, state and when it was made, separated by tabs."""
    from parley.domain.ids import rfc3339

    keyring = loaded_keyring(given.settings)
    signing = keyring.signing_key
    if not keyring.files:
        click.echo(f"{signing.kid}\t{signing.algorithm}\tsigns\tfrom PARLEY_AUTH__SECRET")
    for file in sorted(keyring.files, key=lambda file: file.created_at_ms):
        state = "signs" if file.kid == signing.kid else _state(file)
        click.echo("\t".join((file.kid, file.algorithm, state, rfc3339(file.created_at_ms))))


def _state(file: "KeyFile") -> str:
    from parley.domain.ids import rfc3339

    now_ms = clock_ms()
    if file.is_out(now_ms):
        return "out"
    if file.verifies_until_ms is not None:
        return f"verifies until {rfc3339(file.verifies_until_ms)}"
    return f"signs from {rfc3339(file.signs_from_ms)}" if file.signs_from_ms > now_ms else "verifies"
