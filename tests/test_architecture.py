"""The house checks itself: the map is true, and what is not to be named is not named."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "parley"


def test_the_map_says_what_each_module_says_of_itself() -> None:
    check = subprocess.run([sys.executable, ROOT / "tools" / "architecture", "--check"], capture_output=True, text=True)
    assert check.returncode == 0, check.stderr


def test_no_module_has_a_name_that_means_anything() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
    assert not [path for path in SOURCE.rglob("*.py") if path.stem in vague]


def test_tests_mirror_the_source() -> None:
    """Every folder of tests that has a floor's name holds tests of modules that exist."""
    floors = {path.name for path in SOURCE.iterdir() if path.is_dir()}
    for folder in (ROOT / "tests").iterdir():
        if folder.name in floors and folder.is_dir():
            assert any(folder.rglob("test_*")), f"tests/{folder.name} has no test"


def test_the_protocols_tables_are_those_of_the_code() -> None:
    check = subprocess.run(
        [sys.executable, ROOT / "tools" / "protocol-tables", "--check"], capture_output=True, text=True
    )
    assert check.returncode == 0, check.stderr
