"""The bus between nodes on Redis or Valkey, one server or a cluster: one parcel for each topic and turn of the loop.

A node hears only the topics that it follows. What is lost is lost: whoever needs it reads the store. The connections
are `redis_line.py`'s.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.crc import key_slot
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from parley.delivery.bus import ALL, Hearer, Receiver, of_node, of_room
from parley.delivery.redis_line import CONNECT_S, Answered, Line, packed
from parley.domain.events import Change, Event, Signal

log = logging.getLogger(__name__)

#: The first wait before connecting anew, doubled up to the longest; each is multiplied by 0.5 to 1.5.
RECONNECT_S: Final = 0.1
RECONNECT_S_MAX: Final = 2.0
NODE_CHARS: Final = 16


class Parcel(Struct, omit_defaults=True, gc=False):
    """What one node has to say on one topic in one turn."""

    events: list[Event] = []
    changes: list[Change] = []
    signals: list[Signal] = []
    notes: list[tuple[str, Any]] = []


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Parcel).decode


class RedisBus:
    """`node` is this node's name, 16 characters; `name` that of the installation: several may share a server.

    `random()` gives a number from 0 to 1. `came_up` is called whenever the bus is there (again), `followed(topic)` once
    a topic is heard.
    """

    def __init__(self, url: str, *, node: str, name: str, random: Callable[[], float]) -> None:
        assert len(node) == NODE_CHARS
        self.node = node
        self._mark: Final = node.encode()
        self._name: Final = f"parley:{name}:"
        self._random = random
        self._pool: Final = ConnectionPool.from_url(
            url,
            protocol=3,
            socket_connect_timeout=CONNECT_S,
            maint_notifications_config=MaintNotificationsConfig(enabled=False),  # we take the connection over
        )
        self._shown: Final = urlsplit(url).hostname or "its socket"
        self._lines: dict[tuple[str, int] | None, Line] = {}
        self._slots: list[Line] = []
        self._receiver: Receiver | None = None
        self._hearers: dict[str, Hearer] = {}
        self._parcels: dict[str, Parcel] = {}
        self._followed: Counter[str] = Counter({ALL: 1, of_node(node): 1})
        self._hears: set[str] = set()
        self._is_stale = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: asyncio.Task[None] | None = None
        self.came_up: Callable[[], None] = lambda: None
        self.followed: Callable[[str], None] = lambda topic: None
        self.is_up = False
        #: Parcels published and heard, for the metrics.
        self.published = 0
        self.received = 0

    # --- the port ---

    def receive(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def hear(self, kind: str, hearer: Hearer) -> None:
        self._hearers[kind] = hearer

    def publish(self, events: Sequence[Event], changes: Sequence[Change], signals: Sequence[Signal]) -> None:
        if self.is_up:
            for event in events:
                self._parcel(of_room(event.room)).events.append(event)
            if changes:
                self._parcel(ALL).changes.extend(changes)
            for signal in signals:
                self._parcel(of_room(signal.room)).signals.append(signal)
        if self._receiver is not None:
            self._receiver(events, changes, signals)

    def note(self, topic: str, kind: str, body: Any) -> None:
        if self.is_up:
            self._parcel(topic).notes.append((kind, body))

    def follow(self, topic: str) -> None:
        self._followed[topic] += 1
        if self._followed[topic] == 1:
            self._resubscribe()

    def leave(self, topic: str) -> None:
        self._followed[topic] -= 1
        if not self._followed[topic]:
            del self._followed[topic]
            self._hears.discard(topic)
            self._resubscribe()

    def hears(self, topic: str) -> bool:
        """Whether what is said on a followed topic comes here by now."""
        return topic in self._hears

    def ask(self, key: str, answered: Answered, *parts: bytes) -> None:
        """A command about one key of the installation's own, named in `parts` by `key_of`; see `Line.send`."""
        line = self._line_of(self.key_of(key)) if self.is_up else None
        if line is None:
            answered(RedisError("the bus is away"))
        else:
            line.send(packed(*parts), answered)

    def key_of(self, key: str) -> bytes:
        return (self._name + key).encode()

    # --- out ---

    def _parcel(self, topic: str) -> Parcel:
        parcel = self._parcels.get(topic)
        if parcel is None:
            if not self._parcels and self._loop is not None:
                self._loop.call_soon(self._send)
            parcel = self._parcels[topic] = Parcel([], [], [], [])
        return parcel

    def _send(self) -> None:
        # Written now, ahead of this node's own readers: the others begin with theirs meanwhile.
        parcels, self._parcels = self._parcels, {}
        for topic, parcel in parcels.items():
            channel = self.key_of(topic)
            line = self._line_of(channel)
            if line is not None:
                self.published += 1
                line.publish(channel, self._mark + _encode(parcel))
        for line in self._lines.values():
            line.flush()

    def _line_of(self, channel: bytes) -> Line | None:
        if self._slots:
            return self._slots[key_slot(channel)]
        return self._lines.get(None)

    # --- in ---

    def _heard(self, channel: bytes, payload: bytes) -> None:
        if payload.startswith(self._mark):
            return
        self.received += 1
        try:
            node = payload[:NODE_CHARS].decode()
            parcel = _decode(payload[NODE_CHARS:])
            if self._receiver is not None and (parcel.events or parcel.changes or parcel.signals):
                self._receiver(parcel.events, parcel.changes, parcel.signals)
            for kind, body in parcel.notes:
                if (hearer := self._hearers.get(kind)) is not None:
                    hearer(node, body)
        except Exception:  # whoever sent it, the next is heard
            log.exception("what came over the bus can't be followed")

    def _subscribed(self, channel: bytes) -> None:
        topic = channel.decode().removeprefix(self._name)
        self._hears.add(topic)
        self.followed(topic)

    def _resubscribe(self) -> None:
        if not self._is_stale and self._loop is not None:
            self._is_stale = True
            self._loop.call_soon(self._tell_lines)

    def _tell_lines(self) -> None:
        self._is_stale = False
        channels: dict[Line, list[bytes]] = {line: [] for line in self._lines.values()}
        for topic in self._followed:
            channel = self.key_of(topic)
            line = self._line_of(channel)
            if line is not None:
                channels[line].append(channel)
        for line, theirs in channels.items():
            line.hear(theirs)

    # --- its life ---

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._running = self._loop.create_task(self._run())

    async def stop(self) -> None:
        """After this nothing is told or heard. What was published just before still goes out, if that is quick."""
        if self._running is not None:
            await asyncio.sleep(0)
            self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running
            self._running = None

    async def _run(self) -> None:
        wait_s = RECONNECT_S
        while True:
            try:
                await self._serve()
            except (OSError, RedisError, TimeoutError) as lost:
                if self.is_up or wait_s == RECONNECT_S:
                    log.warning("the bus at %s is away: %s", self._shown, lost or type(lost).__name__)
            except Exception:
                log.exception("the bus failed")
            if self.is_up:
                wait_s = RECONNECT_S
            self.is_up = False
            self._hears.clear()
            self._parcels.clear()
            await asyncio.sleep(wait_s * (0.5 + self._random()))
            wait_s = min(wait_s * 2, RECONNECT_S_MAX)

    async def _serve(self) -> None:
        """Until any server of the bus is lost. Raises: OSError, RedisError, TimeoutError."""
        await self._look()
        lines = list(self._lines.values())
        up = 0

        def one_is_up() -> None:
            nonlocal up
            up += 1
            if up == len(lines):
                self.is_up = True
                log.info("the bus at %s is there", self._shown)
                self._tell_lines()
                self.came_up()

        tasks = [asyncio.ensure_future(line.run(one_is_up)) for line in lines]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self) -> None:
        """Which servers there are: one, or those of a cluster and whose the slots are."""
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(CONNECT_S):
                await connection.connect()  # type: ignore[no-untyped-call]
                told = await _asked(connection, b"INFO", b"cluster")
                sharded = b"cluster_enabled:1" in told
                ranges = await _asked(connection, b"CLUSTER", b"SLOTS") if sharded else []
        finally:
            await connection.disconnect(nowait=True)
        self._lines, self._slots = {}, []
        if not sharded:
            self._lines[None] = Line(self._pool.make_connection, self._heard, self._subscribed, sharded=False)
            return
        slots: list[Line | None] = [None] * 16384
        for first, last, master, *_ in ranges:
            host = master[0].decode() or str(self._pool.connection_kwargs.get("host"))
            at = (host, int(master[1]))
            if at not in self._lines:
                self._lines[at] = Line(self._connecting(*at), self._heard, self._subscribed, sharded=True)
            slots[first : last + 1] = [self._lines[at]] * (last + 1 - first)
        known = [line for line in slots if line is not None]
        if len(known) != len(slots):
            raise RedisError("the cluster has slots that no server serves")
        self._slots = known

    def _connecting(self, host: str, port: int) -> Callable[[], AbstractConnection]:
        def connect() -> AbstractConnection:
            made: AbstractConnection = self._pool.connection_class(
                **(self._pool.connection_kwargs | {"host": host, "port": port})
            )
            return made

        return connect


async def _asked(connection: AbstractConnection, *parts: bytes) -> Any:
    await connection.send_packed_command(packed(*parts), check_health=False)
    return await connection.read_response()
