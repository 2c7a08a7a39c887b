"""One Redis or Valkey server of the bus: a connection to publish on, another to hear on, and how both are lost.

Knows commands, channels and bytes; what they mean is `redis_bus.py`'s.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as Lost
from redis.exceptions import RedisError

#: An idle connection is asked whether it is there this often, and lost after three times as long without a word.
PING_S: Final = 2.0
SILENT_S: Final = 3 * PING_S
CONNECT_S: Final = 3.0
#: What waits to be published; beyond it the rest is dropped: the poll finds it.
WAITING_BYTES_MAX: Final = 16_777_216

_PING: Final = b"*1\r\n$4\r\nPING\r\n"

#: What comes of a command; an exception where it was refused or the connection was lost.
Answered = Callable[[Any], None]


def packed(*parts: bytes) -> bytes:
    """A command as Redis reads it."""
    return b"*%d\r\n" % len(parts) + b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])


class Line:
    """One server. `run` is its life: it ends by an exception, once either connection is lost.

    `heard(channel, payload)` gets what is published, `subscribed(channel)` says from when on. `sharded`: the server is
    part of a cluster, whose channels belong to slots.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractConnection],
        heard: Callable[[bytes, bytes], None],
        subscribed: Callable[[bytes], None],
        *,
        sharded: bool,
    ) -> None:
        self._connect = connect
        self._heard = heard
        self._subscribed = subscribed
        self._publish: Final = b"SPUBLISH" if sharded else b"PUBLISH"
        self._words: Final = (b"SSUBSCRIBE", b"SUNSUBSCRIBE") if sharded else (b"SUBSCRIBE", b"UNSUBSCRIBE")
        self._sharded: Final = sharded
        self._waiting: list[bytes] = []
        self._answers: deque[Answered | None] = deque()
        self._waiting_bytes = 0
        self._to_send = asyncio.Event()
        self._wanted: set[bytes] = set()
        self._asked: set[bytes] = set()
        self._to_subscribe = asyncio.Event()
        self.is_up = False
        self.dropped = 0

    # --- what it is asked ---

    def publish(self, channel: bytes, payload: bytes) -> None:
        self.send(packed(self._publish, channel, payload), None)

    def send(self, command: bytes, answered: Answered | None) -> None:
        """A packed command; `answered` is called on the loop, also where it is lost."""
        if not self.is_up or self._waiting_bytes > WAITING_BYTES_MAX:
            self.dropped += 1
            if answered is not None:
                answered(Lost("the bus is away"))
            return
        self._waiting.append(command)
        self._answers.append(answered)
        self._waiting_bytes += len(command)
        self._to_send.set()

    def hear(self, channels: Iterable[bytes]) -> None:
        """Hear exactly these channels."""
        self._wanted = set(channels)
        self._to_subscribe.set()

    # --- its life ---

    async def run(self, is_up: Callable[[], None]) -> None:
        """Raises: OSError, RedisError, TimeoutError."""
        speaking, hearing = self._connect(), self._connect()
        tasks: list[asyncio.Task[None]] = []
        try:
            async with asyncio.timeout(CONNECT_S):
                await speaking.connect()  # type: ignore[no-untyped-call]
                await hearing.connect()  # type: ignore[no-untyped-call]
            self.is_up = True
            self._to_send.set()
            self._to_subscribe.set()
            is_up()
            loop = asyncio.get_running_loop()
            self._heard_at_s = loop.time()
            tasks = [
                loop.create_task(each) for each in (self._speak(speaking), self._listen(hearing), self._ask(hearing))
            ]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            self.is_up = False
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for connection in (speaking, hearing):
                await connection.disconnect(nowait=True)
            self._forget()

    def _forget(self) -> None:
        self._asked.clear()
        self._waiting.clear()
        self._waiting_bytes = 0
        lost = Lost("the bus was lost")
        answers, self._answers = self._answers, deque()
        for answered in answers:
            if answered is not None:
                answered(lost)

    async def _speak(self, connection: AbstractConnection) -> None:
        """Send what gathered since the last time, in one write; read as many answers."""
        while True:
            try:
                async with asyncio.timeout(PING_S):
                    await self._to_send.wait()
            except TimeoutError:
                self._waiting.append(_PING)
                self._answers.append(None)
            self._to_send.clear()
            commands, self._waiting = self._waiting, []
            self._waiting_bytes = 0
            if not commands:
                continue
            async with asyncio.timeout(SILENT_S):
                await connection.send_packed_command(b"".join(commands), check_health=False)
                for _ in commands:
                    answer = await self._answer(connection)
                    answered = self._answers.popleft()
                    if answered is not None:
                        answered(answer)

    async def _answer(self, connection: AbstractConnection) -> Any:
        try:
            return await connection.read_response(timeout=math.inf, disconnect_on_error=False)
        except (OSError, Lost):
            raise
        except RedisError as refused:
            if str(refused).startswith(("MOVED", "CLUSTERDOWN", "READONLY", "LOADING", "MASTERDOWN")):
                raise  # the cluster is another than we knew
            return refused

    async def _ask(self, connection: AbstractConnection) -> None:
        """Say which channels are heard, and that we are still here."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout(PING_S):
                    await self._to_subscribe.wait()
            except TimeoutError:
                if loop.time() - self._heard_at_s > SILENT_S:
                    raise Lost("the bus says nothing") from None
                await connection.send_packed_command(_PING, check_health=False)
                continue
            self._to_subscribe.clear()
            more, fewer = self._wanted - self._asked, self._asked - self._wanted
            self._asked = set(self._wanted)
            commands = [*self._commands(self._words[0], more), *self._commands(self._words[1], fewer)]
            if commands:
                await connection.send_packed_command(b"".join(commands), check_health=False)

    def _commands(self, word: bytes, channels: set[bytes]) -> list[bytes]:
        if self._sharded:  # channels of one command must be of one slot
            return [packed(word, channel) for channel in channels]
        return [packed(word, *channels)] if channels else []

    async def _listen(self, connection: AbstractConnection) -> None:
        loop = asyncio.get_running_loop()
        while True:
            told = await connection.read_response(timeout=math.inf)
            self._heard_at_s = loop.time()
            if not isinstance(told, list):
                continue
            kind = told[0]
            if kind in (b"message", b"smessage"):
                self._heard(told[1], told[2])
            elif kind in (b"subscribe", b"ssubscribe"):
                self._subscribed(told[1])
            elif kind == b"sunsubscribe" and told[1] in self._wanted:
                raise Lost("a slot has moved")
