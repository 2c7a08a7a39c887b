"""Bounds of a request head, what is answered to bytes that are no request, and silence about URLs."""

import asyncio
import json
import logging
from collections.abc import Iterable
from contextlib import suppress

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from parley.transport import http_protocol
from parley.transport.http_protocol import HEAD_BYTES_MAX
from tests.transport.wire import Peer, listening, request_head, run

START = b"GET /ok HTTP/1.1\r\nHost: x\r\n"
#: A time for a head in which one that is sent at once arrives, though the machine stand still for a moment.
LONG_ENOUGH_S = 0.4


async def ok(request: Request) -> Response:
    body = await request.body()
    return PlainTextResponse(f"{request.method} {len(body)}")


async def wait_for_release(request: Request) -> Response:
    """Answers when `app.state.release` is set."""
    await request.app.state.release.wait()
    return PlainTextResponse("released")


def app() -> Starlette:
    return Starlette(
        routes=[Route("/ok", ok, methods=["GET", "POST"]), Route("/wait", wait_for_release, methods=["GET", "POST"])]
    )


def head_of(size: int) -> bytes:
    """A request head of exactly `size` bytes."""
    filler = size - len(START) - len(b"X: \r\n\r\n")
    return START + b"X: " + b"a" * filler + b"\r\n\r\n"


def in_pieces(data: bytes, size: int) -> Iterable[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


async def answer_to(pieces: Iterable[bytes]) -> bytes:
    """Everything that comes back until the server ends the connection, which it must do without a reset."""
    async with listening(app=app(), timeout_keep_alive=0) as server, await Peer.connect(server.port) as peer:
        for piece in pieces:
            try:
                await peer.send(piece)
            except (BrokenPipeError, ConnectionResetError):
                break
            await asyncio.sleep(0)
        return await peer.read_all()


def test_a_head_of_sixteen_kibibytes_is_served() -> None:
    async def scene() -> None:
        assert b"200 OK" in await answer_to([head_of(HEAD_BYTES_MAX)])
        assert b"200 OK" in await answer_to(in_pieces(head_of(HEAD_BYTES_MAX), 1000))

    run(scene())


@pytest.mark.parametrize("size", [HEAD_BYTES_MAX + 1, 20_000, 100_000, 1_000_000])
@pytest.mark.parametrize("piece", [777, 4096, 1_000_000])
def test_a_larger_head_is_431_as_a_problem_in_one_piece_or_many(size: int, piece: int) -> None:
    async def scene() -> None:
        answer = await answer_to(in_pieces(head_of(size), piece))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
        assert b"Content-Type: application/problem+json" in head
        assert b"Connection: close" in head
        problem = json.loads(body)
        assert set(problem) == {"type", "title", "status", "detail", "code"}
        assert (problem["type"], problem["status"], problem["code"]) == ("about:blank", 431, "head_too_large")

    run(scene())


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        START + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 100) for n in range(200)) + b"\r\n",
        START + b"X: " + b"a" * 20_000,  # and it never ends
        b"GET /" + b"a" * 20_000,
        request_head("/echo", "X: " + "a" * 20_000),
    ],
    ids=["url", "many headers", "endless header", "endless url", "upgrade"],
)
def test_the_size_counts_wherever_the_bytes_are(head: bytes) -> None:
    async def scene() -> None:
        assert (await answer_to([head])).startswith(b"HTTP/1.1 431 ")
        assert (await answer_to(in_pieces(head, 500))).startswith(b"HTTP/1.1 431 ")

    run(scene())


def test_a_large_body_before_the_next_head_is_not_counted_as_one() -> None:
    async def scene() -> None:
        body = b"b" * 40_000
        first = b"POST /ok HTTP/1.1\r\nHost: x\r\nContent-Length: 40000\r\n\r\n" + body
        async with listening(app=app()) as server, await Peer.connect(server.port) as peer:
            await peer.send(first + START)
            await asyncio.sleep(0)
            await peer.send(b"\r\n")
            data = b""
            while b"GET 0" not in data:
                data += await peer.loop.sock_recv(peer.sock, 65_536)
            assert b"POST 40000" in data
            assert b"431" not in data

    run(scene())


def test_bytes_that_are_no_request_are_400_as_a_problem() -> None:
    async def scene() -> None:
        for junk in (
            b"hello\r\n\r\n",
            b"\x16\x03\x01\x02\x00",
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET /\x00 HTTP/1.1\r\n\r\n",
        ):
            answer = await answer_to([junk])
            assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n"), junk
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "invalid_request"

    run(scene())


def test_junk_behind_a_request_that_is_being_answered_does_not_cut_into_the_answer() -> None:
    async def scene() -> None:
        application = app()
        application.state.release = asyncio.Event()
        async with listening(app=application) as server, await Peer.connect(server.port) as peer:
            await peer.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
            await peer.send(b"\x00\x00\x00\x00")
            async with await Peer.connect(server.port) as other:
                await other.send(b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n")
                await other.read_head()
            application.state.release.set()
            answer = await peer.read_all()
            assert answer.startswith(b"HTTP/1.1 200 OK")
            assert answer.endswith(b"released")

    run(scene())


@pytest.mark.parametrize("sent", [b"", b"G", START, START + b"X: a", request_head()[:-2]])
def test_a_head_that_is_not_finished_in_time_is_dropped(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_S", 0.05)

    async def scene() -> None:
        async with listening(app=app()) as server, await Peer.connect(server.port) as peer:
            await peer.send(sent)
            with suppress(ConnectionResetError):
                assert await peer.read_all() == b""
            await server.until_nobody_is_connected()

    run(scene())


def test_the_time_of_a_second_head_counts_from_its_first_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_S", LONG_ENOUGH_S)

    async def scene() -> None:
        async with listening(app=app(), timeout_keep_alive=60) as server, await Peer.connect(server.port) as peer:
            await peer.send(START + b"\r\n")
            assert b"200 OK" in await peer.read_head()
            began_s = peer.loop.time()
            await peer.send(b"GET /ok HT")
            with suppress(ConnectionResetError):
                await peer.read_all()
            assert LONG_ENOUGH_S - 0.01 < peer.loop.time() - began_s < 8

    run(scene())


def test_a_request_that_takes_its_time_to_be_answered_is_not_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_S", LONG_ENOUGH_S)

    async def scene() -> None:
        application = app()
        application.state.release = asyncio.Event()
        async with listening(app=application) as server, await Peer.connect(server.port) as peer:
            await peer.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
            asyncio.get_running_loop().call_later(2 * LONG_ENOUGH_S, application.state.release.set)
            assert b"200 OK" in await peer.read_head()

    run(scene())


def test_a_head_that_waits_behind_a_slow_answer_is_not_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_S", LONG_ENOUGH_S)

    async def scene() -> None:
        application = app()
        application.state.release = asyncio.Event()
        async with listening(app=application) as server, await Peer.connect(server.port) as peer:
            waiting = b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"
            await peer.send(waiting + waiting + START)
            past = asyncio.Event()
            asyncio.get_running_loop().call_later(2 * LONG_ENOUGH_S, past.set)
            await past.wait()
            assert len(server.state.connections) == 1
            application.state.release.set()
            assert b"200 OK" in await peer.read_head()

    run(scene())


def test_an_upgraded_socket_has_no_time_limit_for_a_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_S", LONG_ENOUGH_S)

    async def scene() -> None:
        late = asyncio.Event()
        async with listening() as server, await Peer.upgraded(server.port) as peer:
            asyncio.get_running_loop().call_later(2 * LONG_ENOUGH_S, late.set)
            await late.wait()
            assert server.receiver().heard == ["opened"]
            assert peer.head.startswith(b"HTTP/1.1 101")

    run(scene())


def test_an_idle_connection_is_closed_after_the_keep_alive_time() -> None:
    async def scene() -> None:
        async with listening(app=app(), timeout_keep_alive=0) as server, await Peer.connect(server.port) as peer:
            await peer.send(START + b"\r\n")
            assert (await peer.read_all()).endswith(b"GET 0")

    run(scene())


def test_a_request_to_upgrade_to_something_else_is_answered_as_plain_http_and_closed() -> None:
    async def scene() -> None:
        answer = await answer_to([b"GET /ok HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"])
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b"connection: close" in answer

    run(scene())


def test_websocket_named_without_connection_upgrade_is_a_plain_request() -> None:
    async def scene() -> None:
        request = request_head("/ok", without=["Connection"])
        assert (await answer_to([request])).startswith(b"HTTP/1.1 200 OK")

    run(scene())


def test_pipelined_requests_are_answered_in_order() -> None:
    async def scene() -> None:
        sent = (
            START + b"\r\n"
        ) * 3 + b"POST /ok HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab"
        for pieces in ([sent], in_pieces(sent, 1)):
            answer = await answer_to(pieces)
            assert answer.count(b"200 OK") == 4
            assert answer.endswith(b"POST 2")

    run(scene())


def test_no_url_is_logged_whatever_uvicorn_is_set_to(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        async with listening(app=app(), access_log=True) as server:
            # Other settings in this process may have silenced it: here it would speak.
            monkeypatch.setattr(logging.getLogger("uvicorn.access"), "propagate", True)
            for request in (
                b"GET /ok?token=hunter2 HTTP/1.1\r\nHost: x\r\n\r\n",
                b"GET /ok?token=hunter2 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
                b"GET /ok?token=hunter2 HTTQ\r\n\r\n",
            ):
                async with await Peer.connect(server.port) as peer:
                    await peer.send(request)
                    assert await peer.read_head()
            async with await Peer.upgraded(server.port, "/echo?token=hunter2"):
                pass

    for name in ("uvicorn.access", "uvicorn.error", None):
        caplog.set_level(logging.DEBUG, name)
    run(scene())
    assert "hunter2" not in caplog.text
