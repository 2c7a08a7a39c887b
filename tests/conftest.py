"""Fixtures for everybody: databases of both kinds, one fresh for each test.

What runs a whole server is `serving.py`.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Databases, PostgresServer


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


@pytest.fixture
def postgres_url(databases: Databases) -> Iterator[str]:
    url = databases.new()
    yield url
    databases.drop(url)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/data/parley.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """A fresh database, once on each engine."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url
