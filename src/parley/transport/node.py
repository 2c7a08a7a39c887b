"""What all connections of a node share: its parts, its limits and its times, and the count of bad tokens.

Made by `server`. Decides nothing about one connection.
"""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from parley.delivery.hub import Hub
from parley.delivery.outbox import Turn
from parley.domain.errors import Refusal
from parley.service.admission import Admission
from parley.service.door import Door
from parley.service.limits import Buckets
from parley.service.refusals import Refusals
from parley.transport.connections import Connections
from parley.transport.timers import Wheel


@dataclass(slots=True)
class Timing:
    """Seconds; 0 is off for `ping_interval_s`, `lifetime_s` and `authentication_s`.

    `margin_s` before its token expires a connection is warned; for `grace_s` after it, it is held.
    """

    ping_interval_s: float = 25
    ping_timeout_s: float = 20
    lifetime_s: float = 86_400
    authentication_s: float = 5
    margin_s: float = 30
    grace_s: float = 25


@dataclass(slots=True)
class Node:
    """`clock_s` is the loop's, `clock_ms` gives Unix milliseconds."""

    door: Door
    hub: Hub
    turn: Turn
    admission: Admission
    connections: Connections
    wheel: Wheel
    clock_s: Callable[[], float]
    clock_ms: Callable[[], int]
    new_id: Callable[[], str]
    bad_tokens: Buckets
    refusals: Refusals
    carriers: Collection[str]
    timing: Timing = field(default_factory=Timing)
    slow_consumer_bytes: int = 1_048_576
    subscriptions_max: int = 100
    #: close code -> how often; read by the metrics.
    closed: Counter[int] = field(default_factory=Counter)

    def counted(self, refusal: Refusal, place: str, address: str, token: str | None) -> Refusal:
        """The refusal of a token that came in a message, noted; or of one bad token too many from its address."""
        if refusal.status != 401:
            return refusal
        if wait_s := self.bad_tokens.take(address, self.clock_s()):
            return Refusal("rate_limited", retry_after=round(wait_s, 3))
        self.refusals.note(refusal, place=place, address=address, carrier="message", token=token)
        return refusal
