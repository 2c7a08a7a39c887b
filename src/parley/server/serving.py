"""`parley serve`: one process that serves, or a parent with several.

The address goes to standard output once connections are accepted by all of them; nothing else does.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import uvloop

from parley.config import Settings, SettingsError
from parley.server.listening import Beside
from parley.server.node import Server
from parley.server.workers import Worker, Workers

#: Measured: with CPython's default of 5 ms a busy writing thread adds up to 11 ms to a turn of the loop.
SWITCH_INTERVAL_S: Final = 0.0005


def serve(settings: Settings, *, demo: bool = False) -> int:
    """Serve until SIGTERM or SIGINT; the exit status. Raises: what a part raises that cannot start."""
    if demo and settings.workers > 1:
        raise SettingsError("--demo serves with one worker: leave --workers out")
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    if settings.workers == 1:
        return uvloop.run(_serve_alone(settings, demo=demo))

    def work(worker: Worker) -> int:
        return uvloop.run(_serve_beside(settings, worker))

    return Workers(settings.host, settings.port, settings.workers, work, _say).run()


def _say(url: str) -> None:
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()


async def _serve_alone(settings: Settings, *, demo: bool) -> int:
    from parley.demo.shop import Shop

    shop = Shop(settings.port) if demo else None
    server = Server(settings if shop is None else shop.framing(settings))

    async def ready() -> None:
        if shop is not None:
            from parley.demo.furnishing import welcome

            await shop.open(settings.public_url or server.url)
            sys.stderr.write(welcome(server.url, shop.url))
        _say(server.url)

    try:
        return await _run(server, ready, demo=demo)
    finally:
        if shop is not None:
            await shop.close()


async def _serve_beside(settings: Settings, worker: Worker) -> int:
    server = Server(settings, beside=Beside(worker.port, worker.socket_path))
    loop = asyncio.get_running_loop()
    # A parent that is gone can't tell anybody to stop: then each does so by itself.
    loop.add_reader(worker.parent_lives, lambda: server.stop())

    async def ready() -> None:
        worker.ready()

    try:
        return await _run(server, ready, demo=False)
    finally:
        loop.remove_reader(worker.parent_lives)


async def _run(server: Server, is_ready: Callable[[], Awaitable[None]], *, demo: bool) -> int:
    server.obey_signals()
    serving = asyncio.ensure_future(server.run(demo=demo))
    ready = asyncio.ensure_future(server.ready.wait())
    await asyncio.wait((serving, ready), return_when=asyncio.FIRST_COMPLETED)
    if server.ready.is_set():
        await is_ready()
    ready.cancel()
    return await serving
