"""Staying signed in (CONTRACT 1, "Refresh token"): two tabs, lost answers, thieves, on either store."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.here import HereServer, serving
from tests.serving import NativeClient

pytestmark = pytest.mark.anyio

REFRESHES = 50


@pytest.fixture
async def server(tmp_path: Path, store_url: str) -> AsyncIterator[HereServer]:
    given: dict[str, Any] = {"limits__ping_interval": 0, "limits__connection_lifetime": 0, "database_url": store_url}
    async with serving(tmp_path / "data", demo=True, **given) as server:
        yield server


@pytest.fixture
async def http(server: HereServer) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=server.url, trust_env=False, timeout=15) as http:
        yield http


@dataclasses.dataclass
class Store:
    """What the tabs of one browser share: the newest refresh token that any of them has been given."""

    http: httpx2.AsyncClient
    refresh_token: str = ""
    access_token: str = ""

    async def sign_in(self) -> None:
        answer = await self.http.post("/auth/login", json={"username": "ada", "password": "ada"})
        self.take(answer.json())

    def take(self, tokens: dict[str, Any]) -> None:
        self.refresh_token, self.access_token = tokens["refresh_token"], tokens["access_token"]

    async def use(self, token: str | None = None) -> httpx2.Response:
        return await self.http.post("/auth/refresh", json={"refresh_token": token or self.refresh_token})


@pytest.fixture
async def tabs(http: httpx2.AsyncClient) -> Store:
    store = Store(http)
    await store.sign_in()
    return store


def generation(token: str) -> int:
    return int(token.split(".")[1])


async def who(client: NativeClient) -> str:
    name: str = (await client.call("session.describe"))["name"]
    return name


async def test_two_tabs_with_timers_of_their_own_stay_signed_in(server: HereServer, tabs: Store) -> None:
    """Each has read the token before the other has written its successor, every time."""
    async with server.native(tabs.access_token) as one, server.native(tabs.access_token) as other:
        for number in range(REFRESHES):
            read = tabs.refresh_token
            answers = await asyncio.gather(tabs.use(read), tabs.use(read))
            assert [answer.status_code for answer in answers] == [200, 200], number
            first, second = (answer.json() for answer in answers)
            assert first["refresh_token"] == second["refresh_token"] != read
            assert first["access_token"] != second["access_token"]
            tabs.take(second)
            server.move(800)
            await one.call("session.refresh", token=(await tabs.use()).json()["access_token"])
            tabs.take((await tabs.use()).json())
            await other.call("session.refresh", token=tabs.access_token)
        assert await who(one) == await who(other) == "Ada"
    assert generation(tabs.refresh_token) == 2 * REFRESHES


async def test_an_answer_that_was_lost_is_given_again(server: HereServer, tabs: Store) -> None:
    lost = (await tabs.use()).json()["refresh_token"]
    server.move(59)
    again = await tabs.use()
    assert again.json()["refresh_token"] == lost
    tabs.take(again.json())
    assert (await tabs.use()).status_code == 200


async def test_after_a_minute_the_lost_answer_looks_like_a_theft(server: HereServer, tabs: Store) -> None:
    async with server.native(tabs.access_token) as ada:
        await who(ada)
        newer = (await tabs.use()).json()["refresh_token"]
        server.move(61)
        refused = await tabs.use()
        assert (refused.status_code, refused.json()["code"]) == (401, "invalid_grant")
        assert await ada.closed() == (4403, "revoked")
        assert (await tabs.use(newer)).json()["code"] == "invalid_grant"


@pytest.mark.parametrize("first", ["the thief", "the owner"])
async def test_a_stolen_token_that_is_used_late_ends_the_session_whoever_was_first(
    server: HereServer, tabs: Store, first: str
) -> None:
    async with server.native(tabs.access_token) as ada:
        await who(ada)
        stolen = tabs.refresh_token
        # Both go on from the same token; whoever comes later is the second branch, and there never is one.
        ahead = (await tabs.use(stolen)).json()
        ahead = (await tabs.use(ahead["refresh_token"])).json()
        late = await tabs.use(stolen)
        assert (late.status_code, late.json()["code"]) == (401, "invalid_grant")
        assert await ada.closed() == (4403, "revoked")
        for token in (stolen, ahead["refresh_token"]):
            assert (await tabs.use(token)).json()["code"] == "invalid_grant"
        async with server.native(ahead["access_token"]) as refused:
            assert await refused.closed() == (4401, "token_revoked")
        # Only this sign-in is over.
        await tabs.sign_in()
        async with server.native(tabs.access_token) as anew:
            assert await who(anew) == "Ada"


async def test_in_the_same_millisecond_there_is_one_successor(tabs: Store) -> None:
    for _ in range(10):
        answers = await asyncio.gather(*(tabs.use() for _ in range(10)))
        assert {answer.status_code for answer in answers} == {200}
        (successor,) = {answer.json()["refresh_token"] for answer in answers}
        assert generation(successor) == generation(tabs.refresh_token) + 1
        tabs.take(answers[0].json())


async def test_a_sign_in_ends_with_its_lifetime_and_each_use_prolongs_it(tmp_path: Path) -> None:
    async with (
        serving(tmp_path / "data", demo=True, auth__refresh_ttl=1000, limits__ping_interval=0) as server,
        httpx2.AsyncClient(base_url=server.url, trust_env=False) as http,
    ):
        tabs = Store(http)
        await tabs.sign_in()
        for _ in range(3):
            server.move(900)
            tabs.take((await tabs.use()).json())
        server.move(1001)
        assert (await tabs.use()).json()["code"] == "invalid_grant"


async def test_a_disabled_account_refreshes_nothing(server: HereServer, tabs: Store) -> None:
    async with server.native(server.token("root", roles=("admin",))) as root:
        listed = (await root.call("account.list"))["accounts"]
        ada = next(account["id"] for account in listed if account["username"] == "ada")
        await root.call("account.disable", account=ada)
    assert (await tabs.use()).json()["code"] == "invalid_grant"
