"""A store with a real loop behind it: commands are awaited, and what it publishes is written down in order."""

import asyncio
import os
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from parley.domain.events import Change, Event, Signal
from parley.domain.params import Params
from parley.domain.ports import Decision, Job, Moved, Rules
from parley.domain.principal import Principal
from parley.store import open_store

PATIENCE_S = 20.0


class Asking:
    """To be made inside a running loop; `told` has each publication and each answer in the order they came."""

    def __init__(self, url: str, rules: Rules | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.told: list[Any] = []
        self.store = open_store(
            url,
            clock_ms=lambda: time.time_ns() // 1_000_000,
            random_bytes=os.urandom,
            rules=rules,
            loop_call=self.loop.call_soon_threadsafe,
            published=self._published,
        )

    async def __aenter__(self) -> "Asking":
        return self

    async def __aexit__(self, *problem: object) -> None:
        assert await asyncio.to_thread(self.store.close, PATIENCE_S)

    def _published(self, events: Sequence[Event], changes: Sequence[Change], signals: Sequence[Signal]) -> None:
        self.told.append(("published", list(events), list(changes), list(signals)))

    def write(self, who: Principal, params: Params) -> "asyncio.Future[Decision]":
        return self._ask(self.store.write, who, params)

    def read(self, who: Principal, params: Params) -> "asyncio.Future[Decision]":
        return self._ask(self.store.read, who, params)

    def _ask(self, how: Any, who: Principal, params: Params) -> "asyncio.Future[Decision]":
        answer: asyncio.Future[Decision] = self.loop.create_future()

        def done(outcome: Decision | BaseException) -> None:
            self.told.append(("answered", params, outcome))
            if isinstance(outcome, BaseException):
                answer.set_exception(outcome)
            else:
                answer.set_result(outcome)

        how(Job(params, who, done))
        return answer

    def poll(self, heads: Mapping[str, int]) -> Coroutine[Any, Any, Moved]:
        """Asked at once, as the others are."""
        answer: asyncio.Future[Moved | BaseException] = self.loop.create_future()
        self.store.poll(heads, answer.set_result)
        return self._moved(answer)

    async def _moved(self, answer: "asyncio.Future[Moved | BaseException]") -> Moved:
        found = await asyncio.wait_for(answer, PATIENCE_S)
        if isinstance(found, BaseException):
            raise found
        return found

    async def ping(self) -> Any:
        answer: asyncio.Future[Any] = self.loop.create_future()
        self.store.ping(answer.set_result)
        return await asyncio.wait_for(answer, PATIENCE_S)

    async def on_the_writer(self, ask: Any, *, thread: int = 0) -> Any:
        """What `ask(connection)` gives on the writing thread, between two batches."""
        answer: asyncio.Future[Any] = self.loop.create_future()

        def errand(batches: Any) -> None:
            self.loop.call_soon_threadsafe(answer.set_result, ask(batches.connection))

        self.store.between(errand, thread=thread)
        return await asyncio.wait_for(answer, PATIENCE_S)

    def hold_the_writers(self) -> "Held":
        """Let commands gather in front of every writing thread until `release`."""
        return Held(self)


class Held:
    def __init__(self, asking: Asking) -> None:
        import threading

        self._go = threading.Event()
        self._threads = asking.store.writing_threads
        for thread in range(self._threads):
            asking.store.between(lambda batches: self._wait(), thread=thread)

    def _wait(self) -> None:
        self._go.wait(PATIENCE_S)

    def release(self) -> None:
        self._go.set()
