"""What the tests of the client do again and again: read so many events, wait for a state, post from elsewhere."""

import asyncio
from collections.abc import Callable
from typing import Any

from parley.client import Chat, Reset, State, Subscription
from tests.serving import PATIENCE_S, ServerProcess


async def take(subscription: Subscription, count: int) -> list[dict[str, Any]]:
    """The next `count` events; a reset in between is a failure."""
    events: list[dict[str, Any]] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(events) < count:
            item = await anext(subscription)
            assert not isinstance(item, Reset)
            events.append(item)
    return events


def texts(events: list[dict[str, Any]]) -> list[str]:
    return [event["data"]["message"]["text"] for event in events if event["type"] == "message.created"]


class States:
    """For `on_state`: every state there was, and a way to wait for one."""

    def __init__(self) -> None:
        self.seen: list[State] = []
        self._came = asyncio.Event()

    def __call__(self, state: State) -> None:
        self.seen.append(state)
        self._came.set()

    @property
    def names(self) -> list[str]:
        return [state.name for state in self.seen]

    async def until(self, wanted: Callable[[list[State]], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not wanted(self.seen):
                self._came.clear()
                await self._came.wait()

    async def live_again(self, times: int = 1) -> None:
        """Wait until the line has come back so often."""
        await self.until(lambda seen: [state.name for state in seen].count("live") > times)


async def rpc(server: ServerProcess, token: str, method: str, **params: Any) -> Any:
    """A command by another way in, so that what it does does not depend on the line under test."""
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    status, answer = await asyncio.to_thread(server.post, "/rpc", request, token)
    assert status == 200, answer
    assert "result" in answer, answer
    return answer["result"]


async def new_room(chat: Chat, **params: Any) -> str:
    room: str = (await chat.call("room.create", **params))["room"]["id"]
    return room
