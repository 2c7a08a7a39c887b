"""`parley chat` as its users run it: in a real (pseudo) terminal, and through pipes."""

import asyncio
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from parley.client import connect
from tests.client.following import new_room, rpc, take, texts
from tests.proxies import proxy
from tests.serving import PATIENCE_S, ROOT, ServerProcess, die_with_parent

pytestmark = pytest.mark.anyio

ANY_TEXT = "Grüße, مرحبا שלום 你好 👩‍👩‍👧‍👦 é q̣̇"
#: What a terminal would obey, and what rich would take for markup.
HOSTILE = "\x1b[2J\x1b]0;owned\x07[red]not markup[/red] :smile: \x9b31m \u202eevil\u202c"


def _environment(token: str | None) -> dict[str, str]:
    return {**os.environ, "TERM": "xterm-256color", "PARLEY_TOKEN": token or "", "LC_ALL": "C.UTF-8", "COLUMNS": ""}


async def through_a_pipe(url: str, room: str, token: str, lines: str, **options: Any) -> tuple[int, str, str]:
    """Exit status, output and complaints of `parley chat ROOM < lines`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "parley", "chat", room, "--url", url),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=_environment(token),
        preexec_fn=die_with_parent,
        **options,
    )
    out, err = await asyncio.wait_for(process.communicate(lines.encode()), 30)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


class Terminal:
    """`parley chat` on a pseudo-terminal of 80 cells by 24 lines."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self.master = master
        self.output = b""
        self._came = asyncio.Event()
        asyncio.get_running_loop().add_reader(master, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self.master, 65536)
        except OSError:  # the other side is closed
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self.master)
        self.output += data
        self._came.set()

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    @property
    def text(self) -> str:
        """All that was ever shown, without colours and movements."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.output.decode("utf-8", "replace"))

    async def sees(self, wanted: str, times: int = 1) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.text.count(wanted) < times:
                self._came.clear()
                await self._came.wait()

    async def exit_status(self) -> int:
        return await asyncio.wait_for(asyncio.to_thread(self.process.wait), PATIENCE_S)


@asynccontextmanager
async def terminal(url: str, room: str, token: str) -> AsyncIterator[Terminal]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(slave)
    process = subprocess.Popen(
        [sys.executable, "-m", "parley", "chat", room, "--url", url],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=ROOT,
        env=_environment(token),
        preexec_fn=die_with_parent,
    )
    one = Terminal(process, master)
    try:
        yield one
        assert termios.tcgetattr(slave)[3] == before[3], "the terminal is left as it was found"
    finally:
        process.kill()
        process.wait()
        asyncio.get_running_loop().remove_reader(master)
        os.close(slave)
        os.close(master)


async def test_each_line_of_a_pipe_is_a_message_and_the_end_waits_for_the_last_answer(server: ServerProcess) -> None:
    token = server.login("ada")
    async with connect(server.url, token=token) as chat:
        room = await new_room(chat)
        status, out, err = await through_a_pipe(server.url, room, token, f"one\n\n/quit is no command here\n{ANY_TEXT}")
        assert (status, err) == (0, "")
        listed = (await chat.call("message.list", room=room))["messages"]
        assert [message["text"] for message in listed] == ["one", "/quit is no command here", ANY_TEXT]
        assert [line[6:] for line in out.splitlines()] == [
            "Ada: one",
            "Ada: /quit is no command here",
            f"Ada: {ANY_TEXT}",
        ]


async def test_the_first_message_of_a_reader_joins_the_room(server: ServerProcess) -> None:
    async with connect(server.url, username="ada", password="ada") as chat:
        room = await new_room(chat)
        following = await chat.subscribe(room)
        status, _, err = await through_a_pipe(server.url, room, server.login("ben"), "may I?\n")
        assert status == 0
        assert "your first message joins" in err
        assert [event["type"] for event in await take(following, 2)] == ["member.joined", "message.created"]


async def test_more_lines_than_the_server_takes_at_once_are_all_sent(data: Path) -> None:
    with ServerProcess(data, "--demo", limits__messages_per_s=50, limits__messages_burst=5) as server:
        token = server.login("ada")
        lines = [f"line {n}" for n in range(40)]
        status, _, _ = await through_a_pipe(server.url, "lobby", token, "\n".join(lines))
        assert status == 0
        listed = await rpc(server, token, "message.list", room="lobby")
        assert [message["text"] for message in listed["messages"]] == lines


async def test_what_is_refused_is_said_in_words_with_its_code(server: ServerProcess) -> None:
    token = server.login("ada")
    status, out, err = await through_a_pipe(server.url, "nowhere", token, "hello\n")
    assert (status, out) == (1, "")
    assert err == "parley: There is no such room, or you may not see it. (not_found)\n"
    status, _, err = await through_a_pipe(server.url, "lobby", server.token("eve", ttl_s=-9), "hello\n")
    assert (status, err) == (1, "parley: Your token has expired; get a new one. (token_expired)\n")
    status, _, err = await through_a_pipe("http://127.0.0.1:9", "lobby", token, "hello\n")
    assert status == 1
    assert err.startswith("parley: The server can't be reached: nothing listens there")
    status, _, err = await through_a_pipe(server.url, "lobby", token, "x" * 9000 + "\nshort enough\n")
    assert status == 1
    assert "not sent: xxx" in err
    assert "(invalid_params)" in err
    assert "Traceback" not in err


async def test_nothing_of_others_reaches_a_pipe_as_a_command_to_the_terminal(server: ServerProcess) -> None:
    token = server.login("ada")
    async with connect(server.url, token=server.token("mallory", name="\x1b[31mMal[bold]")) as chat:
        room = await new_room(chat, title="\x1b]0;title\x07")
        await chat.send(room, HOSTILE)
        _, out, err = await through_a_pipe(server.url, room, token, "")
        assert not set(out + err) & {"\x1b", "\x07", "\x9b", "\u202e", "\u202c"}
        assert "[red]not markup[/red] :smile:" in out
        assert "Mal[bold]: " in out


async def test_a_terminal_shows_history_live_messages_typing_and_who_is_there(server: ServerProcess) -> None:
    async with connect(server.url, username="ben", password="ben") as ben:
        room = await new_room(ben, title="The kitchen")
        for n in range(60):
            await ben.send(room, f"history {n}")
        following = await ben.subscribe(room)
        async with connect(server.url, username="ada", password="ada") as ada:
            await ada.call("room.join", room=room)
        async with terminal(server.url, room, server.login("ada")) as screen:
            await screen.sees("history 59")
            assert "history 10" in screen.text
            assert "history 9\r" not in screen.text
            await screen.sees("The kitchen · 2 here")
            ben.notify("typing.set", room=room, active=True)
            await screen.sees("Ben is typing…")
            await ben.send(room, "are you there?")
            await screen.sees("are you there?")
            screen.type(f"{ANY_TEXT}\r")
            assert texts((await take(following, 3))[1:]) == ["are you there?", ANY_TEXT]
            await screen.sees("Ada  (you)")
            screen.type("/who\r")
            await screen.sees("Here: Ada, Ben")
            screen.type("/help\r")
            await screen.sees("/delete [NUMBER] [REASON]")
            screen.type("/nonsense\r")
            await screen.sees("There is no /nonsense")
            screen.type("/quit\r")
            assert await screen.exit_status() == 0


async def test_a_terminal_edits_deletes_and_is_told_where_it_may_not(server: ServerProcess) -> None:
    async with connect(server.url, username="ben", password="ben") as ben:
        room = await new_room(ben)
        following = await ben.subscribe(room)
        own = await ben.send(room, "Ben's")
        async with connect(server.url, username="ada", password="ada") as ada:
            await ada.call("room.join", room=room)
        async with terminal(server.url, room, server.login("ada")) as screen:
            await screen.sees("Ben's")
            screen.type("frist\r")
            screen.type("/edit first\r")
            events = await take(following, 4)
            assert [event["type"] for event in events[2:]] == ["message.created", "message.edited"]
            await screen.sees(f"Ada edited message {events[2]['seq']}: first")
            screen.type(f"/delete {own['seq']}\r")
            await screen.sees("Not done: You may see this, but not do it. (forbidden)")
            await ben.call("message.delete", message=events[2]["data"]["message"]["id"], reason="a test")
            await screen.sees(f"Ben deleted message {events[2]['seq']} of Ada (a test)")
            screen.type("\x04")
            assert await screen.exit_status() == 0


async def test_what_is_typed_is_edited_before_it_is_sent(server: ServerProcess) -> None:
    async with connect(server.url, username="ada", password="ada") as ada:
        room = await new_room(ada)
        following = await ada.subscribe(room)
        async with terminal(server.url, room, server.login("ada")) as screen:
            await screen.sees("1 here")
            screen.type("wrld\x1b[D\x1b[D\x1b[Do\x01hello \x05!!\x7f\r")
            screen.type("👩‍👩‍👧‍👦\x7fjust text\r")
            screen.type("two words\x17\x17one\r")
            screen.type("//quit\r")
            screen.type("\x1b[200~pasted\rin two lines\x1b[201~\r")
            expected = ["hello world!", "just text", "one", "/quit", "pasted\nin two lines"]
            assert texts(await take(following, 5)) == expected
            await screen.sees("in two lines")
            screen.process.send_signal(2)
            assert await screen.exit_status() == 0


async def test_nothing_of_others_moves_the_terminal(server: ServerProcess) -> None:
    async with connect(server.url, token=server.token("mallory", name="\x1b[31mMal[bold]")) as chat:
        room = await new_room(chat)
        await chat.send(room, HOSTILE)
        async with terminal(server.url, room, server.login("ada")) as screen:
            await screen.sees("[red]not markup[/red] :smile:")
            assert b"\x1b[2J" not in screen.output
            assert b"\x1b]0" not in screen.output
            assert b"\x07" not in screen.output
            assert b"\x1b[31mMal" not in screen.output
            assert not {"\x9b", "\u202e"} & set(screen.text)
            screen.type("\x04")
            assert await screen.exit_status() == 0


async def test_a_terminal_says_when_the_line_is_lost_and_sends_when_it_is_back(server: ServerProcess) -> None:
    async with connect(server.url, username="ada", password="ada") as ada, proxy(server.port) as line:
        room = await new_room(ada)
        following = await ada.subscribe(room)
        async with terminal(line.url, room, server.login("ada")) as screen:
            await screen.sees("1 here")
            line.is_down = True
            line.cut()
            await screen.sees("· reconnecting…")
            screen.type("written in the tunnel\r")
            await screen.sees("your message waits")
            await ada.send(room, "said meanwhile")
            line.is_down = False
            await screen.sees("live again")
            await screen.sees("said meanwhile")
            assert sorted(texts(await take(following, 2))) == ["said meanwhile", "written in the tunnel"]
            screen.type("/quit\r")
            assert await screen.exit_status() == 0
