"""Several nodes on one PostgreSQL and one Valkey: whatever a client does on one is so on all of them."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from websockets.asyncio.client import connect

import parley.server.node
from parley.dialects.ogg import parse_page
from parley.domain import accounts
from parley.service.passwords import hash_password
from parley.store import keyring
from tests.here import HereServer, serving, until
from tests.servers import Databases, ValkeyServer
from tests.serving import CommandRefused, NativeClient
from tests.streams import audio, get, payloads, put, unfenced

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def several(
    count: int, data: Path, database_url: str, bus_url: str, **settings: Any
) -> AsyncIterator[list[HereServer]]:
    """Nodes that know each other; their keys are one directory."""
    async with AsyncExitStack() as stack:
        stack.enter_context(unfenced())  # signals and pages are to be heard, however busy the machine is
        nodes = [
            await stack.enter_async_context(serving(data, database_url=database_url, bus_url=bus_url, **settings))
            for _ in range(count)
        ]
        for node in nodes:
            await until(lambda node=node: node.server.parts.bus.is_up)  # type: ignore[misc, union-attr]
        yield nodes


@pytest.fixture(scope="module")
async def nodes(
    tmp_path_factory: pytest.TempPathFactory, databases: Databases, valkey: ValkeyServer
) -> AsyncIterator[list[HereServer]]:
    url = databases.lend()
    async with several(3, tmp_path_factory.mktemp("nodes") / "data", url, valkey.url) as nodes:
        yield nodes
    databases.take_back(url)


def joined(news: dict[str, Any]) -> list[str]:
    """Who came, where that is what the news says."""
    params = news.get("params", {})
    return [one["subject"] for one in params["data"]["joined"]] if params.get("type") == "presence.changed" else []


async def people(client: NativeClient, room: str) -> list[str]:
    return sorted(one["subject"] for one in (await client.call("presence.list", room=room))["present"])


async def sees(client: NativeClient, room: str, expected: list[str]) -> None:
    """What one node knows of another's people is a moment old."""
    async with asyncio.timeout(10):
        while await people(client, room) != expected:
            await asyncio.sleep(0.05)


async def test_what_is_said_on_one_node_is_heard_on_all_in_the_same_order(nodes: list[HereServer]) -> None:
    one, two, three = nodes
    async with one.native(one.token("ada")) as ada, two.native(two.token("ben")) as ben:
        await ada.call("room.create", room="lobby", visibility="public")
        for client in (ada, ben):
            await client.call("room.join", room="lobby")
            await client.call("room.subscribe", room="lobby")
        async with three.native(three.token("eve")) as eve:
            await eve.call("room.subscribe", room="lobby")
            for number in range(20):
                await (ada, ben)[number % 2].call("message.send", room="lobby", text=str(number))
            for client in (ada, ben, eve):
                await client.until(
                    lambda one: (
                        one.get("method") == "event" and one["params"]["data"].get("message", {}).get("text") == "19"
                    )
                )
                said = [
                    one["data"]["message"]["text"] for one in client.events("lobby") if one["type"] == "message.created"
                ]
                assert said == [str(number) for number in range(20)]


async def test_each_person_is_present_once_on_whatever_nodes_they_are(nodes: list[HereServer]) -> None:
    one, two, three = nodes
    async with one.native(one.token("ada")) as ada:
        await ada.call("room.create", room="hall", visibility="public")
        await ada.call("room.subscribe", room="hall")
        async with two.native(two.token("ben")) as ben, three.native(three.token("ben")) as ben_again:
            await ben.call("room.join", room="hall")
            await ben.call("room.subscribe", room="hall")
            await ben_again.call("room.subscribe", room="hall")
            await ada.until(lambda one: "ben" in joined(one))
            for client in (ada, ben, ben_again):
                await sees(client, "hall", ["ada", "ben"])
            async with three.native(three.token("ada")) as nobodys_reader:
                # Nobody reads the room there: it is asked for.
                await sees(nobodys_reader, "hall", ["ada", "ben"])
            assert [subject for one in ada.news for subject in joined(one)].count("ben") == 1


async def test_typing_and_receipts_are_seen_on_other_nodes(nodes: list[HereServer]) -> None:
    one, two, _ = nodes
    async with one.native(one.token("ada")) as ada, two.native(two.token("ben")) as ben:
        await ada.call("room.create", room="attic", visibility="public")
        await ada.call("room.subscribe", room="attic")
        await ben.call("room.join", room="attic")
        await ben.call("room.subscribe", room="attic")
        await until(lambda: all(node.server.parts.bus.hears("room:attic") for node in (one, two)))  # type: ignore[union-attr]
        await ada.call("typing.set", room="attic", active=True)
        typing = await ben.until(lambda one: one.get("params", {}).get("type") == "typing.changed")
        assert [person["subject"] for person in typing["params"]["data"]["started"]] == ["ada"]
        await ben.call("receipt.mark", room="attic", seq=1)
        read = await ada.until(lambda one: one.get("params", {}).get("type") == "receipts.changed")
        assert [receipt["subject"] for receipt in read["params"]["data"]["receipts"]] == ["ben"]


async def test_a_revocation_on_one_node_closes_the_sockets_of_the_others(nodes: list[HereServer]) -> None:
    one, two, three = nodes
    async with two.native(two.token("ben")) as ben, three.native(three.token("ben")) as ben_again:
        admin = one.token("root", roles=("admin",))
        async with one.native(admin) as root:
            await root.call("session.revoke", subject="ben")
            for client in (ben, ben_again):
                assert (await client.closed())[0] == 4403


async def test_without_the_bus_the_poll_carries_on_and_readyz_says_degraded(tmp_path: Path, postgres_url: str) -> None:
    valkey = ValkeyServer().start()
    try:
        async with (
            several(2, tmp_path / "data", postgres_url, valkey.url) as (one, two),
            one.native(one.token("ada")) as ada,
            two.native(two.token("ben")) as ben,
        ):
            await ada.call("room.create", room="x", visibility="public")
            await ben.call("room.subscribe", room="x")
            valkey.stop()
            await until(lambda: not one.server.parts.bus.is_up and not two.server.parts.bus.is_up)  # type: ignore[union-attr]
            await ada.call("message.send", room="x", text="by the poll")
            async with asyncio.timeout(3 + 2):  # as promised, on a machine that may be busy
                await ben.event("message.created")
            status, said = await asyncio.to_thread(fetched, two.url + "/readyz")
            assert status == 200
            assert "bus: degraded" in said
            async with one.native(one.token("root", roles=("admin",))) as root:
                await root.call("session.revoke", subject="ben")
                async with asyncio.timeout(1 + 3):  # as promised, on a machine that may be busy
                    assert (await ben.closed())[0] == 4403
            valkey.start()
            await until(lambda: one.server.parts.bus.is_up and two.server.parts.bus.is_up)  # type: ignore[union-attr]
    finally:
        valkey.remove()


def fetched(url: str) -> tuple[int, str]:
    import urllib.request

    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.status, answer.read().decode()


async def polled(node: HereServer, sid: str, body: str | None = None) -> str:
    """A GET or POST of a session, on whatever node."""
    async with httpx2.AsyncClient() as http:
        url = f"{node.url}/socket.io/?EIO=4&transport=polling&sid={sid}"
        answer = await (http.get(url) if body is None else http.post(url, content=body))
        assert answer.status_code == 200, answer.text
        return answer.text


async def test_a_new_node_says_that_it_lives_before_the_others_look(
    tmp_path: Path, databases: Databases, valkey: ValkeyServer
) -> None:
    url = databases.lend()
    async with several(1, tmp_path / "data", url, valkey.url) as (one,):
        ours = one.server.parts.nodes
        ours.stop()  # it looks no more
        async with several(1, tmp_path / "data", url, valkey.url) as (two,):
            theirs = two.server.parts.nodes
            await until(lambda: theirs.node in ours.living)
            assert ours.living[theirs.node] == theirs.address
    databases.take_back(url)


async def test_a_session_over_polls_is_served_by_every_node_and_goes_over_to_a_websocket_by_any(
    nodes: list[HereServer],
) -> None:
    one, two, three = nodes
    await until(lambda: all(len(node.server.parts.nodes.living) == 2 for node in nodes))
    async with httpx2.AsyncClient() as http:
        opened = await http.get(f"{one.url}/socket.io/?EIO=4&transport=polling")
    sid = json.loads(opened.text[1:])["sid"]
    joining = json.dumps({"token": one.token("ada")})
    assert await polled(two, sid, f"40{joining}") == "ok"
    assert (await polled(three, sid)).startswith("40{")
    waiting = asyncio.ensure_future(polled(two, sid))
    assert await polled(three, sid, '420["room.list",{}]') == "ok"
    assert '"rooms"' in await waiting
    url = f"{two.ws_url.removesuffix('/ws')}/socket.io/?EIO=4&transport=websocket&sid={sid}"
    async with connect(url) as socket:
        await socket.send("2probe")
        assert await socket.recv() == "3probe"
        await socket.send("5")
        await socket.send('421["room.list",{}]')
        assert '"rooms"' in str(await socket.recv())


async def test_a_session_of_a_node_that_is_gone_is_unknown(nodes: list[HereServer]) -> None:
    async with httpx2.AsyncClient() as http:
        answer = await http.get(f"{nodes[0].url}/socket.io/?EIO=4&transport=polling&sid={'0' * 16}abc")
    assert answer.status_code == 400


async def answered_by_the_bus(node: HereServer) -> None:
    """It answers in order: what was asked before this has been answered."""
    bus, asked = node.server.parts.bus, asyncio.get_running_loop().create_future()
    key = "rate:"
    bus.ask(key, asked.set_result, b"GET", bus.key_of(key))  # type: ignore[union-attr]
    await asked


async def sent_until_refused(*clients: tuple[HereServer, NativeClient]) -> int:
    """How many messages they could send by turns."""
    for sent, (node, client) in enumerate(itertools.cycle(clients)):
        try:
            await client.call("message.send", room="den", text="again")
            await answered_by_the_bus(node)
        except CommandRefused as refused:
            if refused.code == "rate_limited":
                return sent
            raise
    raise AssertionError


async def test_a_subject_has_its_rate_and_its_connections_once_on_all_nodes(
    tmp_path: Path, postgres_url: str, valkey: ValkeyServer
) -> None:
    settings = {"limits__messages_per_s": 0.01, "limits__messages_burst": 4, "limits__connections": 2}
    async with several(2, tmp_path / "data", postgres_url, valkey.url, **settings) as (one, two):
        await until(lambda: bool(one.server.parts.nodes.living and two.server.parts.nodes.living))
        async with one.native(one.token("ada")) as first, two.native(two.token("ada")) as second:
            await first.call("room.create", room="den", visibility="public")
            sent = await sent_until_refused((one, first), (two, second))
            assert sent <= 5, "on two nodes apart it would be eight"
            async with two.native(two.token("ada")) as third:
                # Whichever asked last is kept: that depends on how many could be sent.
                closing = [asyncio.ensure_future(client.closed()) for client in (first, second)]
                (closed,), _ = await asyncio.wait(closing, return_when=asyncio.FIRST_COMPLETED)
                assert closed.result()[0] == 4409
                await third.call("room.list")


async def test_failed_sign_ins_on_one_node_count_on_all(
    tmp_path: Path, postgres_url: str, valkey: ValkeyServer
) -> None:
    async with (
        several(2, tmp_path / "data", postgres_url, valkey.url, limits__login_failures=2) as (one, two),
        httpx2.AsyncClient() as http,
    ):
        wrong = {"username": "ada", "password": "wrong"}
        for node in (one, two):
            assert (await http.post(node.url + "/auth/login", json=wrong)).status_code == 401
        for node in (one, two):
            failures, now_s = node.server.parts.sign_in.failures["account"], node.server.parts.clock.monotonic_s
            await until(lambda failures=failures, now_s=now_s: failures.left(("ada", "127.0.0.1"), now_s()) == 0)  # type: ignore[misc]
        codes = [(await http.post(node.url + "/auth/login", json=wrong)).status_code for node in (one, two)]
    assert codes == [429, 429]


async def test_a_broadcast_is_heard_on_other_nodes_which_know_how_many_listen(nodes: list[HereServer]) -> None:
    one, two, three = nodes
    head, pages = audio(20)
    token = one.token("ada")
    async with one.native(token) as ada:
        await ada.call("stream.create", stream="show", visibility="public")
        async with put(one, "show", token) as broadcaster:
            await broadcaster.send(head)
            await until(lambda: "show" in one.server.parts.streams.lines)
            async with get(two, "show") as listener:
                await until(lambda: two.server.parts.bus.hears("stream:show"))  # type: ignore[union-attr]
                for page in pages:
                    await broadcaster.send(page)
                assert await listener.head() == 200
                heard = payloads((await listener.pages(12))[2:])
                sent = payloads([parse_page(page) for page in pages])
                start = sent.index(heard[0])
                assert heard == sent[start : start + len(heard)]
                await until(lambda: three.server.parts.streams.listeners("show") == 1)
                assert (await ada.call("stream.get", stream="show"))["stream"]["listeners"] == 1


async def test_a_visitor_on_one_node_is_answered_from_another(nodes: list[HereServer]) -> None:
    one, two, three = nodes
    agent = {"roles": ("agent",)}
    async with httpx2.AsyncClient() as http:
        first = (await http.post(f"{one.url}/conversations", json={"message": "first"})).json()
        begun = (await http.post(f"{two.url}/conversations", json={"message": "is anybody there?"})).json()
    room = begun["conversation"]["id"]
    async with (
        one.native(one.token("ava", **agent)) as ava,
        three.native(three.token("bo", **agent)) as bo,
        two.native(begun["access_token"]) as guest,
    ):
        for client in (ava, bo):
            await client.call("room.subscribe", room="queue")
        await guest.call("room.subscribe", room=room, after=0)
        assert (await guest.call("conversation.get", conversation=room))["conversation"]["position"] == 2
        await ava.call("conversation.claim", conversation=first["conversation"]["id"])
        await ava.call("conversation.claim", conversation=room)
        with pytest.raises(CommandRefused, match="already_claimed"):
            await bo.call("conversation.claim", conversation=room)
        claimed = await guest.event("conversation.claimed", room)
        assert claimed["data"]["conversation"]["assignee_name"] == "ava"
        await until(lambda: three.server.parts.bus.hears("room:queue"))  # type: ignore[union-attr]
        await ava.call("agent.set_status", status="away")
        told = await bo.until(lambda one: one.get("params", {}).get("type") == "agent.changed")
        assert told["params"]["data"]["agent"]["status"] == "away"
        await bo.call("conversation.block", conversation=room, reason="spam")
        assert await guest.closed() == (4403, "spam")


async def test_a_node_with_other_keys_is_not_ready_and_the_others_are(nodes: list[HereServer], tmp_path: Path) -> None:
    given = nodes[0].server.settings
    assert given.bus_url is not None
    urls = {"database_url": given.store_url, "bus_url": given.bus_url.get_secret_value()}
    async with serving(tmp_path / "other keys", **urls) as stranger:
        await until(lambda: not stranger.server.parts.nodes.has_the_keys)
        async with httpx2.AsyncClient() as http:
            answer = await http.get(stranger.url + "/readyz")
            assert answer.status_code == 503
            assert "keys: down (not the store's)" in answer.text
            for node in nodes:
                assert (await http.get(node.url + "/readyz")).status_code == 200


async def test_a_node_that_has_not_seen_the_new_key_yet_takes_what_another_signed_with_it(
    tmp_path: Path, postgres_url: str, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parley.server.node, "KEYS_LOOKED_AT_S", 3600)
    async with several(2, tmp_path / "data", postgres_url, valkey.url) as (one, two):
        made = keyring.rotate(tmp_path / "data" / "keys", "ES256", now_ms=0, signs_from_ms=int(one.now_s * 1000))
        one.server.reread_keys()
        token = one.token("ada")
        assert jwt.get_unverified_header(token)["kid"] == made.kid
        assert made.kid not in two.server.parts.keys.keyring.keyset
        async with two.native(token) as ada:
            assert (await ada.call("session.describe"))["subject"] == "ada"


async def test_a_sessions_connections_are_counted_on_all_nodes(nodes: list[HereServer]) -> None:
    one, two, three = nodes
    await until(lambda: len(one.server.parts.nodes.living) == 2)
    one.store.execute(accounts.Create("lin", hash_password("lin"), ["member"]))
    async with httpx2.AsyncClient() as http:
        signed_in = await http.post(one.url + "/auth/login", json={"username": "lin", "password": "lin"})
    token = signed_in.json()["access_token"]
    async with one.native(token) as lin, two.native(token), three.native(token):
        (session,) = (await lin.call("session.list"))["sessions"]
        assert session["connections"] == 3
