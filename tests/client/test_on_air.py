"""`parley broadcast` and `parley listen` as their users run them: files, pipes, ffmpeg, a terminal, words."""

import asyncio
import itertools
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from parley.cli.identity import read_identity
from parley.client.on_air import meter
from parley.dialects.ogg import Pages
from tests.client.following import rpc
from tests.client.test_broadcasting import packets_of
from tests.ogg import decoded, encoded
from tests.serving import PATIENCE_S, ROOT, ServerProcess, die_with_parent

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("on-air") / "data", "--demo", limits__connections=100) as one:
        yield one


@pytest.fixture
async def stream(server: ServerProcess, request: pytest.FixtureRequest) -> str:
    name = re.sub("[^a-z0-9-]", "-", request.node.name.removeprefix("test_"))[:40]
    await rpc(server, server.token("zoe"), "stream.create", stream=name)
    return name


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.opus"
    path.write_bytes(encoded(0.6))
    return path


class Running:
    """A command of ours: what it says, line by line, and how it ends."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said = ""

    async def says(self, pattern: str) -> None:
        """Until it says so. Raises: AssertionError where it ends before."""
        assert self.process.stderr is not None
        async with asyncio.timeout(PATIENCE_S):
            while not re.search(pattern, self.said):
                piece = await self.process.stderr.read(4096)
                assert piece, f"it ended, and said: {self.said}"
                self.said += piece.decode()

    async def end(self) -> int:
        assert self.process.stderr is not None
        async with asyncio.timeout(PATIENCE_S):
            self.said += (await self.process.stderr.read()).decode()
            return await self.process.wait()


@asynccontextmanager
async def parley(
    server: ServerProcess, *words: str, token: str | None = "zoe", **options: Any
) -> AsyncIterator[Running]:
    environ = {**os.environ, "PARLEY_URL": server.url, "TERM": "xterm", "COLUMNS": "120"} | options.pop("env", {})
    if token is not None:
        environ["PARLEY_TOKEN"] = server.token(token)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "parley", *words),
        **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options,
        cwd=ROOT,
        env=environ,
        preexec_fn=die_with_parent,
    )
    try:
        yield Running(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_file_is_heard_as_it_is(server: ServerProcess, stream: str, file: Path, tmp_path: Path) -> None:
    heard = tmp_path / "heard.opus"
    async with parley(server, "listen", stream, str(heard), "--once", token=None) as listener:
        await listener.says("is off the air; waiting")
        async with parley(server, "broadcast", stream, str(file)) as broadcast:
            assert await broadcast.end() == 0
            assert f"on the air: {stream}" in broadcast.said
            assert "off the air after 0:00:00" in broadcast.said
        assert await listener.end() == 0
    assert packets_of(heard.read_bytes()) == packets_of(file.read_bytes())
    assert len(decoded(heard.read_bytes())) >= 0.6 * 48_000 * 2
    assert Pages().feed(heard.read_bytes())[-1].eos


async def test_pipes_on_both_ends_and_a_sign_in(server: ServerProcess, file: Path, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("ada\n")
    who = ("--user", "ada", "--password-file", str(password))
    async with parley(server, "listen", "radio", "-", "--once", *who, token=None) as listener:
        await listener.says("is off the air; waiting")
        async with parley(server, "broadcast", "radio", "-", *who, token=None, stdin=subprocess.PIPE) as broadcast:
            assert broadcast.process.stdin is not None
            broadcast.process.stdin.write(file.read_bytes())
            broadcast.process.stdin.close()
            assert await broadcast.end() == 0
        assert listener.process.stdout is not None
        heard = await asyncio.wait_for(listener.process.stdout.read(), PATIENCE_S)
        assert await listener.end() == 0
    assert packets_of(heard) == packets_of(file.read_bytes())


async def test_the_second_is_told_why_and_the_first_ends_when_its_user_says_so(
    server: ServerProcess, stream: str, file: Path
) -> None:
    async with parley(server, "broadcast", stream, str(file), "--loop") as first:
        await first.says("on the air")
        async with parley(server, "broadcast", stream, str(file)) as second:
            assert await second.end() == 1
            assert "Somebody else is on the air, and nobody can take their place. (already_live)" in second.said
        first.process.send_signal(signal.SIGINT)
        assert await first.end() == 0
        assert "off the air" in first.said
    async with parley(server, "broadcast", stream, str(file)) as third:
        assert await third.end() == 0


async def test_being_stopped_is_said_in_words(server: ServerProcess, stream: str, file: Path) -> None:
    async with parley(server, "broadcast", stream, str(file), "--loop") as broadcast:
        await broadcast.says("on the air")
        await rpc(server, server.token("zoe"), "stream.stop", stream=stream)
        assert await broadcast.end() == 1
        assert "stopped by the stream's owner or an admin. (stopped)" in broadcast.said


async def test_any_file_by_ffmpeg_with_its_level_on_a_terminal(
    server: ServerProcess, stream: str, tmp_path: Path
) -> None:
    tone, heard = tmp_path / "tone.flac", tmp_path / "heard.opus"
    source = ["-f", "lavfi", "-i", "sine=frequency=440:duration=2"]
    subprocess.run(["ffmpeg", "-v", "error", *source, str(tone)], check=True)
    master, terminal = pty.openpty()
    shown = b""
    try:
        async with parley(server, "listen", stream, str(heard), "--once") as listener:
            await listener.says("off the air")
            async with parley(server, "broadcast", stream, "--input", str(tone), stderr=terminal) as broadcast:
                os.close(terminal)
                with suppress(OSError):  # EIO: nobody has the other end any more
                    while True:
                        shown += await asyncio.to_thread(os.read, master, 65_536)
                assert await asyncio.wait_for(broadcast.process.wait(), PATIENCE_S) == 0
            assert await listener.end() == 0
    finally:
        os.close(master)
    assert re.search(rf"ON AIR  {stream}  0:00:0\d  \[#+-+\]  -2\d dB  \d listeners?", shown.decode()), shown
    samples = memoryview(decoded(heard.read_bytes())).cast("h")
    crossings = sum(before < 0 <= after for before, after in itertools.pairwise(samples))
    assert abs(crossings - 2 * 440) < 20


async def test_ffplay_plays_and_ends_with_the_broadcast(server: ServerProcess, stream: str, file: Path) -> None:
    master, terminal = pty.openpty()
    silent = {"SDL_AUDIODRIVER": "dummy"}
    try:
        async with parley(server, "listen", stream, "--once", stdout=terminal, env=silent) as listener:
            await listener.says("is off the air")
            async with parley(server, "broadcast", stream, str(file)) as broadcast:
                assert await broadcast.end() == 0
            assert await listener.end() == 0, listener.said
    finally:
        os.close(master)
        os.close(terminal)


@pytest.mark.parametrize(
    ("words", "said", "status"),
    [
        (("broadcast", "radio", "README.md"), "It can't be sent: this is not Ogg: it does not begin with a page.", 1),
        (("broadcast", "radio", "nowhere.opus"), "nowhere.opus can't be read: No such file", 1),
        (("broadcast", "nowhere", "FILE"), "There is no such stream, or it is not for you. (not_found)", 1),
        (("broadcast", "radio", "FILE"), "You may not do this on this stream. (forbidden)", 1),
        (("broadcast", "radio", "FILE", "--input", "x"), "exclude each other", 2),
        (("broadcast", "radio", "-", "--loop"), "--loop needs a file", 2),
        (("listen", "nowhere", "-"), "There is no such stream, or it is not for you. (not_found)", 1),
        (("listen", "radio", "/nowhere/x"), "No such file or directory", 1),
        (("listen", "radio", "-", "--url", "ftp://x"), "not the URL of a server", 2),
        (("listen", "radio", "-", "--url", "http://127.0.0.1:9"), "can't be reached", 1),
    ],
)
async def test_what_does_not_work_is_one_line(
    server: ServerProcess, file: Path, words: tuple[str, ...], said: str, status: int
) -> None:
    async with parley(server, *(str(file) if word == "FILE" else word for word in words)) as command:
        assert await command.end() == status
    assert said in command.said
    assert "Traceback" not in command.said


async def test_a_token_in_a_file_is_read_again_for_each_renewal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    monkeypatch.delenv("PARLEY_TOKEN", raising=False)
    monkeypatch.setenv("PARLEY_TOKEN_FILE", str(path))
    next_token = read_identity(None, None, None).arguments()["token_callback"]
    assert await next_token() == "first"
    path.write_text("second\n")
    assert await next_token() == "second"


async def test_a_stream_of_members_says_that_it_wants_a_sign_in(server: ServerProcess) -> None:
    await rpc(server, server.token("zoe"), "stream.create", stream="inside", visibility="members")
    async with parley(server, "listen", "inside", "-", token=None) as listener:
        assert await listener.end() == 1
    assert "not public: say who you are" in listener.said


def test_the_meter_shows_what_it_is_told() -> None:
    assert meter(0) == f"[{'#' * 20}]    0 dB"
    assert meter(-30) == f"[{'#' * 10}{'-' * 10}]  -30 dB"
    assert meter(float("-inf")) == f"[{'-' * 20}]  -60 dB"
