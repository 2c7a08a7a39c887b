"""What this node hears of the others and of itself: the bus at once, the store by a poll that makes sure.

The bus is a shortcut, never the truth: twice a second the poll asks which rooms that are read here have moved, and what
has changed outside rooms, and does what the bus should have led to.
"""

import functools
import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from parley.delivery.hub import Hub
from parley.delivery.presence import Presence
from parley.delivery.signals import TYPED, Signals
from parley.domain.errors import Refusal
from parley.domain.events import Change, Event, Signal
from parley.domain.ports import Decision, Job, Moved, Store
from parley.domain.principal import OPERATOR
from parley.domain.retention import Sweep
from parley.domain.revocation import Revocation
from parley.service.admission import Admission
from parley.tokens import RevocationSet

log = logging.getLogger(__name__)

POLL_INTERVAL_S: Final = 0.5
SIGNALS_INTERVAL_S: Final = 1.0
SWEEP_INTERVAL_S: Final = 3600.0
#: Without a good read of revocations for this long, nothing is handed to anybody.
FENCE_S: Final = 1.0


class Audience(Protocol):
    """The live connections of this node."""

    def revoked(self, target: str, *, before_ms: int, reason: str) -> None: ...
    def rights_changed(self, subject: str) -> None: ...
    def fence(self) -> None: ...
    def unfence(self) -> None: ...


class Scheduled(Protocol):
    def cancel(self) -> None: ...


class Watch:
    """Feeds the hub. `call_later(seconds, callback)` is the loop's; `clock_ms` gives Unix milliseconds."""

    def __init__(
        self,
        store: Store,
        hub: Hub,
        signals: Signals,
        present: Presence,
        admission: Admission,
        audience: Audience,
        revocations: RevocationSet,
        schedule: Callable[[float, Callable[[], None]], Scheduled],
        call_later: Callable[[float, Callable[[], None]], object],
        clock_ms: Callable[[], int],
        streams: Callable[[Change], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._hub = hub
        self._signals = signals
        self._present = present
        self._admission = admission
        self._audience = audience
        self._revocations = revocations
        self._schedule = schedule
        self._fence: Scheduled | None = None
        self._is_fenced = False
        self._asked_at_s = 0.0  # when the last poll that was answered was asked
        self._asking_at_s = 0.0
        self._call_later = call_later
        self._clock_ms = clock_ms
        self._streams = streams
        self._stopped = False
        #: What else wants to be called about once a second.
        self.ticks: list[Callable[[], None]] = []
        self._swept_at_s = hub.clock_s()  # not of the calendar, which may be set back by years
        # When each conversation was last blocked or unblocked, since the last sweep: a repetition comes within seconds.
        self._blocks: dict[str, int] = {}
        #: When the store last answered a poll, Unix milliseconds; None before the first.
        self.polled_at_ms: int | None = None

    def start(self, in_force: Sequence[Revocation]) -> None:
        """Begin, with the revocations that the store holds now."""
        for row in in_force:
            self._revoke(row.target, row.before_ms, row.until_ms, row.reason)
        self._asked_at_s = self._hub.clock_s()
        self._put_fence_off()
        self._poll()
        self._call_later(SIGNALS_INTERVAL_S, self._tick)

    def stop(self) -> None:
        self._stopped = True

    def received(self, events: Sequence[Event], changes: Sequence[Change], signals: Sequence[Signal]) -> None:
        """What the bus brought."""
        self._hub.publish(events)
        for event in events:
            if event.type == "message.created":
                self._signals.sent(event.room, event.actor.subject, event.actor.name)
        for change in changes:
            # After the answers that leave with it, before anything is flushed: who ends their own session hears so.
            self._hub.call_soon(functools.partial(self._changed, change))
        for signal in signals:
            if signal.type in ("receipts.changed", TYPED):
                self._signals.heard(signal)
            else:
                self._hub.signal(signal)

    def _changed(self, change: Change) -> None:
        try:
            self._follow(change)
        except Exception:  # the changes behind it must be followed all the same: the poll tells each but once
            log.exception("a change could not be followed: %s of %s", change.kind, change.target)

    def _follow(self, change: Change) -> None:
        if change.kind == "account":
            self._admission.forget(change.target)
            self._audience.rights_changed(change.target)
        elif change.kind == "stream":
            self._streams(change)
        elif self._is_overtaken(change):
            return
        elif change.kind == "lift":
            self._revocations.lift_conversation(change.target.partition(":")[2])
        elif change.kind == "revocation":
            before_ms, reason = change.detail["before_ms"], change.detail["reason"]
            self._revoke(change.target, before_ms, change.detail["until_ms"], reason)
            self._audience.revoked(change.target, before_ms=before_ms, reason=reason)
        elif change.kind == "eviction":
            # Told by the bus and again by the poll: one that has come back since was not meant. `at_ms` was cut short.
            since_s = (self._clock_ms() - change.at_ms - 1) / 1000
            subject, reason = change.detail["subject"], change.detail["reason"]
            self._hub.end(change.target, subject, reason, made_before_s=self._hub.clock_s() - since_s)

    def _is_overtaken(self, change: Change) -> bool:
        """Told by the bus and again by the poll: a block lifted since, or lifting one that came back, is over."""
        if not change.target.startswith("conversation:"):
            return False
        if change.at_ms < self._blocks.get(change.target, 0):
            return True
        self._blocks[change.target] = change.at_ms
        return False

    def _revoke(self, target: str, before_ms: int, until_ms: int, reason: str) -> None:
        kind, _, named = target.partition(":")
        until_s = until_ms / 1000
        if kind == "token":
            self._revocations.revoke_token(named, until_s=until_s, reason=reason)
        elif kind == "session":
            self._revocations.revoke_session(named, until_s=until_s, reason=reason)
        elif kind == "subject":
            self._revocations.revoke_subject(named, before_s=before_ms / 1000, until_s=until_s, reason=reason)
        else:
            self._revocations.revoke_conversation(named, until_s=until_s, reason=reason)

    # --- the fence: a node that does not know what was revoked hands nobody anything ---

    def _put_fence_off(self) -> None:
        until_s = self._asked_at_s + FENCE_S
        if until_s <= self._hub.clock_s():
            return  # asked before a pause: it says nothing of what was revoked meanwhile
        if self._fence is not None:
            self._fence.cancel()
        self._fence = self._schedule(until_s, self._fence_all)
        if self._is_fenced:
            self._is_fenced = False
            log.warning("revocations can be read again: what waited goes out")
            self._audience.unfence()

    def _fence_all(self) -> None:
        if not self._stopped:
            self._is_fenced = True
            log.warning("revocations could not be read for %.1f s: nothing is handed out until they are", FENCE_S)
            self._audience.fence()

    def _poll(self) -> None:
        if not self._stopped:
            self._asking_at_s = self._hub.clock_s()
            self._store.poll(self._hub.heads(), self._polled)

    def _polled(self, moved: Moved | BaseException) -> None:
        # Whatever goes wrong with one answer, the next is asked for.
        if not self._stopped:
            self._call_later(POLL_INTERVAL_S, self._poll)
        if isinstance(moved, Moved):
            self.polled_at_ms = self._clock_ms()
            for change in moved.changes:
                self._changed(change)
            self._hub.moved(moved.heads)
            self._asked_at_s = self._asking_at_s
            self._put_fence_off()
        elif not isinstance(moved, Refusal):
            log.error("the poll failed", exc_info=moved)

    def _tick(self) -> None:
        if self._stopped:
            return
        self._call_later(SIGNALS_INTERVAL_S, self._tick)
        self._present.tick()
        for tick in self.ticks:
            tick()
        self._signals.tick(self._clock_ms())
        now_ms = self._clock_ms()
        now_s = self._hub.clock_s()
        if now_s - self._swept_at_s > SWEEP_INTERVAL_S:
            self._swept_at_s = now_s
            self._revocations.forget_expired(now_ms / 1000)
            self._blocks.clear()
            self._store.write(Job(Sweep(), OPERATOR, _swept))


def _swept(outcome: Decision | BaseException) -> None:
    if not isinstance(outcome, Decision | Refusal):
        log.error("the sweep failed", exc_info=outcome)
