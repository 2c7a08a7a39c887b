"""What of a node faces the network: its connections, the handshake, the application, the metrics.

Made from the parts behind it (`parts.py`); listens at nothing (`listening.py`).
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from starlette.requests import Request

from parley import __version__, logs
from parley.dialects.graphql_documents import Documents
from parley.dialects.socketio import SocketIo
from parley.metrics import Metrics
from parley.server.parts import Parts
from parley.tokens.bearer import (
    GRAPHQL_SOCKET,
    NATIVE_SOCKET,
    SOCKETIO_POLLING,
    SOCKETIO_UPGRADE,
    credential_in_socketio_auth,
)
from parley.transport.addresses import Addresses
from parley.transport.app import AppParts, create_app
from parley.transport.engine import Engine
from parley.transport.graphql_socket import Sockets
from parley.transport.handing_on import HandingOn
from parley.transport.handshake import Handshake, Place
from parley.transport.health import Dependency, revocations
from parley.transport.http import Handlers
from parley.transport.node import Node, Timing
from parley.transport.origins import Origins
from parley.transport.polling import Polling
from parley.transport.stream_sockets import StreamSockets
from parley.transport.streams import StreamHandlers
from parley.transport.upgrade import upgrade_protocol
from parley.transport.wires import FramedEncoder, Wire

#: What is counted under its own name; others are whatever a client calls them.
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: How long a drain goes on listening for those whose next poll is on its way.
FAREWELLS_S: Final = 0.5


class Front:
    """`app` is the ASGI application, `upgrades` uvicorn's `ws=`; `drain` tells what uvicorn knows nothing of.

    `port` is asked for once it listens; `is_beside` says of another node's address whether it is a worker of the same
    parent, and is None where there is none.
    """

    def __init__(self, parts: Parts, port: Callable[[], int], is_beside: Callable[[str], bool] | None) -> None:
        self._parts = parts
        self._is_beside = is_beside
        self._requests: Counter[tuple[str, str]] = Counter()
        self._audio: list[StreamHandlers] = []
        self.metrics = Metrics(__version__)
        self.node = self._node()
        self._origins = Origins(parts.settings.public_url, port, parts.settings.allowed_origins)
        self._addresses = Addresses(parts.settings.trusted_proxies)
        self._handing_on: HandingOn | None = None
        if parts.others is not None:
            self._handing_on = HandingOn(
                parts.others.node, parts.nodes.living.get, lambda: parts.keys.keyring.refresh_key, parts.clock.unix_s
            )
        self._make_handshake()
        self.upgrades = upgrade_protocol(
            self._handshake.decide,
            takes=self._handshake.takes,
            call_at=parts.wheel.schedule,
            clock=parts.clock.monotonic_s,
        )
        self.app = self._application()
        self._count()

    async def drain(self) -> None:
        for each in self._audio:
            each.drain()
        self.engine.drain()
        # Who is between two polls comes for the last words at once, and nobody listens there any more after this.
        loop = asyncio.get_running_loop()
        until_s = loop.time() + FAREWELLS_S
        while self.engine.has_farewells and loop.time() < until_s:  # noqa: ASYNC110 - half a second at most
            await asyncio.sleep(0.01)
        self.engine.drain()  # those who came meanwhile

    def _node(self) -> Node:
        parts, limits, auth = self._parts, self._parts.settings.limits, self._parts.settings.auth
        return Node(
            door=parts.door,
            hub=parts.hub,
            turn=parts.turn,
            admission=parts.admission,
            connections=parts.connections,
            wheel=parts.wheel,
            clock_s=parts.clock.monotonic_s,
            clock_ms=parts.clock.unix_ms,
            new_id=parts.new_id,
            bad_tokens=parts.bad_tokens,
            refusals=parts.refusals,
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

    def _make_handshake(self) -> None:
        parts, limits, others = self._parts, self._parts.settings.limits, self._parts.others
        # Engine.IO tells its clients the times of its pings, and they count on them: without a ping of ours they leave.
        self.engine = Engine(
            ping_interval_s=limits.ping_interval or 25,
            ping_timeout_s=limits.ping_timeout or 20,
            payload_bytes_max=limits.request_bytes,
            clock=parts.clock.monotonic_s,
            call_at=parts.wheel.schedule,
            new_sid=lambda: (others.node if others is not None else "") + secrets.token_urlsafe(18),
        )
        self._socketio = Place(SOCKETIO_UPGRADE, _socketio_wire(limits.request_bytes), self.engine)
        self._documents = Documents()
        graphql = Sockets(self._documents)
        native = Wire(lambda: parts.native, parts.framed)
        sockets = StreamSockets(parts.streams, native, frozenset(parts.settings.auth.carriers))
        self._handshake = Handshake(
            self.node,
            {
                "/ws": Place(NATIVE_SOCKET, native),
                "/socket.io/": self._socketio,
                "/graphql": Place(GRAPHQL_SOCKET, graphql.wire, connection=graphql.connection),
            },
            self._origins,
            self._addresses,
            limits.request_bytes,
            sockets.place,
            sockets.takes,
            self._handing_on,
        )

    def _application(self) -> Any:
        parts, settings = self._parts, self._parts.settings
        return create_app(
            AppParts(
                door=parts.door,
                admission=parts.admission,
                sign_in=parts.sign_in,
                sessions=parts.sessions,
                tickets=parts.tickets,
                helpdesk=parts.helpdesk,
                jwks=lambda: parts.keys.keyring.keyset.to_jwks(),
                origins=self._origins,
                addresses=self._addresses,
                carriers=frozenset(settings.auth.carriers),
                bad_tokens=parts.bad_tokens,
                refusals=parts.refusals,
                request_bytes_max=settings.limits.request_bytes,
                clock_s=parts.clock.monotonic_s,
                clock_ms=parts.clock.unix_ms,
                readiness=self._readiness,
                metrics=self._page_of_metrics,
                metrics_allow=settings.metrics_allow,
                access=self._answered,
                widget_origins=settings.widget_origins,
                documents=self._documents,
                streams=self._stream_handlers,
                socketio=Polling(
                    self.engine,
                    lambda request: self._handshake.poll(request, self._socketio, SOCKETIO_POLLING),
                    self._handshake.require_origin,
                    self._handing_on,
                ),
            )
        )

    def _stream_handlers(self, handlers: Handlers) -> StreamHandlers:
        self._audio.append(StreamHandlers(self._parts.streams, self.node, handlers))
        return self._audio[-1]

    def _readiness(self) -> list[Dependency]:
        """What the node stands on: a store that answers, a poll that has read what was revoked; among others, a bus,
        and the keys that the others have.
        """
        parts = self._parts
        polled = revocations(parts.watch.polled_at_ms, parts.clock.unix_ms())
        found = [Dependency("store", polled.state), polled]
        if parts.others is not None:
            found.append(Dependency("bus", "ok" if parts.others.is_up else "degraded"))
            has_the_keys = parts.nodes.has_the_keys
            found.append(Dependency("keys", "ok") if has_the_keys else Dependency("keys", "down", "not the store's"))
        return found

    # --- what is counted ---

    def _answered(self, method: str, path: str, status: int, took_ms: float, address: str) -> None:
        logs.access(method, path, status, took_ms, address)
        self._requests[method if method in _METHODS else "other", str(status)] += 1

    async def _page_of_metrics(self, request: Request) -> bytes:
        """Of all the workers beside this one, too."""
        is_beside, handing_on = self._is_beside, self._handing_on
        if is_beside is None or handing_on is None:
            return self.metrics.render()
        if handing_on.was_handed_on(request.headers.items()):
            return self.metrics.told()
        beside = [address for address in self._parts.nodes.living.values() if is_beside(address)]
        told = await asyncio.gather(*(handing_on.ask(each, "/metrics") for each in beside), return_exceptions=True)
        return self.metrics.render_together(each for each in told if isinstance(each, bytes))

    def _count(self) -> None:
        parts, node, read = self._parts, self.node, self.metrics.read
        store, hub, streams, broadcasts = parts.store, parts.hub, parts.streams, parts.broadcasts
        clock, watch, bus = parts.clock, parts.watch, parts.bus
        read("parley_connections", node.connections.by_dialect)
        read("parley_connections_pending", lambda: node.connections.pending)
        read("parley_handshakes", lambda: self._handshake.outcomes)
        read("parley_closes", lambda: {str(code): count for code, count in node.closed.items()})
        read("parley_slow_consumers", lambda: node.closed[4420])
        read("parley_requests", lambda: self._requests)
        read("parley_commit_commands", lambda: store.tally.commands)
        read("parley_commit_seconds", lambda: store.tally.seconds)
        read("parley_store_waiting", lambda: store.waiting)
        read("parley_store_available", lambda: store.tally.is_available)
        read("parley_passwords_waiting", lambda: parts.passwords.waiting)
        read("parley_commands", lambda: parts.door.outcomes)
        read("parley_deliveries", lambda: hub.deliveries)
        read("parley_rooms_read", lambda: len(hub.rooms))
        read("parley_subscriptions", lambda: sum(len(room.subscribers) for room in hub.rooms.values()))
        read("parley_streams_live", lambda: streams.broadcasters)
        read("parley_stream_listeners", lambda: broadcasts.listeners_in_all)
        read("parley_stream_pages", lambda: broadcasts.pages_delivered)
        read("parley_stream_pages_dropped", lambda: broadcasts.pages_passed_over)
        read("parley_broadcasts", lambda: streams.outcomes)
        read("parley_poll_age_seconds", lambda: (clock.unix_ms() - (watch.polled_at_ms or 0)) / 1000)
        read("parley_nodes", lambda: 1 + len(parts.nodes.living))
        read("parley_bus_up", lambda: bus.is_up)
        read("parley_bus_parcels", lambda: {"published": bus.published, "heard": bus.received})


def _socketio_wire(attachment_bytes_max: int) -> Wire:
    return Wire(
        lambda: SocketIo(attachment_bytes_max),
        FramedEncoder(SocketIo()),
        credential_in_socketio_auth,
        keeps_alive=False,
    )
