"""npm's `graphql-ws` as a client: what it does on each end of a connection, and that its own retry repeats nothing."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.here import HereServer, serving
from tests.npm import need, node_modules
from tests.proxies import proxy
from tests.serving import PATIENCE_S, die_with_parent

pytestmark = pytest.mark.anyio

DRIVER = Path(__file__).with_name("graphql_ws_client.mjs")
EVENTS = """subscription ($room: ID!, $after: Int) {
  roomEvents(room: $room, after: $after) { seq type message { id text deleted } }
}"""
NOTICES = "subscription { sessionNotices { type code reason reconnect } }"
SESSION = "{ session { subject } }"
RENEW = "mutation ($token: String!) { refreshSession(token: $token) { subject } }"


class GraphqlWs:
    """`said` is each line of the driver, in order."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.said: list[dict[str, Any]] = []
        self._process = process
        self._numbers = itertools.count(1)
        self._came = asyncio.Event()
        self._reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self.said.append(json.loads(line))
            self._came.set()

    def _ask(self, **line: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line).encode() + b"\n")

    def use(self, token: str | None) -> None:
        """Bring this one from the next connection on."""
        self._ask(token=token)

    def begin(self, query: str, *, resumes: bool = False, **variables: Any) -> int:
        number = next(self._numbers)
        self._ask(begin=number, query=query, variables=variables, resumes=resumes)
        return number

    def stop(self, number: int) -> None:
        self._ask(stop=number)

    def init_again(self) -> None:
        self._ask(init=True)

    async def until(self, wanted: Callable[[dict[str, Any]], bool], *, after: int = 0) -> dict[str, Any]:
        """The first line that is wanted, behind the first `after` of them."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    for line in self.said[after:]:
                        if wanted(line):
                            return line
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            raise AssertionError(f"said: {self.said}") from None

    async def answer(self, query: str, **variables: Any) -> Any:
        """The payload of a query or a mutation."""
        number = self.begin(query, **variables)
        return (await self.until(lambda line: line.get("next") == number))["payload"]

    async def failure(self, number: int) -> Any:
        return (await self.until(lambda line: line.get("error") == number))["payload"]

    async def closed(self, *, after: int = 0) -> tuple[int, str]:
        line = await self.until(lambda line: line.get("on") == "closed", after=after)
        return line["code"], line["reason"]

    def events(self, number: int) -> list[Any]:
        return [line["payload"]["data"]["roomEvents"] for line in self.said if line.get("next") == number]

    async def event(self, number: int, seq: int) -> Any:
        found = await self.until(
            lambda line: line.get("next") == number and line["payload"]["data"]["roomEvents"]["seq"] == seq
        )
        return found["payload"]["data"]["roomEvents"]

    async def leave(self) -> None:
        self._ask(close=True)
        await asyncio.wait_for(self._process.wait(), PATIENCE_S)
        await self._reading


@asynccontextmanager
async def npm(url: str, token: str | None) -> AsyncIterator[GraphqlWs]:
    node_modules()
    process = await asyncio.create_subprocess_exec(
        need("node", "npm's clients run on it"),
        str(DRIVER),
        url.replace("http", "ws", 1) + "/graphql",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        preexec_fn=die_with_parent,
    )
    client = GraphqlWs(process)
    client.use(token)
    try:
        yield client
    finally:
        await client.leave()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[HereServer]:
    async with serving(tmp_path / "data", limits__messages_per_s=0, limits__ping_interval=0) as server:
        yield server


class TestInit:
    async def test_with_a_token_it_is_connected(self, server: HereServer) -> None:
        async with npm(server.url, server.token("ada")) as ada:
            assert (await ada.answer(SESSION))["data"]["session"]["subject"] == "ada"
            assert {"on": "connected"} in ada.said

    @pytest.mark.parametrize("how", ["missing", "wrong", "revoked"])
    async def test_a_wrong_or_missing_token_is_4401_and_it_does_not_come_again(
        self, server: HereServer, how: str
    ) -> None:
        token = server.token("ada")
        if how == "revoked":
            async with server.native(server.token("root", roles=("admin",))) as root:
                await root.call("session.revoke", subject="ada")
        async with npm(server.url, {"missing": None, "wrong": token[:-2], "revoked": token}[how]) as ada:
            code = {"missing": "token_missing", "wrong": "token_bad_signature", "revoked": "token_revoked"}[how]
            assert await ada.failure(ada.begin(SESSION)) == {"code": 4401, "reason": code}
            assert [line["on"] for line in ada.said if "on" in line] == ["closed"]

    async def test_an_expired_one_is_4403_and_it_comes_again_with_another(self, server: HereServer) -> None:
        async with npm(server.url, server.token("ada", ttl_s=-1)) as ada:
            asked = ada.begin(SESSION)
            assert await ada.closed() == (4403, "token_expired")
            ada.use(server.token("ada"))
            told = await ada.until(lambda line: line.get("next") == asked)
            assert told["payload"]["data"]["session"]["subject"] == "ada"

    async def test_two_are_4429_and_it_does_not_come_again(self, server: HereServer) -> None:
        async with npm(server.url, server.token("ada")) as ada:
            notices = ada.begin(NOTICES)
            assert (await ada.answer(SESSION))["data"]["session"]["subject"] == "ada"
            ada.init_again()
            end = {"code": 4429, "reason": "Too many initialisation requests"}
            assert await ada.failure(notices) == end
            told = [line["payload"]["data"]["sessionNotices"] for line in ada.said if line.get("next") == notices]
            assert told == [{"type": "closing", "code": 4400, "reason": "bad_request", "reconnect": False}]
            assert [line["on"] for line in ada.said if "on" in line] == ["connected", "closed"]


class TestSubscribing:
    async def test_a_message_is_the_same_to_it_and_to_a_native_client(self, server: HereServer) -> None:
        async with npm(server.url, server.token("ada")) as ada, server.native(server.token("ben")) as ben:
            await ben.call("room.create", room="den")
            await ben.call("room.subscribe", room="den")
            number = ada.begin(EVENTS, room="den", after=1)
            sent = (await ben.call("message.send", room="den", text="héllo 👩‍👩‍👧"))["message"]
            told = await ada.event(number, sent["seq"])
            assert told["message"] == {"id": sent["id"], "text": "héllo 👩‍👩‍👧", "deleted": False}
            said = await ada.answer('mutation { joinRoom(room: "den") { role } }')
            assert said["data"]["joinRoom"]["role"] == "member"
            said = await ada.answer('mutation { sendMessage(room: "den", text: "back") { message { id seq text } } }')
            mine = said["data"]["sendMessage"]["message"]
            heard = await ben.until(lambda one: one.get("params", {}).get("seq") == mine["seq"])
            assert heard["params"]["data"]["message"]["id"] == mine["id"]
            ada.stop(number)
            await ada.until(lambda line: line.get("complete") == number)

    async def test_its_own_retry_resumes_and_repeats_nothing(self, server: HereServer) -> None:
        port = int(server.url.rsplit(":", 1)[1])
        async with proxy(port) as between, server.native(server.token("ben")) as ben:
            await ben.call("room.create", room="den")
            async with npm(between.url, server.token("ada")) as ada:
                number = ada.begin(EVENTS, resumes=True, room="den", after=0)
                last = 1
                for _ in range(4):
                    for text in ("one", "two", "three"):
                        last = (await ben.call("message.send", room="den", text=text))["message"]["seq"]
                    between.cut()
                    last = (await ben.call("message.send", room="den", text="while it was away"))["message"]["seq"]
                    await ada.event(number, last)
                assert [event["seq"] for event in ada.events(number)] == list(range(1, last + 1))
                assert [line["on"] for line in ada.said if "on" in line].count("connected") >= 4

    async def test_one_that_is_shown_out_gets_an_error_and_the_connection_goes_on(self, server: HereServer) -> None:
        async with npm(server.url, server.token("ada")) as ada, server.native(server.token("ben")) as ben:
            await ben.call("room.create", room="den", visibility="private")
            await ben.call("room.invite", room="den", subject="ada")
            number = ada.begin(EVENTS, room="den", after=0)
            await ada.event(number, 2)
            await ben.call("room.remove", room="den", subject="ada", reason="no more")
            (error,) = await ada.failure(number)
            assert error["extensions"] == {"code": "forbidden", "status": 403, "reason": "removed"}
            assert (await ada.answer(SESSION))["data"]["session"]["subject"] == "ada"


class TestATokensLife:
    async def test_renewed_on_the_open_socket_it_stays(self, server: HereServer) -> None:
        async with npm(server.url, server.token("ada", ttl_s=60)) as ada, server.native(server.token("ben")) as ben:
            await ben.call("room.create", room="den")
            number = ada.begin(EVENTS, resumes=True, room="den", after=0)
            notices = ada.begin(NOTICES)
            await ada.event(number, 1)
            server.move(31)
            told = await ada.until(lambda line: line.get("next") == notices)
            assert told["payload"]["data"]["sessionNotices"]["type"] == "expiring"
            assert "errors" not in await ada.answer(RENEW, token=server.token("ada", ttl_s=600))
            server.move(120)
            sent = await ben.call("message.send", room="den", text="still here")
            await ada.event(number, sent["message"]["seq"])
            assert [line["on"] for line in ada.said if "on" in line] == ["connected"]

    async def test_expired_it_is_4403_and_it_comes_back_with_a_new_one_and_misses_nothing(
        self, server: HereServer
    ) -> None:
        async with npm(server.url, server.token("ada", ttl_s=60)) as ada, server.native(server.token("ben")) as ben:
            await ben.call("room.create", room="den")
            number = ada.begin(EVENTS, resumes=True, room="den", after=0)
            notices = ada.begin(NOTICES)
            await ada.event(number, 1)
            server.move(61)
            await ben.call("message.send", room="den", text="while it is held")
            ada.use(server.token("ada", ttl_s=6000))
            server.move(26)
            assert await ada.closed() == (4403, "token_expired")
            await ada.event(number, 2)
            assert [event["seq"] for event in ada.events(number)] == [1, 2]
            closing = [line["payload"]["data"]["sessionNotices"] for line in ada.said if line.get("next") == notices]
            assert closing[-1] == {"type": "closing", "code": 4401, "reason": "token_expired", "reconnect": True}

    async def test_revoked_it_is_4401_and_it_stays_away(self, server: HereServer) -> None:
        async with (
            npm(server.url, server.token("ada")) as ada,
            server.native(server.token("root", roles=("admin",))) as root,
        ):
            await root.call("room.create", room="den")
            number = ada.begin(EVENTS, resumes=True, room="den", after=0)
            await ada.event(number, 1)
            await root.call("session.revoke", subject="ada", reason="enough")
            assert await ada.failure(number) == {"code": 4401, "reason": "enough"}
            assert [line["on"] for line in ada.said if "on" in line] == ["connected", "closed"]

    async def test_replaced_by_one_connection_too_many_it_is_4409_and_it_stays_away(self, tmp_path: Path) -> None:
        async with (
            serving(tmp_path / "data", limits__connections=1) as server,
            npm(server.url, server.token("ada")) as ada,
        ):
            notices = ada.begin(NOTICES)
            assert (await ada.answer(SESSION))["data"]["session"]["subject"] == "ada"
            async with server.native(server.token("ada")) as second:
                await second.call("session.describe")
                assert await ada.failure(notices) == {"code": 4409, "reason": "replaced"}
                assert [line["on"] for line in ada.said if "on" in line] == ["connected", "closed"]

    async def test_at_the_end_of_its_lifetime_it_is_1012_and_it_comes_back(self, tmp_path: Path) -> None:
        async with (
            serving(tmp_path / "data", limits__connection_lifetime=100, limits__ping_interval=0) as server,
            npm(server.url, server.token("ada", ttl_s=9000)) as ada,
        ):
            notices = ada.begin(NOTICES)
            assert (await ada.answer(SESSION))["data"]["session"]["subject"] == "ada"
            server.move(101)
            assert await ada.closed() == (1012, "lifetime")
            end = ada.said.index({"on": "closed", "code": 1012, "reason": "lifetime"})
            await ada.until(lambda line: line.get("on") == "connected", after=end)
            told = [line["payload"]["data"]["sessionNotices"] for line in ada.said if line.get("next") == notices]
            assert told == [{"type": "closing", "code": 1012, "reason": "lifetime", "reconnect": True}]
