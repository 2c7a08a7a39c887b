"""`parley broadcast` and `parley listen`, up to the exit status: what they show, and where sound goes.

What is sent is `broadcasting.py`, what is heard `listening.py`. All words go to standard error: standard output is for
sound.
"""

import asyncio
import contextlib
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, Unpack

from parley.client.broadcasting import Broadcast
from parley.client.connection import State
from parley.client.credentials import Ways, chosen, origins
from parley.client.errors import ParleyError, Refused
from parley.client.listening import Listening
from parley.client.sources import Source, SourceFailed
from parley.client.wording import clean_line, in_words
from parley.dialects.ogg import NotOggOpus

#: How often a terminal's line is drawn anew.
DRAW_S: Final = 0.25
METER_CELLS: Final = 20
#: The left end of the meter; the right one is as loud as can be.
METER_DB: Final = -60.0
#: What a player has not taken yet: a minute of sound. What comes after that is not played.
UNPLAYED_BYTES_MAX: Final = 1024 * 1024

_WORDS: Final = {
    "already_live": "Somebody else is on the air, and nobody can take their place.",
    "stopped": "The broadcast was stopped by the stream's owner or an admin.",
    "forbidden": "You may not do this on this stream.",
    "revoked": "Your access was revoked.",
    "rate_limited": "Sound came faster than it can be heard, and was cut.",
    "stalled": "No sound reached the server for ten seconds, and the broadcast was cut.",
    "not_ogg_opus": "The server could not read this as Ogg Opus.",
    "not_found": "There is no such stream, or it is not for you.",
    "token_missing": "This stream is not public: say who you are by --token, --user or PARLEY_TOKEN.",
    "silent": "The network has gone quiet.",
    "restarting": "The server restarts.",
}


class Shown:
    """One line on a terminal that is always true; elsewhere a line for each change worth telling."""

    def __init__(self, line: Callable[[], str], news: Callable[[], str]) -> None:
        self._line = line
        self._news = news
        self._told = ""
        self._is_terminal = sys.stderr.isatty()
        self._is_drawn = False

    def tell(self) -> None:
        """Something changed."""
        if not self._is_terminal:
            self._say(self._news())

    async def draw(self) -> None:
        while self._is_terminal:
            width = max(10, shutil.get_terminal_size().columns - 1)
            print(f"\r{self._line()[:width]}\x1b[K", end="", file=sys.stderr, flush=True)  # noqa: T201
            self._is_drawn = True
            await asyncio.sleep(DRAW_S)

    def _say(self, news: str) -> None:
        if news and news != self._told:
            self._told = news
            print(f"parley: {news}", file=sys.stderr, flush=True)  # noqa: T201

    def close(self) -> None:
        if self._is_drawn:
            print(file=sys.stderr)  # noqa: T201


def broadcast(url: str, stream: str, source: Source, **ways: Unpack[Ways]) -> int:
    """Be on the air until the source ends or the user does; the exit status."""

    async def run() -> None:
        http, ws = origins(url)
        who = chosen(http, **ways)
        assert who is not None
        on_air = Broadcast(ws, stream, who, source, on_change=lambda: shown.tell())
        shown = Shown(lambda: _broadcast_line(on_air), lambda: _broadcast_news(on_air))
        async with _drawn(shown, on_air.finish):
            await on_air.run()

    return _ended(run, source_name=stream)


def listen(url: str, stream: str, to: Path | None, *, once: bool = False, **ways: Unpack[Ways]) -> int:
    """Hear until the user ends it; `to` is a file, `-`, or None for ffplay. The exit status."""

    async def run() -> None:
        http, ws = origins(url)
        who = chosen(http, **ways, may_be_none=True)
        async with _written(to) as (write, gone):
            hearing = Listening(ws, stream, who, write, once=once, on_change=lambda: shown.tell())
            shown = Shown(lambda: _listening_line(hearing), lambda: _listening_news(hearing))
            async with _drawn(shown, hearing.finish):
                watching = asyncio.create_task(_then(gone, hearing.finish))
                try:
                    await hearing.run()
                finally:
                    watching.cancel()

    return _ended(run, source_name=stream)


async def _then(event: asyncio.Event, act: Callable[[], None]) -> None:
    await event.wait()
    act()


def _ended(run: Callable[[], Any], source_name: str) -> int:
    try:
        asyncio.run(run())
    except SourceFailed as error:
        return _complain(clean_line(str(error)), 1)
    except NotOggOpus as error:
        return _complain(f"It can't be sent: {error}. With ffmpeg, --input FILE sends anything.", 1)
    except Refused as error:
        said = _WORDS.get(error.code)
        return _complain(in_words(error) if said is None else f"{said} ({clean_line(error.code)})", 1)
    except ParleyError as error:
        return _complain(in_words(error), 1)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _complain(f"{error.filename or 'standard output'} can't be written: {error.strerror}.", 1)
    except ValueError as error:
        return _complain(str(error), 2)
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    return 0


def _complain(text: str, status: int) -> int:
    print(f"parley: {text}", file=sys.stderr)  # noqa: T201
    return status


@asynccontextmanager
async def _drawn(shown: Shown, finish: Callable[[], None]) -> AsyncIterator[None]:
    """The line is drawn, and the first signal to stop ends all properly; the second at once."""
    loop, me = asyncio.get_running_loop(), asyncio.current_task()
    assert me is not None
    drawing = asyncio.create_task(shown.draw())
    asked = False

    def stop() -> None:
        nonlocal asked
        if asked:
            me.cancel()
        asked = True
        finish()

    with _signals(loop, stop):
        try:
            yield
        finally:
            drawing.cancel()
            shown.close()


@contextmanager
def _signals(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> Iterator[None]:
    signals = (signal.SIGINT, signal.SIGTERM)
    for one in signals:
        loop.add_signal_handler(one, stop)
    try:
        yield
    finally:
        for one in signals:
            loop.remove_signal_handler(one)


@asynccontextmanager
async def _written(to: Path | None) -> AsyncIterator[tuple[Callable[[bytes], None], asyncio.Event]]:
    """Where sound goes, and whether it can't go there any more."""
    gone = asyncio.Event()
    if to is None:
        async with _played(gone) as write:
            yield write, gone
        return
    with contextlib.ExitStack() as stack:
        file = sys.stdout.buffer if str(to) == "-" else stack.enter_context(to.open("wb"))

        def write(data: bytes) -> None:
            file.write(data)
            file.flush()

        yield write, gone


@asynccontextmanager
async def _played(gone: asyncio.Event) -> AsyncIterator[Callable[[bytes], None]]:
    program = shutil.which("ffplay")
    if program is None:
        raise SourceFailed("ffplay, which would play it, is not installed: say where to write, FILE or -")
    quiet = ["-v", "error", "-nodisp", "-autoexit", "-fflags", "nobuffer", "-f", "ogg", "-i", "pipe:0"]
    player = await asyncio.create_subprocess_exec(program, *quiet, stdin=asyncio.subprocess.PIPE)
    pipe = player.stdin
    assert pipe is not None

    def write(data: bytes) -> None:
        if pipe.transport.get_write_buffer_size() < UNPLAYED_BYTES_MAX:
            pipe.write(data)

    async def ended() -> None:
        await player.wait()
        gone.set()

    ending = asyncio.create_task(ended())
    try:
        yield write
        pipe.close()
        await player.wait()
    finally:
        ending.cancel()
        if player.returncode is None:
            player.kill()
            await player.wait()


# --- what is said -----------------------------------------------------------------------------------------------------


def _broadcast_line(on_air: Broadcast) -> str:
    if on_air.state.name != "live":
        return _state_in_words(on_air.state)
    parts = [f"ON AIR  {clean_line(on_air.stream)}", _clock(_since(on_air))]
    level = on_air.level_db
    if level is not None:
        parts.append(meter(level))
    parts.append(_listeners(on_air.described))
    if on_air.dropped_s:
        parts.append(f"lost {on_air.dropped_s:.1f} s")
    return "  ".join(part for part in parts if part)


def _broadcast_news(on_air: Broadcast) -> str:
    if on_air.state.name == "live":
        return ", ".join(part for part in (f"on the air: {on_air.stream}", _listeners(on_air.described)) if part)
    if on_air.state.name == "ended" and on_air.since_s is not None:
        return f"off the air after {_clock(on_air.sent_s)}"
    return _state_in_words(on_air.state)


def _listening_line(hearing: Listening) -> str:
    news = _listening_news(hearing)
    return f"{news}  {_clock(hearing.heard_s)}" if hearing.heard_s else news


def _listening_news(hearing: Listening) -> str:
    if hearing.state.name != "live":
        return _state_in_words(hearing.state)
    if not hearing.described:
        return ""
    name = clean_line(str(hearing.described.get("title") or hearing.stream))
    return f"{name} is on the air" if hearing.described.get("live") else f"{name} is off the air; waiting"


def _state_in_words(state: State) -> str:
    match state.name:
        case "connecting":
            return "connecting"
        case "reconnecting":
            why = _WORDS.get(state.reason) or f"The line was lost ({clean_line(state.reason) or 'no reason given'})."
            return f"{why} Back in {state.retry_in_s or 0:.1f} s"
        case _:
            return ""


def _since(on_air: Broadcast) -> float:
    return 0.0 if on_air.since_s is None else asyncio.get_running_loop().time() - on_air.since_s


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def _listeners(described: dict[str, Any]) -> str:
    count = described.get("listeners")
    if not isinstance(count, int):
        return ""
    return f"{count} listener{'' if count == 1 else 's'}"


def meter(level_db: float) -> str:
    """A bar of twenty cells from -60 dB up, and the number."""
    level_db = max(METER_DB, min(0.0, level_db))
    filled = round(METER_CELLS * (1 - level_db / METER_DB))
    return f"[{'#' * filled}{'-' * (METER_CELLS - filled)}] {level_db:4.0f} dB"
