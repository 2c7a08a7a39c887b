"""From measured rows to what is told of them: medians, spreads, ratios, the table, the promises, the page.

A ratio is the median of the ratios within each run: what slows a run slows both.
"""

import os
import platform
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import nodes

import tokens
from scenarios import MESSAGE, PROMISES, SCENARIOS, Scenario
from servers import SERVERS

Row = dict[str, Any]
#: What ratios are made to, in this order, where it was measured.
BASES = ("floor", "floor-audio", "ws", "gorilla", "parley-one-commit", "bare", "pyjwt")
#: With more of the cores than this used by others, the numbers say little.
QUIET = 0.05


class Results:
    """Rows by scenario, server and run. A row has `scenario`, `server`, `run`, and wsload's fields or `error`."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = list(rows)
        self._by: dict[tuple[str, str], dict[int, Row]] = defaultdict(dict)
        for row in self.rows:
            if "error" not in row:
                self._by[row["scenario"], row["server"]][row["run"]] = row

    def values(self, scenario: str, measure: str, server: str) -> list[float]:
        return [row[measure] for row in self._by[scenario, server].values() if measure in row]

    def median(self, scenario: str, measure: str, server: str) -> float | None:
        values = self.values(scenario, measure, server)
        return statistics.median(values) if values else None

    def ratio(self, scenario: str, measure: str, server: str, base: str) -> float | None:
        ours, theirs = self._by[scenario, server], self._by[scenario, base]
        ratios = [
            ours[run][measure] / theirs[run][measure]
            for run in ours.keys() & theirs.keys()
            if measure in ours[run] and theirs[run].get(measure)
        ]
        return statistics.median(ratios) if ratios else None

    def split(self, server: str) -> tuple[float, float] | None:
        """CPU µs for a message by itself and for each delivery of it, from rooms of 1 and of 1,000."""
        one, thousand = self.median("fan_1", MESSAGE.field, server), self.median("fan_1000", MESSAGE.field, server)
        if one is None or thousand is None:
            return None
        delivery = (thousand - one) / 999
        return one - delivery, delivery

    def scenarios(self) -> list[Scenario]:
        return [s for s in SCENARIOS if any(row["scenario"] == s.name for row in self.rows)]

    def servers(self, scenario: Scenario) -> list[str]:
        return [name for name in scenario.servers if self._by[scenario.name, name]]

    def warnings(self) -> list[str]:
        """Runs that failed, or in which something went missing."""
        told = []
        for row in self.rows:
            wrong = {k: row[k] for k in ("error", "lost", "refused", "over", "unanswered", "failed") if row.get(k)}
            if wrong:
                told.append(f"{row['scenario']}, {row['server']}, run {row['run'] + 1}: {wrong}")
        if (others := self.others()) > QUIET:
            told.append(f"The machine was not quiet: others used {others:.0%} of the two cores. Measure again.")
        return told

    def others(self) -> float:
        """The median share of both cores that was used by others."""
        shares = [row["others"] for row in self.rows if "others" in row]
        return statistics.median(shares) if shares else 0.0


def number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(values: Sequence[float]) -> str:
    return number(values[0]) if len(values) == 1 else f"{number(min(values))} to {number(max(values))}"


def title(server: str) -> str:
    """What a server, or a way to check a token, is called."""
    return (tokens.WAYS | nodes.NODES).get(server) or SERVERS[server].title


def tables(results: Results) -> list[str]:
    """One Markdown table for each scenario."""
    told = []
    for scenario in results.scenarios():
        servers = results.servers(scenario)
        bases = [base for base in BASES if base in servers]
        first = scenario.measures[0]
        head = ["", first.title, "spread", *(f"to {title(base)}" for base in bases)]
        head += [measure.title for measure in scenario.measures[1:]]
        lines = [f"### {scenario.title}", "", _line(head), _line(["---", *["---:"] * (len(head) - 1)])]
        for server in servers:
            cells = [title(server)]
            values = results.values(scenario.name, first.field, server)
            cells += [number(statistics.median(values)), spread(values)] if values else ["–", ""]
            for base in bases:
                ratio = results.ratio(scenario.name, first.field, server, base)
                cells.append("–" if ratio is None else f"{ratio:.2f}")
            for measure in scenario.measures[1:]:
                median = results.median(scenario.name, measure.field, server)
                cells.append("–" if median is None else number(median))
            lines.append(_line(cells))
        told.append("\n".join(lines))
    split = _split_table(results)
    return [*told, split] if split else told


def _split_table(results: Results) -> str | None:
    rows = [(name, split) for name in ("parley", "floor", "ws", "gorilla") if (split := results.split(name))]
    if not rows:
        return None
    lines = [
        "### A message and its deliveries apart",
        "",
        _line(["", "CPU for the message itself, µs", "CPU for each delivery of it, µs"]),
        _line(["---", "---:", "---:"]),
    ]
    lines += [_line([SERVERS[name].title, number(max(0, message)), number(each)]) for name, (message, each) in rows]
    return "\n".join(lines)


def promises(results: Results) -> str | None:
    """What was promised, beside what was measured."""
    lines = []
    for promise in PROMISES:
        value = promise.value(results)
        if value is None:
            continue
        limit = f"{'≥' if promise.at_least else '≤'} {number(promise.limit)}"
        lines.append(_line([promise.title, limit, number(value), "yes" if promise.is_kept(value) else "**no**"]))
    if not lines:
        return None
    return "\n".join([_line(["", "promised", "measured", "kept"]), _line(["---", "---:", "---:", "---"]), *lines])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def machine() -> dict[str, str]:
    """The machine in general words."""
    kernel = ".".join(platform.release().split("-")[0].split(".")[:2])
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": f"{platform.system()} {kernel}",
        "architecture": platform.machine(),
        "python": platform.python_version(),
    }


PAGE = """\
# Benchmarks

<!-- Written by `make bench ARGS=--docs`: change bench/report.py, not this page. -->

What Parley costs, beside others on the same machine in the same minutes. `make bench` measures it again; numbers of one
machine say little about another, the ratios say more.

The machine: {machine} {quiet}
The server runs on one core, the load generator on another; each measurement has a fresh server, and the servers take
turns. A number is the median of {runs} runs, the spread goes from the least to the most, and a ratio is the median of
the ratios within each run. CPU is all that the server's threads and children used, the kernel's work for them included.
Two nodes share both cores with their readers, PostgreSQL and Valkey; they and the only node are given as many messages a
second, because what comes after a pause finds colder caches and costs more.

Parley runs as it ships (`parley serve`, SQLite with `synchronous=FULL`, a token checked at each handshake) with its
limits off. **Its messages are durable**: a delivery is of a `message.send` that was decided, committed and then written
to each subscriber, its sender included. The others store nothing: the C loop reads no JSON and checks no token, and hands on
frames as large as Parley's; npm `ws` (with `jsonwebtoken`) and gorilla check a token at the handshake, decode each
message and encode it once, a quarter as large.

## What was promised

{promises}

## Fan-out

![CPU for each delivery in a room of 1,000](images/bench-fanout.svg)

{fan}

The message's own cost is that of a room of 1 less one delivery; the delivery's is the slope from 1 to 1,000 sockets.

## Durable messages

Each of the 50 senders has a room and a reader of its own and sends the next message when one is answered. "One commit
for each" is the same server with batches of one. PostgreSQL runs with `fsync` on the server's core.

![Acknowledged messages a second](images/bench-durable.svg)

{talk}

## Handshakes

Warm, the token in the `Authorization` header, one core; the client hangs up as soon as it has its answer.

![CPU for each handshake](images/bench-handshakes.svg)

{handshake}

## Checking a token

One thread, no socket: what `parley.tokens` adds to the signature check that nobody can leave out.

{token}

## Messages that store nothing

Parley's is `typing.set` as a notification by a member whom nobody else reads; the others decode a message and drop it.

{drop}

## Idle connections

Memory is the growth of the process's resident set.

![Memory for each idle connection](images/bench-memory.svg)

{idle}
"""


def page(results: Results, about: dict[str, str], runs: int) -> str:
    parts: dict[str, list[str]] = defaultdict(list)
    told = tables(results)
    for scenario, table in zip(results.scenarios(), told, strict=False):
        parts[scenario.mode].append(table)
    if len(told) > len(results.scenarios()):
        parts["fan"].append(told[-1])
    return PAGE.format(
        machine=f"{about['cores']} cores, {about['kernel']}, {about['architecture']}, CPython {about['python']}.",
        runs=runs,
        quiet=f"Others used {results.others():.0%} of the two cores meanwhile.",
        promises=promises(results) or "Nothing was measured.",
        **{
            mode: "\n\n".join(parts[mode]) or "Not measured."
            for mode in ("fan", "talk", "handshake", "token", "drop", "idle")
        },
    )
