"""Limits of a subject over all nodes: what one node counts, the others learn by the bus.

Approximate on purpose: each node decides by itself and at once, and corrects itself by what the bus answers. So a
subject that asks several nodes in one instant has at most a burst on each, and its rate once; while the bus is away,
each node counts alone. Failed sign-ins are rare, and are told to every node.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from parley.delivery.bus import ALL, of_node
from parley.service.limits import Buckets, Failures

#: One token taken: a bucket's fullness as a moment in the server's own time (GCRA), in milliseconds.
_TAKE: Final = b"""local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000)
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now) + ARGV[1]
redis.call('SET', KEYS[1], string.format('%.3f', full), 'PX', math.ceil(full - now) + 1000)
return math.floor(full - now)"""
#: How many connections a node has; all nodes' numbers.
_COUNT: Final = b"""if ARGV[2] == '0' then redis.call('HDEL', KEYS[1], ARGV[1])
else redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) redis.call('EXPIRE', KEYS[1], 90000) end
return redis.call('HGETALL', KEYS[1])"""
#: A node that is known to live no more for this long, and still has a number of connections, was killed.
KILLED_S: Final = 60.0
#: Names of nodes that do not live, and since when; beyond it the wait begins anew for all of them.
MISSED_MAX: Final = 1000


class SharedBus(Protocol):
    """What is needed of the bus (`delivery.redis_bus`)."""

    node: str

    def key_of(self, key: str) -> bytes: ...
    def ask(self, key: str, answered: Callable[[Any], None], *parts: bytes) -> None: ...
    def note(self, topic: str, kind: str, body: Any) -> None: ...
    def hear(self, kind: str, hearer: Callable[[str, Any], None]) -> None: ...


class Crowd(Protocol):
    """The live connections of this node."""

    def counts(self) -> Iterable[tuple[str, int, int]]:
        """Each subject, how many it has here, and how many it may have."""

    def replace_one(self, subject: str) -> None:
        """Close the one longest silent."""


class SharedLimits:
    """`living()` gives the names of the other nodes that live."""

    def __init__(self, bus: SharedBus, living: Callable[[], Iterable[str]], clock_s: Callable[[], float]) -> None:
        self._bus = bus
        self._living = living
        self._clock_s = clock_s
        self._missed: dict[str, float] = {}

    # --- rates ---

    def share_buckets(self, name: str, buckets: Buckets) -> None:
        """Whoever takes a token here takes it everywhere."""

        def took(key: object) -> None:
            shared = f"rate:{name}:{key}"

            def answered(ahead_ms: Any) -> None:
                if isinstance(ahead_ms, int):
                    buckets.adopt(key, self._clock_s(), ahead_ms / 1000)

            interval = b"%.3f" % (buckets.interval_s * 1000)
            self._bus.ask(shared, answered, b"EVAL", _TAKE, b"1", self._bus.key_of(shared), interval)

        buckets.took = took

    def share_failures(self, each: Mapping[str, Failures]) -> None:
        """What fails on one node has failed on all."""
        for name, failures in each.items():
            failures.told = lambda key, name=name: self._bus.note(ALL, "limits.failed", [name, _plain(key)])

        def failed(_: str, body: Any) -> None:
            name, key = body
            if name in each:
                each[name].add(tuple(key) if isinstance(key, list) else key, self._clock_s(), told=False)

        self._bus.hear("limits.failed", failed)

    # --- connections ---

    def share_connections(self, crowd: Crowd) -> Callable[[str, int, int], None]:
        """What to call with a subject, how many connections it has here now, and how many it may have in all."""
        self._bus.hear("limits.replace", lambda _, subject: crowd.replace_one(subject))

        def counted(subject: str, here: int, limit: int) -> None:
            def answered(told: Any) -> None:
                if isinstance(told, list) and here:
                    nodes = [name.decode() for name in told[::2]]
                    self._judge(crowd, subject, here, limit, dict(zip(nodes, map(int, told[1::2]), strict=True)))
                    self._forget_the_killed(shared, nodes)

            shared = f"connections:{subject}"
            parts = (b"EVAL", _COUNT, b"1", self._bus.key_of(shared), self._bus.node.encode(), b"%d" % here)
            self._bus.ask(shared, answered, *parts)

        return counted

    def _judge(self, crowd: Crowd, subject: str, here: int, limit: int, told: Mapping[str, int]) -> None:
        living = set(self._living())
        others = {node: count for node, count in told.items() if node in living}
        if not limit or here > limit or here + sum(others.values()) <= limit:
            return  # one too many on this node alone is seen to already
        most = max(others, key=lambda node: others[node])
        if others[most] > here or here == 1:
            self._bus.note(of_node(most), "limits.replace", subject)
        else:
            crowd.replace_one(subject)

    def _forget_the_killed(self, shared: str, nodes: list[str]) -> None:
        """A node takes its number back when its last connection goes; one that was killed never does.

        Should it live after all, its number is there again with the next connection that comes or goes.
        """
        now_s, living = self._clock_s(), {*self._living(), self._bus.node}
        killed = []
        for node in nodes:
            if node in living:
                self._missed.pop(node, None)
            elif now_s - self._missed.setdefault(node, now_s) > KILLED_S:
                killed.append(node.encode())
        if len(self._missed) > MISSED_MAX:
            self._missed.clear()
        if killed:
            self._bus.ask(shared, _nothing, b"HDEL", self._bus.key_of(shared), *killed)


def _nothing(_: Any) -> None:
    return


def _plain(key: object) -> object:
    return list(key) if isinstance(key, tuple) else key
