"""A node's life, where it is short."""

import asyncio
from pathlib import Path

import pytest

from parley.config import load
from parley.server import Server

pytestmark = pytest.mark.anyio


async def test_one_told_to_stop_before_it_serves_ends_as_any_other(tmp_path: Path) -> None:
    server = Server(load(environ={"PARLEY_DATA": str(tmp_path / "data"), "PARLEY_PORT": "0"}))
    server.stop()
    assert await asyncio.wait_for(server.run(), 10) == 0
