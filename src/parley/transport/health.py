"""How the node is: `/healthz` for whoever restarts it, `/readyz` for whoever sends it requests, `/metrics`.

Measures nothing itself: what each dependency and each number is comes from the server.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from starlette.requests import Request
from starlette.responses import Response

from parley.domain.errors import Refusal
from parley.transport.addresses import Addresses, Network, address_of, is_within

#: Polls come twice a second; with none for this long the node can't know of revocations, and should get no requests.
UNREAD_S_MAX: Final = 2.0
METRICS_MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_NO_STORE: Final = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class Dependency:
    """One thing that the node stands on. `degraded`: it serves without it, less well; `down`: it can't serve."""

    name: str
    state: Literal["ok", "degraded", "down"]
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.state}" + (f" ({self.detail})" if self.detail else "")


def revocations(polled_at_ms: int | None, now_ms: int) -> Dependency:
    """The line of what the poll reads, from when it last did (Unix milliseconds; None: never yet)."""
    if polled_at_ms is None:
        return Dependency("revocations", "down", "not read yet")
    unread_s = max(0, now_ms - polled_at_ms) / 1000
    if unread_s > UNREAD_S_MAX:
        return Dependency("revocations", "down", f"not read for {unread_s:.0f} s")
    return Dependency("revocations", "ok")


class Health:
    """`readiness` gives the dependencies of this moment, `metrics` the Prometheus text."""

    def __init__(
        self,
        readiness: Callable[[], Iterable[Dependency]],
        metrics: Callable[[Request], Awaitable[bytes]],
        metrics_allow: Iterable[Network],
        addresses: Addresses,
    ) -> None:
        self._readiness = readiness
        self._metrics = metrics
        self._metrics_allow = tuple(metrics_allow)
        self._addresses = addresses

    async def healthz(self, _: Request) -> Response:
        """The loop turns, or nobody would answer."""
        return Response("ok\n", headers=_NO_STORE, media_type="text/plain")

    async def readyz(self, _: Request) -> Response:
        dependencies = list(self._readiness())
        status = 503 if any(one.state == "down" for one in dependencies) else 200
        headers = {**_NO_STORE, "Retry-After": "1"} if status == 503 else _NO_STORE
        return Response("".join(f"{one}\n" for one in dependencies), status, headers, "text/plain")

    async def metrics(self, request: Request) -> Response:
        """Raises: Refusal (`not_found`) for whoever may not read them: that they are here tells too much already."""
        if not self._may_read_metrics(request):
            raise Refusal("not_found", "There is nothing at this path.")
        return Response(await self._metrics(request), headers={**_NO_STORE, "Content-Type": METRICS_MEDIA_TYPE})

    def _may_read_metrics(self, request: Request) -> bool:
        peer = request.client.host if request.client else None
        headers = request.headers.items()
        # Behind a proxy on this machine every peer is loopback: who asks is then known from a trusted one only, and not
        # where what it says is contradicted by what it passes on.
        if self._addresses.is_in_doubt(peer, headers):
            return False
        if peer is None:  # by the UNIX socket, which workers have among themselves
            return True
        address = address_of(self._addresses.client(peer, headers))
        return address is not None and (address.is_loopback or is_within(address, self._metrics_allow))
