"""The programs of the tutorials, as their pages have them: read from the file, and run on a free port."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.servers import free_port
from tests.tokens.adapters.doors import Clock, served

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "tutorials" / "examples"
PATIENCE_S = 10.0


class Chat:
    """A program of a tutorial under a clock that moves when a test says so."""

    def __init__(self, module: ModuleType, clock: Clock, issue: Any) -> None:
        self.gate = module.gate
        self.gate.clock = clock
        self._clock = clock
        self._issue = issue
        self.port = 0

    def token(self, name: str = "ada", ttl_s: float = 60) -> str:
        """What `issue.py` prints."""
        token: str = self._issue(name, ttl_s, self._clock())
        return token

    def forward(self, seconds: float) -> None:
        self._clock.ahead_s += seconds
        self.gate.recheck()


def program(name: str) -> ModuleType:
    """A fresh copy of the program; it reads `jwks.json` in the current folder."""
    spec = importlib.util.spec_from_file_location(f"tutorial_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # FastAPI reads annotations in the module that they are written in.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def running(name: str) -> AsyncIterator[Chat]:
    clock = Clock()
    issue = program("issue").issue
    issue("nobody", 1, clock())  # makes the key
    module = program(name)
    chat = Chat(module, clock, issue)
    if hasattr(module, "app"):
        async with served(module.app) as chat.port:
            yield chat
    else:
        chat.port = free_port()
        serving = asyncio.ensure_future(module.main(chat.port))
        try:
            await _listening(chat.port)
            yield chat
        finally:
            serving.cancel()
            with suppress(asyncio.CancelledError):
                await serving


async def _listening(port: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.005)
            else:
                writer.close()
                return
