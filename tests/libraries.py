"""Libraries that only some tests need, and that a machine may lack."""

from __future__ import annotations

import importlib
import os
from typing import Any

import pytest


def library(name: str) -> Any:
    """The module. Without it the test is skipped with one line; under `CI=true` it fails."""
    try:
        return importlib.import_module(name)
    except ImportError as missing:
        line = f"{missing.name} is not installed: it is in the group dev"
        if os.environ.get("CI") == "true":
            pytest.fail(line, pytrace=False)
        pytest.skip(line)
