"""One Redis or Valkey server of the bus: the connection to publish and to hear on, and how it is lost.

Knows commands, channels and bytes; what they mean is `redis_bus.py`'s. redis-py connects and signs in, and then leaves
the connection to us: what is published is written at once and what comes is read in one call, with no task for either.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as Lost
from redis.exceptions import InvalidResponse, RedisError, ResponseError

#: The server is asked this often whether it is there, and lost after three times as long without a word.
PING_S: Final = 2.0
SILENT_S: Final = 3 * PING_S
CONNECT_S: Final = 3.0
#: What waits to be sent; beyond it the rest is dropped: the poll finds it.
WAITING_BYTES_MAX: Final = 16_777_216

#: Refusals that say that the cluster is another than we knew.
_ELSEWHERE: Final = ("MOVED", "CLUSTERDOWN", "READONLY", "LOADING", "MASTERDOWN")
#: The reader's word for "the rest has not come yet".
_MORE: Final = object()
_HEARS: Final = (b"subscribe", b"ssubscribe")
_LEFT: Final = (b"unsubscribe", b"sunsubscribe")

#: What comes of a command; an exception where it was refused or the connection was lost.
Answered = Callable[[Any], None]


def packed(*parts: bytes) -> bytes:
    """A command as Redis reads it."""
    return cast("bytes", hiredis.pack_command(cast("Any", parts)))  # its types know commands of one part only


_PING: Final = packed(b"PING")


class Line(asyncio.Protocol):
    """One server. `run` is its life: it ends by an exception, once the connection is lost.

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
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._values = hiredis.Reader(protocolError=InvalidResponse, replyError=ResponseError, notEnoughData=_MORE)
        self._waiting: list[bytes] = []
        #: Who waits for what, in the order of the commands; a channel that is asked for is answered by a push.
        self._answers: deque[Answered | None] = deque()
        self._wanted: set[bytes] = set()
        self._asked: set[bytes] = set()
        self._heard_at_s = 0.0
        self._over: asyncio.Future[BaseException] = self._loop.create_future()
        self.dropped = 0

    # --- what it is asked ---

    def publish(self, channel: bytes, payload: bytes) -> None:
        self.send(packed(self._publish, channel, payload), None)

    def send(self, command: bytes, answered: Answered | None) -> None:
        """Queue a packed command for `flush`; `answered` is called on the loop, also where it is lost."""
        transport = self._transport
        if transport is None or transport.get_write_buffer_size() > WAITING_BYTES_MAX:
            self.dropped += 1
            if answered is not None:
                answered(Lost("the bus is away"))
            return
        if not self._waiting:
            self._loop.call_soon(self.flush)
        self._waiting.append(command)
        self._answers.append(answered)

    def flush(self) -> None:
        """Write what gathered since the last time, in one piece."""
        waiting, self._waiting = self._waiting, []
        # One that has been lost and has not said so yet can't be written to: uvloop raises then.
        if waiting and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(waiting))

    def hear(self, channels: Iterable[bytes]) -> None:
        """Hear exactly these channels."""
        self._wanted = set(channels)
        if self._transport is not None:
            self._subscribe()

    def _subscribe(self) -> None:
        more, fewer = self._wanted - self._asked, self._asked - self._wanted
        self._asked = set(self._wanted)
        for word, channels in zip(self._words, (more, fewer), strict=True):
            if self._sharded:  # channels of one command must be of one slot
                self._waiting += [packed(word, channel) for channel in channels]
            elif channels:
                self._waiting.append(packed(word, *channels))
            self._answers.extend([self._refused] * len(channels))
        self.flush()

    def _refused(self, answer: Any) -> None:
        raise answer if isinstance(answer, RedisError) else Lost("the answers are not those to our questions")

    # --- its life ---

    async def run(self, is_up: Callable[[], None]) -> None:
        """Raises: OSError, RedisError, TimeoutError."""
        connection = self._connect()
        try:
            async with asyncio.timeout(CONNECT_S):
                await connection.connect()  # type: ignore[no-untyped-call]
            self._transport = cast("asyncio.Transport", cast("Any", connection)._writer.transport)
            self._transport.set_protocol(self)
            self._heard_at_s = self._loop.time()
            self._subscribe()
            is_up()
            while not (await asyncio.wait((self._over,), timeout=PING_S))[0]:
                if self._loop.time() - self._heard_at_s > SILENT_S:
                    raise Lost("the bus says nothing")
                self.send(_PING, None)
            raise self._over.result()
        finally:
            self.flush()
            self._transport = None
            await connection.disconnect(nowait=True)
            answers, self._answers = self._answers, deque()
            for answered in answers:
                if answered is not None and answered != self._refused:
                    answered(Lost("the bus was lost"))

    # --- what it is told (asyncio.Protocol) ---

    def data_received(self, data: bytes) -> None:
        if self._over.done():
            return
        self._heard_at_s = self._loop.time()
        try:
            self._values.feed(data)
            while (value := self._values.gets()) is not _MORE:
                if isinstance(value, hiredis.PushNotification):
                    self._pushed(value)
                elif isinstance(value, RedisError) and str(value).startswith(_ELSEWHERE):
                    raise value
                elif (answered := self._answers.popleft()) is not None:
                    answered(value)
        except Exception as problem:
            self._end(problem)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._end(exc or Lost("the bus hung up"))

    def _pushed(self, told: list[Any]) -> None:
        kind = told[0]
        if kind in (b"message", b"smessage"):
            self._heard(told[1], told[2])
        elif kind in _HEARS or kind in _LEFT:
            if not self._answers or self._answers.popleft() != self._refused:
                raise Lost("a slot has moved")  # nobody asked for this
            if kind in _HEARS:
                self._subscribed(told[1])

    def _end(self, problem: BaseException) -> None:
        if not self._over.done():
            self._over.set_result(problem)
