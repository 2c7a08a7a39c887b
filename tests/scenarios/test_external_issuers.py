"""External issuers (CONTRACT 1) on a running server: their tokens, their keys as they come and go, their subjects."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from websockets.asyncio.client import connect

from parley.domain import accounts
from parley.domain.principal import OPERATOR
from parley.domain.sign_ins import Start
from parley.tokens import Issuer
from tests import issuers
from tests.here import HereServer, serving, until
from tests.issuers import AUTH0, FIREBASE, KEYCLOAK, PHP, PHP_SECRET, JwksServer, Key, publishing
from tests.serving import CommandRefused, NativeClient

pytestmark = pytest.mark.anyio

RSA = Key("rsa-1", "RS256")
OLD = Key("old")
NEW = Key("new")


@asynccontextmanager
async def trusting(tmp_path: Path, *trusted: dict[str, Any], **settings: Any) -> AsyncIterator[HereServer]:
    """A server that trusts these issuers; its clock moves, and bad tokens are not counted."""
    limits = {"limits__bad_tokens_per_s": 0, "limits__ping_interval": 0, "limits__connections": 0}
    given = {"auth__issuers": json.dumps(trusted), "outgoing__allow": "127.0.0.0/8", **limits, **settings}
    async with serving(tmp_path / "data", **given) as server:
        yield server


@asynccontextmanager
async def keycloak_server(tmp_path: Path, *keys: Key, **settings: Any) -> AsyncIterator[tuple[HereServer, JwksServer]]:
    async with (
        publishing(*keys) as published,
        trusting(tmp_path, {**KEYCLOAK, "jwks_url": published.url}, **settings) as server,
    ):
        yield server, published


async def outcome(server: HereServer, token: str) -> str:
    """The subject that a socket with this token speaks for, or the reason for which it is closed."""
    async with server.native(token) as client:
        try:
            described = await client.call("session.describe")
        except (asyncio.CancelledError, CommandRefused, Exception):
            return str((await client.closed())[1])
        return str(described["subject"])


async def rpc(server: HereServer, token: str, method: str, **params: Any) -> httpx2.Response:
    async with httpx2.AsyncClient(trust_env=False, timeout=15) as client:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return await client.post(f"{server.url}/rpc", json=request, headers={"Authorization": f"Bearer {token}"})


class TestTokensAsTheyAreIssued:
    @pytest.mark.parametrize(
        ("issuer", "keys", "make", "subject", "name", "roles"),
        [
            (KEYCLOAK, "url", issuers.keycloak, "kc:f0f0f0f0-8e6f-4c3a-8a53-2f1f0d8a2b11", "Ada Lovelace", ["agent"]),
            (
                AUTH0,
                "url",
                issuers.auth0,
                "auth0:auth0|5f7c8ec7c33c6c004bbafe82",
                "auth0|5f7c8ec7c33c6c004bbafe82",
                ["member"],
            ),
            (FIREBASE, "file", issuers.firebase, "fb:JKeQ2kkF3dNqTGoLzdpPyC", "Ben", ["member"]),
            (PHP, "secret", lambda _: issuers.php(), "shop:1042", "Cy", ["member"]),
        ],
        ids=["Keycloak", "Auth0", "Firebase", "PHP with a shared secret"],
    )
    async def test_they_open_a_socket_and_speak_for_their_subject(
        self, tmp_path: Path, issuer: Any, keys: str, make: Any, subject: str, name: str, roles: list[str]
    ) -> None:
        (tmp_path / "jwks.json").write_text(json.dumps({"keys": [RSA.jwk]}))
        (tmp_path / "secret").write_text(PHP_SECRET + "\n")
        async with publishing(RSA) as published:
            where = {
                "url": {"jwks_url": published.url},
                "file": {"jwks_file": str(tmp_path / "jwks.json")},
                "secret": {"secret_file": str(tmp_path / "secret")},
            }[keys]
            async with trusting(tmp_path, {**issuer, **where}) as server, server.native(make(RSA)) as client:
                described = await client.call("session.describe")
                assert (described["subject"], described["name"], described["roles"]) == (subject, name, roles)
                assert described["type"] == "account"
                await client.call("room.create", room="den")
                sent = await client.call("message.send", room="den", text="from elsewhere")
                assert sent["message"]["sender"] == {"subject": subject, "name": name, "type": "account"}
                answer = await rpc(server, make(RSA), "session.describe")
                assert answer.json()["result"]["subject"] == subject

    @pytest.mark.parametrize(
        ("token", "code"),
        [
            (lambda: issuers.php(iss="somebody"), "token_unknown_key"),
            (lambda: issuers.php("x" * 40), "token_bad_signature"),
            (lambda: issuers.php(aud="billing"), "token_wrong_audience"),
            (lambda: issuers.php(exp=1), "token_expired"),
            (lambda: issuers.php(sub="a b"), "token_malformed"),
            (lambda: OLD.sign({"iss": "shop", "aud": "chat", "sub": "1"}), "token_unsupported_algorithm"),
            (lambda: OLD.sign({"iss": "parley", "aud": "parley", "sub": "1"}), "token_unknown_key"),
        ],
        ids=[
            "a stranger",
            "another secret",
            "another audience",
            "expired",
            "an odd subject",
            "another algorithm",
            "us",
        ],
    )
    async def test_others_are_refused_by_their_code(self, tmp_path: Path, token: Any, code: str) -> None:
        (tmp_path / "secret").write_text(PHP_SECRET)
        async with trusting(tmp_path, {**PHP, "secret_file": str(tmp_path / "secret")}) as server:
            assert await outcome(server, token()) == code
            answer = await rpc(server, token(), "session.describe")
            assert (answer.status_code, answer.json()["code"]) == (401, code)

    @pytest.mark.parametrize("exp", [253_402_300_800, 1_800_000_000_000, 2**53], ids=["10000", "milliseconds", "ever"])
    async def test_one_that_outlives_the_calendar_says_its_last_moment(self, tmp_path: Path, exp: float) -> None:
        (tmp_path / "secret").write_text(PHP_SECRET)
        async with trusting(tmp_path, {**PHP, "secret_file": str(tmp_path / "secret")}) as server:
            token = issuers.php(exp=exp)
            async with server.native(token) as client:
                assert (await client.call("session.describe"))["expires_at"] == "9999-12-31T23:59:59.999Z"
            described = (await rpc(server, token, "session.describe")).json()
            assert described["result"]["expires_at"] == "9999-12-31T23:59:59.999Z"

    async def test_an_identity_lets_nobody_in(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text(PHP_SECRET)
        identity = {**PHP, "secret_file": str(tmp_path / "secret"), "use": "identity"}
        async with trusting(tmp_path, identity) as server:
            assert await outcome(server, issuers.php()) == "token_wrong_type"
            assert (await rpc(server, issuers.php(), "session.describe")).json()["code"] == "token_wrong_type"

    async def test_our_own_key_under_their_name_is_the_wrong_issuer(self, tmp_path: Path) -> None:
        async with keycloak_server(tmp_path, OLD) as (server, _):
            forged = Issuer(
                server.server.parts.keys.keyring.signing_key, issuer=KEYCLOAK["issuer"], audience="chat"
            ).issue(sub="ada", type="account", roles=["admin"], sid="s", jti="j", now_s=server.now_s, ttl_s=60)
            assert await outcome(server, forged) == "token_wrong_issuer"


class TestKeysThatComeAndGo:
    async def test_a_key_that_is_new_is_fetched_when_the_first_token_names_it(self, tmp_path: Path) -> None:
        async with keycloak_server(tmp_path, OLD) as (server, published):
            assert (await outcome(server, issuers.keycloak(OLD))).startswith("kc:")
            assert published.requests == 1
            published.keys = [OLD.jwk, NEW.jwk]
            assert (await outcome(server, issuers.keycloak(NEW))).startswith("kc:")
            assert published.requests == 2

    async def test_a_flood_of_unknown_keys_asks_once_a_minute(self, tmp_path: Path) -> None:
        async with keycloak_server(tmp_path, OLD) as (server, published):
            assert (await outcome(server, issuers.keycloak(OLD))).startswith("kc:")
            flood = [issuers.keycloak(Key(f"made-up-{number}")) for number in range(20)]
            for _ in range(3):
                said = await asyncio.gather(*(outcome(server, token) for token in flood))
                assert set(said) == {"token_unknown_key"}
            assert published.requests == 2
            server.move(60)
            flood = [issuers.keycloak(Key(f"made-up-{number}"), now_s=server.now_s) for number in range(20)]
            assert set(await asyncio.gather(*(outcome(server, token) for token in flood))) == {"token_unknown_key"}
            assert published.requests == 3

    async def test_while_the_issuer_is_down_the_last_good_set_counts(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with keycloak_server(tmp_path, OLD) as (server, published):
            assert (await outcome(server, issuers.keycloak(OLD))).startswith("kc:")
            published.is_down = True
            published.keys = [NEW.jwk]
            for _ in range(12):  # far beyond the age at which the set is fetched anew
                server.move(61)
                await until(lambda before=published.requests: published.requests >= before)  # type: ignore[misc]
            assert (await outcome(server, issuers.keycloak(OLD, now_s=server.now_s))).startswith("kc:")
            assert await outcome(server, issuers.keycloak(NEW, now_s=server.now_s)) == "token_unknown_key"
            await until(lambda: "the keys of the issuer kc can't be fetched" in caplog.text)
            published.is_down = False
            server.move(61)
            assert (await outcome(server, issuers.keycloak(NEW, now_s=server.now_s))).startswith("kc:")
            # What the issuer has withdrawn is no longer taken.
            assert await outcome(server, issuers.keycloak(OLD, now_s=server.now_s)) == "token_unknown_key"

    async def test_an_issuer_that_is_down_at_the_start_is_asked_again(self, tmp_path: Path) -> None:
        async with publishing(OLD) as published:
            published.is_down = True
            async with trusting(tmp_path, {**KEYCLOAK, "jwks_url": published.url}) as server:
                # Over, and not only sent: a token that comes meanwhile waits for it, and asks for nothing of its own.
                source = server.server.parts.issuers._by_url[KEYCLOAK["issuer"]]
                await until(lambda: source.failure is not None)
                assert await outcome(server, issuers.keycloak(OLD)) == "token_unknown_key"
                published.is_down = False
                assert await outcome(server, issuers.keycloak(OLD)) == "token_unknown_key", "asked a moment ago"
                server.move(60)
                assert (await outcome(server, issuers.keycloak(OLD, now_s=server.now_s))).startswith("kc:")

    async def test_a_key_that_is_withdrawn_stops_within_ten_minutes(self, tmp_path: Path) -> None:
        async with keycloak_server(tmp_path, OLD) as (server, published):
            assert (await outcome(server, issuers.keycloak(OLD))).startswith("kc:")
            published.keys = [NEW.jwk]
            server.move(601)
            await until(lambda: published.requests == 2)
            token = issuers.keycloak(OLD, now_s=server.now_s)
            await until(lambda: OLD.kid not in server.server.parts.issuers.trusted[0].keys)
            assert await outcome(server, token) == "token_unknown_key"

    async def test_a_secret_that_is_published_signs_nothing(self, tmp_path: Path) -> None:
        oct_key = {"kty": "oct", "kid": "s", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "alg": "HS256"}
        async with keycloak_server(tmp_path, OLD) as (server, published):
            assert (await outcome(server, issuers.keycloak(OLD))).startswith("kc:")
            published.keys = [oct_key, OLD.jwk]
            server.move(601)
            await until(lambda: published.requests == 2)
            assert (await outcome(server, issuers.keycloak(OLD, now_s=server.now_s))).startswith("kc:")
            secret = "secret" * 6
            forged = jwt.encode({"iss": KEYCLOAK["issuer"], "aud": "chat"}, secret, "HS256", headers={"kid": "s"})
            assert await outcome(server, forged) in ("token_unsupported_algorithm", "token_unknown_key")

    async def test_a_file_of_keys_is_read_again_when_it_changed(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = tmp_path / "jwks.json"
        path.write_text(json.dumps({"keys": [OLD.jwk]}))
        async with trusting(tmp_path, {**KEYCLOAK, "jwks_file": str(path)}) as server:
            assert (await outcome(server, issuers.keycloak(OLD))).startswith("kc:")
            assert await outcome(server, issuers.keycloak(NEW)) == "token_unknown_key"
            path.write_text("{")
            await until(lambda: "stay as they were" in caplog.text)
            assert (await outcome(server, issuers.keycloak(OLD))).startswith("kc:")
            path.write_text(json.dumps({"keys": [NEW.jwk]}))
            await until(lambda: NEW.kid in server.server.parts.issuers.trusted[0].keys)
            assert (await outcome(server, issuers.keycloak(NEW))).startswith("kc:")
            assert await outcome(server, issuers.keycloak(OLD)) == "token_unknown_key"

    async def test_a_file_with_a_secret_is_read_again_when_it_changed(self, tmp_path: Path) -> None:
        path = tmp_path / "secret"
        path.write_text(PHP_SECRET + "\n")
        async with trusting(tmp_path, {**PHP, "secret_file": str(path)}) as server:
            keys = server.server.parts.issuers.trusted[0].keys
            assert await outcome(server, issuers.php()) == "shop:1042"
            path.write_text("another secret that both back ends know")
            await until(lambda: server.server.parts.issuers.trusted[0].keys is not keys)
            assert await outcome(server, issuers.php()) == "token_bad_signature"
            assert await outcome(server, issuers.php("another secret that both back ends know")) == "shop:1042"


class TestWhoWaitsForAKey:
    @pytest.fixture
    async def late(self, tmp_path: Path) -> AsyncIterator[tuple[HereServer, JwksServer]]:
        """An issuer that answers when it is let to."""
        async with publishing(OLD) as published:
            published.answers.clear()
            async with trusting(tmp_path, {**KEYCLOAK, "jwks_url": published.url}) as server:
                yield server, published

    async def let(self, published: JwksServer) -> None:
        await until(lambda: published.requests == 1)
        await asyncio.sleep(0.05)
        published.answers.set()

    async def test_a_handshake_waits_for_the_answer(self, late: tuple[HereServer, JwksServer]) -> None:
        server, published = late
        waiting = asyncio.gather(*(outcome(server, issuers.keycloak(OLD)) for _ in range(5)))
        await self.let(published)
        assert {subject[:3] for subject in await waiting} == {"kc:"}
        assert published.requests == 1

    async def test_a_first_message_and_what_follows_it_wait(self, late: tuple[HereServer, JwksServer]) -> None:
        server, published = late
        async with connect(server.ws_url) as socket:
            client = NativeClient(socket)
            answers = asyncio.gather(
                client.call("session.authenticate", token=issuers.keycloak(OLD)), client.call("session.describe")
            )
            await self.let(published)
            authenticated, described = await answers
            assert authenticated["subject"] == described["subject"]

    async def test_however_much_follows_it_waits_too(self, late: tuple[HereServer, JwksServer]) -> None:
        server, published = late
        async with connect(server.ws_url) as socket:
            client = NativeClient(socket)
            first = {"method": "session.authenticate", "params": {"token": issuers.keycloak(OLD)}}
            for number, asked in enumerate([first, *[{"method": "session.describe"}] * 200]):
                await socket.send(json.dumps({"jsonrpc": "2.0", "id": f"{number:0500}", **asked}))
            await self.let(published)
            await client.until(lambda one: one.get("id") == f"{200:0500}")
            assert [int(one["id"]) for one in client.news] == list(range(201))

    async def test_a_request_over_http_waits(self, late: tuple[HereServer, JwksServer]) -> None:
        server, published = late
        asked = asyncio.ensure_future(rpc(server, issuers.keycloak(OLD), "session.describe"))
        await self.let(published)
        assert (await asked).json()["result"]["type"] == "account"

    async def test_a_renewal_waits_and_so_do_commands_behind_it_but_no_event(self, tmp_path: Path) -> None:
        async with (
            keycloak_server(tmp_path, OLD) as (server, published),
            server.native(issuers.keycloak(OLD)) as client,
            server.native(server.token("ada")) as ada,
        ):
            before = await client.call("session.describe")
            await ada.call("room.create", room="talk")
            await client.call("room.subscribe", room="talk")
            published.keys = [NEW.jwk]
            published.answers.clear()
            server.move(61)
            renewed = asyncio.ensure_future(
                client.call("session.refresh", token=issuers.keycloak(NEW, now_s=server.now_s))
            )
            described = asyncio.ensure_future(client.call("session.describe"))
            await until(lambda: published.requests == 2)
            await ada.call("message.send", room="talk", text="meanwhile")
            await client.event("message.created", "talk")
            assert not renewed.done()
            assert not described.done()
            published.answers.set()
            assert (await renewed)["expires_at"] == (await described)["expires_at"] > before["expires_at"]


class TestTheirSubjects:
    def listed(self, server: HereServer) -> list[Any]:
        listed: list[Any] = server.store.execute(accounts.List(limit=200), OPERATOR).reply["accounts"]
        return listed

    @pytest.fixture
    async def shop(self, tmp_path: Path, store_url: str) -> AsyncIterator[HereServer]:
        (tmp_path / "secret").write_text(PHP_SECRET)
        issuer = {**PHP, "secret_file": str(tmp_path / "secret")}
        async with trusting(tmp_path, issuer, database_url=store_url) as server:
            yield server

    async def test_the_first_time_each_gets_one_account_without_a_password(self, shop: HereServer) -> None:
        async with AsyncExitStack() as stack:
            sockets = [shop.native(issuers.php(sub=str(number % 5), name=f"N{number % 5}")) for number in range(25)]
            clients = await asyncio.gather(*(stack.enter_async_context(socket) for socket in sockets))
            await asyncio.gather(*(client.call("session.describe") for client in clients))
        rows = self.listed(shop)
        assert sorted((row.id, row.name, row.username, row.roles) for row in rows) == [
            (f"shop:{number}", f"N{number}", None, []) for number in range(5)
        ]
        assert await outcome(shop, issuers.php(sub="0", name="Renamed")) == "shop:0"
        assert len(self.listed(shop)) == 5

    async def test_a_disabled_one_is_gone_at_once_and_stays_out(self, shop: HereServer) -> None:
        async with shop.native(issuers.php()) as cy, shop.native(shop.token("root", roles=("admin",))) as root:
            await cy.call("session.describe")
            await root.call("account.disable", account="shop:1042")
            assert (await cy.closed())[0] == 4403
            assert await outcome(shop, issuers.php()) == "token_revoked"
            assert (await rpc(shop, issuers.php(), "session.describe")).json()["code"] == "token_revoked"

    async def test_they_have_no_password_to_sign_in_with(self, shop: HereServer) -> None:
        assert await outcome(shop, issuers.php()) == "shop:1042"
        async with httpx2.AsyncClient(trust_env=False) as client:
            for name in ("shop:1042", "Cy", "1042"):
                answer = await client.post(f"{shop.url}/auth/login", json={"username": name, "password": ""})
                assert (answer.status_code, answer.json()["code"]) == (401, "invalid_credentials")

    async def test_roles_are_the_issuers_whatever_is_stored(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text(PHP_SECRET)
        issuer = {**PHP, "secret_file": str(tmp_path / "secret"), "roles_claim": "groups", "allowed_roles": ["agent"]}
        async with trusting(tmp_path, issuer) as server:
            for groups, roles in (("agent", ["agent"]), (["agent", "admin"], ["agent"]), ([], ["member"])):
                async with server.native(issuers.php(groups=groups)) as client:
                    assert (await client.call("session.describe"))["roles"] == roles

    async def test_a_session_spelt_like_one_of_ours_is_not_ours(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text(PHP_SECRET)
        async with trusting(tmp_path, {**PHP, "secret_file": str(tmp_path / "secret")}) as server:
            create = accounts.Create(username="ada", password="no hash", roles=["member"])
            account = server.store.execute(create).reply["account"].id
            start = Start(subject=account, expires_at_ms=2**50, user_agent=None, address=None)
            session, _ = server.store.execute(start).reply
            async with (
                server.native(server.token(account, sid=session.id)) as ada,
                server.native(issuers.php(sid=session.id)) as cy,
            ):
                assert (await ada.call("session.describe"))["roles"] == ["member"]
                with pytest.raises(CommandRefused, match="not_found"):
                    await cy.call("session.revoke", session=session.id)
                await rpc(server, issuers.php(sid=session.id), "session.describe")
                assert (await ada.call("session.describe"))["session"] == session.id
                assert (await ada.call("session.list"))["sessions"][0]["id"] == session.id

    async def test_a_name_that_no_database_takes_is_written_without_it(self, shop: HereServer) -> None:
        async with shop.native(issuers.php(name="C\0y")) as cy:
            await cy.call("room.create", room="den")
            sent = await cy.call("message.send", room="den", text="hello")
            assert sent["message"]["sender"]["name"] == "Cy"
        assert [row.name for row in self.listed(shop)] == ["Cy"]

    async def test_a_name_is_cut_to_what_a_name_here_may_be(self, shop: HereServer) -> None:
        assert await outcome(shop, issuers.php(name="C" * 5000)) == "shop:1042"
        assert [row.name for row in self.listed(shop)] == ["C" * 200]
