"""`parley broadcast` and `parley listen`: what they are given, and which source and which end that means.

Knows no socket: `parley.client.on_air` runs them.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from parley.cli.identity import identity_options, read_identity
from parley.cli.terms import Client, Problem

if TYPE_CHECKING:
    from parley.client.sources import Source


@click.command(cls=Client)
@click.argument("stream")
@click.argument("file", required=False, type=click.Path(path_type=Path, allow_dash=True), metavar="[FILE|-]")
@click.option("--loop", is_flag=True, help="From the beginning again, for ever.")
@click.option(
    "--capture",
    is_flag=False,
    flag_value="",
    metavar="[DEVICE]",
    help="What the machine plays: pulse:NAME, alsa:NAME, or the usual device (ffmpeg).",
)
@click.option("--input", "any_input", metavar="FILE", help="A file or URL of any format (ffmpeg).")
@click.option(
    "--bitrate", type=click.IntRange(6, 510), default=128, show_default=True, help="kbit/s that ffmpeg encodes with."
)
@identity_options
def broadcast(
    stream: str,
    file: Path | None,
    loop: bool,
    capture: str | None,
    any_input: str | None,
    bitrate: int,
    url: str,
    given_token: str | None,
    user: str | None,
    password_file: Path | None,
) -> None:
    """Put STREAM on the air: Ogg Opus from FILE or standard input, at its own pace."""
    if [file is not None, capture is not None, any_input is not None].count(True) > 1:
        raise click.UsageError("FILE, --capture and --input exclude each other.")
    if file is None and capture is None and any_input is None and sys.stdin.isatty():
        raise click.UsageError("Say what to send: FILE, - for standard input, --input FILE or --capture.")
    if loop and (capture is not None or (any_input is None and (file is None or str(file) == "-"))):
        raise click.UsageError("--loop needs a file: what comes once can't be repeated.")
    if given_token == "-" and any_input is None and capture is None and (file is None or str(file) == "-"):  # noqa: S105
        raise click.UsageError("Standard input can't be both the token and the sound.")
    who = read_identity(given_token, user, password_file)
    from parley.client import on_air
    from parley.client.sources import SourceFailed

    try:
        source = _source(file, loop, capture, any_input, bitrate)
    except SourceFailed as failed:
        raise Problem(f"{failed}.") from None
    sys.exit(on_air.broadcast(url, stream, source, **who.arguments()))


def _source(file: Path | None, loop: bool, capture: str | None, any_input: str | None, bitrate: int) -> "Source":
    from parley.client.sources import FfmpegSource, FileSource, PipeSource, any_file, playing

    if capture is not None:
        return FfmpegSource(playing(capture, os.environ), capture or "what the machine plays", bitrate_k=bitrate)
    if any_input is not None:
        return FfmpegSource(any_file(any_input, loops=loop), any_input, bitrate_k=bitrate)
    if file is None or str(file) == "-":
        return PipeSource()
    try:
        file.open("rb").close()  # now, and not once the place on the air is taken
    except OSError as error:
        raise Problem(f"{file} can't be read: {error.strerror}.") from None
    return FileSource(file, loops=loop)


@click.command(cls=Client)
@click.argument("stream")
@click.argument("file", required=False, type=click.Path(path_type=Path, allow_dash=True), metavar="[FILE|-]")
@click.option("--once", is_flag=True, help="End with the broadcast, rather than wait for the next.")
@identity_options
def listen(
    stream: str,
    file: Path | None,
    once: bool,
    url: str,
    given_token: str | None,
    user: str | None,
    password_file: Path | None,
) -> None:
    """Hear STREAM: write Ogg Opus to FILE or standard output, or play it where ffplay is."""
    who = read_identity(given_token, user, password_file, may_be_nobody=True)
    if file is None and not sys.stdout.isatty():
        file = Path("-")
    from parley.client import on_air

    sys.exit(on_air.listen(url, stream, file, once=once, **who.arguments()))
