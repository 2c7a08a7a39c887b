"""The program of the first tutorial, as its page has it, against a real server."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.serving import ServerProcess, native
from tests.tutorials.running import EXAMPLES, PATIENCE_S

pytestmark = pytest.mark.anyio


async def test_the_program_that_listens_answers_whoever_says_hello(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", "--demo") as server:
        echo = await asyncio.create_subprocess_exec(
            sys.executable, EXAMPLES / "echo.py", server.url, "lobby", "ben", stdout=asyncio.subprocess.PIPE
        )
        try:
            assert echo.stdout is not None
            assert await asyncio.wait_for(echo.stdout.readline(), PATIENCE_S) == b"ben is in lobby\n"
            async with native(server, server.login("ada")) as ada:
                await ada.call("room.subscribe", room="lobby")
                asked = (await ada.call("message.send", room="lobby", text="Hello everybody"))["message"]
                answer = await ada.until(lambda one: "Good day, Ada!" in str(one))
                assert answer["params"]["data"]["message"]["reply_to"] == asked["id"]
        finally:
            echo.kill()
            await echo.wait()
