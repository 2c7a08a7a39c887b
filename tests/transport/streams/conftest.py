"""A server for each file, and one whose clock may be moved for each test that does so."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.here import HereServer, serving
from tests.streams import unfenced
from tests.transport.streams.scene import cleared


@pytest.fixture(scope="module", autouse=True)
def every_page() -> Iterator[None]:
    with unfenced():
        yield


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HereServer]:
    async with serving(tmp_path_factory.mktemp("streams") / "data", limits__ping_interval=0) as server:
        yield server


@pytest.fixture
async def moving(tmp_path: Path) -> AsyncIterator[HereServer]:
    """One of its own, for those who move its clock: its timers would come late to the next test."""
    settings = {"limits__ping_interval": 0, "auth__access_ttl": 30}
    async with serving(tmp_path / "data", demo=True, **settings) as server:
        yield server


@pytest.fixture
async def server(running: HereServer) -> AsyncIterator[HereServer]:
    yield running
    await cleared(running)
