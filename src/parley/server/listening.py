"""Where a node listens: its sockets, and uvicorn on them. Knows nothing of what is served there."""

import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvicorn

from parley.config.settings import is_loopback
from parley.server.workers import reuse_port
from parley.transport.http_protocol import HttpProtocol

#: How long a drain may take; the orchestrator's patience is 10 s.
DRAIN_S: Final = 6
#: Connections that wait to be accepted.
BACKLOG: Final = 2048


@dataclass(frozen=True, slots=True)
class Beside:
    """What a node is given that is one of several workers: their port, and where it listens for the others."""

    port: int
    socket_path: Path


class Serving(uvicorn.Server):
    """uvicorn's server without its signal handlers, which would end the process by the signal and not with 0."""

    def __init__(self, app: Any, ws: Any, ready: Callable[[], None], drain: Callable[[], Awaitable[None]]) -> None:
        config = uvicorn.Config(
            app,
            http=HttpProtocol,
            ws=ws,
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=DRAIN_S,
        )
        super().__init__(config)
        self._ready = ready
        self._drain = drain

    def stop(self) -> None:
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._drain()  # sessions over HTTP are no sockets of uvicorn's, which tells those itself
        await super().shutdown(sockets)


def listen(host: str, port: int, beside: Beside | None) -> socket.socket:
    listener = reuse_port(host, beside.port) if beside is not None else _bound(host, port)
    listener.listen(BACKLOG)
    # Those accepted inherit it. uvloop sets it itself, asyncio's own loop does not: a head and its body are two
    # segments, and the second would wait 40 ms for the first to be acknowledged.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host.strip("[]"), port), family=family, backlog=BACKLOG)


def own_address() -> str:
    """This machine's: where its name leads, or, where that is known to itself alone, where it asks others from."""
    with contextlib.suppress(OSError):
        named = socket.gethostbyname(socket.gethostname())
        if not is_loopback(named):  # Debian gives a machine's name to 127.0.1.1
            return named
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect(("203.0.113.1", 9))  # RFC 5737: nothing is sent, the kernel chooses a route
        routed: str = asking.getsockname()[0]
        return routed
    return "127.0.0.1"


def shown(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def listen_inside(beside: Beside | None) -> list[socket.socket]:
    """Where the other workers reach this one."""
    if beside is None:
        return []
    inside = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    inside.bind(str(beside.socket_path))
    inside.listen(BACKLOG)
    return [inside]
