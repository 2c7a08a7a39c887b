"""The upgrade request: which are well formed, what an answer looks like, and decisions that come later."""

import asyncio
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from parley.transport import upgrade
from parley.transport.frames import frame_text
from parley.transport.upgrade import Accept, Refuse, UpgradeRequest, accept_value, problem
from tests.transport.wire import (
    ACCEPT,
    CLOSE,
    KEY,
    TEXT,
    Peer,
    Recorder,
    Respond,
    closing,
    listening,
    masked,
    request_head,
    run,
)


async def head_for(request: bytes, decide: Callable[[UpgradeRequest, Respond], object] | None = None) -> str:
    """The head of the answer; after a refusal the connection must have been closed."""
    async with listening(decide) as server, await Peer.connect(server.port) as peer:
        await peer.send(request)
        head = await peer.read_head()
        if not head.startswith(b"HTTP/1.1 101 "):
            await peer.read_all()
        return head.decode("latin-1").lower()


def test_the_example_of_the_rfc_gives_the_accept_of_the_rfc() -> None:
    assert accept_value(KEY).decode() == ACCEPT


@pytest.mark.parametrize(
    "change",
    [
        (),
        ("Connection: Upgrade",),
        ("Connection: upgrade",),
        ("Connection: keep-alive, Upgrade",),
        ("Connection: Upgrade,keep-alive",),
        ("Connection: keep-alive", "Connection: upgrade"),
        ("Connection: upgrade", "Connection: keep-alive"),
        ("Upgrade: WebSocket",),
        ("Upgrade: WEBSOCKET",),
        ("UPGRADE: websocket",),
        ("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",),
        ("Sec-WebSocket-Protocol: foo, bar",),
        ("Cookie: " + "x" * 8_000,),
    ],
)
def test_these_spellings_of_a_proper_request_are_accepted(change: tuple[str, ...]) -> None:
    async def scene() -> None:
        names = {line.partition(":")[0].lower() for line in change}
        usual = ("Upgrade", "Connection")
        head = await head_for(request_head("/echo", *change, without=[name for name in usual if name.lower() in names]))
        lines = head.split("\r\n")
        assert lines[0] == "http/1.1 101 switching protocols"
        assert "upgrade: websocket" in lines
        assert "connection: upgrade" in lines
        assert f"sec-websocket-accept: {ACCEPT.lower()}" in lines
        assert not any("extensions" in line or "protocol:" in line for line in lines), "nothing was agreed on"

    run(scene())


@pytest.mark.parametrize(
    ("request_bytes", "status", "header"),
    [
        (request_head(without=["Sec-WebSocket-Version"]), 426, "sec-websocket-version: 13"),
        (
            request_head("/", "Sec-WebSocket-Version: 8", without=["Sec-WebSocket-Version"]),
            426,
            "sec-websocket-version: 13",
        ),
        (request_head("/", "Sec-WebSocket-Version: 14"), 426, "sec-websocket-version: 13"),
        (
            request_head("/", "Sec-WebSocket-Version: 8, 13", without=["Sec-WebSocket-Version"]),
            426,
            "upgrade: websocket",
        ),
        (request_head(without=["Sec-WebSocket-Key"]), 400, "connection: close"),
        (request_head("/", "Sec-WebSocket-Key: short", without=["Sec-WebSocket-Key"]), 400, "connection: close"),
        (
            request_head("/", f"Sec-WebSocket-Key: {KEY[:-2]}!=", without=["Sec-WebSocket-Key"]),
            400,
            "connection: close",
        ),
        (request_head("/", "Sec-WebSocket-Key: " + "A" * 24, without=["Sec-WebSocket-Key"]), 400, "connection: close"),
        (request_head("/", f"Sec-WebSocket-Key: {KEY}"), 400, "connection: close"),
        (request_head("/", "Sec-WebSocket-Key: é", without=["Sec-WebSocket-Key"]), 400, "connection: close"),
        (request_head(without=["Host"]), 400, "connection: close"),
        (request_head("/", "Host: other"), 400, "connection: close"),
        (request_head().replace(b"HTTP/1.1", b"HTTP/1.0"), 400, "connection: close"),
        (request_head(method="POST"), 405, "allow: get"),
        (request_head("/", "Content-Length: 3", method="PUT") + b"abc", 405, "allow: get"),
    ],
)
def test_an_improper_request_is_refused_even_where_the_decision_accepts_it(
    request_bytes: bytes, status: int, header: str
) -> None:
    receiver = Recorder()
    answers: list[bool] = []

    async def scene() -> None:
        head = await head_for(request_bytes, lambda _, respond: answers.append(respond(Accept(receiver))))
        assert head.startswith(f"http/1.1 {status} ")
        assert header in head
        assert "content-type: application/problem+json" in head

    run(scene())
    assert answers == [False]
    assert receiver.heard == []


def test_the_decision_sees_the_request_as_it_was_sent() -> None:
    seen: list[UpgradeRequest] = []

    async def scene() -> None:
        def decide(request: UpgradeRequest, respond: Respond) -> None:
            seen.append(request)
            respond(problem(404, "not_found", "Nothing is here."))

        await head_for(
            request_head(
                "/a%20b?x=1&token=hunter2", "Sec-WebSocket-Protocol: a, b", "sec-websocket-protocol: c", "X: é"
            ),
            decide,
        )

    run(scene())
    request = seen[0]
    assert (request.method, request.path, request.query) == ("GET", "/a%20b", "x=1&token=hunter2")
    assert request.subprotocols == ["a", "b", "c"]
    assert request.header("x") == "é"
    assert request.header("nothing") is None
    assert request.header_values("host") == ["localhost"]
    assert request.client is not None
    assert request.client[0] == "127.0.0.1"
    assert not request.is_secure
    assert request.is_well_formed
    assert "hunter2" not in repr(request)


def test_the_decision_is_asked_about_improper_requests_too_so_that_it_can_name_an_unknown_path() -> None:
    async def scene() -> None:
        head = await head_for(
            request_head("/nowhere", without=["Sec-WebSocket-Key"]),
            lambda request, respond: respond(
                problem(404, "not_found", "") if not request.is_well_formed else Accept(Recorder())
            ),
        )
        assert head.startswith("http/1.1 404 ")

    run(scene())


def test_a_refusal_carries_its_headers_and_body_and_closes() -> None:
    async def scene() -> None:
        refusal = Refuse(401, [("WWW-Authenticate", "Bearer"), ("Content-Type", "text/plain")], b"who are you?")
        async with listening(lambda _, respond: respond(refusal)) as server:
            async with await Peer.connect(server.port) as peer:
                await peer.send(request_head())
                assert (await peer.read_head()).decode() == (
                    "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Type: text/plain\r\n"
                    "Content-Length: 12\r\nConnection: close"
                )
                assert await peer.read_all() == b"who are you?"
            await server.until_nobody_is_connected()

    run(scene())


def test_an_acceptance_carries_the_subprotocol_and_extra_headers() -> None:
    async def scene() -> None:
        head = await head_for(
            request_head(),
            lambda _, respond: respond(Accept(Recorder(), "parley.v1", headers=[("X-Request-Id", "7")])),
        )
        assert "sec-websocket-protocol: parley.v1\r\nx-request-id: 7" in head

    run(scene())


def test_a_line_break_in_a_header_of_ours_is_a_bug_and_reaches_no_wire() -> None:
    with pytest.raises(ValueError, match="line break"):
        Refuse(400, [("X", "a\r\nSet-Cookie: b")])


def test_a_decision_may_come_later_and_what_was_sent_meanwhile_is_not_lost() -> None:
    async def scene() -> None:
        asked: asyncio.Future[Respond] = asyncio.get_running_loop().create_future()
        receiver = Recorder()
        async with (
            listening(lambda _, respond: asked.set_result(respond)) as server,
            await Peer.connect(server.port) as peer,
        ):
            await peer.send(request_head() + masked(TEXT, b"early"))
            respond = await asked
            await peer.send(masked(TEXT, b"later"))
            (waiting,) = server.state.connections
            assert not waiting.transport.is_reading(), "who waits must not fill our memory"
            assert respond(Accept(receiver))
            assert (await peer.read_head()).startswith(b"HTTP/1.1 101 ")
            assert await peer.frame() == (TEXT, b"early")
            assert await peer.frame() == (TEXT, b"later")
            assert server.state.connections == {receiver.ws}
            assert not respond(Accept(receiver)), "it has been answered"

    run(scene())


def test_a_refusal_may_come_later() -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        head = await head_for(
            request_head(), lambda _, respond: loop.call_soon(respond, problem(401, "token_expired", ""))
        )
        assert head.startswith("http/1.1 401 ")

    run(scene())


def test_a_decision_that_never_comes_is_answered_with_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrade, "DECISION_TIMEOUT_S", 0.05)
    asked: list[Respond] = []

    async def scene() -> None:
        head = await head_for(request_head(), lambda _, respond: asked.append(respond))
        assert head.startswith("http/1.1 503 ")
        assert not asked[0](Accept(Recorder()))

    run(scene())


def test_a_server_that_stops_answers_those_who_wait_for_a_decision() -> None:
    async def scene() -> None:
        asked: asyncio.Future[Respond] = asyncio.get_running_loop().create_future()
        async with (
            listening(lambda _, respond: asked.set_result(respond)) as server,
            await Peer.connect(server.port) as peer,
        ):
            await peer.send(request_head())
            await asked
            for connection in list(server.state.connections):
                connection.shutdown()
            assert (await peer.read_head()).startswith(b"HTTP/1.1 503 ")
            await peer.read_all()

    run(scene())


def test_who_goes_before_the_decision_is_nobody_when_it_comes() -> None:
    async def scene() -> None:
        asked: asyncio.Future[Respond] = asyncio.get_running_loop().create_future()
        receiver = Recorder()
        async with listening(lambda _, respond: asked.set_result(respond)) as server:
            peer = await Peer.connect(server.port)
            await peer.send(request_head())
            respond = await asked
            for connection in list(server.state.connections):
                connection.transport.abort()  # type: ignore[union-attr]
            peer.sock.close()
            await server.until_nobody_is_connected()
            assert not respond(Accept(receiver))
            assert receiver.heard == []

    run(scene())


def test_a_decision_that_raises_is_answered_with_500_and_logged_without_the_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def decide(request: UpgradeRequest, respond: Respond) -> None:
        raise ZeroDivisionError

    async def scene() -> None:
        head = await head_for(request_head("/echo?token=hunter2"), decide)
        assert head.startswith("http/1.1 500 ")

    run(scene())
    assert len(caplog.records) == 1
    assert "hunter2" not in caplog.text


def test_frames_in_one_segment_with_the_request_are_heard_after_the_opening() -> None:
    async def scene() -> None:
        async with listening() as server, await Peer.connect(server.port) as peer:
            await peer.send(request_head() + masked(TEXT, b"a") + masked(TEXT, b"b") + closing(1000))
            await peer.read_head()
            assert await peer.frames_to_the_end() == [(TEXT, b"a"), (TEXT, b"b"), (CLOSE, b"\x03\xe8")]
            assert server.receiver().heard == ["opened", ("text", b"a"), ("text", b"b"), "lost"]

    run(scene())


def test_large_frames_in_one_segment_with_the_request_are_heard_in_order() -> None:
    large = b"*" * 40_000
    sent = [masked(TEXT, large), masked(TEXT, b"a"), masked(TEXT, large), masked(TEXT, b"b")[:-1]]

    async def scene() -> None:
        asked: asyncio.Future[Respond] = asyncio.get_running_loop().create_future()
        receiver = Recorder()
        async with (
            listening(lambda _, respond: asked.set_result(respond)) as server,
            await Peer.connect(server.port) as peer,
        ):
            await peer.send(request_head())
            respond = await asked
            for connection in server.state.connections:  # as if it had come with the request, however it was cut
                connection.upgrade.early = b"".join(sent)  # type: ignore[union-attr]
            respond(Accept(receiver))
            await peer.read_head()
            for payload in (large, b"a", large):
                assert await peer.frame() == (TEXT, payload)
            await peer.send(masked(TEXT, b"b")[-1:])
            assert await peer.frame() == (TEXT, b"b")

    run(scene())


def test_an_upgrade_may_follow_a_plain_request_on_the_same_connection() -> None:
    async def scene() -> None:
        async with listening() as server, await Peer.connect(server.port) as peer:
            await peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"404" in await peer.read_head()
            await peer.send(request_head())
            assert b"HTTP/1.1 101 " in await peer.read_head()  # behind the body of the first answer
            await peer.send(masked(TEXT, b"x"))
            assert await peer.frame() == (TEXT, b"x")

    run(scene())


# --- TLS ---


def self_signed(directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's context around a certificate of their own."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, private = directory / "cert.pem", directory / "key.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem, private)
    return server, ssl.create_default_context(cafile=str(pem))


def test_everything_works_over_tls_too(tmp_path: Path) -> None:
    server_tls, client_tls = self_signed(tmp_path)
    seen: list[UpgradeRequest] = []
    receivers: list[Recorder] = []

    def decide(request: UpgradeRequest, respond: Respond) -> None:
        seen.append(request)
        receivers.append(Recorder())
        respond(problem(401, "token_missing", "") if request.path == "/no" else Accept(receivers[-1], None, 1_000_000))

    async def scene() -> None:
        async with listening(decide, tls=server_tls) as server:

            async def connect(path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", server.port, ssl=client_tls, server_hostname="localhost"
                )
                writer.write(request_head(path))
                return reader, writer, await reader.readuntil(b"\r\n\r\n")

            reader, writer, head = await connect("/no")
            assert head.startswith(b"HTTP/1.1 401 ")
            writer.close()

            reader, writer, head = await connect("/echo")
            assert head.startswith(b"HTTP/1.1 101 ")
            assert seen[-1].is_secure
            for payload in (b"hello", b"*" * 70_000, b"*" * 500_000, b"after"):
                writer.write(masked(TEXT, payload))
                assert await reader.readexactly(len(frame_text(payload))) == frame_text(payload)
            writer.write(masked(CLOSE, b"\x03\xe8"))
            assert await reader.read() == b"\x88\x02\x03\xe8"
            writer.close()

            reader, writer, _ = await connect("/echo")
            writer.write(b"\xff" * 14)  # a fault: CLOSE reaches the peer, who hangs up
            assert (await reader.readexactly(4))[:4][2:] == (1002).to_bytes(2, "big")
            writer.close()

            reader, writer, _ = await connect("/echo")
            receivers[-1].ws.abort()
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError, ssl.SSLError)):
                await reader.readexactly(1)
            writer.close()
            for receiver in receivers[1:]:
                await receiver.until("lost")
            await server.until_nobody_is_connected()

    run(scene())
