"""`parley account …`: the stored people, by the same commands that an admin has on the wire.

Works before the first start and beside a running server, which follows within a second.
"""

from pathlib import Path

import click

from parley.cli.terms import (
    Given,
    Noun,
    account_named,
    checked,
    given,
    opened_store,
    password_options,
    read_password,
    shown,
)

_ROLE = click.Choice(["member", "agent", "admin"])


@click.group(cls=Noun)
def account() -> None:
    """Create, list and change accounts. NAME is a username or a subject."""


@account.command()
@click.argument("name")
@click.option("--role", "roles", type=_ROLE, multiple=True, required=True, help="May be given several times.")
@click.option("--name", "display_name", metavar="TEXT", help="What others see; without it, the username.")
@password_options
@given
def create(
    given: Given,
    name: str,
    roles: tuple[str, ...],
    display_name: str | None,
    password_stdin: bool,
    password_file: Path | None,
) -> None:
    """Create an account and print its id."""
    from parley.domain.accounts import Create
    from parley.service.passwords import hash_password

    password = read_password(from_stdin=password_stdin, file=password_file, confirm=True)
    values = {"username": name, "roles": list(roles), "name": display_name}
    # Held to the form before it is hashed: the hash is never too long.
    checked(Create, **values, password=password)
    with opened_store(given.settings) as store:
        made = store.execute(checked(Create, **values, password=hash_password(password)))
    click.echo(made.reply["account"].id)


@account.command("list")
@given
def list_accounts(given: Given) -> None:
    """List all accounts: id, username, roles, state and name, separated by tabs."""
    from parley.domain.accounts import List

    with opened_store(given.settings) as store:
        after: str | None = None
        while True:
            page = store.execute(List(after=after, limit=200)).reply
            for view in page["accounts"]:
                state = "disabled" if view.disabled else "active"
                columns = (view.id, view.username or "-", ",".join(view.roles), state, view.name)
                click.echo("\t".join(map(shown, columns)))
            after = page["next"]
            if after is None:
                return


@account.command("set-roles")
@click.argument("name")
@click.option("--role", "roles", type=_ROLE, multiple=True, required=True, help="May be given several times.")
@given
def set_roles(given: Given, name: str, roles: tuple[str, ...]) -> None:
    """Give an account these roles and no others."""
    from parley.domain.accounts import SetRoles

    with opened_store(given.settings) as store:
        found = account_named(store, name)
        store.execute(checked(SetRoles, account=found.id, roles=list(roles)))


@account.command("set-password")
@click.argument("name")
@password_options
@given
def set_password(given: Given, name: str, password_stdin: bool, password_file: Path | None) -> None:
    """Set an account's password and end its sign-ins."""
    from parley.domain.accounts import SetPassword
    from parley.service.passwords import hash_password

    with opened_store(given.settings) as store:
        found = account_named(store, name)
        password = read_password(from_stdin=password_stdin, file=password_file, confirm=True)
        checked(SetPassword, account=found.id, password=password)
        store.execute(SetPassword(account=found.id, password=hash_password(password)))


@account.command()
@click.argument("name")
@given
def disable(given: Given, name: str) -> None:
    """Disable an account: no sign-in, and its tokens are refused."""
    from parley.domain.accounts import Disable

    with opened_store(given.settings) as store:
        store.execute(Disable(account=account_named(store, name).id))
