"""What the helpdesk does by itself: it notes which agents are there, takes conversations back from those who are gone,
and tells who waits in the queue where they stand.

Each node speaks for its own connections; what it finds is decided in the store, so any number of nodes may do it at
once.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from parley.delivery.hub import Hub
from parley.delivery.readers import Subscription
from parley.domain.agents import QUEUE, Seen
from parley.domain.claims import Abandoned, Return
from parley.domain.errors import Refusal
from parley.domain.events import Event, Signal
from parley.domain.ids import rfc3339
from parley.domain.params import Params
from parley.domain.ports import Decision, Job, Store
from parley.domain.principal import OPERATOR, Principal
from parley.domain.transcripts import Positions

log = logging.getLogger(__name__)

#: How often places are told, where the queue has moved.
TELL_S: Final = 1.0
#: How often where nothing was heard of it: the bus may lose, and tells a node only of rooms that are read there.
LOOK_S: Final = 5.0
#: Agents are noted a few times within the patience that they are given, and no more often than this.
SEEN_S: Final = 15.0
SEEN_S_MIN: Final = 0.5


class Live(Protocol):
    @property
    def principal(self) -> Principal | None: ...


class Queue:
    """`schedule(at_s, callback)` is the wheel's, `clock_s` its clock. `return_after_s` of 0 takes nothing back."""

    def __init__(
        self,
        store: Store,
        hub: Hub,
        connections: Callable[[], Iterable[Live]],
        *,
        return_after_s: float,
        schedule: Callable[[float, Callable[[], None]], object],
        clock_s: Callable[[], float],
        clock_ms: Callable[[], int],
    ) -> None:
        self._store = store
        self._hub = hub
        self._connections = connections
        self._seen_s = min(SEEN_S, max(SEEN_S_MIN, return_after_s / 4)) if return_after_s else SEEN_S
        self._takes_back = bool(return_after_s)
        self._schedule = schedule
        self._clock_s = clock_s
        self._clock_ms = clock_ms
        self._stopped = False
        self._told: dict[str, int] = {}
        self._has_moved = False
        self._asking = False
        self._looked_at_s = float("-inf")

    def start(self) -> None:
        self._tell()
        self._look_after_agents()

    def stop(self) -> None:
        self._stopped = True

    # --- what it hears ---

    def received(self, events: Sequence[Event]) -> None:
        """What the bus brought: whatever befalls a conversation may have moved the queue."""
        if any(event.type.startswith("conversation.") for event in events):
            self._has_moved = True

    def came(self, subscription: Subscription) -> None:
        """Somebody reads a room: in a conversation that waits, they are told its place anew."""
        if subscription.room == QUEUE and subscription.privy:
            # At once: whoever waits is told that somebody is here.
            self._write(Seen(agents=[(subscription.reader.subject, subscription.reader.name)]))
        if _is_conversation(subscription.room):
            self._told.pop(subscription.room, None)
            self._has_moved = True

    # --- places in the queue ---

    def _tell(self) -> None:
        if self._stopped:
            return
        now_s = self._clock_s()
        self._schedule(now_s + TELL_S, self._tell)
        if self._asking or not (self._has_moved or now_s - self._looked_at_s >= LOOK_S):
            return
        self._has_moved = False
        self._looked_at_s = now_s
        read = [room for room in self._hub.rooms if _is_conversation(room)]
        if not read:
            self._told.clear()
            return
        self._asking = True
        self._store.read(Job(Positions(conversations=read), OPERATOR, self._found))

    def _found(self, outcome: Decision | BaseException) -> None:
        self._asking = False
        if not isinstance(outcome, Decision):
            self._has_moved = True
            _complain("places in the queue", outcome)
            return
        at = rfc3339(self._clock_ms())
        for room, position in outcome.reply.items():
            if self._told.get(room) != position:
                self._hub.signal(Signal(room, "queue.position", at, {"position": position}))
        self._told = dict(outcome.reply)

    # --- agents, and what they have ---

    def _look_after_agents(self) -> None:
        if self._stopped:
            return
        self._schedule(self._clock_s() + self._seen_s, self._look_after_agents)
        here = {
            principal.subject: principal.name
            for connection in self._connections()
            if (principal := connection.principal) is not None and "agent" in principal.roles and not principal.is_guest
        }
        if here:
            self._write(Seen(agents=list(here.items())))
        if self._takes_back:
            self._store.read(Job(Abandoned(), OPERATOR, self._take_back))

    def _take_back(self, outcome: Decision | BaseException) -> None:
        if not isinstance(outcome, Decision):
            _complain("conversations of agents who are gone", outcome)
            return
        for conversation in outcome.reply:
            self._write(Return(conversation=conversation))

    def _write(self, params: Params) -> None:
        def done(outcome: Decision | BaseException) -> None:
            if not isinstance(outcome, Decision):
                _complain(type(params).__name__, outcome)

        self._store.write(Job(params, OPERATOR, done))


def _is_conversation(room: str) -> bool:
    return room.startswith("c-") and not room.endswith(".notes")


def _complain(what: str, outcome: BaseException) -> None:
    if not isinstance(outcome, Refusal):  # a store that is away is told of elsewhere
        log.error("the helpdesk failed at: %s", what, exc_info=outcome)
