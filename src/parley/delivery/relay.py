"""Live audio between nodes: pages go to the nodes where somebody listens, and each node knows how many listen in all.

Only carries: who may listen, and what is dropped for whom, is `broadcast.py`'s on each node.
"""

from collections.abc import Callable
from typing import Any, Final

from msgspec import convert

from parley.delivery.broadcast import Audio, Broadcasts
from parley.delivery.bus import ALL, Bus

#: Numbers of listeners are told when they have changed, at most this often, and all of them again after the longer.
TELL_S: Final = 1.0
AGAIN_S: Final = 10.0


def of_stream(stream: str) -> str:
    """The topic that the nodes hear on which somebody listens to the stream."""
    return f"stream:{stream}"


class Relay:
    """`tick` is called about once a second."""

    def __init__(self, bus: Bus, broadcasts: Broadcasts, clock_s: Callable[[], float]) -> None:
        self._bus = bus
        self._broadcasts = broadcasts
        self._clock_s = clock_s
        self._here: dict[str, int] = {}
        self._elsewhere: dict[str, dict[str, int]] = {}
        self._told_all_at_s = 0.0
        broadcasts.opened = lambda stream: bus.follow(of_stream(stream))
        broadcasts.closed = lambda stream: bus.leave(of_stream(stream))
        bus.hear("audio", self._heard)
        bus.hear("listeners", self._count)

    def carry(self, audio: Audio) -> None:
        """Pages of a broadcaster of this node, to listeners on every node."""
        self._broadcasts.receive(audio)
        self._bus.note(of_stream(audio.stream), "audio", audio)

    def _heard(self, node: str, body: Any) -> None:
        self._broadcasts.receive(convert(body, Audio))

    # --- how many listen ---

    def elsewhere(self, stream: str) -> int:
        return sum(counts.get(stream, 0) for counts in self._elsewhere.values())

    def tick(self) -> None:
        now_s = self._clock_s()
        counts = self._broadcasts.counts()
        if now_s - self._told_all_at_s >= AGAIN_S:
            self._told_all_at_s = now_s
            changed = counts | {stream: 0 for stream in self._here if stream not in counts}
        else:
            changed = {stream: count for stream, count in counts.items() if self._here.get(stream) != count}
            changed |= {stream: 0 for stream in self._here if stream not in counts}
        self._here = counts
        if changed:
            self._bus.note(ALL, "listeners", changed)

    def _count(self, node: str, body: Any) -> None:
        counts = self._elsewhere.setdefault(node, {})
        for stream, count in body.items():
            if count:
                counts[stream] = count
            else:
                counts.pop(stream, None)

    def gone(self, node: str) -> None:
        self._elsewhere.pop(node, None)

    def announce(self) -> None:
        self._told_all_at_s = 0.0
