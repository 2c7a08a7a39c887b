"""CONTRACT sections 1 and 4, GraphQL on a real socket: who is let in, how it ends, what it is told, what is shared."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import websockets
from websockets.asyncio.client import connect

from parley.domain.sign_ins import Resolve
from parley.transport.graphql_socket import GraphqlConnection, Payloads, Sockets
from tests.graphql_client import PROTOCOL, GraphqlClient, graphql
from tests.here import HereServer, serving, until
from tests.serving import PATIENCE_S
from tests.streams import unfenced

pytestmark = pytest.mark.anyio

FIELDS = "{ seq type epoch message { text } }"
EVENTS = (
    "subscription($room: ID!, $after: Int, $epoch: String) "
    "{ roomEvents(room: $room, after: $after, epoch: $epoch) " + FIELDS + " }"
)
SIGNALS = "subscription($room: ID!) { roomSignals(room: $room) { type data } }"
NOTICES = "subscription { sessionNotices { type expiresAt roles code reason reconnect } }"
SEND = "mutation($room: ID!, $text: String!) { sendMessage(room: $room, text: $text) { message { seq } } }"
NEVER = 'mutation { leaveRoom(room: "there.is.no.such.room") { room } }'


@pytest.fixture
async def fenced(tmp_path: Path) -> AsyncIterator[HereServer]:
    async with serving(tmp_path / "data", limits__messages_per_s=0, limits__ping_interval=0) as server:
        yield server


@pytest.fixture
def no_fence() -> Iterator[None]:
    """Signals are to be heard, and events to be told once to all, however busy the machine is."""
    with unfenced():
        yield


@pytest.fixture
async def server(no_fence: None, fenced: HereServer) -> HereServer:
    return fenced


async def closed(socket: Any) -> tuple[int | None, str | None]:
    await asyncio.wait_for(socket.wait_closed(), PATIENCE_S)
    return socket.close_code, socket.close_reason


def opened(server: HereServer, *protocols: str, **options: Any) -> Any:
    url = server.url.replace("http", "ws", 1) + "/graphql" + options.pop("query", "")
    return connect(url, subprotocols=list(protocols or (PROTOCOL,)), **options)  # type: ignore[arg-type]


async def room(server: HereServer, name: str = "den", messages: int = 0) -> None:
    async with graphql(server.url, server.token("owner")) as owner:
        await owner.operation("mutation($room: ID) { createRoom(room: $room) { id } }", room=name)
        for number in range(messages):
            await owner.operation(SEND, room=name, text=f"{number}")


async def live(client: GraphqlClient, document: str, **variables: Any) -> str:
    """Begin a subscription, and wait until it is answered: a write waits for what was asked before it."""
    id = await client.begin(document, **variables)
    await client.operation(NEVER)
    return id


class TestSigningIn:
    @pytest.mark.parametrize(
        "payload", [{"token": "{}"}, {"authorization": "Bearer {}"}, {"Authorization": "bearer {}"}]
    )
    async def test_by_the_first_message(self, server: HereServer, payload: dict[str, str]) -> None:
        token = server.token("ada")
        brought = {name: value.replace("{}", token) for name, value in payload.items()}
        async with opened(server) as socket:
            client = GraphqlClient(socket)
            await client.init(brought)
            assert (await client.operation("{ session { subject connection } }"))["data"]["session"]["subject"] == "ada"

    async def test_by_the_handshake_and_the_first_message_is_due_all_the_same(self, server: HereServer) -> None:
        token = server.token("ada")
        ways: list[tuple[tuple[str, ...], dict[str, Any]]] = [
            ((PROTOCOL, f"bearer.{token}"), {}),
            ((PROTOCOL,), {"additional_headers": {"Authorization": f"Bearer {token}"}}),
        ]
        for protocols, options in ways:
            async with opened(server, *protocols, **options) as socket:
                assert socket.subprotocol == PROTOCOL
                client = GraphqlClient(socket)
                await client.init()
                assert (await client.operation("{ session { subject } }"))["data"] == {"session": {"subject": "ada"}}

    async def test_the_same_token_twice_is_one_and_another_is_ambiguous(self, server: HereServer) -> None:
        token = server.token("ada")
        async with opened(server, PROTOCOL, f"bearer.{token}") as socket:
            await GraphqlClient(socket).init({"token": token})
        async with opened(server, PROTOCOL, f"bearer.{token}") as socket:
            await socket.send(json.dumps({"type": "connection_init", "payload": {"token": server.token("ada")}}))
            assert await closed(socket) == (4400, "ambiguous_credentials")

    @pytest.mark.parametrize(
        ("how", "expected"),
        [
            ("missing", (4401, "token_missing")),
            ("malformed", (4401, "token_malformed")),
            ("bad", (4401, "token_bad_signature")),
            ("expired", (4403, "token_expired")),
        ],
    )
    async def test_a_bad_one_is_closed_with_the_code_that_its_client_acts_on(
        self, server: HereServer, how: str, expected: tuple[int, str]
    ) -> None:
        good, expired = server.token("ada"), server.token("ada", ttl_s=-1)
        token = {"missing": None, "malformed": "x", "bad": good[:-2], "expired": expired}[how]
        async with opened(server) as socket:
            payload = {} if token is None else {"token": token}
            await socket.send(json.dumps({"type": "connection_init", "payload": payload}))
            assert await closed(socket) == expected
        if token is not None:  # a browser cannot read an HTTP refusal: the socket is opened, and closed at once
            async with opened(server, PROTOCOL, f"bearer.{token}") as socket:
                assert socket.subprotocol == PROTOCOL
                assert await closed(socket) == expected
            with pytest.raises(websockets.InvalidStatus) as refused:
                await opened(server, additional_headers={"Authorization": f"Bearer {token}"})
            assert refused.value.response.status_code == 401

    async def test_an_initialisation_of_more_than_16_kib_signs_nobody_in(self, server: HereServer) -> None:
        async with opened(server) as socket:
            payload = {"token": server.token("ada"), "more": "x" * 16_384}
            await socket.send(json.dumps({"type": "connection_init", "payload": payload}))
            assert await closed(socket) == (4401, "token_missing")

    async def test_without_the_subprotocol_it_is_refused(self, server: HereServer) -> None:
        for protocols in ([], ["graphql-ws"], [f"bearer.{server.token('ada')}"]):
            with pytest.raises(websockets.InvalidStatus) as refused:
                await connect(server.url.replace("http", "ws", 1) + "/graphql", subprotocols=protocols or None)  # type: ignore[arg-type]
            assert refused.value.response.status_code == 400
            assert json.loads(refused.value.response.body or b"")["code"] == "unsupported_subprotocol"

    async def test_too_many_bad_ones_are_told_to_come_back_later(self, tmp_path: Path) -> None:
        async with serving(tmp_path / "data", limits__bad_tokens_per_s=2) as server:
            ends: list[Any] = []
            while (1013, "rate_limited") not in ends:  # two come free every second
                async with opened(server) as socket:
                    await socket.send(json.dumps({"type": "connection_init", "payload": {"token": "x"}}))
                    ends.append(await closed(socket))
            assert ends[:2] == [(4401, "token_malformed")] * 2
            assert set(ends[2:-1]) <= {(4401, "token_malformed")}

    @pytest.mark.parametrize("knows", [True, False])
    async def test_who_says_nothing_for_five_seconds_is_closed(self, server: HereServer, knows: bool) -> None:
        protocols = (PROTOCOL, f"bearer.{server.token('ada')}") if knows else (PROTOCOL,)
        async with opened(server, *protocols) as socket:
            await socket.send('{"type":"ping"}')
            assert json.loads(await socket.recv()) == {"type": "pong"}
            server.move(5.1)
            assert await closed(socket) == (4408, "Connection initialisation timeout")

    async def test_what_comes_before_or_twice_ends_it(self, server: HereServer) -> None:
        async with opened(server) as socket:
            await socket.send('{"type":"subscribe","id":"1","payload":{"query":"{__typename}"}}')
            assert await closed(socket) == (4401, "Unauthorized")
        async with graphql(server.url, server.token("ada")) as ada:
            await ada.send(type="connection_init")
            assert await closed(ada.socket) == (4429, "Too many initialisation requests")
            assert ada.news[-1]["params"] == {"code": 4400, "reason": "bad_request", "reconnect": False}
        async with graphql(server.url, server.token("ada")) as ada:
            await ada.message("connection_ack")
            await ada.socket.send(b"{}")
            assert await closed(ada.socket) == (4400, "Invalid message")


class TestSubscriptions:
    async def test_a_room_is_told_from_here_on_and_the_sender_hears_itself(self, server: HereServer) -> None:
        await room(server, messages=2)
        async with graphql(server.url, server.token("ada")) as ada:
            await ada.operation('mutation { joinRoom(room: "den") { role } }')
            id = await live(ada, EVENTS, room="den")
            sent = await ada.operation(SEND, room="den", text="hello")
            seq = sent["data"]["sendMessage"]["message"]["seq"]
            await until(lambda: bool(ada.payloads(id)))
            (payload,) = ada.payloads(id)
            assert payload["data"]["roomEvents"]["seq"] == seq
            assert payload["data"]["roomEvents"]["message"] == {"text": "hello"}

    async def test_after_is_replayed_and_then_it_is_live_without_a_gap_or_a_repeat(self, server: HereServer) -> None:
        await room(server, messages=30)
        async with graphql(server.url, server.token("ada")) as ada, graphql(server.url, server.token("owner")) as owner:
            sending = asyncio.ensure_future(
                asyncio.gather(*(owner.operation(SEND, room="den", text=f"more {n}") for n in range(50)))
            )
            id = await ada.begin(EVENTS, room="den", after=3)
            await sending
            await until(lambda: len(ada.payloads(id)) >= 78)
            seqs = [payload["data"]["roomEvents"]["seq"] for payload in ada.payloads(id)]
            assert seqs == list(range(4, 82))

    async def test_a_long_replay_goes_at_the_readers_pace(self, tmp_path: Path) -> None:
        limits = {"limits__slow_consumer_bytes": 100_000, "limits__messages_per_s": 0, "limits__ping_interval": 0}
        async with serving(tmp_path / "data", **limits) as server, graphql(server.url, server.token("owner")) as owner:
            await owner.operation('mutation { createRoom(room: "den") { id } }')

            async def say(times: int) -> None:
                text = "x" * 8000
                await asyncio.gather(*(owner.operation(SEND, room="den", text=text) for _ in range(times)))

            await say(250)
            # 20 MB: two hundred times what a slow consumer may leave unsent, and more than the kernel takes.
            again = " ".join(f"m{number}: message {{ text }}" for number in range(10))
            document = f'subscription {{ roomEvents(room: "den", after: 0) {{ seq {again} }} }}'
            protocols = (PROTOCOL, f"bearer.{server.token('ada')}")
            async with opened(server, *protocols, max_queue=1, ping_interval=None) as slow:
                await slow.send('{"type":"connection_init"}')
                await slow.send(json.dumps({"type": "subscribe", "id": "1", "payload": {"query": document}}))
                assert json.loads(await slow.recv()) == {"type": "connection_ack"}
                await say(10)  # in all this time nobody reads
                seqs = []
                while len(seqs) < 261:
                    told = json.loads(await asyncio.wait_for(slow.recv(), PATIENCE_S))
                    seqs.append(told["payload"]["data"]["roomEvents"]["seq"])
                assert seqs == list(range(1, 262))

    async def test_another_epoch_or_a_seq_that_never_was_ends_it_with_reset(self, server: HereServer) -> None:
        await room(server, messages=1)
        async with graphql(server.url, server.token("ada")) as ada:
            for variables in ({"epoch": "another"}, {"after": 1, "epoch": "another"}, {"after": 99}):
                id = await ada.begin(EVENTS, room="den", **variables)
                error = await ada.message("error", id)
                assert error["payload"][0]["extensions"] == {"code": "conflict", "status": 409, "reset": True}
                assert ada.payloads(id) == []
            found = await ada.operation('{ room(id: "den") { seq epoch } }')
            known = found["data"]["room"]
            id = await live(ada, EVENTS, room="den", after=known["seq"], epoch=known["epoch"])
            assert not [one for one in ada.told if one["type"] == "error" and one["id"] == id]

    async def test_two_of_one_room_with_different_ids_are_two(self, server: HereServer) -> None:
        await room(server)
        async with graphql(server.url, server.token("owner")) as owner:
            first = await owner.begin(EVENTS, room="den")
            second = await live(owner, EVENTS, room="den")
            await owner.operation(SEND, room="den", text="to both")
            await until(lambda: bool(owner.payloads(first) and owner.payloads(second)))
            await owner.send(type="complete", id=first)
            await owner.operation(SEND, room="den", text="to one")
            await until(lambda: len(owner.payloads(second)) == 2)
            assert len(owner.payloads(first)) == 1

    async def test_an_id_is_free_once_its_subscription_was_completed(self, server: HereServer) -> None:
        await room(server)
        async with graphql(server.url, server.token("owner")) as owner:
            await owner.begin(EVENTS, "mine", room="den")
            await owner.send(type="complete", id="mine")
            await owner.begin(EVENTS, "mine", room="den")
            await owner.operation(NEVER)
            await owner.operation(SEND, room="den", text="once")
            await until(lambda: bool(owner.payloads("mine")))
            await owner.begin(EVENTS, "mine", room="den")
            assert await closed(owner.socket) == (4409, "Subscriber for mine already exists")

    async def test_what_one_may_not_read_is_error_alone(self, server: HereServer) -> None:
        async with graphql(server.url, server.token("ada")) as ada:
            for document in (EVENTS, SIGNALS):
                id = await ada.begin(document, room="nowhere")
                error = await ada.message("error", id)
                assert error["payload"][0]["extensions"]["code"] == "not_found"
                assert error["payload"][0]["path"] == [document.split("{ ")[1].split("(")[0]]

    async def test_signals_are_told_where_they_were_asked_for_and_events_are_not(self, server: HereServer) -> None:
        await room(server)
        async with graphql(server.url, server.token("owner")) as owner:
            signals = await owner.begin(SIGNALS, room="den")
            events = await live(owner, EVENTS, room="den")
            await owner.operation(SEND, room="den", text="an event")
            await owner.operation('mutation { setTyping(room: "den", active: true) }')

            def typing() -> list[Any]:
                told = [payload["data"]["roomSignals"] for payload in owner.payloads(signals)]
                return [signal["data"]["started"] for signal in told if signal["type"] == "typing.changed"]

            await until(lambda: bool(typing()))
            assert typing()[0][0]["subject"] == "owner"
            assert len(owner.payloads(events)) == 1
            assert all("roomSignals" in payload["data"] for payload in owner.payloads(signals))

    async def test_there_may_be_so_many_on_one_connection(self, tmp_path: Path) -> None:
        async with serving(tmp_path / "data", limits__subscriptions=3) as server:
            await room(server)
            async with graphql(server.url, server.token("ada")) as ada:  # its notices are one
                for _ in range(2):
                    await ada.begin(EVENTS, room="den")
                error = await ada.message("error", await ada.begin(EVENTS, room="den"))
                assert error["payload"][0]["extensions"] == {"code": "limit_exceeded", "status": 429}
                await ada.send(type="complete", id="notices")
                id = await live(ada, EVENTS, room="den")
                assert not [one for one in ada.told if one["type"] == "error" and one["id"] == id]


class TestATokensLife:
    async def test_refresh_session_renews_the_socket_that_it_came_on(self, server: HereServer) -> None:
        await room(server)
        async with graphql(server.url, server.token("ada", ttl_s=60)) as ada:
            id = await live(ada, EVENTS, room="den")
            server.move(61)
            async with graphql(server.url, server.token("owner")) as owner:
                await owner.operation(SEND, room="den", text="while held")
            said = await ada.operation("{ session { subject } }")
            assert said["errors"][0]["extensions"]["code"] == "token_expired"
            error = await ada.message("error", await ada.begin(EVENTS, room="den"))
            assert error["payload"][0]["extensions"]["code"] == "token_expired"
            assert ada.payloads(id) == []
            renew = "mutation($token: String!) { refreshSession(token: $token) { subject expiresAt } }"
            said = await ada.operation(renew, token=server.token("ada", ttl_s=60))
            assert said["data"]["refreshSession"]["subject"] == "ada"
            await until(lambda: bool(ada.payloads(id)))
            assert ada.payloads(id)[0]["data"]["roomEvents"]["message"] == {"text": "while held"}
            said = await ada.operation(renew, token=server.token("ben"))
            assert said["errors"][0]["extensions"]["code"] == "subject_mismatch"

    async def test_whoever_asks_late_for_notices_is_told_at_once_that_the_token_expires(
        self, server: HereServer
    ) -> None:
        async with graphql(server.url, server.token("ada", ttl_s=20), notices=False) as ada:
            await ada.message("connection_ack")
            id = await ada.begin(NOTICES)
            await until(lambda: bool(ada.payloads(id)))
            assert ada.payloads(id)[0]["data"]["sessionNotices"]["type"] == "expiring"

    async def test_expiry_is_4403_and_revocation_4401_and_both_are_told_before(self, server: HereServer) -> None:
        async with graphql(server.url, server.token("ada", ttl_s=60)) as ada:
            await ada.message("connection_ack")
            await ada.operation("{ session { subject } }")
            server.move(60 + 25.1)
            assert await closed(ada.socket) == (4403, "token_expired")
            assert ada.news[-1]["params"] == {"code": 4401, "reason": "token_expired", "reconnect": True}
        async with (
            graphql(server.url, server.token("ada")) as ada,
            graphql(server.url, server.token("root", roles=("admin",))) as root,
        ):
            await ada.operation("{ session { subject } }")
            said = await root.operation('mutation { revokeSession(subject: "ada", reason: "enough") }')
            assert said == {"data": {"revokeSession": 1}}
            assert await closed(ada.socket) == (4401, "enough")
            assert ada.news[-1]["params"] == {"code": 4403, "reason": "enough", "reconnect": False}

    async def test_one_connection_too_many_closes_the_longest_silent_with_4409(self, tmp_path: Path) -> None:
        async with (
            serving(tmp_path / "data", limits__connections=1) as server,
            graphql(server.url, server.token("ada")) as first,
        ):
            await first.operation("{ session { subject } }")
            async with graphql(server.url, server.token("ada")) as second:
                await second.operation("{ session { subject } }")
                assert await closed(first.socket) == (4409, "replaced")

    async def test_a_drain_is_1012(self, tmp_path: Path) -> None:
        async with serving(tmp_path / "data") as server, graphql(server.url, server.token("ada")) as ada:
            await ada.operation("{ session { subject } }")
            server.server.stop()
            assert await closed(ada.socket) == (1012, "restarting")
            assert ada.news[-1]["params"] == {"code": 1012, "reason": "restarting", "reconnect": True}

    async def test_a_silent_connection_is_pinged_in_the_protocols_own_words(self, server: HereServer) -> None:
        async with graphql(server.url, server.token("ada")) as ada:
            await ada.operation("{ session { subject } }")
            server.move(25.1)
            await ada.message("ping")
            await ada.send(type="pong")
            assert (await ada.operation("{ session { subject } }"))["data"]["session"]["subject"] == "ada"


class TestTheFence:
    async def test_what_is_begun_while_nothing_may_be_handed_out_begins_when_it_may(
        self, fenced: HereServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = fenced
        await room(server, messages=1)
        async with graphql(server.url, server.token("ada")) as ada:
            await ada.operation("{ session { subject } }")
            polls: list[Any] = []
            real = server.store.poll
            monkeypatch.setattr(server.store, "poll", lambda heads, done: polls.append((heads, done)))
            await until(lambda: bool(polls))
            server.move(1.1)
            for number in range(100):  # as many as may be open
                await ada.begin(EVENTS, f"given up {number}", room="den", after=0)
                await ada.send(type="complete", id=f"given up {number}")
            id = await ada.begin(EVENTS, room="den", after=0)
            await ada.operation("{ session { subject } }")
            assert ada.payloads(id) == []
            monkeypatch.setattr(server.store, "poll", real)
            real(*polls[0])
            await until(lambda: len(ada.payloads(id)) == 2)
            assert not [one for one in ada.told if one["type"] == "error" or "given up" in one.get("id", "")]

    async def test_what_is_begun_while_its_bearers_rights_are_asked_for_begins_when_they_are_known(
        self, server: HereServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await room(server, messages=1)
        async with graphql(server.url, server.token("ada")) as ada:
            await ada.operation("{ session { subject } }")
            held: list[Any] = []
            real = server.store.read

            def read(job: Any) -> None:
                held.append(job) if isinstance(job.params, Resolve) else real(job)

            monkeypatch.setattr(server.store, "read", read)
            server.server.parts.admission.forget("ada")
            server.server.parts.connections.rights_changed("ada")
            id = await ada.begin(EVENTS, room="den", after=0)
            await ada.operation("{ session { subject } }")
            assert ada.payloads(id) == []
            for job in held:
                real(job)
            await until(lambda: len(ada.payloads(id)) == 2)
            assert not [one for one in ada.told if one["type"] == "error"]


async def test_a_subscription_that_begins_lets_more_be_read_as_an_answer_does(
    server: HereServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await room(server)
    async with graphql(server.url, server.token("ada")) as ada:
        await ada.operation("{ session { subject } }")
        held: list[Any] = []
        real = server.store.read
        monkeypatch.setattr(server.store, "read", held.append)
        for number in range(40):
            asked = EVENTS if number == 0 else "query($room: ID!) { room(id: $room) { id } }"
            await ada.send(
                type="subscribe",
                id=f"large {number}",
                payload={"query": asked + " " * 30_000, "variables": {"room": "den"}},
            )
        (connection,) = server.server.parts.connections.of("subject:ada")
        assert isinstance(connection, GraphqlConnection)
        await until(lambda: connection._paused)
        monkeypatch.setattr(server.store, "read", real)
        subscribing, *others = held
        for job in others:
            real(job)
        await until(lambda: connection._ordering.under_way == 1)
        real(subscribing)
        assert (await ada.operation("{ session { subject } }"))["data"]["session"]["subject"] == "ada"


class TestSharing:
    async def test_a_thousand_alike_are_told_by_one_execution(
        self, server: HereServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await room(server)
        made: list[int] = []
        real = Payloads.event
        monkeypatch.setattr(Payloads, "event", lambda self, event: made.append(event.seq) or real(self, event))
        async with graphql(server.url, server.token("owner")) as owner, graphql(server.url, server.token("ada")) as ada:
            ids = [await client.begin(EVENTS, room="den", after=1) for client in (owner, ada) for _ in range(10)]
            # The same fields, asked for in other words.
            ids.append(
                await ada.begin('subscription { roomEvents(room: "den") { ...f } } fragment f on Event ' + FIELDS)
            )
            for client in (owner, ada):
                await client.operation(NEVER)
            made.clear()
            await owner.operation(SEND, room="den", text="to all")
            await until(lambda: all(owner.payloads(id) or ada.payloads(id) for id in ids))
            assert made == [2]
            another = await live(ada, EVENTS.replace("seq type", "seq at type"), room="den")
            made.clear()
            await owner.operation(SEND, room="den", text="to all and one")
            await until(lambda: bool(ada.payloads(another)))
            assert made == [3, 3]

    async def test_the_same_document_tells_each_only_what_they_may_see(self, server: HereServer) -> None:
        async with httpx2.AsyncClient(base_url=server.url, verify=False) as http:
            begun = (await http.post("/conversations", json={"name": "Vi", "message": "hello"})).json()
        id = begun["conversation"]["id"]
        async with (
            graphql(server.url, begun["access_token"]) as visitor,
            graphql(server.url, server.token("ava", roles=("agent",))) as ava,
            graphql(server.url, server.token("root", roles=("admin",))) as root,
        ):
            reading = {client: await live(client, SIGNALS, room=id) for client in (visitor, ava, root)}
            typing = 'mutation($room: ID!) { setTyping(room: $room, active: true, text: "a draft") }'
            assert await visitor.operation(typing, room=id) == {"data": {"setTyping": True}}

            def texts(client: GraphqlClient) -> list[Any]:
                told = [payload["data"]["roomSignals"] for payload in client.payloads(reading[client])]
                return [one.get("text") for sig in told for one in sig["data"].get("started", [])]

            await until(lambda: all(texts(client) for client in reading))
            assert texts(ava) == ["a draft"]
            assert texts(visitor) == texts(root) == [None]

    def test_what_is_shared_goes_with_the_last_that_shares_it(self) -> None:
        from parley.dialects.graphql_documents import Documents
        from parley.dialects.graphql_operations import Asked, prepare

        documents = Documents()
        sockets = Sockets(documents)
        operation = prepare(documents, Asked('subscription { roomEvents(room: "den") { seq } }'))
        first = sockets.payloads(operation)
        assert sockets.payloads(operation) is first
        seen = id(first)
        del first
        assert len(sockets._payloads) == 0, seen

    @pytest.mark.parametrize("size", [1, 3, 60, 125, 130])
    @pytest.mark.parametrize("bodies", [[b"{}}"], [b"a" * 80, b"b" * 70_000, b"c"], [b"x" * 110] * 10])
    def test_heads_and_payloads_make_the_frames_that_each_would_have_alone(
        self, size: int, bodies: list[bytes]
    ) -> None:
        from parley.dialects.graphql_documents import Documents
        from parley.dialects.graphql_operations import Asked, prepare
        from parley.transport.frames import frame_text

        payloads = Payloads(prepare(Documents(), Asked('subscription { roomEvents(room: "den") { seq } }')))
        joined = b"".join(body + b"\n" for body in bodies)
        for head in (b"h" * size, b"i" * size, b"j" * (size + 1)):
            assert payloads.frames(joined, head) == b"".join(frame_text(head + body) for body in bodies)
