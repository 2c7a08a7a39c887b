"""What the tests take from npm, installed from `package-lock.json` the first time it is asked for.

Says which program is missing where one is; decides nothing about what is tested with it.
"""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
MODULES = HERE / "node_modules"


def need(program: str, why: str) -> str:
    """The path of an outside program. Without it the test is skipped with one line; under `CI=true` it fails."""
    found = shutil.which(program)
    if found is None:
        line = f"{program} is not installed: {why}"
        if os.environ.get("CI") == "true":
            pytest.fail(line, pytrace=False)
        pytest.skip(line)
    return found


def node_modules() -> Path:
    """The folder `node_modules`, as the lock file has it."""
    npm = need("npm", "the type check, axe-core and npm's own clients come from there")
    need("node", "npm's programs run on it")
    lock = HERE / "package-lock.json"
    stamp = MODULES / ".installed"
    # A file of our own: npm replaces its lock file, and with it whatever lock was held on that.
    with (HERE / ".npm-turn").open("w") as turn:
        # Test processes run beside each other; one installs, the others wait.
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
            subprocess.run(
                [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=HERE, check=True, timeout=110
            )
            stamp.write_bytes(lock.read_bytes())
    return MODULES
