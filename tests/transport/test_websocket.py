"""The stories of a socket: how it ends, what it holds for whom, and what its receiver is told."""

import asyncio
import logging
import socket
import struct
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from parley.transport import frame_parser, websocket
from parley.transport.frames import frame_binary, frame_text
from parley.transport.upgrade import Accept, UpgradeRequest
from parley.transport.websocket import WebSocket
from tests.interop.conformance import Echo
from tests.transport.wire import (
    BINARY,
    CLOSE,
    HELLO,
    HELLO_BACK,
    PING,
    PONG,
    TEXT,
    Peer,
    Recorder,
    Respond,
    closing,
    listening,
    masked,
    run,
    text,
)


async def peer_closes(peer: Peer, ws: WebSocket) -> None:
    await peer.send(closing(1000))


async def peer_hangs_up(peer: Peer, ws: WebSocket) -> None:
    peer.sock.shutdown(socket.SHUT_WR)


async def peer_resets(peer: Peer, ws: WebSocket) -> None:
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.sock.close()


async def peer_breaks_the_protocol(peer: Peer, ws: WebSocket) -> None:
    await peer.send(b"\xff" * 14)


async def we_abort(peer: Peer, ws: WebSocket) -> None:
    ws.abort()


async def we_close_and_peer_answers(peer: Peer, ws: WebSocket) -> None:
    ws.close(1000)
    assert await peer.close_code() == 1000
    await peer.send(closing(1000))


async def both_close_at_once(peer: Peer, ws: WebSocket) -> None:
    await peer.send(closing(1000))
    ws.close(1000)


async def we_close_and_peer_hangs_up(peer: Peer, ws: WebSocket) -> None:
    ws.close(1000)
    peer.sock.close()


@pytest.mark.parametrize(
    "end",
    [
        peer_closes,
        peer_hangs_up,
        peer_resets,
        peer_breaks_the_protocol,
        we_abort,
        we_close_and_peer_answers,
        both_close_at_once,
        we_close_and_peer_hangs_up,
    ],
)
def test_however_a_socket_ends_its_receiver_is_told_once_and_nothing_is_left(
    end: Callable[[Peer, WebSocket], Awaitable[None]],
) -> None:
    async def scene() -> None:
        async with listening() as server:
            peer = await Peer.upgraded(server.port)
            receiver = server.receiver()
            assert server.state.connections == {receiver.ws}
            await end(peer, receiver.ws)
            await receiver.until("lost")
            assert not receiver.ws.is_open
            peer.sock.close()
            await server.until_nobody_is_connected()
            assert receiver.heard == ["opened", "lost"]
            receiver.ws.close(1000)  # both are harmless on one that is gone
            receiver.ws.abort()

    run(scene())


def test_our_close_waits_for_the_peers_and_ignores_everything_before_it() -> None:
    async def scene() -> None:
        async with listening() as server, await Peer.upgraded(server.port) as peer:
            receiver = server.receiver()
            receiver.ws.close(4401, "token_expired")
            receiver.ws.close(1000)  # the first one counts
            assert await peer.frame() == (CLOSE, b"\x11\x31token_expired")
            await peer.send_pieces([HELLO, masked(PING), masked(0x01, b"x")], receiver.ws)
            assert "lost" not in receiver.heard
            assert receiver.ws.close_deadline_s is not None
            await peer.send(closing(4401))
            assert await peer.frames_to_the_end() == []
            await receiver.until("lost")
            assert receiver.heard == ["opened", "lost"]
            assert receiver.ws.peer_closed_code == 4401

    run(scene())


def test_a_peer_that_never_answers_our_close_is_reset_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "CLOSE_TIMEOUT_S", 0.05)

    async def scene() -> None:
        async with listening() as server, await Peer.upgraded(server.port) as peer:
            server.receiver().ws.close(1000)
            assert await peer.close_code() == 1000
            with pytest.raises(ConnectionResetError):
                await peer.read_all()
            await server.until_nobody_is_connected()

    run(scene())


def test_a_peer_that_reads_nothing_is_reset_when_its_close_cannot_get_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "CLOSE_TIMEOUT_S", 0.05)

    async def scene() -> None:
        async with listening() as server, await Peer.upgraded(server.port, receive_buffer=4096) as peer:
            receiver = server.receiver()
            for _ in range(200):
                receiver.ws.write(frame_binary(b"\0" * 65_536))
            assert receiver.ws.unsent_bytes > 1_000_000
            receiver.ws.close(4420, "slow_consumer")
            await receiver.until("lost")
            with pytest.raises(ConnectionResetError):
                await peer.read_all()

    run(scene())


def test_abort_is_a_reset() -> None:
    async def scene() -> None:
        async with listening() as server, await Peer.upgraded(server.port) as peer:
            server.receiver().ws.abort()
            with pytest.raises(ConnectionResetError):
                await peer.read_all()

    run(scene())


def test_a_writer_of_a_socket_that_is_gone_raises_runtime_error_and_nothing_else() -> None:
    async def scene() -> None:
        async with listening() as server:
            async with await Peer.upgraded(server.port):
                ws = server.receiver().ws
                write = ws.write
            await server.until_nobody_is_connected()
            with pytest.raises(RuntimeError):
                write(frame_text(b"x"))
            assert ws.unsent_bytes == 0

    run(scene())


@pytest.mark.parametrize("sent", [masked(CLOSE), closing(1001, b"bye")])
def test_the_peers_code_is_kept_and_1005_where_it_gave_none(sent: bytes) -> None:
    async def scene() -> None:
        async with listening() as server, await Peer.upgraded(server.port) as peer:
            await peer.send(sent)
            await server.receiver().until("lost")
            assert server.receiver().ws.peer_closed_code == (1001 if len(sent) > 6 else 1005)

    run(scene())


# --- what one socket does to others, and to our memory ---


def test_a_peer_that_does_not_read_its_echo_stops_nobody_else() -> None:
    async def scene() -> None:
        async with listening() as server:
            slow = await Peer.upgraded(server.port, receive_buffer=4096)
            ws = server.receiver().ws
            flood = asyncio.ensure_future(slow.send(masked(BINARY, b"\0" * 100_000) * 200))
            async with await Peer.upgraded(server.port) as quick:
                while ws._transport.is_reading():
                    await asyncio.sleep(0)
                for n in range(100):
                    await quick.send(text(str(n)))
                    assert await quick.frame() == (TEXT, str(n).encode())
            assert not flood.done()
            assert ws.unsent_bytes < 1_000_000
            for _ in range(200):  # and when it reads at last, nothing is missing
                assert await slow.frame() == (BINARY, b"\0" * 100_000)
            await flood
            slow.sock.close()

    run(scene())


def test_pings_of_a_peer_that_reads_nothing_do_not_fill_our_memory() -> None:
    async def scene() -> None:
        async with listening() as server, await Peer.upgraded(server.port, receive_buffer=4096) as peer:
            ws = server.receiver().ws
            ws.set_unsent_high_bytes(1_000_000)  # the echo would stop reading
            await peer.send(masked(PING, b"*" * 125) * 100_000)
            assert 0 < ws.unsent_bytes <= websocket.PONG_UNSENT_BYTES_MAX + 127

    run(scene())


def test_the_buffer_of_a_large_message_is_given_back() -> None:
    async def scene() -> None:
        async with listening() as server, await Peer.upgraded(server.port) as peer:
            for first in (TEXT, BINARY):
                await peer.send(masked(first, b"*" * 2_000_000))
                assert (await peer.frame())[0] == first
                parser: Any = server.receiver().ws._transport.get_protocol()
                assert len(parser.get_buffer(-1)) <= frame_parser.READ_BUFFER_BYTES
            await peer.send(HELLO)
            assert await peer.frame() == HELLO_BACK

    run(scene())


class Failing(Recorder):
    """Raises where it is told to."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def _note(self, what: Any) -> None:
        super()._note(what)
        if (what if isinstance(what, str) else what[0]) == self.where:
            raise ZeroDivisionError("secret of a receiver")


@pytest.mark.parametrize("where", ["opened", "text", "binary"])
def test_a_receiver_that_raises_is_logged_once_and_closed_with_1011(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    def decide(request: UpgradeRequest, respond: Respond) -> None:
        respond(Accept(Failing(where) if request.path == "/bad" else Echo()))

    async def scene() -> None:
        async with listening(decide) as server, await Peer.upgraded(server.port) as other:
            async with await Peer.upgraded(server.port, "/bad") as peer:
                await peer.send(masked(BINARY if where == "binary" else TEXT, b"x") * 3)
                frames = await peer.frames_to_the_end()
                assert frames[-1][1][:2] == (1011).to_bytes(2, "big")
            await other.send(HELLO)
            assert await other.frame() == HELLO_BACK

    with caplog.at_level(logging.INFO):
        run(scene())
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_a_receiver_that_raises_in_lost_is_logged_and_the_socket_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        async with listening(lambda _, respond: respond(Accept(Failing("lost")))) as server:
            async with await Peer.upgraded(server.port):
                pass
            await server.until_nobody_is_connected()

    with caplog.at_level(logging.INFO):
        run(scene())
    assert len(caplog.records) == 1


def test_nothing_that_a_peer_sends_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        async with listening() as server:
            for bad in (b"\xff" * 20, masked(TEXT, b"\xff"), b"\x81\x05hello", closing(1006), masked(0x80, b"x")):
                async with await Peer.upgraded(server.port, "/echo?token=hunter2") as peer:
                    await peer.send(bad)
                    await peer.frames_to_the_end()

    with caplog.at_level(logging.DEBUG):
        run(scene())
    assert [record for record in caplog.records if record.name != "asyncio"] == []


# --- reading, hearing, writing ---


def test_a_paused_socket_reads_nothing_until_it_is_resumed() -> None:
    async def scene() -> None:
        async with listening() as server, await Peer.upgraded(server.port) as peer:
            receiver = server.receiver()
            receiver.ws.pause_reading()
            await peer.send(HELLO)
            async with await Peer.upgraded(server.port) as other:  # by the time it is answered, ours would have been
                await other.send(HELLO)
                await other.frame()
            assert receiver.heard == ["opened"]
            receiver.ws.resume_reading()
            assert await peer.frame() == HELLO_BACK

    run(scene())


def test_a_socket_that_paused_itself_while_opening_stays_paused() -> None:
    class Pausing(Recorder):
        def opened(self, ws: WebSocket, /) -> None:
            super().opened(ws)
            ws.pause_reading()

    async def scene() -> None:
        receiver = Pausing()
        async with (
            listening(lambda _, respond: respond(Accept(receiver))) as server,
            await Peer.upgraded(server.port),
        ):
            assert not receiver.ws._transport.is_reading()

    run(scene())


def test_every_frame_and_every_byte_of_an_unfinished_one_counts_as_heard() -> None:
    now_s = [100.0]

    async def scene() -> None:
        async with listening(clock=lambda: now_s[0]) as server, await Peer.upgraded(server.port) as peer:
            ws = server.receiver().ws
            assert ws.silent_s(now_s[0]) == 0
            now_s[0] = 130.0
            assert ws.silent_s(now_s[0]) == 30
            await peer.send_pieces([masked(PONG)], ws)
            assert ws.last_heard_s == 130
            now_s[0] = 150.0
            assert ws.silent_s(now_s[0]) == 20
            await peer.send_pieces([HELLO[:3]], ws)
            assert ws.silent_s(now_s[0]) == 0
            now_s[0] = 160.0
            assert ws.silent_s(now_s[0]) == 10
            await peer.send_pieces([HELLO[3:]], ws)
            assert ws.last_heard_s == 160
            ws.pause_reading()
            assert ws.silent_s(now_s[0]) == 0
            now_s[0] = 300.0
            assert ws.silent_s(now_s[0]) == 0, "who does not listen must not call the other silent"

    run(scene())


def test_a_message_in_tiny_fragments_weighs_what_it_holds() -> None:
    async def scene() -> None:
        async with listening() as server, await Peer.upgraded(server.port) as peer:
            sent = masked(0x02, b"ab") + masked(0x00, b"cd") * 20_000 + masked(PING)
            await peer.send(HELLO)
            assert await peer.frame() == HELLO_BACK
            tracemalloc.start()
            try:
                await peer.send(sent)
                assert await peer.frame() == (PONG, b"")
                assert tracemalloc.get_traced_memory()[0] < 250_000
            finally:
                tracemalloc.stop()
            await peer.send(masked(0x80, b"ef"))
            assert await peer.frame() == (BINARY, b"ab" + b"cd" * 20_000 + b"ef")

    run(scene())


def test_the_receiver_hears_of_a_full_transport_and_of_an_empty_one() -> None:
    class Flow(Recorder):
        def writing_paused(self) -> None:
            self._note("paused")

        def writing_resumed(self) -> None:
            self._note("resumed")

    async def scene() -> None:
        receiver = Flow()
        async with (
            listening(lambda _, respond: respond(Accept(receiver))) as server,
            await Peer.upgraded(server.port, receive_buffer=4096) as peer,
        ):
            receiver.ws.set_unsent_high_bytes(100_000)
            sent = 0
            while "paused" not in receiver.heard:
                receiver.ws.write(frame_binary(b"\0" * 10_000))
                sent += 1
            assert receiver.ws.unsent_bytes > 100_000
            for _ in range(sent):
                await peer.frame()
            await receiver.until("resumed")

    run(scene())


def test_messages_go_out_without_waiting_for_more() -> None:
    async def scene() -> None:
        async with listening() as server, await Peer.upgraded(server.port):
            sock = server.receiver().ws._transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1

    run(scene())
