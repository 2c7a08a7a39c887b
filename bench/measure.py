"""Runs the benchmarks: builds what is needed, lets the servers take turns, prints tables and promises.

make bench                            everything, five runs of each
make bench ARGS="--runs 1"            a quick look
make bench ARGS="--only fan_1000,durable_1 --servers parley,floor"
make bench ARGS="--long --docs"       with 10,000 connections, and the page and its charts anew
make bench ARGS="--from FILE --docs"  no run: the rows of an earlier one
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import building
import nodes
from charts import charts
from report import Results, machine, page, promises, tables

import tokens
from scenarios import SCENARIOS
from servers import SERVERS, Running, without

DOCS = building.HERE.parent / "docs"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="runs of each measurement (5)")
    parser.add_argument("--only", help="these scenarios, by comma")
    parser.add_argument("--servers", help="these servers, by comma")
    parser.add_argument("--long", action="store_true", help="with the scenarios that take long")
    parser.add_argument("--rows", type=Path, default=building.BUILD / "rows.jsonl", help="where the rows go, as JSON")
    parser.add_argument("--from", dest="from_rows", type=Path, help="measure nothing; take these rows")
    parser.add_argument("--docs", action="store_true", help="write docs/benchmarks.md and docs/images/bench-*.svg")
    parser.add_argument("--list", action="store_true", help="name scenarios and servers")
    a = parser.parse_args()
    if a.list:
        print("\n".join(f"{s.name:20} {s.title}  ({', '.join(s.servers)})" for s in SCENARIOS))
        return 0
    if a.from_rows:
        about, rows = _read(a.from_rows)
    else:
        about, rows = machine(), _measure(a)
    results = Results(rows)
    print("\n" + "\n\n".join(tables(results)))
    print("\n## What was promised\n\n" + (promises(results) or "Nothing of it was measured."))
    for warning in results.warnings():
        print(f"! {warning}")
    if a.docs:
        _write_docs(results, about)
    return 1 if any("error" in row for row in rows) else 0


def _measure(a: argparse.Namespace) -> list[dict[str, object]]:
    try:
        absent = without(list(building.build_all()))
    except building.Missing as missing:
        sys.exit(str(missing))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    wanted = a.only.split(",") if a.only else [s.name for s in SCENARIOS if a.long or not s.only_long]
    servers = a.servers.split(",") if a.servers else list(SERVERS)
    unknown = (set(wanted) - {s.name for s in SCENARIOS}) | (set(servers) - set(SERVERS))
    if unknown:
        sys.exit(f"there is no {', '.join(sorted(unknown))}: see --list")
    rows: list[dict[str, object]] = []
    a.rows.parent.mkdir(parents=True, exist_ok=True)
    with a.rows.open("w") as file:
        file.write(json.dumps({"machine": machine()}) + "\n")
        if tokens.SCENARIO in wanted:
            for row in tokens.rows(a.runs):
                rows.append(row)
                file.write(json.dumps(row) + "\n")
        if {nodes.DELIVERY, nodes.ELSEWHERE, nodes.REVOKED} & set(wanted):
            for row in nodes.rows(a.runs):
                rows.append(row)
                file.write(json.dumps(row) + "\n")
        for run in range(a.runs):
            for scenario in (s for s in SCENARIOS if s.name in wanted):
                here = [name for name in scenario.servers if name in servers and name not in absent]
                turn = run % len(here) if here else 0
                for name in here[turn:] + here[:turn]:  # nobody is always the first
                    begun = time.monotonic()
                    row: dict[str, object] = {"scenario": scenario.name, "server": name, "run": run}
                    try:
                        with Running(
                            SERVERS[name], subjects=scenario.subjects, rooms=scenario.rooms, tokens=scenario.tokens
                        ) as server:
                            row |= server.load(scenario.mode, scenario.options, refused=scenario.refused)
                    except Exception as failure:
                        row["error"] = f"{type(failure).__name__}: {failure}"
                    rows.append(row)
                    file.write(json.dumps(row) + "\n")
                    file.flush()
                    first = scenario.measures[0]
                    shown = row.get("error") or f"{row.get(first.field)} {first.title}"
                    took = time.monotonic() - begun
                    others = f"others {row['others']:.0%}, " if "others" in row else ""
                    print(
                        f"{run + 1}/{a.runs} {scenario.name:18} {name:18} {shown}  [{others}{took:.1f} s]",
                        file=sys.stderr,
                    )
    return rows


def _read(file: Path) -> tuple[dict[str, str], list[dict[str, object]]]:
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return lines[0]["machine"], lines[1:]


def _write_docs(results: Results, about: dict[str, str]) -> None:
    runs = max((row["run"] for row in results.rows), default=0) + 1
    (DOCS / "images").mkdir(parents=True, exist_ok=True)
    (DOCS / "benchmarks.md").write_text(page(results, about, runs))
    for name, svg in charts(results).items():
        (DOCS / "images" / name).write_text(svg)
    print(f"wrote {DOCS / 'benchmarks.md'} and its charts", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
