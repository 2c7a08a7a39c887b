"""A page of a tutorial as a program under node: it is ordered line by line, and says line by line what it has seen."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.npm import need, node_modules
from tests.serving import PATIENCE_S, die_with_parent
from tests.tutorials.running import EXAMPLES


class NodePage:
    """`told` is what it has said so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.told: list[dict[str, Any]] = []

    def order(self, **what: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what).encode() + b"\n")

    def came(self, line: dict[str, Any]) -> None:
        """A line that is new."""

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first line that is wanted, come or still to come."""
        assert self._process.stdout is not None
        for line in self.told:
            if wanted(line):
                return line
        while text := await asyncio.wait_for(self._process.stdout.readline(), PATIENCE_S):
            line = json.loads(text)
            self.told.append(line)
            self.came(line)
            if wanted(line):
                return line
        raise AssertionError(f"the page ended: {self.told}")

    @property
    def seqs(self) -> list[int]:
        return [line["event"]["seq"] for line in self.told if "event" in line]


@asynccontextmanager
async def running_page(folder: Path, page: str, *arguments: str, programs: tuple[str, ...]) -> AsyncIterator[Any]:
    """The process of `page`, one of this directory, beside `programs` of the tutorial."""
    for program in programs:
        shutil.copy(EXAMPLES / program, folder)
    shutil.copy(Path(__file__).with_name(page), folder)
    (folder / "node_modules").symlink_to(node_modules())
    process = await asyncio.create_subprocess_exec(
        need("node", "the tutorial is for those who have it"),
        page,
        *arguments,
        cwd=folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        preexec_fn=die_with_parent,
    )
    try:
        yield process
    finally:
        process.kill()
        await process.wait()
