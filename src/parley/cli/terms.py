"""What every command shares: its settings, its store, its passwords, and one line for whatever goes wrong.

Knows no command. Imports of other parts wait until they are needed, so that `parley --help` is there at once.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from parley.config import Settings
    from parley.domain.accounts import Account
    from parley.store import Store
    from parley.store.keyring import Keyring

#: What a terminal would obey, and what would break a line of a listing.
_CONTROLS = dict.fromkeys((*range(32), *range(127, 160)), "\N{REPLACEMENT CHARACTER}")


class Problem(click.ClickException):
    """Something to tell the user in one line; the command ends with exit status 1."""


@dataclass
class Given:
    """What stands before or behind the command: which file of settings, which directory of data."""

    config: Path | None = None
    flags: dict[str, Any] = field(default_factory=dict)
    _settings: "Settings | None" = None

    @property
    def settings(self) -> "Settings":
        """Read at the first need. Raises: SettingsError."""
        if self._settings is None:
            from parley.config import load

            self._settings = load(self.config, environ=os.environ, flags=self.flags)
        return self._settings


given = click.make_pass_decorator(Given, ensure=True)


def _keep_config(context: click.Context, parameter: click.Parameter, value: Path | None) -> None:
    if value is not None:
        context.ensure_object(Given).config = value


def _keep_data(context: click.Context, parameter: click.Parameter, value: Path | None) -> None:
    if value is not None:
        context.ensure_object(Given).flags["data"] = value


def config_option() -> click.Option:
    return click.Option(
        ["--config"],
        type=click.Path(path_type=Path),
        metavar="FILE",
        expose_value=False,
        callback=_keep_config,
        help="A TOML file of settings.",
    )


def data_option() -> click.Option:
    return click.Option(
        ["--data"],
        type=click.Path(path_type=Path),
        metavar="DIR",
        expose_value=False,
        callback=_keep_data,
        help="The directory of the SQLite file and the keys (PARLEY_DATA).",
    )


class Client(click.Command):
    """A command that talks to a server by its URL, and so needs no settings."""


class Noun(click.Group):
    """A group whose commands take `--config` and `--data` themselves, wherever their users expect them."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        if not isinstance(cmd, click.Group | Client):
            cmd.params += [config_option(), data_option()]
        super().add_command(cmd, name)


@contextmanager
def opened_store(settings: "Settings") -> Iterator["Store"]:
    """The store, beside a running server or before the first start. Raises: StoreProblem."""
    from parley.store import open_store

    store = open_store(settings.store_url, clock_ms=clock_ms, random_bytes=os.urandom)
    try:
        yield store
    finally:
        store.close()


def loaded_keyring(settings: "Settings") -> "Keyring":
    """The keys, made where there are none yet. Raises: StoreProblem."""
    from parley.store.keyring import Keyring

    secret = settings.auth.secret
    return Keyring.load(
        settings.data / "keys",
        settings.auth.algorithm,
        None if secret is None else secret.get_secret_value(),
        now_ms=clock_ms(),
    )


def account_named(store: "Store", name: str) -> "Account":
    """By username or subject. Raises: Problem."""
    found = find_account(store, name)
    if found is None:
        raise Problem(f"There is no account {shown(name)}; `parley account list` shows those there are.")
    return found


def find_account(store: "Store", name: str) -> "Account | None":
    from parley.domain.accounts import Find

    found: Account | None = store.execute(Find(name=name)).reply
    return found


def password_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--password-stdin` and `--password-file`; `read_password` takes what they give."""
    command = click.option(
        "--password-file",
        type=click.Path(path_type=Path),
        metavar="F",
        help="Read the password from a file, without its last newline.",
    )(command)
    return click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")(command)


def read_password(*, from_stdin: bool, file: Path | None, confirm: bool) -> str:
    """The password, from where the user said, else asked for. Raises: click.UsageError, Problem."""
    if from_stdin and file is not None:
        raise click.UsageError("--password-stdin and --password-file exclude each other.")
    if from_stdin:
        password = _without_newline(_read(sys.stdin.buffer, "standard input"))
    elif file is not None:
        password = _without_newline(_read_file(file))
    elif sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=confirm, err=True)
    else:
        raise click.UsageError("Say where the password is: --password-file F, or --password-stdin where there is one.")
    if not password:
        raise Problem("The password is empty.")
    return password


def read_token(argument: str) -> str:
    """A token as an argument, or `-` for standard input. Raises: Problem."""
    return _read(sys.stdin.buffer, "standard input").strip() if argument == "-" else argument.strip()


def read_secret_file(path: Path) -> str:
    """A file's text without its last newline. Raises: Problem."""
    return _without_newline(_read_file(path))


def _read_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return _read(file, str(path))
    except OSError as error:
        raise Problem(f"{path} can't be read: {error.strerror}.") from None


def _read(file: IO[bytes], name: str) -> str:
    try:
        return file.read(65_536).decode("utf-8")
    except UnicodeDecodeError:
        raise Problem(f"{name} is not UTF-8 text.") from None


def _without_newline(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


def checked(kind: type[Any], **values: Any) -> Any:
    """Parameters of a command, held to the forms that the wire holds them to. Raises: Problem."""
    import msgspec

    try:
        return msgspec.convert(values, type=kind)
    except msgspec.ValidationError as error:
        said, _, at = str(error).partition(" - at `$.")
        names = {
            "username": "A username is 1 to 128 printable ASCII characters without space.",
            "name": "A name is 1 to 200 characters.",
            "password": "A password is 1 to 1024 characters.",
        }
        raise Problem(names.get(at.split("`")[0].split("[")[0], said + ".")) from None


def shown(text: str) -> str:
    """Somebody else's text, fit for a terminal."""
    return text.translate(_CONTROLS)


def clock_ms() -> int:
    return time.time_ns() // 1_000_000
