"""`parley db …`: the database's schema and its backup.

How each is done is the store's.
"""

import os
from pathlib import Path

import click

from parley.cli.terms import Given, Noun, given


@click.group(cls=Noun)
def db() -> None:
    """The database."""


@db.command()
@given
def upgrade(given: Given) -> None:
    """Bring the database to this version's schema. On SQLite every start does it too; on PostgreSQL only this does."""
    from parley.store.opening import upgrade_database

    upgrade_database(given.settings.store_url, random_bytes=os.urandom)


@db.command()
@click.argument("file", type=click.Path(path_type=Path))
@given
def backup(given: Given, file: Path) -> None:
    """Copy the database into FILE, also beside a running server. On PostgreSQL use pg_dump."""
    from parley.store.opening import backup_database

    backup_database(given.settings.store_url, file, random_bytes=os.urandom)


@db.command()
@given
def renew_epoch(given: Given) -> None:
    """Begin a new epoch, after a backup was restored by other means: clients drop what they hold. Prints the epoch."""
    from parley.store.opening import renew_epoch as renew

    click.echo(renew(given.settings.store_url, random_bytes=os.urandom))
