"""One request to a server that somebody else named: no private address, no redirect, in 5 s, at most 64 KiB.

Resolves the name once and connects to the very address that it judged, so that a second answer of the name server leads
nowhere. Follows no redirect, asks no proxy, tries nothing twice: what an answer means is its caller's affair.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], list[Address]]

TIMEOUT_S: Final = 5.0
ANSWER_BYTES_MAX: Final = 65_536

# What a public address may still be: the host's own services for its virtual machines (Azure's has a public address).
_METADATA: Final = (ipaddress.ip_address("168.63.129.16"),)
# Addresses that carry an IPv4 address, which is the one that is reached (RFC 6052 §2.1).
_NAT64: Final = IPv6Network("64:ff9b::/96")


class OutgoingFailed(Exception):
    """The request was not made, or got no whole answer; the message says why, without the URL's path or query."""


class OutgoingRefused(OutgoingFailed):
    """The request may not be made at all: trying again will not help until a setting or the name changes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: `headers` by their names in lower case; a redirect is an answer like any other."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Target:
    """An URL taken apart, nothing of it resolved."""

    is_tls: bool
    host: str
    port: int
    path: str = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> Target:
        """Raises: OutgoingRefused for anything but `https:` or `http:` with a host, and for a user's name in it."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise OutgoingRefused("this is no URL") from None
        if parts.scheme not in ("https", "http") or not host:
            raise OutgoingRefused("this is no https: URL")
        if parts.username is not None or parts.password is not None:
            raise OutgoingRefused("a URL with a name and a password in it")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if any(not "!" <= character <= "~" for character in host + path):
            raise OutgoingRefused("a URL with a space or a character beyond ASCII in it")
        is_tls = parts.scheme == "https"
        return cls(is_tls, host, port if port is not None else 443 if is_tls else 80, path)


def is_public(address: Address) -> bool:
    """Whether `address` is reached over the internet: no private, loopback, link-local, shared or metadata address."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast and not address.is_reserved and address not in _METADATA


def permitted(addresses: Iterable[Address], allow: Iterable[Network], *, is_tls: bool) -> list[Address]:
    """Those of `addresses` that may be connected to: public ones, and what a network of `allow` has; without TLS only
    loopback addresses of these.
    """
    networks = list(allow)
    return [
        address
        for address in addresses
        if (is_tls or address.is_loopback)
        and (
            is_public(address) or any(address in network for network in networks if network.version == address.version)
        )
    ]


def resolve(host: str, port: int) -> list[Address]:
    """All addresses of `host`, each once, in the order of the system's resolver.

    Raises: OutgoingFailed.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise OutgoingFailed(f"{host} has no address") from None
    # A scope (`%eth0`) belongs to link-local addresses only, which are no longer told apart without it: refused anyway.
    return list(dict.fromkeys(ipaddress.ip_address(str(where[0]).partition("%")[0]) for *_, where in found))


async def request(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    allow: Iterable[Network] = (),
    timeout_s: float = TIMEOUT_S,
    answer_bytes_max: int = ANSWER_BYTES_MAX,
    tls: ssl.SSLContext | None = None,
    resolve: Resolve = resolve,
) -> Answer:
    """Make one request, in a thread, and return its answer, whatever the status; all of it has `timeout_s`.

    `allow` lists networks that may be gone to though they are private; plain HTTP goes to loopback addresses of them.

    Raises: OutgoingRefused before anything is sent; OutgoingFailed for every other reason that there is no answer.
    """
    exchange = _Exchange(Target.parse(url), list(allow), timeout_s, answer_bytes_max, tls, resolve)
    try:
        async with asyncio.timeout(timeout_s):
            return await asyncio.to_thread(exchange.run, method, dict(headers or {}), body)
    except TimeoutError:
        raise OutgoingFailed(f"{exchange.target.host} did not answer within {timeout_s:g} s") from None
    finally:
        exchange.abort()


class _Exchange:
    """What the thread does, and how it is stopped from outside: a peer may send one byte a second for ever."""

    def __init__(
        self,
        target: Target,
        allow: list[Network],
        timeout_s: float,
        answer_bytes_max: int,
        tls: ssl.SSLContext | None,
        resolve: Resolve,
    ) -> None:
        self.target = target
        self._allow = allow
        self._until_s = time.monotonic() + timeout_s
        self._answer_bytes_max = answer_bytes_max
        self._tls = tls
        self._resolve = resolve
        self._socket: socket.socket | None = None
        self._is_over = False

    def run(self, method: str, headers: dict[str, str], body: bytes | None) -> Answer:
        host = self.target.host
        connection = http.client.HTTPConnection(host, self.target.port)
        # http.client writes the request and reads the answer; who is at the other end is decided here.
        connection.default_port = 443 if self.target.is_tls else 80
        connection.sock = self._connect()
        try:
            headers = {"Accept-Encoding": "identity", "Connection": "close", "User-Agent": "parley", **headers}
            connection.request(method, self.target.path, body, headers)
            answer = connection.getresponse()
            answered = answer.read(self._answer_bytes_max + 1)
        except (OSError, http.client.HTTPException) as failure:
            raise OutgoingFailed(f"{host} broke off ({type(failure).__name__})") from None
        finally:
            connection.close()
        if len(answered) > self._answer_bytes_max:
            raise OutgoingFailed(f"{host} answered with over {self._answer_bytes_max} bytes")
        if answer.length:
            raise OutgoingFailed(f"{host} broke off")
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answered)

    def abort(self) -> None:
        """End what still goes on in the thread; no effect on what is over."""
        self._is_over = True
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it was closed meanwhile
                self._socket.shutdown(socket.SHUT_RDWR)

    def _connect(self) -> socket.socket:
        target = self.target
        try:
            addresses = [ipaddress.ip_address(target.host)]
        except ValueError:
            addresses = self._resolve(target.host, target.port)
        chosen = permitted(addresses, self._allow, is_tls=target.is_tls)
        if not chosen:
            raise OutgoingRefused(_why_refused(target, addresses, self._allow))
        for tried, address in enumerate(chosen):
            if self._is_over:
                break
            # One that swallows everything leaves time for the others.
            share_s = (self._until_s - time.monotonic()) / (len(chosen) - tried)
            try:
                return self._open(address, max(0.01, share_s))
            except ssl.SSLError as failure:
                # Not `failure` itself: it may quote what the peer sent.
                raise OutgoingFailed(f"{target.host} has no certificate we trust ({failure.reason})") from None
            except OSError:
                continue
        raise OutgoingFailed(f"{target.host} can't be reached")

    def _open(self, address: Address, timeout_s: float) -> socket.socket:
        plain = socket.create_connection((str(address), self.target.port), timeout=timeout_s)
        self._socket = plain
        try:
            if self.target.is_tls:
                context = self._tls if self._tls is not None else ssl.create_default_context()
                self._socket = context.wrap_socket(plain, server_hostname=self.target.host)
            if self._is_over:
                raise OSError("it is too late")
        except BaseException:
            plain.close()
            raise
        self._socket.settimeout(max(0.01, self._until_s - time.monotonic()))
        return self._socket


def _why_refused(target: Target, addresses: list[Address], allow: list[Network]) -> str:
    if not target.is_tls and permitted(addresses, allow, is_tls=True):
        return f"{target.host} is not on this machine, and plain HTTP goes nowhere else"
    return f"{target.host} has no address that is public or allowed"
