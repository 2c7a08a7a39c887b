"""One transaction for many commands: begin, lock, read, decide each in its order, write, commit.

Holds one writing connection and makes a new one when it is lost. Which commands come when is `writer.py`.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import msgspec
from sqlalchemy import bindparam, delete, insert, select, update

from parley.domain.dispatch import decide
from parley.domain.errors import Refusal
from parley.domain.events import Change
from parley.domain.ids import IdSource
from parley.domain.ports import Decision, Job, Row, Rules
from parley.store.engine import Cursor, Engine, Query
from parley.store.rows import Kind
from parley.store.schema import changes, meta
from parley.store.unit import Unit, prefetch

logger: Final = logging.getLogger(__name__)

Outcome: TypeAlias = Decision | BaseException
#: How often a command is tried alone, where others keep getting in its way.
TRIES_ALONE: Final = 5
EPOCH: Final = Query(select(meta.c.value).where(meta.c.key == "epoch"))
#: Something to write that means nothing.
PROBE: Final = Query(update(meta).where(meta.c.key == "probe").values(value=bindparam("value")).returning(meta.c.key))
#: Nodes read changes twice a second; one that was away for longer begins anew.
CHANGES_KEPT_MS: Final = 24 * 3600 * 1000
CHANGES_TRIMMED_EVERY_MS: Final = 3600 * 1000
TRIM: Final = Query(delete(changes).where(changes.c.at_ms < bindparam("before")))
_CHANGE_COLUMNS: Final = [column for column in changes.c if column.name not in ("id", "xid")]


class Deciding:
    """What every decision needs beside its transaction."""

    def __init__(
        self,
        engine: Engine,
        kinds: dict[type[Row], Kind],
        clock_ms: Callable[[], int],
        random_bytes: Callable[[int], bytes],
        rules: Rules,
    ) -> None:
        self.engine: Final = engine
        self.kinds: Final = kinds
        self.clock_ms: Final = clock_ms
        self.random_bytes: Final = random_bytes
        self.rules: Final = rules
        self.insert_change: Final = engine.compile(
            insert(changes).values({column.name: bindparam(column.name) for column in _CHANGE_COLUMNS})
        )[0]


class Batches:
    """Carries out batches of commands, one after the other, on a connection of its own. For one thread."""

    def __init__(self, deciding: Deciding) -> None:
        self.deciding: Final = deciding
        self._engine: Final = deciding.engine
        self._new_id: Final = IdSource(deciding.clock_ms, deciding.random_bytes)
        self._connection: Any = None
        self._cursor: Cursor | None = None
        self._unit: Unit | None = None
        self._mark: Any = None
        self._epoch = ""
        self._committing = False
        self._trimmed_at_ms = 0
        self.away = False  # whether the last batch found the database away

    @property
    def connection(self) -> Any:
        """The connection, made anew where there is none. Raises: what the driver raises."""
        if self._connection is None:
            self._connection = self._engine.connect(writing=True)
            cursor: Cursor = self._connection.cursor()
            self._cursor = cursor
            self._unit = None
            self._epoch = EPOCH.run(self._engine, cursor, {})[0][0]
        return self._connection

    def disconnect(self) -> None:
        if self._connection is not None:
            self._engine.close(self._connection)
        self._connection = self._cursor = self._unit = None

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Decide these commands and commit; what came of each, in their order. Never raises.

        A refusal is its own command's; anything worse makes all of them run once more, one by one.
        """
        outcomes: list[Outcome]
        try:
            outcomes = self._together(jobs)
        except Exception as problem:
            trouble = self._after(problem)
            outcomes = self._reconnected(jobs, problem) if trouble == "away" else self._one_by_one(jobs)
        self.away = any(isinstance(outcome, Refusal) and outcome.code == "unavailable" for outcome in outcomes)
        return outcomes

    def probe(self) -> Refusal | None:
        """Whether a transaction can be had; after a failure, whether something can be written at all."""
        try:
            assert self.connection is not None
            assert self._cursor is not None
            self._engine.begin(self._cursor, writing=True)
            if self.away:
                PROBE.run(self._engine, self._cursor, {"value": str(self.deciding.clock_ms())})
            self._engine.commit(self._cursor)
        except Exception as problem:
            self._after(problem)
            return unavailable(problem)
        self.away = False
        return None

    def _together(self, jobs: Sequence[Job]) -> list[Outcome]:
        self._committing = False
        assert self.connection is not None
        cursor = self._cursor
        assert cursor is not None
        engine = self._engine
        with engine.pipelined(cursor):
            engine.begin(cursor, writing=True)
            unit = self._unit_of_now(cursor)
            prefetch(unit, jobs)
            outcomes, changed = self._decide(unit, jobs)
            unit.flush()
            if changed:
                self._write_changes(cursor, changed)
            self._committing = True
            engine.commit(cursor)
        return outcomes

    def _unit_of_now(self, cursor: Cursor) -> Unit:
        # A writer that is alone goes on with the rows it knows, unless somebody else has committed since.
        unchanged, self._mark = self._engine.unchanged_since(cursor, self._mark)
        if self._unit is None:
            self._unit = Unit(self._engine, self.deciding.kinds, cursor, self._epoch, lock=True)
        else:
            self._unit.forget(everything=not unchanged)
        return self._unit

    def _decide(self, unit: Unit, jobs: Sequence[Job]) -> tuple[list[Outcome], list[Change]]:
        now_ms, new_id, rules = self.deciding.clock_ms(), self._new_id, self.deciding.rules
        outcomes: list[Outcome] = []
        changed: list[Change] = []
        for job in jobs:
            written = unit.writes
            try:
                decision = decide(unit, job.params, job.principal, now_ms=now_ms, new_id=new_id, rules=rules)
            except Refusal as refusal:
                assert unit.writes == written, f"{type(job.params).__qualname__} was refused after its first write"
                outcomes.append(refusal)
            else:
                outcomes.append(decision)
                if decision.changes:
                    changed.extend(decision.changes)
        return outcomes, changed

    def _write_changes(self, cursor: Cursor, changed: list[Change]) -> None:
        cursor.executemany(self.deciding.insert_change, [_change_row(change) for change in changed])
        now_ms = self.deciding.clock_ms()
        if now_ms - self._trimmed_at_ms > CHANGES_TRIMMED_EVERY_MS:
            self._trimmed_at_ms = now_ms
            cursor.execute(*TRIM.on(self._engine, {"before": now_ms - CHANGES_KEPT_MS}))

    def _after(self, problem: BaseException) -> str:
        """Leave the transaction that met a problem, and say which kind it is."""
        trouble = self._engine.trouble(problem)
        self._unit = None
        if self._connection is not None:
            self._engine.rollback(self._connection)
        if trouble == "away":
            self.disconnect()
        return trouble

    def _reconnected(self, jobs: Sequence[Job], problem: Exception) -> list[Outcome]:
        # A connection may have died long ago, at rest. Once more on a new one, unless the commit itself was cut off:
        # that may have come through, and what has no `client_id` would be stored twice.
        if not self._committing:
            try:
                return self._together(jobs)
            except Exception as again:
                problem = again
                if self._after(again) != "away":
                    return self._one_by_one(jobs)
        logger.warning("The database is away: %s", type(problem).__name__)
        return [unavailable(problem) for _ in jobs]

    def _one_by_one(self, jobs: Sequence[Job]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        away: Refusal | None = None
        for job in jobs:
            outcome = unavailable(away.__cause__) if away else self._alone(job)
            if isinstance(outcome, Refusal) and outcome.code == "unavailable":
                away = outcome  # nobody else waits for a connection that is not there
            outcomes.append(outcome)
        return outcomes

    def _alone(self, job: Job) -> Outcome:
        for tries_left in reversed(range(TRIES_ALONE)):
            try:
                (outcome,) = self._together((job,))
            except Exception as problem:
                trouble = self._after(problem)
                if trouble == "away":
                    return unavailable(problem)
                if trouble == "bug" or not tries_left:
                    return problem
            else:
                return outcome
        raise AssertionError("the last try returns")


def _change_row(change: Change) -> dict[str, Any]:
    return {
        "kind": change.kind,
        "target": change.target,
        "at_ms": change.at_ms,
        "detail": msgspec.json.encode(change.detail).decode(),
    }


def unavailable(problem: BaseException | None) -> Refusal:
    """The refusal of a command that met a database that is away; `problem` stays with it, for the log."""
    refusal = Refusal("unavailable")
    refusal.__cause__ = problem
    return refusal
