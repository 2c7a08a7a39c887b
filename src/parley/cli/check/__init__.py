"""`parley check URL`: a running server seen from outside, what it admits, refuses and leaks, with a verdict for each.

Knows no server's insides: it works against any that takes tokens by the same carriers. What is looked at is in the
files beside this one; here are the command, the table and the exit status.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from parley.cli.terms import Client, Problem, read_password, read_token, shown

if TYPE_CHECKING:
    from parley.cli.check.findings import Finding

_COLOURS = {"fine": "green", "FAULT": "red", "unclear": "yellow", "skipped": "bright_black"}


@click.command(cls=Client)
@click.argument("url")
@click.option("--path", default="/ws", show_default=True, help="Where WebSockets are opened.")
@click.option("--protocol", default="parley.v1", show_default=True, help="The subprotocol spoken there; '' for none.")
@click.option("--token", metavar="T|-", help="A good token: more is looked at with one.")
@click.option("--expired-token", metavar="T", help="A token that has expired.")
@click.option("--user", metavar="NAME", help="Sign in under this name: most is looked at with it.")
@click.option("--password-file", type=click.Path(path_type=Path), metavar="F", help="The password of --user.")
@click.option(
    "--wait",
    type=click.FloatRange(0, 3600),
    default=60,
    show_default=True,
    metavar="S",
    help="How long to wait for a token to expire, to see what its socket does then.",
)
@click.option("--insecure", is_flag=True, help="Do not check the server's certificate.")
def check(
    url: str,
    path: str,
    protocol: str,
    token: str | None,
    expired_token: str | None,
    user: str | None,
    password_file: Path | None,
    wait: float,
    insecure: bool,
) -> int:
    """Look at a running server from outside. Exit status: 0 all is fine, 1 there are faults, 2 it can't be looked at.

    It tries to get in with tokens that are forged, expired or in the wrong place, and to make the server give one away.
    Only check servers that are yours: it fails to sign in under --user four times.
    """
    import asyncio

    from parley.cli.check.probes import run
    from parley.cli.check.target import Target, Unreachable

    if token is not None and user is not None:
        raise click.UsageError("--token and --user exclude each other.")
    try:
        target = Target.of(url, path, protocol, verify=not insecure)
    except ValueError as problem:
        raise click.UsageError(f"URL: {problem}") from None
    try:
        target.good = None if token is None else read_token(token)
        target.expired = None if expired_token is None else read_token(expired_token)
        if user is not None:
            target.user = user
            target.password = read_password(from_stdin=False, file=password_file, confirm=False)
    except Problem as problem:
        raise click.UsageError(problem.message) from None  # 1 is for faults
    try:
        findings = asyncio.run(run(target, wait_s=wait, told=_show))
    except Unreachable as problem:
        click.echo(f"parley: {problem}", err=True)
        return 2
    counted = {verdict: sum(one.verdict == verdict for one in findings) for verdict in _COLOURS}
    click.echo(", ".join(f"{count} {verdict}" for verdict, count in counted.items() if count))
    return 1 if counted["FAULT"] else 0


def _show(finding: "Finding") -> None:
    verdict = click.style(f"{finding.verdict:8}", fg=_COLOURS[finding.verdict])
    click.echo(f"{verdict} {finding.name:28} {shown(finding.seen)}")
    sys.stdout.flush()
