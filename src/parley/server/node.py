"""One node's life: from its settings to its last commit. What it is made of is `parts.py` and `front.py`."""

import asyncio
import gc
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

from parley.config import Settings
from parley.domain.leases import Restarted
from parley.domain.revocation import InForce
from parley.server.front import Front
from parley.server.listening import Beside, Serving, listen, listen_inside, own_address, shown
from parley.server.parts import Clock, Parts
from parley.service.issuers import Issuers
from parley.service.passwords import hash_password
from parley.store.keyring import FollowedKeyring

KEYS_LOOKED_AT_S: Final = 0.5
#: For what was begun to be committed, after a drain of at most DRAIN_S: 10 s in all.
CLOSE_S: Final = 3.0


class Server:
    """One node. `run` is its whole life; `ready` is set once it accepts connections at `url`.

    What its parts are called here is there once it runs.
    """

    parts: Parts
    front: Front

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[asyncio.AbstractEventLoop], Clock] = Clock,
        beside: Beside | None = None,
    ) -> None:
        self.settings = settings
        self._beside = beside
        self._clock_of = clock
        self._port = settings.port
        self.ready = asyncio.Event()
        self._serving: Serving | None = None
        self._is_stopping = False
        # Until there is something to read again.
        self.reread_keys: Callable[[], None] = lambda: None

    @property
    def url(self) -> str:
        return f"http://{shown(self.settings.host)}:{self._port}"

    async def run(self, *, demo: bool = False) -> int:
        settings = self.settings
        loop = asyncio.get_running_loop()
        listener = listen(settings.host, settings.port, self._beside)
        self._port = listener.getsockname()[1]
        self.parts = parts = Parts(settings, self._clock_of(loop), loop, self._address())
        self.reread_keys = parts.keys.read_again
        try:
            if demo:
                from parley.demo.furnishing import furnish

                furnish(parts.store, hash_password)
            self.front = front = Front(parts, lambda: self._port, None if self._beside is None else self._is_beside)
            server = self._serving = Serving(front.app, front.upgrades, self.ready.set, front.drain)
            if self._is_stopping:
                server.stop()
            gc.collect()
            gc.freeze()  # what is here now stays: keep the collector from walking it again and again
            self._start()  # behind that pause: from here on the watch counts how long ago it read
            following = loop.create_task(_follow(parts.keys, parts.issuers))
            await server.serve(sockets=[listener, *listen_inside(self._beside)])
            following.cancel()
            await self._finish()
        finally:
            listener.close()
            await asyncio.to_thread(parts.store.close, CLOSE_S)
        return 0

    def stop(self) -> None:
        """Drain and end, at whatever moment of its life; `run` returns then."""
        self._is_stopping = True
        if self._serving is not None:
            self._serving.stop()

    def obey_signals(self) -> None:
        """SIGTERM and SIGINT drain, SIGHUP reads the keys again."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, lambda: self.stop())
        loop.add_signal_handler(signal.SIGHUP, lambda: self.reread_keys())

    def _start(self) -> None:
        parts = self.parts
        if parts.others is not None:
            parts.others.start()
            parts.nodes.start()
        parts.watch.start(parts.store.execute(InForce()).reply)
        parts.queue.start()
        if not self.settings.is_postgresql:
            parts.store.execute(Restarted())  # no other node has a broadcaster
        parts.streams.start()

    async def _finish(self) -> None:
        parts = self.parts
        parts.watch.stop()
        parts.queue.stop()
        parts.streams.stop()
        parts.nodes.stop()
        if parts.others is not None:
            await parts.others.stop()

    def _address(self) -> str:
        """Where the other nodes reach this one: its URL, and its UNIX socket where it is one of several workers."""
        settings = self.settings
        host = own_address() if settings.host in ("0.0.0.0", "::", "[::]") else settings.host  # noqa: S104
        url = settings.node_url or f"http://{shown(host)}:{self._port}"
        return url if self._beside is None else f"{url} {self._beside.socket_path}"

    def _is_beside(self, address: str) -> bool:
        path = address.partition(" ")[2]
        return self._beside is not None and Path(path).parent == self._beside.socket_path.parent


async def _follow(keys: FollowedKeyring, issuers: Issuers) -> None:
    """What the command line does to the keys beside a running server is followed within a second; others' keys too."""
    while True:
        issuers.look()
        await asyncio.sleep(KEYS_LOOKED_AT_S)
        keys.look()
