"""A store that answers when the test says so, and with what: `ports.Store` on a shelf.

For what is about the door and the poll themselves. What a command does is told on a real store.
"""

from collections.abc import Callable, Mapping
from typing import Any

from parley.domain.ports import Decision, Job, Moved


class Shelf:
    """Jobs lie here until `answer`. `lanes` as in `ports.Store`."""

    def __init__(self, *, lanes: bool = False) -> None:
        self.lanes = lanes
        self.jobs: list[Job] = []
        self.polls: list[tuple[Mapping[str, int], Callable[[Moved | BaseException], None]]] = []

    def write(self, job: Job) -> None:
        self.jobs.append(job)

    def read(self, job: Job) -> None:
        self.jobs.append(job)

    def poll(self, heads: Mapping[str, int], done: Callable[[Moved | BaseException], None]) -> None:
        self.polls.append((dict(heads), done))

    def answer(self, outcome: Any = None, n: int = 0) -> Any:
        """Answer a job: with an exception, or with a reply. Returns its parameters."""
        job = self.jobs.pop(n)
        job.done(outcome if isinstance(outcome, BaseException | Decision) else Decision(outcome))
        return job.params

    def answer_poll(self, outcome: Moved | BaseException | None = None) -> None:
        self.polls.pop(0)[1](Moved({}, []) if outcome is None else outcome)
