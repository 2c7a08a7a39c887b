"""The page and the clients of Socket.IO in one room: both directions, the same ids and the same order."""

from contextlib import AbstractAsyncContextManager

import pytest

from tests.interop.clients import Client, npm_client, python_client
from tests.lengths import LONG
from tests.serving import ServerProcess
from tests.web.conftest import OpenChat

pytestmark = pytest.mark.anyio

TRANSPORTS = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": ["polling", "websocket"]}
HOUSES = ("socket.io-client", "socket.io-client-3", "python-socketio")
#: In the short form each house and each transport once.
PAIRS = [(house, way) for house in HOUSES for way in TRANSPORTS] if LONG else list(zip(HOUSES, TRANSPORTS, strict=True))


def client_of(house: str, url: str, transports: list[str]) -> AbstractAsyncContextManager[Client]:
    return python_client(url, transports) if house == "python-socketio" else npm_client(house, url, transports)


@pytest.mark.parametrize(("house", "way"), PAIRS)
async def test_the_page_and_a_socketio_client_read_each_other(
    open_chat: OpenChat, server: ServerProcess, house: str, way: str
) -> None:
    async with client_of(house, server.url, TRANSPORTS[way]) as ben:
        await ben.connect(server.login("ben"))
        await ben.state("connect")
        room = (await ben.call("room.create", title=f"{house} by {way}"))["room"]["id"]
        members = (await ben.call("room.members", room="lobby"))["members"]
        (subject,) = (member["subject"] for member in members if member["name"].lower().startswith("ada"))
        await ben.call("room.invite", room=room, subject=subject)
        await ben.call("room.subscribe", room=room)
        ada = await open_chat("ada", room)
        sent = [(await ben.call("message.send", room=room, text=f"from {house} {n}"))["message"] for n in range(3)]
        await ada.sees(*(message["text"] for message in sent))
        await ada.say("from the page")
        await ada.sees("from the page")
        joined_and_four = 2 + 4
        last = await ben.event_with(joined_and_four)
        messages = [event["data"]["message"] for event in ben.events(room) if event["type"] == "message.created"]
        assert messages[-1] == last["data"]["message"]
        assert [message["id"] for message in messages] == await ada.keys()
        assert [message["text"] for message in messages] == await ada.texts()
