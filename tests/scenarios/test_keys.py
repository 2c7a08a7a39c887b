"""CONTRACT section 7, `parley key`: keys are rotated and retired under a running server, and nobody is signed out."""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import jwt
import psycopg
import pytest

import parley.server.node
from parley.store import keyring
from tests.beside import parley as parley_beside
from tests.cluster import cluster
from tests.here import DOORS, HereServer, serving, until
from tests.serving import PATIENCE_S, ServerProcess, native

pytestmark = pytest.mark.anyio


@pytest.fixture(params=DOORS)
async def server(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[HereServer]:
    async with serving(tmp_path / "data", demo=True, limits__ping_interval=0) as server:
        server.door = request.param
        yield server


def kid_of(token: str) -> str:
    kid: str = jwt.get_unverified_header(token)["kid"]
    return kid


async def published(url: str) -> set[str]:
    async with httpx2.AsyncClient(trust_env=False) as client:
        keys = (await client.get(f"{url}/.well-known/jwks.json")).json()["keys"]
    assert all("d" not in key for key in keys)
    return {key["kid"] for key in keys}


async def signed_in(server: HereServer) -> str:
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{server.url}/auth/login", json={"username": "ada", "password": "ada"})
    token: str = answer.json()["access_token"]
    return token


class TestARunningServer:
    def now_ms(self, server: HereServer) -> int:
        return int(server.now_s * 1000)

    async def test_a_new_key_is_published_at_once_and_signs_after_ten_minutes(
        self, server: HereServer, tmp_path: Path
    ) -> None:
        old = kid_of(await signed_in(server))
        now_ms = self.now_ms(server)
        new = keyring.rotate(tmp_path / "data" / "keys", "ES256", now_ms=now_ms, signs_from_ms=now_ms + 600_000).kid
        await until(lambda: new in server.server.parts.keys.keyring.keyset)
        assert await published(server.url) == {old, new}
        assert kid_of(await signed_in(server)) == old
        server.move(500)  # far from the moment, which the machine's own time may pass while somebody signs in
        assert kid_of(await signed_in(server)) == old
        server.move(100)
        await until(lambda: server.server.parts.keys.keyring.signing_key.kid == new)
        assert kid_of(await signed_in(server)) == new
        assert await published(server.url) == {old, new}

    async def test_a_retired_key_verifies_until_its_last_token_is_out(self, server: HereServer, tmp_path: Path) -> None:
        directory = tmp_path / "data" / "keys"
        token = server.token("ada", ttl_s=3600)
        old, now_ms = kid_of(token), self.now_ms(server)
        new = keyring.rotate(directory, "ES256", now_ms=now_ms, signs_from_ms=now_ms).kid
        keyring.retire(directory, "ES256", old, now_ms=now_ms + 1, token_ms=3_600_000)
        await until(lambda: server.server.parts.keys.keyring.signing_key.kid == new)
        async with server.client(token) as ada:
            assert (await ada.call("session.describe"))["subject"] == "ada"
        server.move(3590)
        async with server.client(token) as ada:
            assert (await ada.call("session.describe"))["subject"] == "ada"
        server.move(3590)
        await until(lambda: old not in server.server.parts.keys.keyring.keyset)
        assert await published(server.url) == {new}
        async with server.client(token) as ada:
            assert await ada.closed() == (4401, "token_unknown_key")  # which comes before the expiry

    async def test_connections_and_sign_ins_outlive_the_rotation(self, server: HereServer, tmp_path: Path) -> None:
        async with server.client(await signed_in(server)) as ada:
            before = await ada.call("session.describe")
            now_ms = self.now_ms(server)
            new = keyring.rotate(tmp_path / "data" / "keys", "ES256", now_ms=now_ms, signs_from_ms=now_ms).kid
            await until(lambda: server.server.parts.keys.keyring.signing_key.kid == new)
            renewed = server.token(before["subject"])
            assert kid_of(renewed) == new
            assert (await ada.call("session.refresh", token=renewed))["subject"] == before["subject"]

    async def test_a_hangup_rereads_the_keys_at_once(
        self, server: HereServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(parley.server.node, "KEYS_LOOKED_AT_S", 3600)
        await asyncio.sleep(0.6)  # the look that was due with the old interval is over: only the signal is left
        server.server.obey_signals()
        try:
            now_ms = self.now_ms(server)
            new = keyring.rotate(tmp_path / "data" / "keys", "ES256", now_ms=now_ms, signs_from_ms=now_ms).kid
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: server.server.parts.keys.keyring.signing_key.kid == new)
        finally:
            for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                asyncio.get_running_loop().remove_signal_handler(signum)

    async def test_a_damaged_key_leaves_the_running_server_with_those_it_has(
        self, server: HereServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "data" / "keys" / "signing-x.json").write_text("{")
        await until(lambda: "the keys stay as they were" in caplog.text)
        async with server.client(server.token("ada")) as ada:
            assert (await ada.call("session.describe"))["subject"] == "ada"


async def test_the_command_beside_a_server_changes_what_it_signs_with_and_signs_nobody_out(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", "--demo") as server:
        first = server.login("ada")
        async with native(server, first) as ada:
            new = (await asyncio.to_thread(parley_beside, server, "key", "rotate", "--now")).split("\t")[0]
            rotated_s = time.monotonic()
            while kid_of(await asyncio.to_thread(server.login, "ada")) != new:
                assert time.monotonic() - rotated_s < 5  # a second is the promise; the machine may be busy
            assert await published(server.url) == {kid_of(first), new}
            retired = await asyncio.to_thread(parley_beside, server, "key", "retire", kid_of(first))
            assert "verifies until" in retired
            assert (await ada.call("session.describe"))["name"] == "Ada"
            async with native(server, first) as again:
                assert (await again.call("session.describe"))["name"] == "Ada"
        assert server.stop() == 0


async def test_while_nodes_rotate_none_refuses_what_another_signed_and_none_is_unready(tmp_path: Path) -> None:
    def keyrings() -> set[str]:
        with psycopg.connect(made.postgres.url) as connection:
            return {keyring for (keyring,) in connection.execute("SELECT keyring FROM nodes")}

    async with (
        cluster(tmp_path / "nodes", random.Random(0), count=2) as (made, _),
        httpx2.AsyncClient(trust_env=False) as http,
    ):
        one, two = made.nodes
        async with asyncio.timeout(PATIENCE_S):
            while len(before := await asyncio.to_thread(keyrings)) != 1:
                pass
        signed_in = (await http.post(f"{one.url}/conversations", json={"message": "hello"})).json()
        rotating = asyncio.create_task(asyncio.to_thread(parley_beside, one, "key", "rotate", "--now"))
        signs_with: dict[str, str] = {}
        has_told = False
        async with asyncio.timeout(2 * PATIENCE_S):
            while not (rotating.done() and {rotating.result().split("\t")[0]} == set(signs_with.values()) and has_told):
                for signer, other in ((one, two), (two, one)):
                    answer = await http.post(
                        f"{signer.url}/auth/refresh", json={"refresh_token": signed_in["refresh_token"]}
                    )
                    signed_in = answer.json()
                    signs_with[signer.url] = kid_of(signed_in["access_token"])
                    answer = await http.post(
                        f"{other.url}/rpc",
                        json={"jsonrpc": "2.0", "id": 1, "method": "session.describe"},
                        headers={"Authorization": f"Bearer {signed_in['access_token']}"},
                    )
                    assert answer.json().get("result"), answer.text
                    assert (ready := await http.get(f"{other.url}/readyz")).status_code == 200, ready.text
                told = await asyncio.to_thread(keyrings)
                has_told = len(told) == 1 and told != before
