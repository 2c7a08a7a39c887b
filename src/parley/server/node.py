"""One node: every part of it, and its life from its settings to its last commit.

Builds every part and hands each what it needs; decides nothing that a part could decide.
"""

import asyncio
import contextlib
import gc
import logging
import math
import os
import random
import secrets
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvicorn
from starlette.requests import Request

from parley import __version__, logs
from parley.config import Settings
from parley.config.issuers import KeyFile, trusted_issuer
from parley.delivery.broadcast import Broadcasts
from parley.delivery.bus import LocalBus, of_room
from parley.delivery.hub import Hub
from parley.delivery.outbox import Turn
from parley.delivery.presence import Presence
from parley.delivery.readers import Subscription
from parley.delivery.redis_bus import NODE_CHARS, RedisBus
from parley.delivery.relay import Relay
from parley.delivery.rosters import Rosters
from parley.delivery.signals import Signals
from parley.dialects.graphql_documents import Documents
from parley.dialects.native import Native
from parley.dialects.socketio import SocketIo
from parley.domain.conversations import QUEUE
from parley.domain.events import Change, Event, Signal
from parley.domain.ids import IdSource
from parley.domain.params import Params
from parley.domain.ports import Decision, Job, Rules
from parley.domain.principal import OPERATOR, Principal
from parley.domain.replay import Missing
from parley.domain.revocation import InForce
from parley.domain.streams import Restarted
from parley.metrics import Metrics
from parley.server.workers import reuse_port
from parley.service.admission import Admission
from parley.service.door import Door
from parley.service.helpdesk import Helpdesk
from parley.service.issuers import Issuers
from parley.service.limits import Buckets
from parley.service.nodes import Nodes
from parley.service.passwords import Passwords, hash_password
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
from parley.tokens.bearer import (
    GRAPHQL_SOCKET,
    NATIVE_SOCKET,
    SOCKETIO_POLLING,
    SOCKETIO_UPGRADE,
    credential_in_socketio_auth,
)
from parley.transport.addresses import Addresses
from parley.transport.app import AppParts, create_app
from parley.transport.connection import Node, Timing
from parley.transport.connections import Connections
from parley.transport.engineio import Engine
from parley.transport.graphql_socket import Sockets
from parley.transport.handing_on import HandingOn
from parley.transport.handshake import Handshake, Place
from parley.transport.health import Dependency, revocations
from parley.transport.http import Handlers
from parley.transport.http_protocol import HttpProtocol
from parley.transport.origins import Origins
from parley.transport.polling import Polling
from parley.transport.stream_sockets import StreamSockets
from parley.transport.streams import StreamHandlers
from parley.transport.timers import Wheel
from parley.transport.upgrade import upgrade_protocol
from parley.transport.wires import FramedEncoder, Wire

log = logging.getLogger(__name__)

#: How long a drain may take; the orchestrator's patience is 10 s.
DRAIN_S: Final = 6
KEYS_LOOKED_AT_S: Final = 0.5
#: Connections that wait to be accepted.
BACKLOG: Final = 2048
#: How the ids of conversations begin.
CONVERSATIONS: Final = "c-"
#: What is counted under its own name; others are whatever a client calls them.
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Beside:
    """What a node is given that is one of several workers: their port, and where it listens for the others."""

    port: int
    socket_path: Path


class Clock:
    """The time of a node: `unix_s` that tokens go by, `monotonic_s` that waits go by (the loop's). Tests move it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def unix_s(self) -> float:
        return time.time()

    def monotonic_s(self) -> float:
        return self._loop.time()

    def unix_ms(self) -> int:
        return int(self.unix_s() * 1000)


class Server:
    """One node. `run` is its whole life; `ready` is set once it accepts connections at `url`."""

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[asyncio.AbstractEventLoop], Clock] = Clock,
        beside: Beside | None = None,
    ) -> None:
        self._settings = settings
        self._beside = beside
        self._clock_of = clock
        self._port = settings.port
        self.ready = asyncio.Event()
        # Until there is something to stop or to read again.
        self.stop: Callable[[], None] = lambda: None
        self.reread_keys: Callable[[], None] = lambda: None

    @property
    def url(self) -> str:
        return f"http://{_shown(self._settings.host)}:{self._port}"

    async def run(self, *, demo: bool = False) -> int:
        settings = self._settings
        loop = asyncio.get_running_loop()
        self.clock = clock = self._clock_of(loop)
        listener = _listen(settings.host, settings.port, self._beside)
        self._port = listener.getsockname()[1]
        self.store = store = open_store(
            settings.store_url,
            clock_ms=clock.unix_ms,
            random_bytes=os.urandom,
            rules=Rules(
                message_chars=settings.limits.message_chars,
                replay_bytes=settings.limits.replay_bytes,
                delete_own=settings.policy.delete_own,
                access_ttl_s=int(settings.auth.access_ttl) + 1,
                refresh_reuse_s=settings.auth.refresh_reuse,
                guest_ttl_s=int(settings.auth.guest_ttl) + 1,
                capacity=settings.helpdesk.capacity,
                return_after_s=settings.helpdesk.return_after,
                preview=settings.helpdesk.preview,
            ),
            loop_call=loop.call_soon_threadsafe,
            published=lambda events, changes, signals: bus.publish(events, changes, signals),
        )
        bus = self.bus = self._bus(store)
        try:
            if demo:
                from parley.demo.furnishing import furnish

                furnish(store, hash_password)
            server, watch, keys = self._build(loop, clock, store, bus)
            self.stop = server.stop
            if isinstance(bus, RedisBus):
                bus.start()
                self.nodes.start()
            watch.start(store.execute(InForce()).reply)
            self.queue.start()
            if settings.store_url.startswith("sqlite"):
                store.execute(Restarted())  # no other node has a broadcaster
            self.streams.start()
            following = loop.create_task(_follow(keys, self.issuers))
            gc.collect()
            gc.freeze()  # what is here now stays: keep the collector from walking it again and again
            await server.serve(sockets=[listener, *self._inside()])
            following.cancel()
            watch.stop()
            self.queue.stop()
            self.streams.stop()
            self.nodes.stop()
            if isinstance(bus, RedisBus):
                await bus.stop()
        finally:
            listener.close()
            await asyncio.to_thread(store.close, DRAIN_S)
        return 0

    def _address(self) -> str:
        """Where the other nodes reach this one: its URL, and its UNIX socket where it is one of several workers."""
        settings = self._settings
        host = own_address() if settings.host in ("0.0.0.0", "::", "[::]") else settings.host  # noqa: S104
        url = settings.node_url or f"http://{_shown(host)}:{self._port}"
        return url if self._beside is None else f"{url} {self._beside.socket_path}"

    def _is_beside(self, address: str) -> bool:
        path = address.partition(" ")[2]
        return self._beside is not None and Path(path).parent == self._beside.socket_path.parent

    def _inside(self) -> list[socket.socket]:
        """Where the other workers reach this one."""
        if self._beside is None:
            return []
        inside = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        inside.bind(str(self._beside.socket_path))
        inside.listen(BACKLOG)
        return [inside]

    def _bus(self, store: Store) -> LocalBus | RedisBus:
        url = self._settings.bus_url
        if url is None:
            return LocalBus()
        node = secrets.token_hex(NODE_CHARS // 2)
        return RedisBus(url.get_secret_value(), node=node, name=store.epoch, random=random.random)

    def _sources(self, clock: Clock) -> dict[str, JwksSource]:
        """Where the keys of external issuers are fetched, by their `iss`."""
        allow = self._settings.outgoing.allow
        return {
            one.issuer: JwksSource(one.jwks_url, allow=allow, clock_s=clock.monotonic_s)
            for one in self._settings.auth.issuers
            if one.jwks_url is not None
        }

    def obey_signals(self) -> None:
        """SIGTERM and SIGINT drain, SIGHUP reads the keys again."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, lambda: self.stop())
        loop.add_signal_handler(signal.SIGHUP, lambda: self.reread_keys())

    def _build(
        self, loop: asyncio.AbstractEventLoop, clock: Clock, store: Store, bus: LocalBus | RedisBus
    ) -> tuple["_Uvicorn", Watch, FollowedKeyring]:
        settings = self._settings
        limits, auth = settings.limits, settings.auth
        self.wheel = wheel = Wheel(clock.monotonic_s)
        wheel.attach(loop)

        def run_due() -> None:
            # A process that was paused wakes up to its sockets before its timers: what is due takes effect first.
            now_s = clock.monotonic_s()
            while now_s >= wheel.next_deadline_s:
                wheel.run_due(now_s)

        turn = Turn(loop.call_soon, run_due)
        hub = Hub(turn, loop.call_soon, _missing_from(store), clock.monotonic_s)
        is_alone = isinstance(bus, LocalBus)
        present = Presence(clock.monotonic_s, bus, None if is_alone else loop.call_later)
        signals = Signals(hub, clock.monotonic_s, present.count)
        present.told = signals
        hub.left = present.left
        if isinstance(bus, RedisBus):
            signals.publish = lambda told: bus.publish((), (), (told,))
            _follow_rooms(hub, bus, present.rosters)

        revocations = RevocationSet()
        self.keys = keys = FollowedKeyring(
            lambda: _keyring(settings, clock),
            settings.data / "keys",
            clock.unix_ms,
            lambda keyring: verifier.replace(keys=keyring.keyset),
        )
        self.reread_keys = keys.read_again
        key_files = {one.issuer: file for one in auth.issuers if (file := KeyFile.of(one)) is not None}
        verifier = Verifier(
            keys.keyring.keyset,
            issuer=auth.issuer,
            audience=auth.audience,
            trusted_issuers=[
                trusted_issuer(one, key_files[one.issuer].read() if one.issuer in key_files else None)
                for one in auth.issuers
            ],
            revocations=revocations,
        )

        def issuer() -> Issuer:
            return Issuer(keys.keyring.signing_key, issuer=auth.issuer, audience=auth.audience)

        new_id = IdSource(clock.unix_ms, os.urandom)
        passwords = Passwords()
        sign_in = SignIn(
            store,
            passwords,
            issuer=issuer,
            refresh_key=keys.keyring.refresh_key,
            access_ttl_s=auth.access_ttl,
            refresh_ttl_s=auth.refresh_ttl,
            login_failures=limits.login_failures,
            clock_s=clock.unix_s,
            monotonic_s=clock.monotonic_s,
            new_id=new_id,
        )
        tickets = Tickets(store, ttl_s=auth.ticket_ttl, clock_ms=clock.unix_ms, random_text=secrets.token_urlsafe)
        sessions = Sessions(
            store,
            verifier,
            issuer=issuer,
            refresh_key=keys.keyring.refresh_key,
            access_ttl_s=auth.access_ttl,
            guest_ttl_s=auth.guest_ttl,
            refresh_ttl_s=auth.refresh_ttl,
            clock_s=clock.unix_s,
            new_id=new_id,
        )
        self.connections = connections = Connections(
            total_max=limits.connections_total,
            pending_max=limits.pending_connections,
            pending_per_address=limits.pending_per_address,
            per_subject=limits.connections,
            per_service=limits.service_connections,
        )
        self.issuers = Issuers(verifier, self._sources(clock), key_files)
        admission = Admission(verifier, self.issuers, store, tickets, clock.unix_s)
        refusal_file = RefusalFile(settings.data, lambda write: loop.run_in_executor(None, write))
        refusals = Refusals(refusal_file.keep, clock_ms=clock.unix_ms, clock_s=clock.monotonic_s)
        beginnings = Buckets(limits.conversations_per_min / 60, math.ceil(limits.conversations_per_min))
        helpdesk = Helpdesk(
            store,
            admission,
            issuer=issuer,
            refresh_key=keys.keyring.refresh_key,
            guest_ttl_s=auth.guest_ttl,
            refresh_ttl_s=auth.refresh_ttl,
            beginnings=beginnings,
            clock_s=clock.unix_s,
            monotonic_s=clock.monotonic_s,
            new_id=new_id,
        )
        self.queue = queue = Queue(
            store,
            hub,
            lambda: connections,
            return_after_s=settings.helpdesk.return_after,
            schedule=wheel.schedule,
            clock_s=clock.monotonic_s,
            clock_ms=clock.unix_ms,
        )

        native = Native()
        framed = FramedEncoder(native)
        broadcasts = Broadcasts(loop.call_soon, run_due, lambda: connections.is_fenced)
        relay = Relay(bus, broadcasts, clock.monotonic_s)
        self.streams = streams = Streams(
            store,
            hub,
            broadcasts,
            carry=relay.carry,
            encode=framed.signal,
            schedule=wheel.schedule,
            clock_s=clock.monotonic_s,
            clock_ms=clock.unix_ms,
        )

        def came(subscription: Subscription) -> None:
            present.came(subscription)
            queue.came(subscription)

        async def prepare(params: Params, principal: Principal) -> Params:
            return await helpdesk.prepared(await sign_in.prepared(params, principal), principal)

        hub.came = came
        messages = Buckets(limits.messages_per_s, limits.messages_burst)
        guest_messages = Buckets(limits.guest_messages_per_s, limits.guest_messages_burst)
        door = Door(
            store,
            hub,
            signals,
            present,
            messages=messages,
            guest_messages=guest_messages,
            guest_cases=Buckets(limits.guest_messages_per_s, 4 * limits.guest_messages_burst),
            conversations=beginnings,
            prepare=prepare,
            clock_s=clock.monotonic_s,
            connections_of=connections.count,
            previews=settings.helpdesk.preview,
            counted=streams.counted,
        )
        self.nodes = Nodes(
            store,
            bus.node if isinstance(bus, RedisBus) else "",
            self._address(),
            lambda: keys.keyring.fingerprint,
            [present.rosters, relay],
            call_later=loop.call_later,
            clock_s=clock.monotonic_s,
        )
        if isinstance(bus, RedisBus):
            shared = SharedLimits(bus, lambda: self.nodes.living, clock.monotonic_s)
            for name, buckets in (("m", messages), ("g", guest_messages), ("c", beginnings)):
                shared.share_buckets(name, buckets)
            shared.share_failures(sign_in.failures)
            counted = connections.crowded = shared.share_connections(connections)

            def came_up() -> None:
                present.rosters.announce()
                relay.announce()
                for subject, count, limit in connections.counts():
                    counted(subject, count, limit)

            bus.came_up = came_up
        watch = Watch(
            store,
            hub,
            signals,
            present,
            admission,
            connections,
            revocations,
            wheel.schedule,
            loop.call_later,
            clock.unix_ms,
            streams.changed,
        )
        if isinstance(bus, RedisBus):
            streams.listeners_elsewhere = relay.elsewhere
            watch.ticks.append(relay.tick)

        def received(events: Sequence[Event], changes: Sequence[Change], signals: Sequence[Signal]) -> None:
            watch.received(events, changes, signals)
            queue.received(events)

        bus.receive(received)
        bad_tokens = Buckets(limits.bad_tokens_per_s, limits.bad_tokens_per_s)
        node = Node(
            door=door,
            hub=hub,
            turn=turn,
            admission=admission,
            connections=connections,
            wheel=wheel,
            clock_s=clock.monotonic_s,
            clock_ms=clock.unix_ms,
            new_id=new_id,
            bad_tokens=bad_tokens,
            refusals=refusals,
            carriers=frozenset(auth.carriers),
            timing=Timing(
                ping_interval_s=limits.ping_interval,
                ping_timeout_s=limits.ping_timeout,
                lifetime_s=limits.connection_lifetime,
                authentication_s=limits.auth_timeout,
                margin_s=auth.margin,
                grace_s=auth.grace,
            ),
            slow_consumer_bytes=limits.slow_consumer_bytes,
            subscriptions_max=limits.subscriptions,
        )
        metrics = Metrics(__version__)
        requests: Counter[tuple[str, str]] = Counter()

        def answered(method: str, path: str, status: int, took_ms: float, address: str) -> None:
            logs.access(method, path, status, took_ms, address)
            requests[method if method in _METHODS else "other", str(status)] += 1

        origins = Origins(settings.public_url, lambda: self._port, settings.allowed_origins)
        addresses = Addresses(settings.trusted_proxies)
        handing_on: HandingOn | None = None
        if isinstance(bus, RedisBus):
            handing_on = HandingOn(bus.node, self.nodes.living.get, lambda: keys.keyring.refresh_key, clock.unix_s)

        async def page_of_metrics(request: Request) -> bytes:
            if self._beside is None or handing_on is None:
                return metrics.render()
            if handing_on.was_handed_on(request.headers.items()):
                return metrics.told()
            beside = [address for address in self.nodes.living.values() if self._is_beside(address)]
            told = await asyncio.gather(*(handing_on.ask(each, "/metrics") for each in beside), return_exceptions=True)
            return metrics.render_together(each for each in told if isinstance(each, bytes))

        # Engine.IO tells its clients the times of its pings, and they count on them: without a ping of ours they leave.
        self.engine = engine = Engine(
            ping_interval_s=limits.ping_interval or 25,
            ping_timeout_s=limits.ping_timeout or 20,
            payload_bytes_max=limits.request_bytes,
            clock=clock.monotonic_s,
            call_at=wheel.schedule,
            new_sid=lambda: (bus.node if isinstance(bus, RedisBus) else "") + secrets.token_urlsafe(18),
        )
        socketio = Place(SOCKETIO_UPGRADE, _socketio_wire(limits.request_bytes), engine)
        documents = Documents()
        graphql = Sockets(documents)
        native_wire = Wire(lambda: native, framed)
        sockets = StreamSockets(streams, native_wire, frozenset(auth.carriers))
        audio: list[StreamHandlers] = []

        def stream_handlers(handlers: Handlers) -> StreamHandlers:
            audio.append(StreamHandlers(streams, node, handlers))
            return audio[-1]

        def drain() -> None:
            engine.drain()
            for each in audio:
                each.drain()

        handshake = Handshake(
            node,
            {
                "/ws": Place(NATIVE_SOCKET, native_wire),
                "/socket.io/": socketio,
                "/graphql": Place(GRAPHQL_SOCKET, graphql.wire, connection=graphql.connection),
            },
            origins,
            addresses,
            limits.request_bytes,
            sockets.place,
            handing_on,
        )
        app = create_app(
            AppParts(
                door=door,
                admission=admission,
                sign_in=sign_in,
                sessions=sessions,
                tickets=tickets,
                helpdesk=helpdesk,
                jwks=lambda: keys.keyring.keyset.to_jwks(),
                origins=origins,
                addresses=addresses,
                carriers=frozenset(auth.carriers),
                bad_tokens=bad_tokens,
                refusals=refusals,
                request_bytes_max=limits.request_bytes,
                clock_s=clock.monotonic_s,
                clock_ms=clock.unix_ms,
                readiness=lambda: _readiness(watch, clock, bus, self.nodes),
                metrics=page_of_metrics,
                metrics_allow=settings.metrics_allow,
                access=answered,
                widget_origins=settings.widget_origins,
                documents=documents,
                streams=stream_handlers,
                socketio=Polling(
                    engine,
                    lambda request: handshake.poll(request, socketio, SOCKETIO_POLLING),
                    handshake.require_origin,
                    handing_on,
                ),
            )
        )
        metrics.read("parley_connections", node.connections.by_dialect)
        metrics.read("parley_connections_pending", lambda: node.connections.pending)
        metrics.read("parley_handshakes", lambda: handshake.outcomes)
        metrics.read("parley_closes", lambda: {str(code): count for code, count in node.closed.items()})
        metrics.read("parley_slow_consumers", lambda: node.closed[4420])
        metrics.read("parley_requests", lambda: requests)
        metrics.read("parley_commit_commands", lambda: store.tally.commands)
        metrics.read("parley_commit_seconds", lambda: store.tally.seconds)
        metrics.read("parley_store_waiting", lambda: store.waiting)
        metrics.read("parley_store_available", lambda: store.tally.is_available)
        metrics.read("parley_passwords_waiting", lambda: passwords.waiting)
        metrics.read("parley_commands", lambda: door.outcomes)
        metrics.read("parley_deliveries", lambda: hub.deliveries)
        metrics.read("parley_rooms_read", lambda: len(hub.rooms))
        metrics.read("parley_subscriptions", lambda: sum(len(room.subscribers) for room in hub.rooms.values()))
        metrics.read("parley_streams_live", lambda: streams.broadcasters)
        metrics.read("parley_stream_listeners", lambda: broadcasts.listeners_in_all)
        metrics.read("parley_stream_pages", lambda: broadcasts.pages_delivered)
        metrics.read("parley_stream_pages_dropped", lambda: broadcasts.pages_passed_over)
        metrics.read("parley_broadcasts", lambda: streams.outcomes)
        metrics.read("parley_poll_age_seconds", lambda: (clock.unix_ms() - (watch.polled_at_ms or 0)) / 1000)
        metrics.read("parley_nodes", lambda: 1 + len(self.nodes.living))
        metrics.read("parley_bus_up", lambda: bus.is_up)
        metrics.read("parley_bus_parcels", lambda: {"published": bus.published, "heard": bus.received})
        config = uvicorn.Config(
            app,
            http=HttpProtocol,
            ws=upgrade_protocol(handshake.decide, call_at=wheel.schedule, clock=clock.monotonic_s),  # type: ignore[arg-type]
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=DRAIN_S,
        )
        return _Uvicorn(config, self.ready.set, drain), watch, keys


def _socketio_wire(attachment_bytes_max: int) -> Wire:
    return Wire(
        lambda: SocketIo(attachment_bytes_max),
        FramedEncoder(SocketIo()),
        credential_in_socketio_auth,
        keeps_alive=False,
    )


class _Uvicorn(uvicorn.Server):
    """uvicorn's server without its signal handlers, which would end the process by the signal and not with 0."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], drain: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready
        self._drain = drain

    def stop(self) -> None:
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._drain()  # sessions over HTTP are no sockets of uvicorn's, which tells those itself
        await super().shutdown(sockets)


async def _follow(keys: FollowedKeyring, issuers: Issuers) -> None:
    """What the command line does to the keys beside a running server is followed within a second; others' keys too."""
    while True:
        issuers.look()
        await asyncio.sleep(KEYS_LOOKED_AT_S)
        keys.look()


def _keyring(settings: Settings, clock: Clock) -> Keyring:
    return Keyring.load(
        settings.data / "keys",
        algorithm=settings.auth.algorithm,
        secret=_secret(settings),
        now_ms=clock.unix_ms(),
        random_bytes=os.urandom,
    )


def _listen(host: str, port: int, beside: Beside | None) -> socket.socket:
    listener = reuse_port(host, beside.port) if beside is not None else _bound(host, port)
    listener.listen(BACKLOG)
    # Those accepted inherit it. uvloop sets it itself, asyncio's own loop does not: a head and its body are two
    # segments, and the second would wait 40 ms for the first to be acknowledged.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host.strip("[]"), port), family=family, backlog=BACKLOG)


def own_address() -> str:
    """This machine's, as its own name is resolved."""
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return "127.0.0.1"


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _secret(settings: Settings) -> str | None:
    secret = settings.auth.secret
    return secret.get_secret_value() if secret is not None else None


def _readiness(watch: Watch, clock: Clock, bus: LocalBus | RedisBus, nodes: Nodes) -> list[Dependency]:
    """What the node stands on: a store that answers, a poll that has read what was revoked; among others, a bus, and
    the keys that the others have."""
    polled = revocations(watch.polled_at_ms, clock.unix_ms())
    found = [Dependency("store", polled.state), polled]
    if isinstance(bus, RedisBus):
        found.append(Dependency("bus", "ok" if bus.is_up else "degraded"))
        keys = Dependency("keys", "ok") if nodes.has_the_keys else Dependency("keys", "down", "not the store's")
        found.append(keys)
    return found


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
