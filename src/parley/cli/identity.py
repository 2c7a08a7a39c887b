"""Who the user of `chat`, `broadcast` and `listen` is, and at which server.

Reads tokens and passwords from where the user said; signs nobody in.
"""

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from parley.cli.terms import read_password, read_secret_file, read_token


@dataclass(frozen=True)
class Identity:
    """One of a token, a file that holds the newest one, and a name with a password; or nobody."""

    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def arguments(self) -> dict[str, Any]:
        """As keyword arguments of what connects."""
        callback: Callable[[], Awaitable[str]] | None = None
        if self.token_file is not None:
            path = self.token_file

            async def callback() -> str:
                return read_secret_file(path).strip()

        return {
            "token": self.token,
            "token_callback": callback,
            "username": self.username,
            "password": self.password,
        }


def identity_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--url`, `--token`, `--user` and `--password-file`; `read_identity` takes the last three."""
    for option in (
        click.option("--password-file", type=click.Path(path_type=Path), metavar="F", help="The password of --user."),
        click.option("--user", metavar="NAME", help="Sign in under this name."),
        click.option(
            "--token", "given_token", metavar="T|-", help="A token, or - for standard input (PARLEY_TOKEN, …_FILE)."
        ),
        click.option(
            "--url", envvar="PARLEY_URL", default="http://127.0.0.1:8000", show_default=True, help="(PARLEY_URL)"
        ),
    ):
        command = option(command)
    return command


def read_identity(
    given_token: str | None, user: str | None, password_file: Path | None, *, may_be_nobody: bool = False
) -> Identity:
    """Raises: click.UsageError, Problem."""
    if given_token is not None and user is not None:
        raise click.UsageError("--token and --user exclude each other.")
    if user is not None:
        return Identity(username=user, password=read_password(from_stdin=False, file=password_file, confirm=False))
    if given_token is not None:
        found = Identity(token=read_token(given_token))
    elif "PARLEY_TOKEN" in os.environ:
        found = Identity(token=os.environ["PARLEY_TOKEN"].strip())
    elif path := os.environ.get("PARLEY_TOKEN_FILE"):
        read_secret_file(Path(path))  # what is wrong with it is said before anything else
        return Identity(token_file=Path(path))
    else:
        found = Identity()
    if not found.token:
        if may_be_nobody:
            return Identity()
        raise click.UsageError("Say who you are: --token T, --user NAME, or PARLEY_TOKEN.")
    return found
