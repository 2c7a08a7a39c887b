"""One server for the tests of the client, and lines to it that can be hurt."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import ServerProcess


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The demo, without limits that tests reach sooner than people."""
    data = tmp_path_factory.mktemp("client") / "data"
    with ServerProcess(data, "--demo", limits__messages_per_s=0, limits__connections=100) as running:
        yield running


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"
