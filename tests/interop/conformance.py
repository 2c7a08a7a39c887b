"""A server of the bytes layer alone, for outside suites: `python -m tests.interop.conformance --host H --port P`.

Runs on the very classes that ship, with no credential and no database; `parley serve` never reaches it. `/echo`
sends each message back as it came, everything else is 404.
"""

import argparse
import asyncio
import socket
from collections.abc import Callable

import uvicorn
import uvloop
from starlette.applications import Starlette

from parley.transport.http_protocol import HttpProtocol
from parley.transport.upgrade import Accept, Refuse, UpgradeRequest, problem, upgrade_protocol
from parley.transport.websocket import WebSocket, frame_binary, frame_text

MESSAGE_BYTES_MAX = 16 * 1024 * 1024
# Reading stops above this and goes on when the peer has taken what is unsent.
UNSENT_BYTES_MAX = 64 * 1024


class Echo:
    """Sends back each message; reads no faster than its peer does."""

    def opened(self, ws: WebSocket, /) -> None:
        self.ws = ws
        ws.set_unsent_high_bytes(UNSENT_BYTES_MAX)

    def text(self, data: bytes, /) -> None:
        self.ws.write(frame_text(data))

    def binary(self, data: bytes, /) -> None:
        self.ws.write(frame_binary(data))

    def pong(self) -> None:
        pass

    def writing_paused(self) -> None:
        self.ws.pause_reading()

    def writing_resumed(self) -> None:
        self.ws.resume_reading()

    def drain(self) -> None:
        self.ws.close(1012, "restarting")

    def lost(self) -> None:
        pass


def decide(request: UpgradeRequest, respond: Callable[[Accept | Refuse], bool]) -> None:
    if request.path == "/echo":
        respond(Accept(Echo(), message_bytes_max=MESSAGE_BYTES_MAX))
    else:
        respond(problem(404, "not_found", "Only /echo is here."))


def config(**options: object) -> uvicorn.Config:
    """uvicorn's settings for the classes under test; `options` are added (TLS, another `ws`, another `app`)."""
    settings: dict[str, object] = {
        "app": Starlette(),
        "loop": "uvloop",
        "http": HttpProtocol,
        "ws": upgrade_protocol(decide),
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
    chosen = options.parse_args()
    uvloop.run(serve(chosen.host, chosen.port))


if __name__ == "__main__":
    main()
