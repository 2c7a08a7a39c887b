"""The metrics' page: what is counted where it happens is read when it is asked for."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from parley.metrics import BATCH_BOUNDS, METRICS, Distribution, Metrics, Reading


def page(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def test_each_scrape_reads_the_counters_as_they_are_then() -> None:
    metrics, outcomes = Metrics("1.2"), Counter[tuple[str, str]]()
    metrics.read("parley_commands", lambda: outcomes)
    outcomes["message.send", "ok"] += 3
    key = ("parley_commands_total", (("command", "message.send"), ("outcome", "ok")))
    assert page(metrics)[key] == 3
    outcomes["message.send", "ok"] += 1
    assert page(metrics)[key] == 4
    assert page(metrics)["parley_info", (("version", "1.2"),)] == 1


def test_a_distribution_is_a_histogram_whose_buckets_include_their_upper_ends() -> None:
    metrics, batches = Metrics("1"), Distribution(BATCH_BOUNDS)
    metrics.read("parley_commit_commands", lambda: batches)
    for size in (1, 2, 2, 3, 1000):
        batches.observe(size)
    read = page(metrics)
    assert read["parley_commit_commands_bucket", (("le", "1.0"),)] == 1
    assert read["parley_commit_commands_bucket", (("le", "2.0"),)] == 3
    assert read["parley_commit_commands_bucket", (("le", "4.0"),)] == 4
    assert read["parley_commit_commands_bucket", (("le", "512.0"),)] == 4
    assert read["parley_commit_commands_bucket", (("le", "+Inf"),)] == 5
    assert read["parley_commit_commands_count", ()] == 5
    assert read["parley_commit_commands_sum", ()] == 1008


def test_every_metric_of_the_table_can_be_on_the_page() -> None:
    metrics = Metrics("1")
    for row in METRICS.values():
        reading: Reading = 7.0
        if row.kind == "histogram":
            reading = Distribution((1.0,))
        elif row.labels:
            reading = {tuple("x" for _ in row.labels): 7.0}
        metrics.read(row.name, lambda reading=reading: reading)  # type: ignore[misc]
    named = {name for name, _ in page(metrics)}
    for row in METRICS.values():
        shown = {"counter": "_total", "gauge": "", "histogram": "_bucket"}[row.kind]
        assert row.name + shown in named
        assert row.doc.endswith(".")


def test_one_metric_that_cannot_be_read_does_not_hide_the_others(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics("1")
    metrics.read("parley_rooms_read", lambda: 1 / 0)
    metrics.read("parley_subscriptions", lambda: 2)
    for _ in range(3):
        assert page(metrics)["parley_subscriptions", ()] == 2
    assert len(caplog.records) == 1


def test_the_process_itself_is_on_the_page() -> None:
    read = page(Metrics("1"))
    assert read["process_resident_memory_bytes", ()] > 1e6
    assert read["process_open_fds", ()] > 0


def test_what_is_watched_and_alarmed_by_exists() -> None:
    monitoring = Path(__file__).parent.parent / "deploy" / "monitoring"
    expressions = [
        line.partition("expr: ")[2]
        for line in (monitoring / "alerts.yaml").read_text().splitlines()
        if "expr: " in line
    ]
    for panel in json.loads((monitoring / "grafana.json").read_text())["panels"]:
        expressions += [target["expr"] for target in panel["targets"]]
    named = set(re.findall(r"\b(?:parley|process)_[a-z_]+", " ".join(expressions)))
    there = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
    for row in METRICS.values():
        endings = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}[row.kind]
        there |= {row.name + ending for ending in endings}
    assert len(expressions) > 20
    assert named - there == set()


def test_each_alert_is_on_the_page_that_says_what_to_do() -> None:
    root = Path(__file__).parent.parent
    alerts = re.findall(r"- alert: (\w+)", (root / "deploy" / "monitoring" / "alerts.yaml").read_text())
    told = re.findall(r"^\| (Parley\w+) \|", (root / "docs" / "operate" / "watch.md").read_text(), re.MULTILINE)
    assert alerts == told != []
