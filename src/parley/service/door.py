"""The one door: every command of every dialect passes here on its way to the store, and its answer on the way back.

Applies rates, keeps each connection's order, prepares what must not happen inside a transaction (password hashes), and
turns bugs into incidents. Rights are decided behind it, in the domain; replays are joined in `delivery/catchup.py`.
"""

import asyncio
import functools
import logging
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from parley.delivery import catchup
from parley.delivery.hub import Hub
from parley.delivery.presence import Presence
from parley.delivery.readers import Reader, Subscription
from parley.delivery.signals import Signals
from parley.domain import accounts, presence, replay, sessions, streams
from parley.domain.commands import Command
from parley.domain.errors import Refusal
from parley.domain.params import Params
from parley.domain.ports import Decision, Job, Store
from parley.domain.principal import Principal
from parley.service.ask import called_back
from parley.service.helpdesk import carries_identity
from parley.service.limits import Buckets
from parley.service.ordering import Ordering

log = logging.getLogger(__name__)

#: What a command comes to: its result as the wire has it, or a Refusal.
Answered = Callable[[Any], None]
_HASHES: Final = (accounts.Create, accounts.SetPassword)


class Door:
    """`submit` for a connection, `ask` for a request over HTTP.

    `prepare` hashes the passwords in a command's parameters, off the loop, and verifies the identities; `previews` says
    whether agents see what visitors type. `clock_s` is monotonic. `connections_of`
    counts the live connections of a session, `counted` fills in how many listen to streams.
    """

    def __init__(
        self,
        store: Store,
        hub: Hub,
        signals: Signals,
        present: Presence,
        *,
        messages: Buckets,
        guest_messages: Buckets,
        guest_cases: Buckets,
        conversations: Buckets,
        prepare: Callable[[Params, Principal], Awaitable[Params]],
        clock_s: Callable[[], float],
        connections_of: Callable[[str], int],
        previews: bool = True,
        counted: Callable[[Iterable[streams.StreamView]], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._connections_of = connections_of
        #: Adds what the other nodes have, where there are any, then calls back.
        self.count_elsewhere: Callable[[list[sessions.ListedSession], Callable[[], None]], None] | None = None
        self._hub = hub
        self._signals = signals
        self._present = present
        self._messages = messages
        self._guest_messages = guest_messages
        self._guest_cases = guest_cases
        self._conversations = conversations
        self._previews = previews
        self._counted = counted
        self._prepare = prepare
        self._clock_s = clock_s
        self._preparing: set[asyncio.Task[None]] = set()
        #: (command, "ok" or the refusal's code) -> how often; read by the metrics.
        self.outcomes: defaultdict[tuple[str, str], int] = defaultdict(int)

    def submit(
        self, row: Command, params: Params, principal: Principal, ordering: Ordering, answered: Answered
    ) -> None:
        """Carry out one command in its connection's order. `answered` is called once, on the loop."""
        if row.rate is not None and (wait_s := self._wait_s(row, params, principal)):
            self._answer(row, answered, _rate_limited(wait_s))
            return
        writes = row.kind == "write"
        prepares = isinstance(params, _HASHES) or carries_identity(params)

        def begin(over: Callable[[], None]) -> None:
            def done(outcome: Decision | BaseException) -> None:
                # Answered before the next one begins, which may be answered at once.
                try:
                    self._decided(row, params, principal, answered, outcome)
                finally:
                    over()

            if prepares:
                self._begin_prepared(params, principal, done)
            elif writes:
                self._store.write(Job(params, principal, done))
            else:
                self._store.read(Job(params, principal, done))

        # A command is prepared before it reaches the store: a write behind it would be there first.
        ordering.run(begin, writes=writes, lane=getattr(params, "room", None) if writes else None, alone=prepares)

    def subscribe(
        self,
        row: Command,
        params: replay.Subscribe,
        reader: Reader,
        principal: Principal,
        ordering: Ordering,
        is_open: Callable[[], bool],
        answered: Callable[[Subscription | None, Any], None],
    ) -> None:
        """Carry out `room.subscribe`; `answered(subscription, result or Refusal)`."""

        def begin(over: Callable[[], None]) -> None:
            def done(subscription: Subscription | None, outcome: Any) -> None:
                self._answer(row, lambda result: answered(subscription, result), outcome)

            def read(page: replay.Subscribe, got: Callable[[Decision | BaseException], None]) -> None:
                self._store.read(Job(page, principal, got))

            catchup.subscribe(self._hub, reader, params, read, is_open, done, over)

        ordering.run(begin, writes=False, lane=params.room)

    def unsubscribe(
        self,
        row: Command,
        params: replay.Unsubscribe,
        principal: Principal,
        ordering: Ordering,
        end: Callable[[], bool],
        answered: Answered,
    ) -> None:
        """Carry out `room.unsubscribe`. `end` ends the subscription and says whether there was one."""

        def begin(over: Callable[[], None]) -> None:
            def done(outcome: Decision | BaseException) -> None:
                try:
                    self._answer(row, answered, outcome.reply if isinstance(outcome, Decision) else outcome)
                finally:
                    over()

            if end():
                done(Decision({}))
            else:
                self._store.read(Job(params, principal, done))

        # In order with the subscription before it, which may still be reading, and with what was sent before it.
        ordering.run(begin, writes=True, alone=True)

    def follow(self, subscription: Subscription, principal: Principal, is_open: Callable[[], bool]) -> None:
        """Take up a subscription that was held, with the rights of this principal."""

        def read(page: replay.Subscribe, got: Callable[[Decision | BaseException], None]) -> None:
            self._store.read(Job(page, principal, got))

        catchup.follow(self._hub, subscription, read, is_open)

    def type(self, params: presence.TypingSet, principal: Principal) -> None:
        """`typing.set` of somebody known to be a member of the room."""
        self.outcomes["typing.set", "ok"] += 1
        self._type(params, principal)

    def _type(self, params: presence.TypingSet, principal: Principal) -> None:
        # What is shown ahead is what visitors type, to agents; agents are not shown to each other.
        text = params.text if self._previews and "agent" not in principal.roles else None
        self._signals.typed(params.room, principal.subject, principal.name, active=params.active, text=text)

    async def ask(self, row: Command, params: Params, principal: Principal, ordering: Ordering) -> Any:
        """As `submit`, awaited. Raises: Refusal."""
        result: Any = await called_back(functools.partial(self.submit, row, params, principal, ordering))
        if isinstance(result, Refusal):
            raise result
        return result

    def ordering(self) -> Ordering:
        """A new line of commands, for one connection or one batch."""
        return Ordering(lanes=self._store.lanes)

    def _decided(
        self, row: Command, params: Params, principal: Principal, answered: Answered, outcome: Decision | BaseException
    ) -> None:
        result: Any = outcome
        if isinstance(outcome, Decision):
            result = outcome.reply
            if isinstance(params, presence.TypingSet):
                self._type(params, principal)
            elif isinstance(params, presence.PresenceList):
                room = params.room
                self._present.when_known(room, lambda: self._answer(row, answered, self._present.listed(room)))
                return
            elif isinstance(params, sessions.List):
                for listed in result["sessions"]:
                    listed.connections = self._connections_of(listed.id)
                if self.count_elsewhere is not None:
                    self.count_elsewhere(result["sessions"], lambda: self._answer(row, answered, result))
                    return
            elif isinstance(params, streams.List):
                self._counted(result["streams"])
            elif isinstance(params, streams.Naming) and "stream" in result:
                self._counted([result["stream"]])
        self._answer(row, answered, result)

    def _answer(self, row: Command, answered: Answered, result: Any) -> None:
        if not isinstance(result, BaseException):
            self.outcomes[row.name, "ok"] += 1
            answered(result)
            return
        refusal = result if isinstance(result, Refusal) else incident(result, row.name)
        self.outcomes[row.name, refusal.code] += 1
        answered(refusal)

    def _begin_prepared(
        self, params: Params, principal: Principal, done: Callable[[Decision | BaseException], None]
    ) -> None:
        async def prepare() -> None:
            try:
                prepared = await self._prepare(params, principal)
            except Exception as refused:
                done(refused)
            else:
                self._store.write(Job(prepared, principal, done))

        task = asyncio.get_running_loop().create_task(prepare())
        self._preparing.add(task)
        task.add_done_callback(self._preparing.discard)

    def _wait_s(self, row: Command, params: Params, principal: Principal) -> float:
        if row.rate == "conversation":
            return self._conversations.take(principal.subject, self._clock_s())
        if row.rate == "case":
            if not principal.is_guest or getattr(params, "conversation", None) != principal.conversation:
                return 0.0  # nobody hears of it
            return self._guest_cases.take(principal.subject, self._clock_s())
        buckets = self._guest_messages if principal.is_guest else self._messages
        return buckets.take(principal.subject, self._clock_s())


def incident(bug: BaseException, where: str) -> Refusal:
    """Log a bug once, and give what its client is told: an id to ask about, nothing of the cause."""
    name = secrets.token_hex(6)
    log.error("incident %s in %s", name, where, exc_info=bug)
    return Refusal("internal", incident=name)


def _rate_limited(wait_s: float) -> Refusal:
    return Refusal("rate_limited", retry_after=round(wait_s + 0.0005, 3))
