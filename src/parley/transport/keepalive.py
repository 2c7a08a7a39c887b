"""What keeps a connection alive while nothing is said: pings of RFC 6455, and a word to those who cannot see them.

Notices too that its peer has gone. Only for dialects whose connection pings (`Wire.keeps_alive`).
"""

from typing import Any, Final, Protocol

from parley.delivery.outbox import Outbox
from parley.transport.frames import frame_ping
from parley.transport.node import Node
from parley.transport.sockets import Socket
from parley.transport.timers import Timer

#: A silent connection is told so this often, whatever PING_INTERVAL is: pages cannot see RFC 6455 pings.
QUIET_S: Final = 25.0

_PING: Final = frame_ping()


class Kept(Protocol):
    """The connection. `told_at_s()` is when it was last written anything, on the loop's clock."""

    @property
    def node(self) -> Node: ...
    @property
    def ws(self) -> Socket | None: ...
    @property
    def outbox(self) -> Outbox: ...
    @property
    def is_closing(self) -> bool: ...
    def told_at_s(self) -> float: ...
    def notice(self, name: str, body: dict[str, Any]) -> None: ...
    def leave(self) -> None: ...


class Keepalive:
    """Begins when it is made, and ends with `stop`."""

    __slots__ = ("_connection", "_ping", "_quiet")

    def __init__(self, connection: Kept, now_s: float) -> None:
        node = connection.node
        self._connection = connection
        self._ping: Timer | None = None
        self._quiet: Timer = node.wheel.schedule(now_s + QUIET_S, self._look_for_quiet)
        if node.timing.ping_interval_s:
            self._ping = node.wheel.schedule(now_s + node.timing.ping_interval_s, self._ping_or_abort)

    def stop(self) -> None:
        self._quiet.cancel()
        if self._ping is not None:
            self._ping.cancel()

    def _ping_or_abort(self) -> None:
        connection = self._connection
        node, ws = connection.node, connection.ws
        if connection.is_closing or ws is None:
            return
        timing = node.timing
        now_s = node.clock_s()
        silent_max_s = timing.ping_interval_s + timing.ping_timeout_s
        if ws.silent_s(now_s) >= silent_max_s and timing.ping_timeout_s:
            connection.leave()
            ws.abort()
            return
        if not connection.outbox.congested:
            connection.outbox.put(_PING)
        next_s = now_s + timing.ping_interval_s
        if timing.ping_timeout_s:  # the deadline may fall between two pings: look again then
            next_s = min(next_s, ws.last_heard_s + silent_max_s)
        self._ping = node.wheel.schedule(next_s, self._ping_or_abort)

    def _look_for_quiet(self) -> None:
        connection = self._connection
        if connection.is_closing:
            return
        node = connection.node
        now_s = node.clock_s()
        told_at_s = connection.told_at_s()
        if now_s - told_at_s >= QUIET_S - 0.05:
            connection.notice("ping", {})
            told_at_s = now_s
        self._quiet = node.wheel.schedule(told_at_s + QUIET_S, self._look_for_quiet)
