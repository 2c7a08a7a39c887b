"""What is measured: each scenario a row, each number that is told a row, each promise a row.

Adding one is adding a row; servers are rows of `servers.py`, the load's modes are those of `load/wsload.c`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import nodes

import tokens


@dataclass(frozen=True)
class Measure:
    """One number of a scenario: the field of wsload's answer, how it is called, and whether more of it is better."""

    field: str
    title: str
    more_is_better: bool = False


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    mode: str
    options: dict[str, Any]
    servers: tuple[str, ...]
    measures: tuple[Measure, ...]
    rooms: int = 1
    subjects: int = 1
    #: Different tokens, where that is more than subjects; shown in turn.
    tokens: int = 0
    refused: bool = False
    only_long: bool = False


@dataclass(frozen=True)
class Promise:
    """What a number must be. `value` gets a `report.Results` and gives None where something was not measured."""

    title: str
    value: Callable[[Any], float | None]
    limit: float
    at_least: bool = False
    #: The issue or section that says so.
    source: str = "issue 2"

    def is_kept(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


DELIVERY = Measure("cpu_us_per_delivery", "CPU for each delivery, µs")
MESSAGE = Measure("cpu_us_per_message", "CPU for each message, µs")
PER_S = Measure("deliveries_per_s", "deliveries a second", more_is_better=True)
HANDSHAKE = Measure("cpu_us_per_handshake", "CPU for each, µs")
HANDSHAKES = Measure("handshakes_per_s", "a second", more_is_better=True)
MEMORY = Measure("kib_per_connection", "KiB for each connection")
ANSWERS = Measure("answers_per_s", "acknowledged a second", more_is_better=True)

EVERYBODY = ("parley", "floor", "ws", "gorilla")
SOCKETIO = ("parley", "parley-socketio", "socket.io", "python-socketio")
DURABLE = ("parley", "parley-one-commit", "parley-postgresql")
TALK = {"senders": 50, "seconds": 2.0, "warm_up": 0.7}


def _fan(members: int, burst: int, name: str = "fan", servers: tuple[str, ...] = EVERYBODY) -> Scenario:
    sockets = "1 socket" if members == 1 else f"{members:,} sockets"
    of = {"graphql": ", like subscriptions", "socketio": " of Socket.IO"}.get(name, "")
    return Scenario(
        f"{name}_{members}" + ("_burst" if burst > 1 else ""),
        f"One room, {sockets}{of}: " + ("ten messages in one turn" if burst > 1 else "one message at a time"),
        "fan",
        {
            "members": members,
            "window": burst,
            "burst": burst,
            "seconds": 2.0 if members >= 1000 else 1.5,
            "warm_up": 0.7,
        },
        servers,
        (DELIVERY, MESSAGE, PER_S, Measure("p99_us", "p99 until received, µs")),
    )


def _talk(name: str, title: str, servers: tuple[str, ...], *more: Measure, **options: Any) -> Scenario:
    pairs = 50 + ("probe" in options)
    return Scenario(name, title, "talk", {**TALK, **options}, servers, (ANSWERS, *more), rooms=pairs, subjects=pairs)


def _idle(members: int, *, only_long: bool = False) -> Scenario:
    return Scenario(
        f"idle_{members}",
        f"{members:,} idle connections, each in the room",
        "idle",
        {"members": members},
        ("parley", "ws", "gorilla"),
        (MEMORY, Measure("open_cpu_us", "CPU to open and join, µs")),
        only_long=only_long,
    )


def _incoming(name: str, rate: int) -> Scenario:
    return Scenario(
        name,
        f"Incoming messages that are for nobody, {rate:,} a second from 100 sockets",
        "drop",
        {"members": 100, "rate": rate, "seconds": 1.5, "warm_up": 1.5},
        ("parley", "ws", "gorilla"),
        (MESSAGE,),
        rooms=100,
        subjects=100,
    )


def _audio(members: int, stalled: int = 0) -> Scenario:
    beside = f", {stalled} of them stalled" if stalled else ""
    return Scenario(
        f"audio_{members}" + ("_stalled" if stalled else ""),
        f"Live audio: pages of 20 ms to {members:,} listeners{beside}",
        "audio",
        {"members": members, "stalled": stalled, "seconds": 3.0, "warm_up": 1.0},
        ("parley-listen", "parley-get", "floor-audio") + (("icecast",) if not stalled else ()),
        (
            Measure("cpu_us_per_delivery", "CPU for each page delivered, µs"),
            Measure("kib_per_connection", "KiB for each listener"),
            DELAY,
            Measure("missed", "share of the pages that were left out"),
        ),
    )


DELAY = Measure("p99_us", "p99 until received, µs")
P50, P99 = Measure("answer_p50_us", "answer p50, µs"), Measure("answer_p99_us", "answer p99, µs")
# Node compiles what is hot: the handshakes warm up for longer.
SHAKING = {"concurrency": 16, "seconds": 1.2, "warm_up": 2.5}

SCENARIOS = (
    *(_fan(members, burst) for members in (1, 100, 1000) for burst in (1, 10)),
    *(_fan(1000, burst, "graphql", ("parley", "parley-graphql", "strawberry")) for burst in (1, 10)),
    *(_fan(1000, burst, "socketio", SOCKETIO) for burst in (1, 10)),
    _talk("durable_1", "50 senders in 50 rooms, each waiting for its answer", DURABLE, P50, P99, MESSAGE, window=1),
    _talk("durable_8", "50 senders in 50 rooms, eight in flight each", DURABLE, P50, P99, MESSAGE, window=8),
    _talk(
        "steady",
        "200 messages a second in a room of their own, while 50 others keep eight in flight each",
        DURABLE,
        Measure("probe_delivery_p50_us", "send to delivery p50, µs"),
        Measure("probe_delivery_p99_us", "send to delivery p99, µs"),
        window=8,
        probe=200,
        seconds=3.0,
    ),
    Scenario(
        "handshake",
        "Handshakes, accepted, with a token seen before",
        "handshake",
        SHAKING,
        ("parley", "ws", "gorilla", "parley-es256", "ws-es256"),
        (HANDSHAKE, HANDSHAKES, Measure("p99_us", "p99, µs")),
    ),
    Scenario(
        "handshake_new",
        "Handshakes, accepted, each with a token not seen lately",
        "handshake",
        SHAKING,
        ("parley", "ws", "gorilla", "parley-es256", "ws-es256"),
        (HANDSHAKE, HANDSHAKES, Measure("p99_us", "p99, µs")),
        tokens=12_000,  # more than Parley remembers
    ),
    Scenario(
        "handshake_refused",
        "Handshakes, refused for a bad signature",
        "handshake",
        SHAKING,
        ("parley", "ws", "gorilla"),
        (HANDSHAKE, HANDSHAKES, Measure("p99_us", "p99, µs")),
        refused=True,
    ),
    Scenario(
        nodes.DELIVERY,
        "Two nodes, 300 readers on each: 100 messages a second",
        "",
        {},
        ("one-node", "speaking", "hearing"),
        (Measure(nodes.PER_DELIVERY, "CPU for each delivery, µs"),),
    ),
    Scenario(
        nodes.ELSEWHERE,
        "An event of a room that nobody reads on the other node",
        "",
        {},
        ("nobody-reads",),
        (Measure(nodes.PER_EVENT, "CPU for each event, µs"),),
    ),
    Scenario(
        nodes.REVOKED,
        "Revoked on one node while there is talk, closed on another",
        "",
        {},
        ("revoking",),
        (Measure(nodes.P99, "p99, ms"),),
    ),
    Scenario(
        tokens.SCENARIO,
        "Checking an ES256 token",
        "token",
        {},
        tuple(tokens.WAYS),
        (Measure(tokens.FIELD, "CPU for each, µs"),),
    ),
    _audio(500),
    _audio(500, 50),
    _audio(1000),
    _incoming("incoming", 1000),
    _incoming("incoming_dense", 8000),
    _idle(2000),
    _idle(10_000, only_long=True),
)


def _ratio(scenario: str, measure: str, of: str, to: str) -> Callable[[Any], float | None]:
    return lambda results: results.ratio(scenario, measure, of, to)


def _value(scenario: str, measure: str, of: str = "parley", scale: float = 1.0) -> Callable[[Any], float | None]:
    def value(results: Any) -> float | None:
        found = results.median(scenario, measure, of)
        return None if found is None else found * scale

    return value


def _refused_to_accepted(results: Any) -> float | None:
    accepted = results.median("handshake", HANDSHAKE.field, "parley")
    refused = results.median("handshake_refused", HANDSHAKE.field, "parley")
    return refused / accepted if accepted and refused else None


PROMISES = (
    Promise("Room of 1,000, one at a time: CPU for each delivery, to the C loop's",
            _ratio("fan_1000", DELIVERY.field, "parley", "floor"), 1.45),
    Promise("… to gorilla's", _ratio("fan_1000", DELIVERY.field, "parley", "gorilla"), 1.0),
    Promise("Room of 1,000, ten in one turn, to the C loop's",
            _ratio("fan_1000_burst", DELIVERY.field, "parley", "floor"), 0.25),
    Promise("GraphQL, 1,000 like subscriptions: CPU for each delivery, to the native dialect's",
            _ratio("graphql_1000", DELIVERY.field, "parley-graphql", "parley"), 1.5, source="issue 5"),
    Promise("Socket.IO, 1,000 sockets, one at a time: CPU for each delivery, to the native dialect's",
            _ratio("socketio_1000", DELIVERY.field, "parley-socketio", "parley"), 1.15, source="issue 4"),
    Promise("… to npm socket.io's", _ratio("socketio_1000", DELIVERY.field, "parley-socketio", "socket.io"), 0.5,
            source="issue 4"),
    Promise("… ten in one turn, to npm socket.io's",
            _ratio("socketio_1000_burst", DELIVERY.field, "parley-socketio", "socket.io"), 0.1, source="issue 4"),
    Promise("… python-socketio's, one at a time, to Parley's",
            _ratio("socketio_1000", DELIVERY.field, "python-socketio", "parley-socketio"), 8, at_least=True,
            source="issue 4"),
    Promise("Durable, each waiting for its answer: messages a second",
            _value("durable_1", ANSWERS.field), 8000, at_least=True),
    Promise("… to one commit for each", _ratio("durable_1", ANSWERS.field, "parley", "parley-one-commit"), 3, at_least=True),
    Promise("… answer p99, ms", _value("durable_1", P99.field, scale=1e-3), 25),
    Promise("Durable, eight in flight each: messages a second",
            _value("durable_8", ANSWERS.field), 20_000, at_least=True),
    Promise("… to one commit for each", _ratio("durable_8", ANSWERS.field, "parley", "parley-one-commit"), 6, at_least=True),
    Promise("Steady 200 a second while the store is saturated: send to delivery p99, ms",
            _value("steady", "probe_delivery_p99_us", scale=1e-3), 25),
    Promise("An incoming message that stores nothing, to npm ws's that is dropped, at 1,000 a second",
            _ratio("incoming", MESSAGE.field, "parley", "ws"), 0.8),
    Promise("… at 8,000 a second", _ratio("incoming_dense", MESSAGE.field, "parley", "ws"), 0.8),
    Promise("An accepted handshake, to npm ws with jsonwebtoken",
            _ratio("handshake", HANDSHAKE.field, "parley", "ws"), 0.5),
    Promise("… with a token not seen before", _ratio("handshake_new", HANDSHAKE.field, "parley", "ws"), 0.5),
    Promise("A refused handshake, to an accepted one", _refused_to_accepted, 1.0),
    Promise("Checking an ES256 token in full, to the bare signature check",
            _ratio(tokens.SCENARIO, tokens.FIELD, "in-full", "bare"), 1.7, source="issue 3"),
    Promise("… to PyJWT", _ratio(tokens.SCENARIO, tokens.FIELD, "in-full", "pyjwt"), 1.0, source="issue 3"),
    Promise("… seen before, to in full", _ratio(tokens.SCENARIO, tokens.FIELD, "seen-before", "in-full"), 0.1,
            source="issue 3"),
    Promise("Live audio, 1,000 listeners by socket: CPU for each page, to the C loop's",
            _ratio("audio_1000", DELIVERY.field, "parley-listen", "floor-audio"), 1.4, source="issue 7"),
    Promise("… by GET", _ratio("audio_1000", DELIVERY.field, "parley-get", "floor-audio"), 1.4, source="issue 7"),
    Promise("500 listeners by socket: until received, p99, ms",
            _value("audio_500", DELAY.field, "parley-listen", 1e-3), 20, source="issue 7"),
    Promise("… by GET", _value("audio_500", DELAY.field, "parley-get", 1e-3), 20, source="issue 7"),
    Promise("… by GET, 50 of them stalled", _value("audio_500_stalled", DELAY.field, "parley-get", 1e-3), 20,
            source="issue 7"),
    Promise("Two nodes, 300 readers on each: CPU for each delivery on the sender's, to an only node's",
            _ratio(nodes.DELIVERY, nodes.PER_DELIVERY, "speaking", "one-node"), 1.1, source="issue 8"),
    Promise("… on the other", _ratio(nodes.DELIVERY, nodes.PER_DELIVERY, "hearing", "one-node"), 1.1, source="issue 8"),
    Promise("An event that nobody reads on a node, µs of its CPU",
            _value(nodes.ELSEWHERE, nodes.PER_EVENT, "nobody-reads"), 5, source="issue 8"),
    Promise("Revoked on one node, closed on another, p99, ms",
            _value(nodes.REVOKED, nodes.P99, "revoking"), 500, source="issue 8"),
    Promise("An idle connection, KiB", _value("idle_2000", MEMORY.field), 16),
    Promise("An idle connection among 10,000, KiB", _value("idle_10000", MEMORY.field), 16),
)  # fmt: skip
