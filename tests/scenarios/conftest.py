"""The stories' stages: one node on SQLite, or three on PostgreSQL and Valkey with each client on any of them.

`make test` tells the one in every dialect on both; the long form tells all of them on both.
"""

import random
from collections.abc import Iterator

import pytest

from tests import here
from tests.lengths import LONG

NODES = 3
#: Of what happens beside a process, or to one, or to a store of its own: told on one node, or on nodes of their own.
_ON_ONE = ("beside_a_server", "crowd", "faults", "keys", "lost_news", "many_nodes", "rights_property", "snapshot")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    name = metafunc.module.__name__.rsplit(".test_", 1)[1]
    both = not name.startswith(_ON_ONE) and (LONG or name == "four_dialects")
    metafunc.fixturenames.insert(0, "stage_of_nodes")
    stages = [1, NODES] if both else [1]
    metafunc.parametrize("stage_of_nodes", stages, indirect=True, ids=lambda count: f"nodes{count}")


@pytest.fixture
def stage_of_nodes(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.param == 1:
        yield
        return
    bus, database = request.getfixturevalue("valkey").url, request.getfixturevalue("postgres_url")
    here.STAGE = here.Nodes(request.param, bus, database, random.Random(request.node.nodeid))
    yield
    here.STAGE = None
