"""Stands in a page's socket: sees every command, and keeps answers back, or cuts, when a test says so.

Changes nothing that it lets through, and keeps the order of all that it does not hold.
"""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

from playwright.async_api import BrowserContext, Page, WebSocketRoute

Params = dict[str, Any]


class Held:
    """The answer to one command, once the server gave it, until it is released."""

    def __init__(self, method: str, fits: Callable[[Params], bool]) -> None:
        self.method = method
        self.fits = fits
        self.id: Any = None
        self._is_there = asyncio.Event()
        self._give: Callable[[], None] | None = None
        self._is_free = False

    def take(self, give: Callable[[], None]) -> None:
        if self._is_free:
            give()
            return
        self._give = give
        self._is_there.set()

    async def until_there(self) -> None:
        async with asyncio.timeout(15):
            await self._is_there.wait()

    def release(self) -> None:
        self._is_free = True
        if self._give is not None:
            self._give()


class Between:
    def __init__(self) -> None:
        self.sent: list[tuple[str, Params]] = []
        self._sockets: list[WebSocketRoute] = []
        self._holds: list[Held] = []
        self._changed = asyncio.Condition()
        self._told: set[asyncio.Task[None]] = set()
        self._cuts: list[str] = []

    async def stand(self, page: Page | BrowserContext) -> None:
        """In every socket to `/ws` of the documents that are loaded from now on."""
        await page.route_web_socket(re.compile("/ws$"), self._open)
        if isinstance(page, Page):
            await page.goto("about:blank")

    def hold(self, method: str, fits: Callable[[Params], bool] = lambda params: True) -> Held:
        """Keep back the answer to the next command of this name."""
        held = Held(method, fits)
        self._holds.append(held)
        return held

    def cut_at(self, method: str) -> None:
        """The next command of this name does not arrive: it breaks the line."""
        self._cuts.append(method)

    async def cut(self) -> None:
        for socket in self._sockets:
            await socket.close(code=4420, reason="cut")
        self._sockets.clear()

    async def until_sent(self, method: str, fits: Callable[[Params], bool] = lambda params: True) -> Params:
        def found() -> list[Params]:
            return [params for name, params in self.sent if name == method and fits(params)]

        async with asyncio.timeout(15), self._changed:
            await self._changed.wait_for(found)
        return found()[0]

    def _open(self, page: WebSocketRoute) -> None:
        server = page.connect_to_server()
        self._sockets.append(page)
        holds: dict[Any, Held] = {}

        def asked(text: str | bytes) -> None:
            command = json.loads(text)
            method, params = command["method"], command.get("params", {})
            if method in self._cuts:
                self._cuts.remove(method)
                self._soon(page.close(code=4420, reason="cut"))
                return
            for held in self._holds:
                if held.method == method and held.fits(params):
                    self._holds.remove(held)
                    holds[command["id"]] = held
                    break
            self.sent.append((method, params))
            self._soon(self._tell())
            server.send(text)

        def answered(text: str | bytes) -> None:
            held = holds.pop(json.loads(text).get("id"), None)
            if held is None:
                page.send(text)
            else:
                held.take(lambda: page.send(text))

        page.on_message(asked)
        server.on_message(answered)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _soon(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._told.add(task)
        task.add_done_callback(self._told.discard)
