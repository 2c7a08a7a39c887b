"""The hub and its rooms, alone."""

import pytest

from tests.delivery.scene import Scene


@pytest.fixture
def scene() -> Scene:
    return Scene()
