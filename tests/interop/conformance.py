"""A server of the bytes layer alone, for outside suites: `python -m tests.interop.conformance --host H --port P`.

Runs on the very classes that ship, with no credential and no database; `parley serve` never reaches it. `/echo`
sends each message back as it came, `/engine.io/` does so over Engine.IO, `/socket.io/` is the application that the
suite of the Socket.IO protocol is written for; everything else is 404.
"""

import argparse
import asyncio
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence

import msgspec
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from parley.dialects import socketio
from parley.dialects.dialect import Ended
from parley.domain.errors import Refusal
from parley.transport import problems
from parley.transport.engine import Engine
from parley.transport.engineio import Session
from parley.transport.frames import frame_binary, frame_text
from parley.transport.handshake import TurnedAway
from parley.transport.http_protocol import HttpProtocol
from parley.transport.polling import Polling, session_asked, unknown_session
from parley.transport.upgrade import Accept, Refuse, UpgradeRequest, problem, upgrade_protocol
from parley.transport.websocket import WebSocket
from tests.interop import jws

MESSAGE_BYTES_MAX = 16 * 1024 * 1024
# Reading stops above this and goes on when the peer has taken what is unsent.
UNSENT_BYTES_MAX = 64 * 1024
PAYLOAD_BYTES_MAX = 1_000_000
CONNECT_TIMEOUT_S = 1.0


class Echo:
    """Sends back each message; reads no faster than its peer does."""

    def opened(self, ws: WebSocket, /) -> None:
        self.ws = ws
        ws.set_unsent_high_bytes(UNSENT_BYTES_MAX)

    def text(self, data: bytes, /) -> None:
        self.ws.write(frame_text(data))

    def binary(self, data: bytes, /) -> None:
        self.ws.write(frame_binary(data))

    def writing_paused(self) -> None:
        self.ws.pause_reading()

    def writing_resumed(self) -> None:
        self.ws.resume_reading()

    def drain(self) -> None:
        self.ws.close(1012, "restarting")

    def lost(self) -> None:
        pass


class EngineEcho:
    """Sends back each message of an Engine.IO session."""

    def opened(self, session: Session, /) -> None:
        self.session = session

    def text(self, data: bytes, /) -> None:
        self.session.write(frame_text(b"4" + data))

    def binary(self, data: bytes, /) -> None:
        self.session.write(frame_binary(data))

    def writing_paused(self) -> None: ...
    def writing_resumed(self) -> None: ...
    def rewired(self) -> None: ...

    def drain(self) -> None:
        self.session.close(1012, "restarting")

    def lost(self) -> None: ...


class Namespaces(EngineEcho):
    """The application that the Socket.IO suite is written for, on `/` and `/custom`."""

    def opened(self, session: Session, /) -> None:
        super().opened(session)
        self.assembly = socketio.Assembly(PAYLOAD_BYTES_MAX)
        self.joined: set[bytes] = set()
        loop = asyncio.get_running_loop()
        self.timer = loop.call_later(CONNECT_TIMEOUT_S, session.close, 4408, "authentication_timeout")

    def text(self, data: bytes, /) -> None:
        self.take(self.assembly.text, data)

    def binary(self, data: bytes, /) -> None:
        self.take(self.assembly.binary, data)

    def take(self, assemble: Callable[[bytes], socketio.Packet | None], data: bytes) -> None:
        try:
            packet = assemble(data)
            if packet is not None:
                self.packet(packet)
        except Ended as ended:
            self.session.close(ended.code, ended.reason)

    def packet(self, packet: socketio.Packet) -> None:
        namespace = packet.namespace
        if packet.kind == socketio.CONNECT and namespace not in self.joined:
            if namespace not in (b"/", b"/custom"):
                self.say(socketio.CONNECT_ERROR, b'{"message":"Invalid namespace"}', namespace)
                return
            self.timer.cancel()
            self.joined.add(namespace)
            self.say(socketio.CONNECT, msgspec.json.encode({"sid": secrets.token_urlsafe(15)}), namespace)
            self.say(socketio.EVENT, msgspec.json.encode(["auth", packet.auth or {}]), namespace)
        elif namespace not in self.joined or packet.kind in (socketio.CONNECT, socketio.CONNECT_ERROR):
            raise socketio.broken()
        elif packet.kind == socketio.DISCONNECT:
            self.joined.discard(namespace)
        elif packet.kind == socketio.EVENT:
            name, *args = map(bytes, packet.args)
            if name == b'"message"':
                self.say(socketio.EVENT, _json([b'"message-back"', *args]), namespace, packet.attachments)
            elif name == b'"message-with-ack"' and packet.id:
                self.say(socketio.ACK, _json(args), namespace, packet.attachments, packet.id)

    def say(
        self, kind: int, payload: bytes, namespace: bytes, attachments: Sequence[bytes] = (), packet_id: bytes = b""
    ) -> None:
        head = socketio.encode(kind, payload, namespace=namespace, packet_id=packet_id, attachments=len(attachments))
        frames = [frame_text(b"4" + head), *map(frame_binary, attachments)]
        self.session.write(b"".join(frames))

    def lost(self) -> None:
        self.timer.cancel()


def _json(members: list[bytes]) -> bytes:
    return b"[%b]" % b",".join(members)


PEERS: Mapping[str, Callable[[], EngineEcho]] = {"/engine.io/": EngineEcho, "/socket.io/": Namespaces}


class Application:
    """What is served: the upgrades by `decide`, the rest by `app`. `peers` gives each path its application."""

    def __init__(
        self,
        peers: Mapping[str, Callable[[], EngineEcho]] = PEERS,
        *,
        ping_interval_s: float = 0.3,
        ping_timeout_s: float = 0.2,
    ) -> None:
        self.peers = peers
        self.engines = {path: _engine(ping_interval_s, ping_timeout_s) for path in peers}
        routes = [Route(path, self._polling(path)) for path in peers]
        self.app = Starlette(routes=routes, exception_handlers={Refusal: _refused})

    def _polling(self, path: str) -> Polling:
        async def admit(_: Request) -> EngineEcho:
            return self.peers[path]()

        return Polling(self.engines[path], admit)

    def decide(self, request: UpgradeRequest, respond: Callable[[Accept | Refuse], bool]) -> None:
        if request.path == "/echo":
            respond(Accept(Echo(), message_bytes_max=MESSAGE_BYTES_MAX))
            return
        engine = self.engines.get(request.path)
        if engine is None:
            respond(problem(404, "not_found", "Only /echo is here."))
            return
        try:
            sid = session_asked(request.query, "websocket")
            session = engine.find(sid) if sid is not None else engine.session(self.peers[request.path]())
            if session is None:
                raise unknown_session()
        except Refusal as refusal:
            respond(problems.refused(refusal))
            return
        receiver = session if sid is None else session.candidate()
        respond(Accept(receiver or TurnedAway(4400, "bad_request"), message_bytes_max=PAYLOAD_BYTES_MAX))


def _engine(ping_interval_s: float, ping_timeout_s: float) -> Engine:
    return Engine(
        ping_interval_s=ping_interval_s,
        ping_timeout_s=ping_timeout_s,
        payload_bytes_max=PAYLOAD_BYTES_MAX,
        clock=lambda: asyncio.get_running_loop().time(),
        call_at=lambda at_s, then: asyncio.get_running_loop().call_at(at_s, then),
        new_sid=lambda: secrets.token_urlsafe(15),
    )


async def _refused(_: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    return problems.response(refusal)


def config(**options: object) -> uvicorn.Config:
    """uvicorn's settings for the classes under test; `options` are added (TLS, another `ws`, another `app`)."""
    application = Application()
    settings: dict[str, object] = {
        "app": application.app,
        "loop": "uvloop",
        "http": HttpProtocol,
        "ws": upgrade_protocol(application.decide),
        "lifespan": "off",
        "log_config": None,
        "access_log": False,
        "timeout_graceful_shutdown": 5,
    }
    return uvicorn.Config(**{**settings, **options})  # type: ignore[arg-type]


async def serve(host: str, port: int) -> None:
    with socket.create_server((host, port), backlog=2048) as listening:
        server = uvicorn.Server(config())
        serving = asyncio.ensure_future(server.serve([listening]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.001)
        print(f"http://{host}:{listening.getsockname()[1]}", flush=True)
        await serving


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--jws", action="store_true", help="serve nothing; check the signatures of standard input")
    chosen = options.parse_args()
    if chosen.jws:
        return jws.main()
    return uvloop.run(serve(chosen.host, chosen.port))


if __name__ == "__main__":
    main()
