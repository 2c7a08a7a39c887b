"""Streams on a server of its own: made, put on the air, and moved through time."""

import json
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from parley.dialects.ogg import parse_page
from tests.here import HereServer, until
from tests.streams import HttpStream, StreamSocket, audio, payloads, publish, put

HEAD, PAGES = audio(40)
PACKETS = payloads([parse_page(page) for page in PAGES])
HEADER_PAGES = 2


async def cleared(server: HereServer) -> None:
    """For the next test: no stream, and nobody on the air."""
    async with server.native(server.token("root", roles=("admin",))) as root:
        for stream in (await root.call("stream.list"))["streams"]:
            await root.call("stream.delete", stream=stream["id"])
    await until(
        lambda: not server.server.parts.streams.broadcasters and not server.server.parts.streams.broadcasts.fences()
    )


async def made(server: HereServer, stream: str = "show", visibility: str = "public", owner: str = "ada") -> str:
    """A stream of ada's, and her token."""
    token = server.token(owner)
    async with server.native(token) as ada:
        await ada.call("stream.create", stream=stream, visibility=visibility)
    return token


async def on_air(server: HereServer, *streams: str) -> None:
    """Until what was put there is heard."""
    here = server.server.parts.streams
    await until(lambda: all(stream in here.lines and here.broadcasts_of(stream) for stream in streams))


@asynccontextmanager
async def sent_both_ways(server: HereServer) -> AsyncIterator[tuple[str, HttpStream, StreamSocket]]:
    """ada's token, her `show` on the air by PUT with its first page, and her `other` by a socket."""
    token = await made(server, "show")
    await made(server, "other")
    async with put(server, "show", token) as ada, publish(server, "other", token) as again:
        await ada.send(HEAD + PAGES[0])
        await again.news(live=True)
        await on_air(server, "show")
        yield token, ada, again


async def moved(server: HereServer, seconds: float) -> None:
    """Let time pass, and let the node speak with its store again: until then it hands out nothing."""
    server.move(seconds)
    here, connections = server.server.parts.streams, server.server.parts.connections
    await until(lambda: not connections.is_fenced and here.clock_s() - here.kept_at_s() < 4)


async def past_the_grace(server: HereServer) -> None:
    await moved(server, 10.5)


async def paced(server: HereServer, ada: HttpStream, seconds: float) -> None:
    """Let time pass while ada goes on sending."""
    here = server.server.parts.streams
    while seconds > 0:
        await moved(server, min(seconds, 8))
        seconds -= 8
        before = sum(each.position_s for each in here.all())
        with suppress(ConnectionError):
            await ada.send(PAGES[0])
        await until(lambda before=before: not here.all() or sum(each.position_s for each in here.all()) > before)  # type: ignore[misc]


def heard(pages: list[Any]) -> list[bytes]:
    return payloads(page for page in pages[HEADER_PAGES:])


def asked(server: HereServer, path: str, body: Any, token: str | None = None) -> Any:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    with urllib.request.urlopen(
        urllib.request.Request(server.url + path, json.dumps(body).encode(), headers), timeout=10
    ) as answer:
        return json.loads(answer.read())


def minted(server: HereServer, token: str) -> str:
    ticket: str = asked(server, "/auth/tickets", {}, token)["ticket"]
    return ticket


def signed_in(server: HereServer, name: str) -> str:
    token: str = asked(server, "/auth/login", {"username": name, "password": name})["access_token"]
    return token
