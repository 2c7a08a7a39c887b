"""The writing threads: whatever waits is one transaction, and its answers leave together after the commit.

There is no window: while one batch commits, the next gathers by itself. How a batch is decided is `batch.py`.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias
from zlib import crc32

from parley.domain.errors import Refusal
from parley.domain.events import Change, Event, Signal
from parley.domain.ports import Decision, Job
from parley.metrics import BATCH_BOUNDS, SECONDS_BOUNDS, Distribution
from parley.store.batch import Batches, Deciding, Outcome

logger: Final = logging.getLogger(__name__)

#: Runs a function on the loop, from any thread: `loop.call_soon_threadsafe`.
LoopCall: TypeAlias = Callable[..., Any]
#: What a commit made true, told on the loop before the first of its answers.
Published: TypeAlias = Callable[[Sequence[Event], Sequence[Change], Sequence[Signal]], None]
#: Something to do with the writing connection between two batches.
Errand: TypeAlias = Callable[[Batches], None]

BATCH_MAX: Final = 512  # commands in one transaction: some 15 ms of deciding
QUEUE_MAX: Final = 8192  # commands waiting for one thread


class Tally:
    """What the writing threads have done, counted on the loop.

    `commands` in a commit, `seconds` of one, and whether the last batch could be written (`is_available`).
    """

    __slots__ = ("commands", "is_available", "seconds")

    def __init__(self) -> None:
        self.commands = Distribution(BATCH_BOUNDS)
        self.seconds = Distribution(SECONDS_BOUNDS)
        self.is_available = True

    def count(self, outcomes: Sequence[Outcome], took_s: float) -> None:
        self.commands.observe(len(outcomes))
        self.seconds.observe(took_s)
        first = outcomes[0]  # the store is away for a whole batch, or for none of it
        self.is_available = not (isinstance(first, Refusal) and first.code == "unavailable")


class Writer:
    """One writing thread. Its methods are called on the loop."""

    def __init__(
        self,
        deciding: Deciding,
        loop_call: LoopCall,
        published: Published,
        tally: Tally,
        *,
        name: str,
        batch_max: int = BATCH_MAX,
        queue_max: int = QUEUE_MAX,
    ) -> None:
        self._batches: Final = Batches(deciding)
        self._loop_call: Final = loop_call
        self._published: Final = published
        self._tally: Final = tally
        self._batch_max: Final = batch_max
        self._queue_max: Final = queue_max
        self._waiting: Final[queue.SimpleQueue[Job | Errand | None]] = queue.SimpleQueue()
        self._thread: Final = threading.Thread(target=self._run, name=name, daemon=True)
        self._started = False

    @property
    def waiting(self) -> int:
        """How many wait, about."""
        return self._waiting.qsize()

    def write(self, job: Job) -> None:
        if self._waiting.qsize() >= self._queue_max:
            self._loop_call(job.done, Refusal("overloaded"))
            return
        self._put(job)

    def between(self, errand: Errand) -> None:
        """Do this on the writing thread, outside of any transaction; what it raises is logged."""
        self._put(errand)

    def stop(self) -> None:
        """Finish what waits, then end. `join` waits for it."""
        if self._started:
            self._waiting.put(None)

    def join(self, timeout_s: float | None = None) -> bool:
        """Whether the thread has ended."""
        if self._started:
            self._thread.join(timeout_s)
            return not self._thread.is_alive()
        return True

    def _put(self, item: Job | Errand) -> None:
        if not self._started:
            self._started = True
            self._thread.start()
        self._waiting.put(item)

    def _run(self) -> None:
        while True:
            jobs, then = self._take()
            if jobs:
                begun_s = time.perf_counter()
                outcomes = self._outcomes(jobs)
                self._release(jobs, outcomes, time.perf_counter() - begun_s)
            if then is None:
                self._batches.disconnect()
                return
            try:
                then(self._batches)
            except Exception:
                logger.exception("An errand of the writing thread failed")

    def _outcomes(self, jobs: list[Job]) -> list[Outcome]:
        try:
            return self._batches.run(jobs)
        except Exception as problem:  # a bug of ours: whatever it is, somebody waits, and more will come
            logger.exception("The writing thread met a bug")
            self._batches.disconnect()
            return [problem for _ in jobs]

    def _take(self) -> tuple[list[Job], Errand | None]:
        """What waits, up to one batch, and what is to be done after it; None ends the thread."""
        jobs: list[Job] = []
        item = self._waiting.get()
        while isinstance(item, Job):
            jobs.append(item)
            if len(jobs) == self._batch_max or self._waiting.empty():
                return jobs, _nothing
            item = self._waiting.get_nowait()
        return jobs, item

    def _release(self, jobs: list[Job], outcomes: list[Outcome], took_s: float) -> None:
        try:
            self._loop_call(_answer, self._published, self._tally, jobs, outcomes, took_s)
        except RuntimeError:  # the loop is closed: nobody waits any more
            logger.warning("%d commands were decided after the loop had closed", len(jobs))


def _nothing(batches: Batches) -> None:
    """The errand where none waits."""


def _answer(published: Published, tally: Tally, jobs: list[Job], outcomes: list[Outcome], took_s: float) -> None:
    tally.count(outcomes, took_s)
    events: list[Event] = []
    changes: list[Change] = []
    signals: list[Signal] = []
    for outcome in outcomes:
        if isinstance(outcome, Decision):
            events.extend(outcome.events)
            changes.extend(outcome.changes)
            signals.extend(outcome.signals)
    if events or changes or signals:
        try:
            published(events, changes, signals)
        except Exception:  # what is committed is answered; the poll finds what was not told
            logger.exception("Publishing failed")
    for job, outcome in zip(jobs, outcomes, strict=True):
        try:
            job.done(outcome)
        except Exception:  # one listener's bug is not the others'
            logger.exception("An answer could not be given")


def thread_of(params: Any, threads: int) -> int:
    """Which thread decides this command: one room's always the same, and the first what names no room."""
    room = getattr(params, "room", None)
    return crc32(room.encode()) % threads if room is not None and threads > 1 else 0
