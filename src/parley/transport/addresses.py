"""A request's own address: the socket's peer, or what a trusted proxy says stands behind it.

Headers of anybody else count for nothing. Limits no one: `limit_key` says under which key a limit should count.
"""

import functools
import ipaddress
import re
from collections.abc import Iterable
from typing import Final

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: What stands for the peer of a Unix socket, which has no address.
UNIX: Final = "unix"
#: No address is longer, a zone and a port included; and of so many what they mean is kept.
CHARS_MAX: Final = 128
ADDRESSES_KEPT: Final = 1024
_UNKNOWN: Final = "unknown"  # RFC 7239 §6.2
_IPV6_LIMIT_BITS: Final = 64

# RFC 7239 §4: forwarded-pair = token "=" ( token / quoted-string ).
_PAIR: Final = re.compile(r"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:\"((?:[^\"\\]|\\.)*)\"|([^\s\",;=]*))[ \t]*")
_IN_BRACKETS: Final = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9A-Za-z._-]+)?")
_WITH_PORT: Final = re.compile(r"([0-9.]+):[0-9A-Za-z._-]+")
_SIGNS_OF_A_PROXY: Final = frozenset({"forwarded", "x-forwarded-for", "x-real-ip", "via"})


class Addresses:
    """Whose word counts: `trusted_proxies` are the networks of our own proxies."""

    def __init__(self, trusted_proxies: Iterable[Network]) -> None:
        self._trusted = tuple(trusted_proxies)

    def client(self, peer: str | None, headers: Iterable[tuple[str, str]]) -> str:
        """The address of whoever asks; `peer` is the socket's, `headers` have lower-case names.

        From the right, where our own proxies wrote: the first hop that is not one of them, or the last that is known.
        """
        at = address_of(peer)
        if at is None:
            return peer or UNIX
        if not self._trusts(at):
            return str(at)
        return str(self._behind(at, headers)[0])

    def is_in_doubt(self, peer: str | None, headers: Iterable[tuple[str, str]]) -> bool:
        """Whether somebody stands behind the address that `client` gives: a proxy brought it, and none of ours says
        from whom.
        """
        headers = list(headers)
        at = address_of(peer)
        if at is not None and self._trusts(at) and self._behind(at, headers)[1]:
            return False
        return any(name in _SIGNS_OF_A_PROXY for name, _ in headers)

    def _behind(self, proxy: Address, headers: Iterable[tuple[str, str]]) -> tuple[Address, bool]:
        """Who stands behind a proxy of ours as far as is known, and whether that is all there is to know."""
        at, is_told = proxy, False
        for said in reversed(_hops(headers)):
            hop = address_of(said)
            if hop is None:  # `unknown`, or hidden on purpose: nothing left of it is known either
                return at, False
            at, is_told = hop, True
            if not self._trusts(hop):
                break
        return at, is_told

    def limit_key(self, address: str) -> str:
        """The key for limits: an IPv6 host has a whole /64 to choose from, so that is what counts."""
        at = address_of(address)
        if not isinstance(at, ipaddress.IPv6Address):
            return address
        return str(ipaddress.ip_network((at, _IPV6_LIMIT_BITS), strict=False))

    def _trusts(self, address: Address) -> bool:
        return is_within(address, self._trusted)


def is_within(address: Address, networks: Iterable[Network]) -> bool:
    """Whether one of the networks holds it."""
    return any(address in network for network in networks)


def address_of(text: str | None) -> Address | None:
    """The address in a node name (RFC 7239 §6), with or without port; IPv4 within IPv6 is IPv4. None for no address."""
    return None if text is None or len(text) > CHARS_MAX else _read(text)


@functools.lru_cache(ADDRESSES_KEPT)
def _read(text: str) -> Address | None:
    text = text.strip()
    if (found := _IN_BRACKETS.fullmatch(text) or _WITH_PORT.fullmatch(text)) is not None:
        text = found[1]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _hops(headers: Iterable[tuple[str, str]]) -> list[str]:
    """The hops that `Forwarded` or `X-Forwarded-For` name, the nearest last."""
    forwarded: list[str] = []
    x_forwarded: list[str] = []
    for name, value in headers:
        if name == "forwarded":
            forwarded += [element.get("for", _UNKNOWN) for element in forwarded_elements(value)]
        elif name == "x-forwarded-for":
            x_forwarded += value.split(",")
    if not forwarded or not x_forwarded:
        return forwarded or x_forwarded
    # A proxy writes one of the two and passes the other on as it came: where they differ, one is the client's own
    # invention, and we cannot know which. Then neither counts.
    return forwarded if [address_of(hop) for hop in forwarded] == [address_of(hop) for hop in x_forwarded] else []


def forwarded_elements(value: str) -> list[dict[str, str]]:
    """The elements of one `Forwarded` line, each by lower-case parameter names.

    Of a malformed line one element, whose `for` is `unknown`: where a quote is left open, everything right of it is
    in doubt. Source: RFC 7239 §4.
    """
    elements: list[dict[str, str]] = [{}]
    at = 0
    while True:
        pair = _PAIR.match(value, at)
        if pair is not None:
            name, quoted, token = pair.groups()
            if name.lower() in elements[-1]:
                return [{"for": _UNKNOWN}]
            elements[-1][name.lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else token
            at = pair.end()
        else:  # an empty element or pair, as lists allow
            at += len(value[at:]) - len(value[at:].lstrip(" \t"))
        if at == len(value):
            return [element for element in elements if element]
        if value[at] == ",":
            elements.append({})
        elif value[at] != ";":
            return [{"for": _UNKNOWN}]
        at += 1
