"""How the node is, over a real socket: alive, ready, and its numbers for those who may see them."""

import asyncio
from ipaddress import ip_network

import pytest
from starlette.requests import Request
from starlette.responses import Response

from parley.domain.errors import Refusal
from parley.metrics import METRICS
from parley.transport.addresses import Addresses
from parley.transport.health import Dependency, Health, revocations
from tests.serving import ServerProcess
from tests.transport.asking import JSON, ask, assert_problem


def test_it_is_alive(at_home: ServerProcess) -> None:
    answer = ask(at_home, "GET", "/healthz")
    assert (answer.status, answer.body) == (200, b"ok\n")
    assert answer.header("content-type") == "text/plain; charset=utf-8"
    assert answer.header("cache-control") == "no-store"


def test_it_is_ready_with_a_line_for_each_dependency(at_home: ServerProcess) -> None:
    answer = ask(at_home, "GET", "/readyz")
    assert answer.status == 200, answer.body
    lines = answer.body.decode().splitlines()
    assert "store: ok" in lines
    assert "revocations: ok" in lines
    assert all(": " in line for line in lines)


def readyz(*dependencies: Dependency) -> Response:
    health = Health(lambda: dependencies, lambda: b"", (), Addresses([]))
    return asyncio.run(health.readyz(Request({"type": "http", "headers": []})))


def test_a_bus_that_is_away_is_degraded_and_the_node_still_ready() -> None:
    answer = readyz(Dependency("store", "ok"), Dependency("bus", "degraded", "no connection"))
    assert (answer.status_code, answer.body) == (200, b"store: ok\nbus: degraded (no connection)\n")


def test_a_dependency_that_is_down_makes_it_unready_and_says_which() -> None:
    answer = readyz(Dependency("store", "ok"), Dependency("revocations", "down", "not read for 3 s"))
    assert (answer.status_code, answer.body) == (503, b"store: ok\nrevocations: down (not read for 3 s)\n")
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("polled_at_ms", "line"),
    [
        (None, "revocations: down (not read yet)"),
        (10_000, "revocations: ok"),
        (8_000, "revocations: ok"),
        (7_999, "revocations: down (not read for 2 s)"),
        (0, "revocations: down (not read for 10 s)"),
        (12_000, "revocations: ok"),  # the clock was set back
    ],
)
def test_revocations_are_known_while_the_poll_reads_them(polled_at_ms: int | None, line: str) -> None:
    assert str(revocations(polled_at_ms, 10_000)) == line


def test_the_numbers_are_for_this_machine(at_home: ServerProcess) -> None:
    answer = ask(at_home, "GET", "/metrics")
    assert answer.status == 200
    assert answer.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.header("cache-control") == "no-store"
    assert b"# TYPE parley_connections gauge" in answer.body


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"])
def test_a_proxy_on_this_machine_that_nobody_trusts_makes_nobody_local(at_home: ServerProcess, name: str) -> None:
    for value in ("127.0.0.1", "for=127.0.0.1"):
        answer = ask(at_home, "GET", "/metrics", [(name, value)])
        assert_problem(answer, 404, "not_found")
        assert answer.body == ask(at_home, "GET", "/nowhere").body


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("X-Forwarded-For", "10.1.2.3")], 200),
        ([("Forwarded", "for=10.1.2.3")], 200),
        ([("X-Forwarded-For", "::1")], 200),
        ([], 200),  # the proxy itself, from this machine
        ([("X-Forwarded-For", "10.2.0.1")], 404),
        ([("X-Forwarded-For", "203.0.113.9"), ("Forwarded", "for=127.0.0.1")], 404),
        ([("X-Forwarded-For", "unknown")], 404),
        ([("X-Forwarded-For", "10.1.2.3, 203.0.113.9")], 404),
        ([("X-Forwarded-For", "127.0.0.1, 203.0.113.9")], 404),
    ],
)
def test_through_a_trusted_proxy_they_are_for_the_allowed_networks(
    on_the_web: ServerProcess, headers: list[tuple[str, str]], status: int
) -> None:
    assert ask(on_the_web, "GET", "/metrics", headers).status == status


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "::ffff:127.0.0.9", "10.1.0.1"])
def test_the_peers_of_this_machine_and_the_allowed_networks_may_read_them(peer: str) -> None:
    assert metrics_for(peer).body == b"numbers"


@pytest.mark.parametrize("peer", ["10.2.0.1", "2001:db8::1", "unknown"])
def test_other_peers_are_told_that_there_is_nothing(peer: str) -> None:
    with pytest.raises(Refusal, match="not_found"):
        metrics_for(peer)


def metrics_for(peer: str) -> Response:
    async def numbers(_: Request) -> bytes:
        return b"numbers"

    health = Health(list, numbers, [ip_network("10.1.0.0/16")], Addresses([]))
    return asyncio.run(health.metrics(Request({"type": "http", "headers": [], "client": (peer, 1)})))


def test_every_metric_there_is_can_be_read_and_counts_what_was_done(at_home: ServerProcess) -> None:
    ask(at_home, "POST", "/auth/login", [JSON], b'{"username": "ada", "password": "ada"}')
    lines = ask(at_home, "GET", "/metrics").body.decode().splitlines()
    assert [name for name in METRICS if not any(line.startswith(f"# TYPE {name}") for line in lines)] == []
    values = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}
    assert values["parley_store_available"] == 1
    assert values["parley_commit_commands_count"] == values["parley_commit_seconds_count"] >= 1
    assert values['parley_requests_total{method="POST",status="200"}'] >= 1
