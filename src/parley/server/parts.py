"""The parts of one node behind its sockets, each made with what it needs of the others, from the clock up to the door.

Decides nothing that a part could decide, and starts nothing: a node's life is `node.py`'s, what faces the network is
`front.py`'s.
"""

import asyncio
import math
import os
import random
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from parley.config import Settings
from parley.config.issuers import KeyFile, trusted_issuer
from parley.delivery.broadcast import Broadcasts
from parley.delivery.bus import ALL, LocalBus, of_room
from parley.delivery.hub import Hub
from parley.delivery.outbox import Turn
from parley.delivery.presence import Presence
from parley.delivery.readers import Subscription
from parley.delivery.redis_bus import NODE_CHARS, RedisBus
from parley.delivery.relay import Relay
from parley.delivery.rosters import Rosters
from parley.delivery.signals import Signals
from parley.dialects.native import Native
from parley.domain.conversations import QUEUE
from parley.domain.events import Change, Event, Signal
from parley.domain.ids import IdSource
from parley.domain.params import Params
from parley.domain.ports import Decision, Job, Rules
from parley.domain.principal import OPERATOR, Principal
from parley.domain.replay import Missing
from parley.service.admission import Admission
from parley.service.door import Door
from parley.service.elsewhere import SessionsElsewhere
from parley.service.helpdesk import Helpdesk
from parley.service.issuers import Issuers
from parley.service.limits import Buckets
from parley.service.nodes import Nodes
from parley.service.passwords import Passwords
from parley.service.queue import Queue
from parley.service.refusals import Refusals
from parley.service.sessions import Sessions
from parley.service.shared_limits import SharedLimits
from parley.service.sign_in import SignIn
from parley.service.streams import Streams
from parley.service.tickets import Tickets
from parley.service.watch import Watch
from parley.store import Store, open_store
from parley.store.keyring import FollowedKeyring, Keyring
from parley.store.refusals import RefusalFile
from parley.tokens import Issuer, RevocationSet, Verifier
from parley.tokens.adapters.jwks_http import JwksSource
from parley.transport.connections import Connections
from parley.transport.timers import Wheel
from parley.transport.wires import FramedEncoder

#: How the ids of conversations begin.
CONVERSATIONS: Final = "c-"

#: For rules that know no 0: a limit that is off.
_NO_LIMIT: Final = 2**53


class Clock:
    """The time of a node: `unix_s` that tokens go by, `monotonic_s` that waits go by (the loop's). Tests move it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        #: The loop's own method, with none of ours around it: every message asks it several times.
        self.monotonic_s: Callable[[], float] = loop.time

    def unix_s(self) -> float:
        return time.time()

    def unix_ms(self) -> int:
        return int(self.unix_s() * 1000)


class Parts:
    """What a node is made of. Each method stands on those before it, and is called once.

    `address` is where other nodes reach this one.
    """

    def __init__(self, settings: Settings, clock: Clock, loop: asyncio.AbstractEventLoop, address: str) -> None:
        self.settings = settings
        self.clock = clock
        self.loop = loop
        self.new_id = IdSource(clock.unix_ms, os.urandom)
        self._open_store()
        self.others: RedisBus | None = self.bus if isinstance(self.bus, RedisBus) else None
        self._make_delivery()
        self._make_tokens()
        self._make_sign_in()
        self._make_helpdesk()
        self._make_streams()
        self._make_door()
        self._make_nodes(address)
        self._make_watch()

    def _open_store(self) -> None:
        settings, clock = self.settings, self.clock
        self.store = open_store(
            settings.store_url,
            clock_ms=clock.unix_ms,
            random_bytes=os.urandom,
            rules=Rules(
                message_chars=settings.limits.message_chars or _NO_LIMIT,
                replay_bytes=settings.limits.replay_bytes or _NO_LIMIT,
                delete_own=settings.policy.delete_own,
                access_ttl_s=int(settings.auth.access_ttl) + 1,
                refresh_reuse_s=settings.auth.refresh_reuse,
                guest_ttl_s=int(settings.auth.guest_ttl) + 1,
                capacity=settings.helpdesk.capacity,
                return_after_s=settings.helpdesk.return_after,
                preview=settings.helpdesk.preview,
            ),
            loop_call=self.loop.call_soon_threadsafe,
            published=lambda events, changes, signals: self.bus.publish(events, changes, signals),
        )
        url = settings.bus_url
        self.bus: LocalBus | RedisBus = LocalBus()
        if url is not None:
            node = secrets.token_hex(NODE_CHARS // 2)
            self.bus = RedisBus(url.get_secret_value(), node=node, name=self.store.epoch, random=random.random)

    def _make_delivery(self) -> None:
        loop, clock = self.loop, self.clock
        self.wheel = wheel = Wheel(clock.monotonic_s)
        wheel.attach(loop)
        self.turn = Turn(loop.call_soon, self.run_due)
        self.hub = hub = Hub(self.turn, loop.call_soon, _missing_from(self.store), clock.monotonic_s)
        self.present = present = Presence(clock.monotonic_s, self.bus, None if self.others is None else loop.call_later)
        self.signals = signals = Signals(hub, clock.monotonic_s, present.count)
        present.told = signals
        hub.left = present.left
        if (bus := self.others) is not None:
            signals.publish = lambda told: bus.publish((), (), (told,))
            _follow_rooms(hub, bus, present.rosters)

    def run_due(self) -> None:
        # A process that was paused wakes up to its sockets before its timers: what is due takes effect first.
        now_s = self.clock.monotonic_s()
        while now_s >= self.wheel.next_deadline_s:
            self.wheel.run_due(now_s)

    def _make_tokens(self) -> None:
        settings, clock, auth = self.settings, self.clock, self.settings.auth
        self.revocations = RevocationSet()
        self.keys = FollowedKeyring(
            lambda: _keyring(settings, clock),
            settings.data / "keys",
            clock.unix_ms,
            lambda keyring: self.verifier.replace(keys=keyring.keyset),
        )
        key_files = {one.issuer: file for one in auth.issuers if (file := KeyFile.of(one)) is not None}
        self.verifier = Verifier(
            self.keys.keyring.keyset,
            issuer=auth.issuer,
            audience=auth.audience,
            trusted_issuers=[
                trusted_issuer(one, key_files[one.issuer].read() if one.issuer in key_files else None)
                for one in auth.issuers
            ],
            revocations=self.revocations,
        )
        self.issuers = Issuers(
            self.verifier,
            self._sources(),
            key_files,
            look_for_own=self.keys.look,
            call_later=self.loop.call_later,
        )
        self.tickets = Tickets(
            self.store, ttl_s=auth.ticket_ttl, clock_ms=clock.unix_ms, random_text=secrets.token_urlsafe
        )
        self.admission = Admission(self.verifier, self.issuers, self.store, self.tickets, clock.unix_s)
        refusal_file = RefusalFile(settings.data, lambda write: self.loop.run_in_executor(None, write))
        self.refusals = Refusals(refusal_file.keep, clock_ms=clock.unix_ms, clock_s=clock.monotonic_s)

    def _sources(self) -> dict[str, JwksSource]:
        """Where the keys of external issuers are fetched, by their `iss`."""
        allow = self.settings.outgoing.allow
        return {
            one.issuer: JwksSource(one.jwks_url, allow=allow, clock_s=self.clock.monotonic_s)
            for one in self.settings.auth.issuers
            if one.jwks_url is not None
        }

    def issuer(self) -> Issuer:
        """Who signs now: the key may change."""
        auth = self.settings.auth
        return Issuer(self.keys.keyring.signing_key, issuer=auth.issuer, audience=auth.audience)

    def _make_sign_in(self) -> None:
        limits, auth, clock = self.settings.limits, self.settings.auth, self.clock
        self.passwords = Passwords()
        self.sign_in = SignIn(
            self.store,
            self.passwords,
            issuer=self.issuer,
            refresh_key=self.keys.keyring.refresh_key,
            access_ttl_s=auth.access_ttl,
            refresh_ttl_s=auth.refresh_ttl,
            login_failures=limits.login_failures,
            clock_s=clock.unix_s,
            monotonic_s=clock.monotonic_s,
            new_id=self.new_id,
        )
        self.sessions = Sessions(
            self.store,
            self.verifier,
            issuer=self.issuer,
            refresh_key=self.keys.keyring.refresh_key,
            access_ttl_s=auth.access_ttl,
            guest_ttl_s=auth.guest_ttl,
            refresh_ttl_s=auth.refresh_ttl,
            clock_s=clock.unix_s,
            new_id=self.new_id,
        )
        self.connections = Connections(
            total_max=limits.connections_total,
            pending_max=limits.pending_connections,
            pending_per_address=limits.pending_per_address,
            per_subject=limits.connections,
            per_service=limits.service_connections,
        )

    def _make_helpdesk(self) -> None:
        limits, auth, clock = self.settings.limits, self.settings.auth, self.clock
        self.beginnings = Buckets(limits.conversations_per_min / 60, math.ceil(limits.conversations_per_min))
        self.helpdesk = Helpdesk(
            self.store,
            self.admission,
            issuer=self.issuer,
            refresh_key=self.keys.keyring.refresh_key,
            guest_ttl_s=auth.guest_ttl,
            refresh_ttl_s=auth.refresh_ttl,
            beginnings=self.beginnings,
            clock_s=clock.unix_s,
            monotonic_s=clock.monotonic_s,
            new_id=self.new_id,
        )
        self.queue = Queue(
            self.store,
            self.hub,
            lambda: self.connections,
            return_after_s=self.settings.helpdesk.return_after,
            schedule=self.wheel.schedule,
            clock_s=clock.monotonic_s,
            clock_ms=clock.unix_ms,
        )

    def _make_streams(self) -> None:
        clock = self.clock
        self.native = Native()
        self.framed = FramedEncoder(self.native)
        self.broadcasts = Broadcasts(self.loop.call_soon, self.run_due, lambda: self.connections.is_fenced)
        self.relay = Relay(self.bus, self.broadcasts, clock.monotonic_s)
        self.streams = Streams(
            self.store,
            self.hub,
            self.broadcasts,
            carry=self.relay.carry,
            encode=self.framed.signal,
            schedule=self.wheel.schedule,
            clock_s=clock.monotonic_s,
            clock_ms=clock.unix_ms,
        )

    def _make_door(self) -> None:
        limits, present, queue = self.settings.limits, self.present, self.queue

        def came(subscription: Subscription) -> None:
            present.came(subscription)
            queue.came(subscription)

        async def prepare(params: Params, principal: Principal) -> Params:
            return await self.helpdesk.prepared(await self.sign_in.prepared(params, principal), principal)

        self.hub.came = came
        self.messages = Buckets(limits.messages_per_s, limits.messages_burst)
        self.guest_messages = Buckets(limits.guest_messages_per_s, limits.guest_messages_burst)
        self.bad_tokens = Buckets(limits.bad_tokens_per_s, limits.bad_tokens_per_s)
        self.door = Door(
            self.store,
            self.hub,
            self.signals,
            present,
            messages=self.messages,
            guest_messages=self.guest_messages,
            guest_cases=Buckets(limits.guest_messages_per_s, 12 * limits.guest_messages_burst),
            conversations=self.beginnings,
            prepare=prepare,
            clock_s=self.clock.monotonic_s,
            connections_of=self.connections.count,
            previews=self.settings.helpdesk.preview,
            counted=self.streams.counted,
        )

    def _make_nodes(self, address: str) -> None:
        bus, rosters, relay, connections = self.others, self.present.rosters, self.relay, self.connections
        self.nodes = nodes = Nodes(
            self.store,
            bus.node if bus is not None else "",
            address,
            lambda: self.keys.keyring.fingerprint,
            [rosters, relay],
            call_later=self.loop.call_later,
            clock_s=self.clock.monotonic_s,
        )
        if bus is None:
            return
        shared = SharedLimits(bus, lambda: nodes.living, self.clock.monotonic_s)
        for name, buckets in (("m", self.messages), ("g", self.guest_messages), ("c", self.beginnings)):
            shared.share_buckets(name, buckets)
        shared.share_failures(self.sign_in.failures)
        self.door.count_elsewhere = SessionsElsewhere(
            bus, connections.count, lambda: nodes.living, self.loop.call_later
        ).add
        counted = connections.crowded = shared.share_connections(connections)
        nodes.hello = lambda: bus.note(ALL, "node.lives", address)
        bus.hear("node.lives", nodes.met)

        def came_up() -> None:
            nodes.hello()
            rosters.announce()
            relay.announce()
            for subject, count, limit in connections.counts():
                counted(subject, count, limit)

        bus.came_up = came_up

    def _make_watch(self) -> None:
        queue = self.queue
        self.watch = watch = Watch(
            self.store,
            self.hub,
            self.signals,
            self.present,
            self.admission,
            self.connections,
            self.revocations,
            self.wheel.schedule,
            self.loop.call_later,
            self.clock.unix_ms,
            self.streams.changed,
        )
        if self.others is not None:
            self.streams.listeners_elsewhere = self.relay.elsewhere
            watch.ticks.append(self.relay.tick)

        def received(events: Sequence[Event], changes: Sequence[Change], signals: Sequence[Signal]) -> None:
            watch.received(events, changes, signals)
            queue.received(events)

        self.bus.receive(received)


def _keyring(settings: Settings, clock: Clock) -> Keyring:
    secret = settings.auth.secret
    return Keyring.load(
        settings.data / "keys",
        algorithm=settings.auth.algorithm,
        secret=secret.get_secret_value() if secret is not None else None,
        now_ms=clock.unix_ms(),
        random_bytes=os.urandom,
    )


def _follow_rooms(hub: Hub, bus: RedisBus, rosters: Rosters) -> None:
    """A node hears the rooms that somebody here reads; whoever waits in a conversation, the queue as well."""

    def opened(room: str) -> None:
        rosters.follow(room)
        if room.startswith(CONVERSATIONS):
            bus.follow(of_room(QUEUE))

    def closed(room: str) -> None:
        rosters.leave(room)
        if room.startswith(CONVERSATIONS):
            bus.leave(of_room(QUEUE))

    def followed(topic: str) -> None:
        if topic.startswith(of_room("")):
            rosters.ask(topic.removeprefix(of_room("")))

    hub.opened, hub.closed = opened, closed
    bus.followed = followed


def _missing_from(store: Store) -> Any:
    """How the hub reads what it missed: as the operator, for it has checked who may read at the subscription."""

    def read(room: str, after: int, done: Callable[[tuple[list[Event], bool] | None], None]) -> None:
        def decided(outcome: Decision | BaseException) -> None:
            done(outcome.reply if isinstance(outcome, Decision) else None)

        store.read(Job(Missing(room=room, after=after), OPERATOR, decided))

    return read
