"""The command line as a whole: its nouns, and how each way of failing ends.

Bad input is one line on standard error: exit status 2 where the command was wrong, 1 where it could not be done.
"""

import errno
import os
import sys
from pathlib import Path
from typing import Any, Final

import click

from parley import __version__
from parley.cli.accounts import account
from parley.cli.check import check
from parley.cli.database import db
from parley.cli.identity import identity_options, read_identity
from parley.cli.keys import key
from parley.cli.streams import broadcast, listen
from parley.cli.terms import (
    Client,
    Given,
    Noun,
    Problem,
    config_option,
    given,
    read_secret_file,
)
from parley.cli.tokens import token

#: Why a server cannot listen where it is told to, by what the system says.
_NO_LISTENING: Final = {
    errno.EADDRINUSE: "{place} is in use: something else listens there; choose another --port (PARLEY_PORT).",
    errno.EADDRNOTAVAIL: "{place} is no address of this machine; choose another --host (PARLEY_HOST).",
    errno.EACCES: "{place} may not be listened on: ports under 1024 are the system's; choose another --port.",
}


@click.group(cls=Noun, params=[config_option()], context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="parley")
@click.pass_context
def parley(context: click.Context) -> None:
    """Parley, a self-hosted chat server in which every socket carries a token."""
    context.ensure_object(Given)


parley.add_command(account)
parley.add_command(token)
parley.add_command(key)
parley.add_command(db)
parley.add_command(check)
parley.add_command(broadcast)
parley.add_command(listen)


@parley.command()
@click.option("--host", metavar="HOST", help="The address to listen on (PARLEY_HOST; 127.0.0.1).")
@click.option("--port", type=int, metavar="N", help="The port; 0 is any free one (PARLEY_PORT; 8000).")
@click.option("--workers", type=int, metavar="N", help="Processes that serve (PARLEY_WORKERS; 1).")
@click.option("--demo", is_flag=True, help="With sign-ins and a room to try it; on loopback only.")
@given
def serve(given: Given, host: str | None, port: int | None, workers: int | None, demo: bool) -> None:
    """Serve, and print the address once connections are accepted."""
    from parley.config import require_servable

    given.flags |= {"host": host, "port": port, "workers": workers}
    settings = given.settings
    require_servable(settings, demo=demo)
    from parley import logs
    from parley.server import serve as serve_until_stopped

    logs.configure(settings.log_format, settings.log_level)
    place = f"{settings.host} port {settings.port}"
    try:
        status = serve_until_stopped(settings, demo=demo)
    except OSError as error:
        if error.filename is not None or (said := _NO_LISTENING.get(error.errno or 0)) is None:
            raise
        raise Problem(said.format(place=place)) from None
    sys.exit(status)


@parley.command(cls=Client)
@click.argument("room")
@identity_options
def chat(room: str, url: str, given_token: str | None, user: str | None, password_file: Path | None) -> None:
    """Talk in ROOM, in this terminal."""
    who = read_identity(given_token, user, password_file)
    token = who.token if who.token_file is None else read_secret_file(who.token_file).strip()
    from parley.client import terminal

    sys.exit(terminal.run(url, room, token, who.username, who.password))


def main(arguments: list[str] | None = None) -> int:
    """Run one command line; the exit status."""
    try:
        result: Any = parley.main(args=arguments, prog_name="parley", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as shown:
        click.echo(shown.format_message(), err=True)
        return 2
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx is not None else "parley"
        return _say(f"{error.format_message()} (see {command} --help)", 2)
    except click.ClickException as error:
        return _say(error.format_message(), 1)
    except (click.Abort, KeyboardInterrupt):
        return _say("interrupted", 130)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except BrokenPipeError:
        # Who read our output has gone; nothing must be written to it at the exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        return _say(f"{name}{error.strerror or error}", 1)
    except ImportError as error:
        return _say(f"A part of the program is missing or broken: {error}", 1)
    except Exception as error:
        return _explained(error)
    return result if isinstance(result, int) else 0


def _explained(error: Exception) -> int:
    from parley.config import SettingsError
    from parley.domain.errors import Refusal
    from parley.store import StoreProblem
    from parley.tokens import KeyUnusable

    match error:
        case Refusal():
            return _say(error.message, 1)
        case SettingsError() | StoreProblem() | KeyUnusable() | Problem():
            return _say(str(error), 1)
        case _:
            from parley.logs import redacted

            if os.environ.get("PARLEY_LOG_LEVEL") == "debug":
                import traceback

                click.echo(redacted(traceback.format_exc()), err=True)
            return _say(
                redacted(f"This is a bug: {type(error).__name__}: {error} (PARLEY_LOG_LEVEL=debug shows where)"), 1
            )


def _say(text: str, status: int) -> int:
    click.echo("parley: " + " ".join(text.split()), err=True)
    return status
