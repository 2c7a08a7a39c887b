"""The store as the rest of the program holds it: `ports.Store`, and what a command line needs beside it.

The threads are `writer.py` and `reader.py`; which database it is was decided by `opening.py`.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from parley.domain.errors import Refusal
from parley.domain.params import Params
from parley.domain.ports import Decision, Job, Moved
from parley.domain.principal import OPERATOR, Principal
from parley.store.batch import Batches, Deciding, Outcome
from parley.store.engine import Engine
from parley.store.reader import Poller, Readers
from parley.store.writer import Errand, LoopCall, Published, Tally, Writer, thread_of

READING_THREADS: Final = 2


class Store:
    """Where commands are decided. Implements `ports.Store`; threads and connections begin with the first need.

    `write`, `read`, `poll` and `ping` are called on the loop and answer on the loop.
    """

    def __init__(
        self, engine: Engine, deciding: Deciding, loop_call: LoopCall, published: Published, epoch: str
    ) -> None:
        self.epoch: Final = epoch
        self._deciding: Final = deciding
        self._engine: Final = engine
        self._loop_call: Final = loop_call
        self.tally: Final = Tally()
        self._writers: Final = [
            Writer(deciding, loop_call, published, self.tally, name=f"parley-write-{i}")
            for i in range(engine.writing_threads)
        ]
        self._readers: Final = Readers(deciding, loop_call, threads=READING_THREADS)
        self._poller: Final = Poller(deciding, loop_call)
        self._here: Final = Batches(deciding)
        self._here_lock: Final = threading.Lock()
        self._closing = False

    @property
    def lanes(self) -> bool:
        """Whether there are several writing threads, each with a share of the rooms."""
        return len(self._writers) > 1

    @property
    def writing_threads(self) -> int:
        return len(self._writers)

    @property
    def waiting(self) -> int:
        """How many commands wait for a writing thread, about."""
        return sum(writer.waiting for writer in self._writers)

    def write(self, job: Job) -> None:
        """Decide in a coming transaction. `done` gets a Decision, a Refusal, or the exception of a bug."""
        if self._closing:
            self._loop_call(job.done, Refusal("unavailable"))
            return
        self._writers[thread_of(job.params, len(self._writers))].write(job)

    def read(self, job: Job) -> None:
        """Decide on a reading connection. `done` as with `write`."""
        if self._closing:
            self._loop_call(job.done, Refusal("unavailable"))
            return
        self._readers.read(job)

    def poll(self, heads: Mapping[str, int], done: Callable[[Moved | BaseException], None]) -> None:
        """Which of these rooms moved beyond the given seq, and the changes since the last poll or the opening."""
        if self._closing:
            self._loop_call(done, Refusal("unavailable"))
            return
        self._poller.poll(heads, done)

    def ping(self, done: Callable[[Refusal | None], None]) -> None:
        """Whether the store can be written to now: None, or a Refusal (`unavailable`)."""

        def look(batches: Batches) -> None:
            self._loop_call(done, batches.probe())

        if self._closing:
            self._loop_call(done, Refusal("unavailable"))
            return
        self._writers[0].between(look)

    def execute(self, params: Params, principal: Principal = OPERATOR) -> Decision:
        """Decide one command here and now, in the calling thread, and return after its commit.

        For the command line and the start of a server. Nothing is published: a running server, this one included, finds
        events and changes with its next poll. Raises: Refusal, or the exception of a bug.
        """
        (outcome,) = self.execute_together([(params, principal)])
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def execute_together(self, asked: Sequence[tuple[Params, Principal]]) -> list[Outcome]:
        """The same for several commands in one transaction, in their order; what came of each."""
        with self._here_lock:
            return self._here.run([Job(params, principal, _nobody_waits) for params, principal in asked])

    def between(self, errand: Errand, *, thread: int = 0) -> None:
        """Do something with a writing connection, on its thread, between two batches."""
        self._writers[thread].between(errand)

    def close(self, timeout_s: float | None = None) -> bool:
        """Take no more, finish what waits, end the threads; whether all have ended. Blocks: not for the loop's thread
        while answers must still be given on it.
        """
        self._closing = True
        parts: list[Any] = [*self._writers, self._readers, self._poller]
        for part in parts:
            part.stop()
        # One limit for all: threads that wait for one lock would else be waited for one after the other.
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        ended = [part.join(None if until_s is None else max(0.0, until_s - time.monotonic())) for part in parts]
        with self._here_lock:
            self._here.disconnect()
        return all(ended)


def _nobody_waits(outcome: Decision | BaseException) -> None:
    pass
