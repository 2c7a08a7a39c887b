"""Fixtures for everybody: databases of both kinds, one fresh for each test.

What runs a whole server is `serving.py`.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from parley.store import upgrade_database
from tests.lengths import LONG
from tests.servers import Databases, PostgresServer, ValkeyServer
from tests.stage import Stage


def pytest_configure(config: pytest.Config) -> None:
    """Examples have no time limit, which a busy machine would meet, and are the same every time unless asked for."""
    is_fixed = not LONG and config.getoption("--hypothesis-seed", None) is None
    settings.register_profile(
        "parley", deadline=None, derandomize=is_fixed, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("parley")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """PostgreSQL: ours from the wheel, or the one that `PARLEY_TEST_POSTGRES_URL` names."""
    given = os.environ.get("PARLEY_TEST_POSTGRES_URL")
    if given:
        databases = Databases(given)
        yield databases
        databases.drop_all()
        return
    server = PostgresServer()
    try:
        yield Databases(server.start().url)
    finally:
        server.remove()


@pytest.fixture(scope="session")
def valkey() -> Iterator[ValkeyServer]:
    """A bus, as `.url`: ours from the wheel, or the one that `PARLEY_TEST_REDIS_URL` names."""
    server = ValkeyServer(os.environ.get("PARLEY_TEST_REDIS_URL"))
    yield server.start()
    server.remove()


@pytest.fixture
def postgres_url(databases: Databases) -> Iterator[str]:
    url = databases.lend()
    yield url
    databases.take_back(url)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "parley.db"
    upgrade_database(f"sqlite:///{path}", random_bytes=os.urandom)
    return path


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_template: Path) -> str:
    path = tmp_path / "data" / "parley.db"
    path.parent.mkdir(mode=0o700)
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """A fresh database, once on each engine."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture
def stage(store_url: str) -> Iterator[Stage]:
    """A store with a clock of its own, once on each engine."""
    stage = Stage(store_url)
    yield stage
    stage.close()
