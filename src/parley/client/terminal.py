"""`parley chat ROOM`: one room in a terminal, or through a pipe, from signing in to the exit status.

What is shown and what a typed line does is `talk.py`; how a terminal is drawn is `screen.py`.
"""

import asyncio
import contextlib
import sys
from typing import Final

from parley.client.connection import connect
from parley.client.errors import CommandRefused, ParleyError
from parley.client.screen import Plain, Tty
from parley.client.talk import Talk
from parley.client.wording import clean_line, in_words

#: How long a pipe waits to see its own last message before it ends.
ECHO_S: Final = 5.0
#: Typed lines that wait to be done.
TYPED_MAX: Final = 100


def run(url: str, room: str, token: str | None = None, username: str | None = None, password: str | None = None) -> int:
    """Talk until the user leaves or the input ends; the exit status. What goes wrong is one line on standard error."""
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    try:
        return asyncio.run(_talk(url, room, token, username, password, is_terminal=is_terminal))
    except ParleyError as error:
        print(f"parley: {in_words(error)}", file=sys.stderr)  # noqa: T201
        return 1
    except ValueError as error:
        print(f"parley: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        return 130


async def _talk(
    url: str, room: str, token: str | None, username: str | None, password: str | None, *, is_terminal: bool
) -> int:
    talk = Talk(room)
    async with connect(url, token=token, username=username, password=password, on_state=talk.line_changed) as chat:
        await talk.enter(chat)  # what is refused is said before the screen is ours
        return await (_on_a_terminal(talk) if is_terminal else _through_a_pipe(talk))


async def _on_a_terminal(talk: Talk) -> int:
    typed: asyncio.Queue[str | None] = asyncio.Queue(TYPED_MAX)
    leaving = asyncio.Event()

    def keep(line: str | None) -> None:
        if not typed.full():
            typed.put_nowait(line)
        elif line is None:
            leaving.set()
        else:
            talk.remark(f"Not kept: {TYPED_MAX} lines wait already.", "red")

    with Tty(keep, talk.is_typing, leaving.set) as screen:
        talk.show_on(screen)
        tasks = [asyncio.create_task(one) for one in (talk.follow(), talk.speak(typed), _wait(leaving))]
        done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
    for task in done:
        task.result()
    if talk.is_waiting:
        print("parley: your last message was not acknowledged.", file=sys.stderr)  # noqa: T201
        return 1
    return 0


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def _through_a_pipe(talk: Talk) -> int:
    screen = Plain()
    talk.show_on(screen)
    following = asyncio.create_task(talk.follow())
    screen.start_reading()
    sending = asyncio.create_task(_send_lines(talk, screen))
    await asyncio.wait([following, sending], return_when=asyncio.FIRST_COMPLETED)
    if not sending.done():
        sending.cancel()
        following.result()
    last_seq, refused = await sending
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ECHO_S):
            await talk.shown_up_to(last_seq)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    return 1 if refused else 0


async def _send_lines(talk: Talk, screen: Plain) -> tuple[int, int]:
    """Each line as one message; the `seq` of the last, and how many were refused."""
    last_seq = refused = 0
    while (line := await screen.line()) is not None:
        if not line.strip():
            continue
        try:
            last_seq = (await talk.say(line))["seq"]
        except CommandRefused as error:
            refused += 1
            screen.errors.print(f"not sent: {clean_line(line)[:60]}: {in_words(error)}")
    return last_seq, refused
