"""Who acts in most of these tests. A test that gives one of them something has a fixture of the same name."""

import pytest

from parley.domain.principal import Principal
from tests.domain.helpdesk import Helpdesk
from tests.stage import Stage


@pytest.fixture
def ada(stage: Stage) -> Principal:
    return stage.account("ada")


@pytest.fixture
def ben(stage: Stage) -> Principal:
    return stage.account("ben")


@pytest.fixture
def root(stage: Stage) -> Principal:
    return stage.account("root", "admin")


@pytest.fixture
def desk(stage: Stage) -> Helpdesk:
    return Helpdesk(stage)
