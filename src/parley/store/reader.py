"""The reading threads: commands that write nothing, and the poll, each on connections of their own.

A reading transaction begins after its commands were taken up, so it sees every commit that was answered before.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from parley.domain.dispatch import decide
from parley.domain.errors import Refusal
from parley.domain.ids import IdSource
from parley.domain.ports import Job, Moved
from parley.store.batch import EPOCH, Deciding, Outcome, unavailable
from parley.store.engine import Cursor
from parley.store.poll import Poll
from parley.store.unit import Unit
from parley.store.writer import LoopCall

logger: Final = logging.getLogger(__name__)

TURN_MAX: Final = 64  # commands in one reading transaction
QUEUE_MAX: Final = 32_768  # commands waiting for all reading threads: everybody may come back at once


class ReadingConnection:
    """One reading connection, made when it is first needed and anew when it was lost. For one thread."""

    def __init__(self, deciding: Deciding) -> None:
        self._deciding: Final = deciding
        self._new_id: Final = IdSource(deciding.clock_ms, deciding.random_bytes)
        self._connection: Any = None
        self._cursor: Cursor | None = None
        self._epoch = ""

    def read(self, work: Callable[[Cursor], Any]) -> Any:
        """Run `work` in one reading transaction. Raises: Refusal (`unavailable`), or what `work` raises.

        A connection that died at rest is made anew once.
        """
        engine = self._deciding.engine
        for may_retry in (True, False):
            try:
                if self._connection is None:
                    self._connection = engine.connect(writing=False)
                    self._cursor = self._connection.cursor()
                    assert self._cursor is not None
                    self._epoch = EPOCH.run(engine, self._cursor, {})[0][0]
                assert self._cursor is not None
                with engine.pipelined(self._cursor):
                    engine.begin(self._cursor, writing=False)
                    result = work(self._cursor)
                    engine.commit(self._cursor)
            except Exception as problem:
                if self._connection is not None:
                    engine.rollback(self._connection)
                if engine.trouble(problem) != "away":
                    raise
                self.close()
                if not may_retry:
                    raise unavailable(problem) from problem
            else:
                return result
        raise AssertionError("the second try returns or raises")

    def decide(self, jobs: list[Job]) -> list[Outcome]:
        """What comes of each. Never raises."""

        def all_of_them(cursor: Cursor) -> list[Outcome]:
            deciding = self._deciding
            now_ms = deciding.clock_ms()
            outcomes: list[Outcome] = []
            for job in jobs:
                unit = Unit(deciding.engine, deciding.kinds, cursor, self._epoch, lock=False)
                try:
                    decision = decide(
                        unit, job.params, job.principal, now_ms=now_ms, new_id=self._new_id, rules=deciding.rules
                    )
                    assert not unit.writes, f"{type(job.params).__qualname__} is a read and wrote"
                    outcomes.append(decision)
                except Refusal as refusal:
                    outcomes.append(refusal)
            return outcomes

        try:
            outcomes: list[Outcome] = self.read(all_of_them)
        except Refusal as refusal:
            return [unavailable(refusal.__cause__) for _ in jobs]
        except Exception as problem:
            if len(jobs) == 1:
                return [problem]
            return [outcome for job in jobs for outcome in self.decide([job])]
        return outcomes

    def close(self) -> None:
        if self._connection is not None:
            self._deciding.engine.close(self._connection)
        self._connection = self._cursor = None


class Readers:
    """A few threads that share one queue of reading commands. `read` is called on the loop."""

    def __init__(self, deciding: Deciding, loop_call: LoopCall, *, threads: int, queue_max: int = QUEUE_MAX) -> None:
        self._deciding: Final = deciding
        self._loop_call: Final = loop_call
        self._queue_max: Final = queue_max
        self._waiting: Final[queue.SimpleQueue[Job | None]] = queue.SimpleQueue()
        self._threads: Final = [
            threading.Thread(target=self._run, name=f"parley-read-{i}", daemon=True) for i in range(threads)
        ]
        self._started = False

    def read(self, job: Job) -> None:
        if self._waiting.qsize() >= self._queue_max:
            self._loop_call(job.done, Refusal("overloaded"))
            return
        if not self._started:
            self._started = True
            for thread in self._threads:
                thread.start()
        self._waiting.put(job)

    def stop(self) -> None:
        if self._started:
            for _ in self._threads:
                self._waiting.put(None)

    def join(self, timeout_s: float | None = None) -> bool:
        if self._started:
            until_s = None if timeout_s is None else time.monotonic() + timeout_s
            for thread in self._threads:
                thread.join(None if until_s is None else max(0.0, until_s - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        connection = ReadingConnection(self._deciding)
        while True:
            jobs: list[Job] = []
            item = self._waiting.get()
            while item is not None:
                jobs.append(item)
                if len(jobs) == TURN_MAX:
                    break
                try:
                    item = self._waiting.get_nowait()
                except queue.Empty:
                    break
            if jobs:
                outcomes = connection.decide(jobs)
                try:
                    self._loop_call(_answer, jobs, outcomes)
                except RuntimeError:  # the loop is closed: nobody waits any more
                    logger.warning("%d reads were answered after the loop had closed", len(jobs))
            if item is None:
                connection.close()
                return


class Poller:
    """The thread of the poll, apart from the others so that no slow read delays what every node must follow."""

    def __init__(self, deciding: Deciding, loop_call: LoopCall) -> None:
        self._connection: Final = ReadingConnection(deciding)
        self._loop_call: Final = loop_call
        self._poll: Final = Poll(deciding.engine)
        self._connection.read(self._poll.start)
        self._waiting: Final[queue.SimpleQueue[Any]] = queue.SimpleQueue()
        self._thread: Final = threading.Thread(target=self._run, name="parley-poll", daemon=True)
        self._started = False

    def poll(self, heads: Mapping[str, int], done: Callable[[Moved | BaseException], None]) -> None:
        if not self._started:
            self._started = True
            self._thread.start()
        self._waiting.put((dict(heads), done))

    def stop(self) -> None:
        if self._started:
            self._waiting.put(None)

    def join(self, timeout_s: float | None = None) -> bool:
        if self._started:
            self._thread.join(timeout_s)
        else:
            self._connection.close()
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (asked := self._waiting.get()) is not None:
            heads, done = asked
            found: Moved | BaseException
            try:
                found = self._connection.read(partial(self._poll.look, heads=heads))
            except Exception as problem:
                found = problem
            try:
                self._loop_call(done, found)
            except RuntimeError:
                logger.warning("A poll was answered after the loop had closed")
        self._connection.close()


def _answer(jobs: list[Job], outcomes: list[Outcome]) -> None:
    for job, outcome in zip(jobs, outcomes, strict=True):
        try:
            job.done(outcome)
        except Exception:  # one listener's bug is not the others'
            logger.exception("An answer could not be given")
