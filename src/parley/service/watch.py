"""What this node hears of the others and of itself: the bus at once, the store by a poll that makes sure.

The bus is a shortcut, never the truth: twice a second the poll asks which rooms that are read here have moved, and what
has changed outside rooms, and does what the bus should have led to.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final

from parley.delivery.hub import Hub
from parley.delivery.presence import Presence
from parley.delivery.signals import Signals
from parley.domain.errors import Refusal
from parley.domain.events import Change, Event, Signal
from parley.domain.ports import Moved, Store
from parley.service.admission import Admission

log = logging.getLogger(__name__)

POLL_INTERVAL_S: Final = 0.5
SIGNALS_INTERVAL_S: Final = 1.0


class Watch:
    """Feeds the hub. `call_later(seconds, callback)` is the loop's; `clock_ms` gives Unix milliseconds."""

    def __init__(
        self,
        store: Store,
        hub: Hub,
        signals: Signals,
        present: Presence,
        admission: Admission,
        call_later: Callable[[float, Callable[[], None]], object],
        clock_ms: Callable[[], int],
    ) -> None:
        self._store = store
        self._hub = hub
        self._signals = signals
        self._present = present
        self._admission = admission
        self._call_later = call_later
        self._clock_ms = clock_ms
        self._stopped = False
        #: When the store last answered a poll, Unix milliseconds; None before the first.
        self.polled_at_ms: int | None = None

    def start(self) -> None:
        self._poll()
        self._call_later(SIGNALS_INTERVAL_S, self._tick)

    def stop(self) -> None:
        self._stopped = True

    def received(self, events: Sequence[Event], changes: Sequence[Change], signals: Sequence[Signal]) -> None:
        """What the bus brought."""
        self._hub.publish(events)
        for change in changes:
            self._changed(change)
        for signal in signals:
            if signal.type == "receipts.changed":
                for moved in signal.data["receipts"]:
                    self._signals.receipt(signal.room, moved)
            else:
                self._hub.signal(signal)

    def _changed(self, change: Change) -> None:
        if change.kind == "account":
            self._admission.forget(change.target)
        elif change.kind == "eviction":
            self._hub.end(change.target, change.detail["subject"], change.detail["reason"])

    def _poll(self) -> None:
        if not self._stopped:
            self._store.poll(self._hub.heads(), self._polled)

    def _polled(self, moved: Moved | BaseException) -> None:
        if isinstance(moved, Moved):
            self.polled_at_ms = self._clock_ms()
            for change in moved.changes:
                self._changed(change)
            self._hub.moved(moved.heads)
        elif not isinstance(moved, Refusal):
            log.error("the poll failed", exc_info=moved)
        if not self._stopped:
            self._call_later(POLL_INTERVAL_S, self._poll)

    def _tick(self) -> None:
        self._present.tick()
        self._signals.tick(self._clock_ms())
        if not self._stopped:
            self._call_later(SIGNALS_INTERVAL_S, self._tick)
