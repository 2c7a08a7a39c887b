"""Whose pages may call this server: the header `Origin` against our own origins and the allowed ones.

Says yes or no and how the no reads; when to ask is the handshake's and the application's to know.
"""

import re
from collections.abc import Callable, Collection
from ipaddress import AddressValueError, IPv6Address
from typing import Final

from parley.domain.errors import Refusal

_ORIGIN: Final = re.compile(r"([a-z][a-z0-9+.-]*)://([^\s/?#@\\:\[\]]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
_SHOWN_CHARS_MAX: Final = 100
_SETTING: Final = "PARLEY_ALLOWED_ORIGINS"


def normalised(origin: str) -> str | None:
    """An origin as browsers write it (RFC 6454 §6.2): lower case, no default port. None for what is no origin."""
    found = _ORIGIN.fullmatch(origin.lower())
    if found is None:
        return None
    scheme, host, port = found.groups()
    if host.startswith("["):
        try:
            host = f"[{IPv6Address(host[1:-1])}]"
        except AddressValueError:
            return None
    if port is None or int(port) == _DEFAULT_PORTS.get(scheme):
        return f"{scheme}://{host}"
    return f"{scheme}://{host}:{int(port)}"


class Origins:
    """Our own origins and those allowed beside them.

    Our own is `public_url`; without one, the loopback names with the server's port, which `port_of` gives: it is not
    known before the server listens.
    """

    def __init__(self, public_url: str | None, port_of: Callable[[], int], allowed: Collection[str]) -> None:
        self._public = normalised(public_url.rstrip("/")) if public_url else None
        self._port_of = port_of
        self._allowed = frozenset(filter(None, map(normalised, allowed)))
        self._loopback: tuple[int, frozenset[str]] = (0, frozenset())

    def admits(self, origin: str | None) -> bool:
        """Whether a request with this `Origin` may come in. None, no such header, is no browser's page: yes."""
        if origin is None:
            return True
        asked = normalised(origin)
        return asked is not None and (asked in self._allowed or asked in self._own())

    def denied(self, origin: str | None) -> Refusal:
        """How the no reads: it names the origin, and the setting that would let it in."""
        shown = "".join(c if c.isprintable() else "?" for c in origin or "")[:_SHOWN_CHARS_MAX]
        return Refusal(
            "origin_denied",
            f"Pages of the origin {shown!r} may not call this server; {_SETTING} lists those that may.",
            origin=shown,
            setting=_SETTING,
        )

    def web_socket(self, host: str | None) -> str | None:
        """The WebSocket origin of a page that we served under this `Host`, None where that is not one of ours."""
        own = self._public or normalised(f"http://{host}")
        return own.replace("http", "ws", 1) if own is not None and own in self._own() else None

    def _own(self) -> frozenset[str]:
        if self._public is not None:
            return frozenset((self._public,))
        port = self._port_of()
        if self._loopback[0] != port:
            names = (normalised(f"http://{name}:{port}") for name in _LOOPBACK)
            self._loopback = (port, frozenset(filter(None, names)))
        return self._loopback[1]
