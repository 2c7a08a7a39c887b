"""What an operator wants to see: the names of all metrics, and the page that Prometheus reads.

Counts nothing itself: the parts keep plain numbers where they work, which costs the hot path an addition, and each
scrape reads them. Labels hold names of ours only, never what a client sent.
"""

import json
import logging
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any, Final, Literal

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

log = logging.getLogger(__name__)

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Distribution:
    """How values spread: a histogram's buckets. `bounds` are their inclusive upper ends, ascending."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


#: Commands that one commit holds, and seconds that one takes.
BATCH_BOUNDS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
SECONDS_BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

#: A number, or one for each value of the labels (a tuple where there are several), or a distribution.
Reading = float | Mapping[Any, float] | Distribution


@dataclass(frozen=True, slots=True)
class Row:
    """One metric. A counter's name gets `_total` on the page, as Prometheus wants it."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    doc: str
    labels: tuple[str, ...] = ()
    #: What the numbers of several workers come to.
    together: Callable[[Iterable[float]], float] = sum


_ROWS: Final = (
    Row("parley_connections", "gauge", "Authenticated connections now.", ("dialect",)),
    Row("parley_connections_pending", "gauge", "Connections that have not authenticated yet."),
    Row("parley_handshakes", "counter", "Upgrades by what came of them: accepted, or a refusal's code.", ("outcome",)),
    Row("parley_closes", "counter", "Connections that the server closed, by close code.", ("code",)),
    Row("parley_requests", "counter", "HTTP requests answered.", ("method", "status")),
    Row("parley_commands", "counter", "Commands by name and outcome: ok, or a refusal's code.", ("command", "outcome")),
    Row("parley_commit_commands", "histogram", "Commands in one commit."),
    Row("parley_commit_seconds", "histogram", "Seconds from the begin of a transaction to the end of its commit."),
    Row("parley_store_waiting", "gauge", "Commands that wait for a writing thread."),
    Row("parley_store_available", "gauge", "1 while the last batch could be written, else 0.", (), min),
    Row("parley_deliveries", "counter", "Events and signals written to sockets."),
    Row("parley_slow_consumers", "counter", "Connections ended with 4420: their outbox was full."),
    Row("parley_rooms_read", "gauge", "Rooms with a subscribed connection on this node."),
    Row("parley_subscriptions", "gauge", "Subscriptions on this node."),
    Row("parley_streams_live", "gauge", "Broadcasts that come in on this node."),
    Row("parley_stream_listeners", "gauge", "Listeners on this node."),
    Row("parley_stream_pages", "counter", "Writes of audio to listeners."),
    Row("parley_stream_pages_dropped", "counter", "Writes of audio left out: the listener's socket did not drain."),
    Row(
        "parley_broadcasts", "counter", "Broadcasts by what came of them: accepted, or a refusal's code.", ("outcome",)
    ),
    Row("parley_poll_age_seconds", "gauge", "Seconds since the store was last polled with success.", (), max),
    Row("parley_nodes", "gauge", "Nodes that live, this one included; where there is a bus.", (), max),
    Row("parley_bus_up", "gauge", "1 while the bus between nodes is there, else 0.", (), min),
    Row("parley_bus_parcels", "counter", "Parcels published on the bus, and heard from other nodes.", ("direction",)),
    Row("parley_passwords_waiting", "gauge", "Sign-ins that wait for a thread to check their password."),
)
#: Every metric by its name.
METRICS: Final[Mapping[str, Row]] = {row.name: row for row in _ROWS}


class Metrics(Collector):
    """The process's metrics: `read` says where each comes from, `render` is the page."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._readers: dict[str, Callable[[], Reading]] = {}
        self._broken: set[str] = set()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        self._process = ProcessCollector(registry=self._registry)

    def read(self, name: str, reader: Callable[[], Reading]) -> None:
        """At each scrape `reader` gives the metric `name`, one of METRICS; without one it is not on the page."""
        assert name in METRICS, name
        self._readers[name] = reader

    def render(self) -> bytes:
        """The page, in Prometheus's text format (CONTENT_TYPE)."""
        return generate_latest(self._registry)

    def told(self) -> bytes:
        """Every reading of this process, for `render_together` of another."""
        found: dict[str, Any] = {}
        for name, reader in self._readers.items():
            reading = reader()
            if isinstance(reading, Distribution):
                found[name] = [*reading.counts, reading.sum]
            elif isinstance(reading, Mapping):
                found[name] = [[_labels(labels), value] for labels, value in list(reading.items())]
            else:
                found[name] = float(reading)
        return json.dumps(found).encode()

    def render_together(self, others: Iterable[bytes]) -> bytes:
        """The page of several workers: their numbers come together, and those of the process are left out."""
        told = [json.loads(each) for each in others]
        together = Metrics(self._version)
        for name, reader in self._readers.items():
            theirs = [each[name] for each in told if name in each]
            together.read(name, partial(_together, METRICS[name], reader(), theirs))
        together._registry.unregister(together._process)
        return together.render()

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily("parley_info", "What runs here; always 1.", labels=["version"])
        info.add_metric([self._version], 1)
        yield info
        for name, reader in self._readers.items():
            try:
                yield _family(METRICS[name], reader())
            except Exception:  # one that is broken must not hide the others
                if name not in self._broken:
                    self._broken.add(name)
                    log.exception("the metric %s can't be read", name)

    def describe(self) -> Iterator[Metric]:
        return iter(())


def _labels(labels: Any) -> list[str]:
    return [labels] if isinstance(labels, str) else list(labels)


def _together(row: Row, reading: Reading, theirs: Sequence[Any]) -> Reading:
    if isinstance(reading, Distribution):
        whole = Distribution(reading.bounds)
        for counts in ([*reading.counts, reading.sum], *theirs):
            whole.counts = [a + b for a, b in zip(whole.counts, counts[:-1], strict=True)]
            whole.sum += counts[-1]
        return whole
    if not isinstance(reading, Mapping):
        return row.together([float(reading), *theirs])
    values: dict[tuple[str, ...], list[float]] = {}
    for labels, value in [*reading.items(), *(pair for each in theirs for pair in each)]:
        values.setdefault(tuple(_labels(labels)), []).append(value)
    return {labels: row.together(found) for labels, found in values.items()}


def _family(row: Row, reading: Reading) -> Metric:
    if isinstance(reading, Distribution):
        assert row.kind == "histogram", row.name
        bounds = [*map(str, map(float, reading.bounds)), "+Inf"]
        histogram = HistogramMetricFamily(row.name, row.doc)
        histogram.add_metric([], list(zip(bounds, accumulate(reading.counts), strict=True)), reading.sum)
        return histogram
    family = (CounterMetricFamily if row.kind == "counter" else GaugeMetricFamily)(row.name, row.doc, labels=row.labels)
    if not isinstance(reading, Mapping):
        family.add_metric([], reading)
        return family
    for labels, value in list(reading.items()):  # a copy: another thread may count while we read
        family.add_metric([labels] if isinstance(labels, str) else labels, value)
    return family
