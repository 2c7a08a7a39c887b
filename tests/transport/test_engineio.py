"""Sessions of Engine.IO on real sockets: what the official suite asks for, how bytes may be cut, what has a limit."""

import asyncio
import json
import re
from collections.abc import Callable

import pytest

from parley.dialects.engineio import State
from parley.transport import engineio as sessions
from parley.transport.frames import frame_binary, frame_ping, frame_text, messages_in
from tests.interop.conformance import Application
from tests.transport.engine import ECHO, next_text, over_socket, played, waiting
from tests.transport.http_wire import Http, PolledSession, request
from tests.transport.wire import (
    BINARY,
    TEXT,
    Peer,
    Server,
    closing,
    halves,
    masked,
    request_head,
    single_bytes,
)

# --- The handshake ----------------------------------------------------------------------------------------------------


def test_a_session_over_http_is_told_what_it_may_do() -> None:
    async def scene(server: Server, _: Application) -> None:
        async with await PolledSession.open(server.port) as session:
            opened = dict(session.opened)
            assert re.fullmatch(r"[A-Za-z0-9_-]{20,}", opened.pop("sid"))
            assert opened == {
                "upgrades": ["websocket"],
                "pingInterval": 60_000,
                "pingTimeout": 60_000,
                "maxPayload": 1_000_000,
            }

    played(scene)


def test_a_session_on_a_websocket_has_nowhere_to_upgrade_to() -> None:
    async def scene(server: Server, _: Application) -> None:
        async with over_socket(server) as peer:
            opened = json.loads((await next_text(peer))[1:])
            assert opened["upgrades"] == []

    played(scene)


@pytest.mark.parametrize(
    ("method", "query"),
    [
        ("GET", "transport=polling"),
        ("GET", "EIO=abc&transport=polling"),
        ("GET", "EIO=3&transport=polling"),
        ("GET", "EIO=4"),
        ("GET", "EIO=4&transport=abc"),
        ("GET", "EIO=4&transport=websocket"),
        ("POST", "EIO=4&transport=polling"),
        ("PUT", "EIO=4&transport=polling"),
        ("HEAD", "EIO=4&transport=polling"),
        ("GET", "EIO=4&transport=polling&sid="),
        ("GET", "EIO=4&transport=polling&sid=unknown"),
        ("POST", "EIO=4&transport=polling&sid=unknown"),
    ],
)
def test_a_request_that_is_not_the_protocols_is_a_400(method: str, query: str) -> None:
    async def scene(server: Server, application: Application) -> None:
        async with await Http.connect(server.port) as http:
            await http.send(request(method, "/engine.io/?" + query, b"" if method != "GET" else None))
            assert (await http.read_head()).startswith(b"HTTP/1.1 400 ")
        assert not application.engines["/engine.io/"].sessions

    played(scene)


@pytest.mark.parametrize("query", ["transport=websocket", "EIO=4", "EIO=4&transport=websocket&sid=unknown"])
def test_an_upgrade_that_is_not_the_protocols_is_a_400(query: str) -> None:
    async def scene(server: Server, _: Application) -> None:
        async with await Http.connect(server.port) as http:
            await http.send(request_head("/engine.io/?" + query))
            assert (await http.read_head()).startswith(b"HTTP/1.1 400 ")

    played(scene)


# --- Messages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"4hello", b"4a\x1e4b\x1e4c", b"4hello\x1ebAQIDBA==", b"4" + b"x" * 200_000, b"4"])
def test_packets_over_http_come_back_as_they_were(payload: bytes) -> None:
    async def scene(server: Server, _: Application) -> None:
        async with await PolledSession.open(server.port) as session:
            answer = await session.post(payload)
            assert (answer.status, answer.text) == (200, "ok")
            answer = await session.poll()
            assert (answer.status, answer.body) == (200, payload)
            assert answer.headers["content-type"] == "text/plain; charset=utf-8"

    played(scene)


def test_packets_on_a_websocket_come_back_as_they_were() -> None:
    async def scene(server: Server, _: Application) -> None:
        async with over_socket(server) as peer:
            await next_text(peer)
            await peer.send(masked(TEXT, b"4hello") + masked(BINARY, b"\1\2\3\4"))
            assert await next_text(peer) == b"4hello"
            assert await peer.frame() == (BINARY, b"\1\2\3\4")

    played(scene)


def test_a_poll_waits_until_there_is_something_and_takes_all_that_one_turn_brings() -> None:
    async def scene(server: Server, application: Application) -> None:
        async with await PolledSession.open(server.port) as session:
            polling = await waiting(session, application)
            await session.post(b"\x1e".join(b"4%d" % number for number in range(10)))
            assert (await polling).body == b"\x1e".join(b"4%d" % number for number in range(10))

    played(scene)


def test_an_answer_holds_sixteen_packets_for_pythons_client_takes_no_more() -> None:
    async def scene(server: Server, _: Application) -> None:
        async with await PolledSession.open(server.port) as session:
            await session.post(b"\x1e".join(b"4%d" % number for number in range(40)))
            sizes, got = [], []
            while len(got) < 40:
                packets = (await session.poll()).body.split(b"\x1e")
                sizes.append(len(packets))
                got += packets
            assert sizes == [16, 16, 8]
            assert got == [b"4%d" % number for number in range(40)]

    played(scene)


# --- Bytes, cut anywhere ----------------------------------------------------------------------------------------------


async def socket_transcript(server: Server, pieces: list[bytes]) -> list[tuple[int, bytes]]:
    """What a WebSocket's transcript is answered, its `sid` left out."""
    async with await Peer.connect(server.port) as peer:
        for piece in pieces:
            await peer.send(piece)
            await asyncio.sleep(0)
        await peer.read_head()
        frames = await peer.frames_to_the_end()
        return [(first, re.sub(rb'"sid":"[^"]*"', b"", payload)) for first, payload in frames]


def test_a_websockets_transcript_is_answered_alike_whole_byte_by_byte_and_cut_anywhere() -> None:
    head = request_head(ECHO + "websocket")
    said = masked(TEXT, b"4h\xc3\xa9llo") + masked(BINARY, b"\0\xff") + masked(TEXT, b"3") + masked(TEXT, b"6")
    frames = said + masked(TEXT, b"4last") + masked(TEXT, b"1") + masked(TEXT, b"4unread") + closing(1000)

    async def scene(server: Server, _: Application) -> None:
        whole = await socket_transcript(server, [head, frames])
        assert [payload for _, payload in whole][1:4] == [b"4h\xc3\xa9llo", b"\0\xff", b"4last"]
        assert whole[4:] == [(0x88, b"\x03\xe8")]
        assert await socket_transcript(server, [head, *single_bytes(frames)]) == whole
        for first, second in halves(frames):
            assert await socket_transcript(server, [head, first, second]) == whole

    played(scene)


def test_a_post_and_a_poll_are_answered_alike_whole_byte_by_byte_and_cut_anywhere() -> None:
    async def answers(server: Server, cut: Callable[[bytes], list[bytes]]) -> list[tuple[int, bytes]]:
        async with await PolledSession.open(server.port) as session:
            transcript = request("POST", session.query, b"4h\xc3\xa9llo\x1ebAQIDBA==\x1e3") + request(
                "GET", session.query
            )
            for piece in cut(transcript):
                await session.posts.send(piece)
                await asyncio.sleep(0)
            return [
                (answer.status, answer.body) for answer in (await session.posts.answer(), await session.posts.answer())
            ]

    async def scene(server: Server, _: Application) -> None:
        whole = [(200, b"ok"), (200, b"4h\xc3\xa9llo\x1ebAQIDBA==")]
        assert await answers(server, lambda data: [data]) == whole
        assert await answers(server, lambda data: list(single_bytes(data))) == whole
        for at in range(1, 250):
            assert await answers(server, lambda data, at=at: [data[:at], data[at:]]) == whole  # type: ignore[misc]

    played(scene)


# --- Breaking it ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [b"abc", b"", b"4a\x1e", b"7", b"0", b"2", b"2probe", b"5", b"bAQ*", b"4\xff", b"\x1e".join([b"4"] * 4097)],
    ids=lambda payload: repr(payload[:10]),
)
def test_a_broken_payload_is_a_400_and_ends_the_session(payload: bytes) -> None:
    async def scene(server: Server, application: Application) -> None:
        async with await PolledSession.open(server.port) as session:
            polling = await waiting(session, application)
            assert (await session.post(payload)).status == 400
            assert (await polling).text == "1"
            assert await session.is_over()

    played(scene)


@pytest.mark.parametrize("text", [b"abc", b"", b"0", b"2", b"5", b"2probe"])
def test_a_broken_packet_on_a_websocket_closes_it(text: bytes) -> None:
    async def scene(server: Server, application: Application) -> None:
        async with over_socket(server) as peer:
            await next_text(peer)
            await peer.send(masked(TEXT, text))
            assert await peer.close_code() == 4400
        assert not application.engines["/engine.io/"].sessions

    played(scene)


def test_two_polls_at_once_end_the_session() -> None:
    async def scene(server: Server, application: Application) -> None:
        async with await PolledSession.open(server.port) as session, await Http.connect(server.port) as other:
            polling = await waiting(session, application)
            assert (await other.ask("GET", session.query)).status == 400
            assert (await polling).text == "1"
            assert await session.is_over()

    played(scene)


def test_two_posts_at_once_end_the_session() -> None:
    async def scene(server: Server, application: Application) -> None:
        async with await PolledSession.open(server.port) as session, await Http.connect(server.port) as other:
            await other.send(request("POST", session.query, b"4hello")[:-3])
            (live,) = application.engines["/engine.io/"].sessions.values()
            while not live._http.has_post:
                await asyncio.sleep(0)
            assert (await session.post(b"4hello")).status == 400
            assert await session.is_over()

    played(scene)


def test_a_poll_that_is_cancelled_ends_the_session() -> None:
    async def scene(server: Server, application: Application) -> None:
        async with await PolledSession.open(server.port) as session:
            await session.polls.send(request("GET", session.query))
            (live,) = application.engines["/engine.io/"].sessions.values()
            while not live._http.has_poll:
                await asyncio.sleep(0)
            session.polls.sock.close()
            while live.is_open:
                await asyncio.sleep(0)
            assert await session.is_over()

    played(scene)


def test_a_post_that_is_cut_short_or_too_long_ends_the_session() -> None:
    async def scene(server: Server, application: Application) -> None:
        engine = application.engines["/engine.io/"]
        async with await PolledSession.open(server.port) as session:
            await session.posts.send(request("POST", session.query, b"4hello")[:-3])
            while not engine.sessions[session.opened["sid"]]._http.has_post:
                await asyncio.sleep(0)
            session.posts.sock.close()
            while engine.sessions:
                await asyncio.sleep(0)
        async with await PolledSession.open(server.port) as session:
            assert (await session.post(b"4" * 1_000_001)).status == 413
            assert await session.is_over()

    played(scene)


# --- Its end ----------------------------------------------------------------------------------------------------------


def test_a_clients_close_ends_it_and_the_poll_that_waits_gets_a_noop() -> None:
    async def scene(server: Server, application: Application) -> None:
        async with await PolledSession.open(server.port) as session:
            polling = await waiting(session, application)
            assert (await session.post(b"1")).text == "ok"
            assert (await polling).text == "6"
            assert await session.is_over()
        async with await PolledSession.open(server.port) as session:
            assert (await session.post(b"4a\x1e1\x1e4unread")).text == "ok"
            assert (await session.poll()).status == 400

    played(scene)


def test_what_the_server_has_said_before_it_closes_is_still_polled_and_then_it_is_over() -> None:
    async def scene(server: Server, application: Application) -> None:
        async with await PolledSession.open(server.port) as session:
            (live,) = application.engines["/engine.io/"].sessions.values()
            live.write(frame_text(b"4bye") + frame_ping() + frame_binary(b"\1"))
            live.close(1012, "restarting")
            assert (await session.post(b"4into the void")).text == "ok"
            assert (await session.poll()).body == b"4bye\x1ebAQ=="
            assert await session.is_over()

    played(scene)


def test_a_farewell_that_nobody_polls_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "FAREWELL_S", 0.05)

    async def scene(server: Server, application: Application) -> None:
        async with await PolledSession.open(server.port):
            (live,) = application.engines["/engine.io/"].sessions.values()
            live.write(frame_text(b"4bye"))
            live.close(1012, "restarting")
            while application.engines["/engine.io/"].sessions:
                await asyncio.sleep(0.005)
            assert (live.state, live.unpolled_bytes) == (State.OVER, 0)

    played(scene)


# --- What has a limit -------------------------------------------------------------------------------------------------


def test_while_the_peer_does_not_read_a_post_waits() -> None:
    async def scene(server: Server, application: Application) -> None:
        async with await PolledSession.open(server.port) as session:
            (live,) = application.engines["/engine.io/"].sessions.values()
            live.pause_reading()
            posting = asyncio.ensure_future(session.post(b"4hello"))
            assert (await session.poll()).text == "4hello"
            assert not posting.done()
            live.resume_reading()
            assert (await posting).text == "ok"

    played(scene)


def test_the_repr_of_a_session_does_not_give_it_away() -> None:
    async def scene(server: Server, application: Application) -> None:
        async with await PolledSession.open(server.port) as session:
            (live,) = application.engines["/engine.io/"].sessions.values()
            assert session.opened["sid"] not in repr(live)

    played(scene)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_frames_are_taken_apart_as_they_were_made(size: int) -> None:
    frames = frame_text(b"4" * size) + frame_ping() + frame_binary(b"\0" * size)
    assert list(messages_in(frames)) == [(b"4" * size, False), (b"\0" * size, True)]
