"""How often somebody may: token buckets and sliding windows of failures, for many keys at once.

Reads no clock (`now_s` is an argument, in seconds of any clock that never goes back) and gives no refusal: callers do.
"""

import math
from collections import deque
from collections.abc import Callable, Hashable
from typing import Final

#: An entry is about 200 bytes; a node that sees more keys than this forgets those longest unseen.
KEYS_MAX: Final = 50_000


class Buckets:
    """A token bucket for each key: `burst` at once, then `rate_per_s`. A rate or a burst of 0 is off.

    What is kept for a key is one number, the time at which its bucket is full again (GCRA). At most `keys_max` are
    kept; one more forgets the key longest unseen, which then finds a full bucket.
    """

    __slots__ = ("_full_at", "_keys_max", "_slack_s", "interval_s", "took")

    def __init__(self, rate_per_s: float, burst: float, keys_max: int = KEYS_MAX) -> None:
        off = rate_per_s <= 0 or burst <= 0
        self.interval_s = 0.0 if off else 1.0 / rate_per_s
        self._slack_s = (burst - 1) * self.interval_s
        self._keys_max = keys_max
        self._full_at: dict[Hashable, float] = {}
        #: Told of each token taken, where other nodes want to know (`shared_limits.py`).
        self.took: Callable[[Hashable], None] | None = None

    def take(self, key: Hashable, now_s: float) -> float:
        """0.0 and one token taken, or none taken and the seconds until there is one."""
        if not self.interval_s:
            return 0.0
        full_at = self._full_at.pop(key, now_s)  # popped and put back: the dict's order is that of last use
        if full_at < now_s:
            full_at = now_s
        # A thousandth of a token forgiven: sums of floats miss whole tokens by a hair.
        wait_s = full_at - now_s - self._slack_s
        if wait_s > self.interval_s * 0.001:
            self._put(key, full_at)
            return wait_s
        self._put(key, full_at + self.interval_s)
        if self.took is not None:
            self.took(key)
        return 0.0

    def adopt(self, key: Hashable, now_s: float, ahead_s: float) -> None:
        """With what is taken elsewhere, the bucket is full again in `ahead_s` at the earliest."""
        full_at = self._full_at.pop(key, now_s)
        self._put(key, max(full_at, now_s + ahead_s))

    def _put(self, key: Hashable, full_at: float) -> None:
        if len(self._full_at) >= self._keys_max:
            del self._full_at[next(iter(self._full_at))]
        self._full_at[key] = full_at

    def __len__(self) -> int:
        return len(self._full_at)


class Failures:
    """At most `limit` failures for each key in any `window_s` seconds. A limit of 0 is off.

    At most `keys_max` keys are kept; one more forgets the key longest unseen.
    """

    __slots__ = ("_at", "_keys_max", "_limit", "_window_s", "told")

    def __init__(self, limit: int, window_s: float, keys_max: int = KEYS_MAX) -> None:
        self._limit = limit
        self._window_s = window_s
        self._keys_max = keys_max
        self._at: dict[Hashable, deque[float]] = {}
        #: Told of each failure, where other nodes want to know.
        self.told: Callable[[Hashable], None] | None = None

    def retry_after(self, key: Hashable, now_s: float) -> float:
        """0.0 where one more attempt may be made, else the seconds until it may. Counts nothing."""
        times = self._at.get(key)
        if not self._limit or times is None:
            return 0.0
        while times and times[0] <= now_s - self._window_s:
            times.popleft()
        if not times:
            del self._at[key]
        return times[0] + self._window_s - now_s if len(times) >= self._limit else 0.0

    def left(self, key: Hashable, now_s: float) -> float:
        """How many more may fail until `retry_after` is not 0; infinity where it is off."""
        if not self._limit:
            return math.inf
        self.retry_after(key, now_s)  # forgets what is out of the window
        return self._limit - len(self._at.get(key, ()))

    def add(self, key: Hashable, now_s: float, *, told: bool = True) -> None:
        """Count one failure. Ask `retry_after` before the attempt. `told`: other nodes hear of it, too."""
        if not self._limit:
            return
        if told and self.told is not None:
            self.told(key)
        times = self._at.pop(key, None)
        if times is None:
            if len(self._at) >= self._keys_max:
                del self._at[next(iter(self._at))]
            times = deque(maxlen=self._limit)
        self._at[key] = times
        times.append(now_s)

    def __len__(self) -> int:
        return len(self._at)
