"""One wheel for everything that is due later: keepalive, expiry, hold, lifetime, closing sockets.

Does not read the clock by itself and runs nothing by itself: `attach` lets a loop do both. Not thread-safe.

A timer far away lies in a wide bucket with others of about its time, where adding and removing it costs the same
however many there are. When the first of a bucket is due, the rest moves to narrower ones; in the last 0.1 s a timer
stands in a small heap by its exact time. So `next_deadline_s` is never later than the truth, and each timer moves
three times at most.
"""

import asyncio
import logging
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from math import inf

log = logging.getLogger(__name__)

# (Timers at least this far away, lie in buckets this wide), in seconds, the farthest first.
_LEVELS = ((409.6, 409.6), (6.4, 6.4), (0.1, 0.1))
#: Whoever waits for a moment of the calendar, as a token's end is, looks at the clock again after this at the latest:
#: that may have been set, and the clock that waits go by stands still while the machine sleeps.
LOOK_AGAIN_S = 60.0
# A loop is woken at most this often: what is due within it is run together.
GRAIN_S = 0.004


class Timer:
    """One callback and when it is due; made by `Wheel.schedule`."""

    __slots__ = ("_bucket", "_order", "at_s", "callback")

    def __init__(self, at_s: float, callback: Callable[[], None], order: int) -> None:
        self.at_s = at_s
        self.callback: Callable[[], None] | None = callback
        self._order = order
        self._bucket: _Bucket | None = None

    def cancel(self) -> None:
        """Never run it; no effect once it has run."""
        self.callback = None
        if self._bucket is not None:
            self._bucket.timers.discard(self)
            self._bucket = None

    def __lt__(self, other: "Timer") -> bool:
        return (self.at_s, self._order) < (other.at_s, other._order)


class _Bucket:
    __slots__ = ("earliest_s", "key", "timers")

    def __init__(self, key: tuple[float, int]) -> None:
        self.key = key
        self.earliest_s = inf
        self.timers: set[Timer] = set()


class Wheel:
    """Timers by the clock given, which must not go backwards (`loop.time`).

    `next_deadline_s` is when something may be due at the earliest (it may be early where a timer was cancelled), inf
    when nothing is. Whoever is about to act on what timers guard compares the clock with it first, and calls
    `run_due` where it has passed: a process that was paused wakes up to its sockets before its timers.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.next_deadline_s = inf
        self._clock = clock
        self._order = count()
        self._near: list[Timer] = []
        self._buckets: dict[tuple[float, int], _Bucket] = {}
        self._by_time: list[tuple[float, int, _Bucket]] = []  # a bucket may stand here more than once
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.TimerHandle | None = None
        self._wake_s = inf

    def schedule(self, at_s: float, callback: Callable[[], None]) -> Timer:
        """Run `callback` at `at_s` by the wheel's clock, or as soon as possible where that has passed."""
        timer = Timer(at_s, callback, next(self._order))
        self._place(timer, self._clock())
        if at_s < self.next_deadline_s:
            self.next_deadline_s = at_s
            if at_s < self._wake_s and self._loop is not None:
                self._arm()
        return timer

    def run_due(self, now_s: float) -> int:
        """Run what is due at `now_s`, in order of time; returns how many ran.

        What a callback schedules runs in the next call at the earliest. One that raises is logged; the others run.
        """
        if now_s < self.next_deadline_s:
            return 0
        self._open_buckets(now_s)
        due: list[Timer] = []
        while self._near and self._near[0].at_s <= now_s:
            due.append(heappop(self._near))
        self._find_next()
        ran = 0
        for timer in due:
            callback, timer.callback = timer.callback, None
            if callback is None:
                continue  # cancelled, perhaps by one of those before it
            ran += 1
            try:
                callback()
            except Exception:
                log.exception("a timer failed")
        return ran

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let `loop`, whose time the wheel's clock must be, run what is due from now on."""
        self._loop = loop
        self._arm()

    def detach(self) -> None:
        """Run nothing by itself any more."""
        self._loop = None
        self._disarm()

    # --- buckets ---

    def _place(self, timer: Timer, now_s: float) -> None:
        at_s = timer.at_s
        away_s = at_s - now_s
        for least_s, width_s in _LEVELS:
            if away_s >= least_s:
                key = (width_s, int(at_s / width_s))
                bucket = self._buckets.get(key)
                if bucket is None:
                    bucket = self._buckets[key] = _Bucket(key)
                bucket.timers.add(timer)
                timer._bucket = bucket
                if at_s < bucket.earliest_s:
                    bucket.earliest_s = at_s
                    heappush(self._by_time, (at_s, next(self._order), bucket))
                return
        heappush(self._near, timer)

    def _open_buckets(self, now_s: float) -> None:
        """Take apart every bucket of which something may be due; the rest of it moves nearer."""
        while self._by_time and self._by_time[0][0] <= now_s:
            _, _, bucket = heappop(self._by_time)
            if self._buckets.get(bucket.key) is not bucket:
                continue  # taken apart already
            del self._buckets[bucket.key]
            for timer in bucket.timers:
                timer._bucket = None
                self._place(timer, now_s)

    def _find_next(self) -> None:
        while self._near and self._near[0].callback is None:
            heappop(self._near)
        self.next_deadline_s = min(
            self._near[0].at_s if self._near else inf, self._by_time[0][0] if self._by_time else inf
        )

    # --- the loop ---

    def _arm(self) -> None:
        self._disarm()
        if self._loop is not None and self.next_deadline_s < inf:
            self._wake_s = self.next_deadline_s
            self._wake = self._loop.call_at(self._wake_s, self._woken)

    def _disarm(self) -> None:
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        self._wake_s = inf

    def _woken(self) -> None:
        self._wake = None
        # While we run, whatever is scheduled waits for the arming below.
        self._wake_s = -inf
        now_s = self._clock()
        self.run_due(now_s)
        self._wake_s = inf
        if self._loop is not None and self.next_deadline_s < inf:
            self._wake_s = max(self.next_deadline_s, now_s + GRAIN_S)
            self._wake = self._loop.call_at(self._wake_s, self._woken)
