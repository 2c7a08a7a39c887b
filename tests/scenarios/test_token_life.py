"""A token's life on an open connection (CONTRACT 1, rules 1 to 8), with the clock moved."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from parley.domain import accounts, revocation
from parley.service.passwords import hash_password
from tests.here import DOORS, HereServer, serving
from tests.lengths import LONG
from tests.serving import CommandRefused

pytestmark = pytest.mark.anyio


@pytest.fixture(params=DOORS)
async def server(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[HereServer]:
    # Without keepalive: a clock that jumps makes every peer silent for as long.
    async with serving(tmp_path / "data", limits__messages_per_s=0, limits__ping_interval=0) as server:
        server.door = request.param
        yield server


def told(one: dict[str, Any], name: str) -> bool:
    return one.get("method") == name


async def refused(call: Any) -> str:
    with pytest.raises(CommandRefused) as refusal:
        await call
    return refusal.value.code


class TestExpiry:
    async def test_it_is_warned_thirty_seconds_before(self, server: HereServer) -> None:
        async with server.client(server.token("ada", ttl_s=100)) as ada:
            await ada.call("session.describe")
            server.move(65)
            await ada.call("session.describe")
            assert not [one for one in ada.news if told(one, "session.expiring")]
            server.move(6)
            warned = await ada.until(lambda one: told(one, "session.expiring"))
            assert warned["params"]["expires_at"].endswith("Z")

    async def test_it_is_warned_at_once_where_less_is_left(self, server: HereServer) -> None:
        async with server.client(server.token("ada", ttl_s=20)) as ada:
            await ada.until(lambda one: told(one, "session.expiring"))

    async def test_held_it_is_handed_no_event_and_every_command_but_one_is_refused(self, server: HereServer) -> None:
        async with server.client(server.token("ada", ttl_s=60)) as ada, server.client(server.token("ben")) as ben:
            await ben.call("room.create", room="den")
            await ada.call("room.subscribe", room="den")
            server.move(61)
            await ben.call("message.send", room="den", text="while you are held")
            assert await refused(ada.call("room.get", room="den")) == "token_expired"
            assert await refused(ada.call("session.describe")) == "token_expired"
            assert ada.events("den") == []

    async def test_held_a_renewal_that_is_wrong_and_what_is_no_command_are_told_why(self, server: HereServer) -> None:
        async with server.client(server.token("ada", ttl_s=60)) as ada:
            await ada.call("session.describe")
            server.move(61)
            assert await refused(ada.call("session.refresh", token="x")) == "token_malformed"
            assert await refused(ada.call("session.refresh", tokens="x")) == "invalid_params"
            if server.door == "native":
                await ada.socket.send("{")
                said = await ada.until(lambda one: "error" in one)
                assert said["error"]["data"]["code"] == "parse_error"

    async def test_a_renewal_within_the_grace_brings_everything_missed_in_order(self, server: HereServer) -> None:
        # Sent without waiting for each answer: between the two moves of the clock real seconds count as well.
        async with server.client(server.token("ada", ttl_s=60)) as ada, server.native(server.token("ben")) as ben:
            await ben.call("room.create", room="den")
            await ada.call("room.subscribe", room="den")
            server.move(61)
            more_than_a_page = (ben.call("message.send", room="den", text=f"{number}") for number in range(1200))
            await asyncio.gather(*more_than_a_page)
            server.move(10)
            await ada.call("session.refresh", token=server.token("ada", ttl_s=60))
            last = await ben.call("message.send", room="den", text="live again")
            await ada.until(lambda one: told(one, "event") and one["params"]["seq"] == last["message"]["seq"])
            assert [event["seq"] for event in ada.events("den")] == list(range(2, 1203))

    async def test_after_the_grace_it_is_closed_with_4401(self, server: HereServer) -> None:
        async with server.client(server.token("ada", ttl_s=60)) as ada:
            await ada.call("session.describe")
            server.move(60.1)
            assert await refused(ada.call("session.describe")) == "token_expired"
            server.move(25)
            assert await ada.closed() == (4401, "token_expired")
            assert ada.news[-1] == {
                "jsonrpc": "2.0",
                "method": "session.closing",
                "params": {"code": 4401, "reason": "token_expired", "reconnect": True},
            }

    async def test_a_process_that_was_paused_hands_nothing_to_whom_has_expired_meanwhile(
        self, server: HereServer
    ) -> None:
        async with server.client(server.token("ada", ttl_s=60)) as ada, server.client(server.token("ben")) as ben:
            await ben.call("room.create", room="den")
            await ada.call("room.subscribe", room="den")
            # The timers have not run when the message comes: as after a SIGSTOP.
            server.pause(61)
            await ben.call("message.send", room="den", text="too late for ada")
            assert await refused(ada.call("session.describe")) == "token_expired"
            assert ada.events("den") == []


async def test_what_is_sent_right_behind_a_renewal_is_for_whoever_it_makes_of_the_bearer(tmp_path: Path) -> None:
    async with (
        serving(tmp_path / "data", limits__ping_interval=0) as server,
        server.native(server.token("ada", ttl_s=60)) as ada,
    ):
        await ada.call("room.create", room="den")
        server.move(61)
        # By a session that nobody has asked for yet: the renewal has to wait for the store.
        renewed = server.token("ada", sid="another")
        _, sent, described = await asyncio.gather(
            ada.call("session.refresh", token=renewed),
            ada.call("message.send", room="den", text="at once"),
            ada.call("session.describe"),
        )
        assert (sent["message"]["text"], described["session"]) == ("at once", "another")
        params: list[dict[str, str]] = [{"token": server.token("ada", sid="third")}, {}, {"token": "x"}, {}]
        methods = ["session.refresh", "session.describe"] * 2
        asked = zip(methods, params, strict=True)
        batch = [{"jsonrpc": "2.0", "id": f"b{n}", "method": m, "params": p} for n, (m, p) in enumerate(asked)]
        await ada.socket.send(json.dumps(batch))
        await ada.until(lambda one: one.get("id") == "b3")
        answers = {one["id"]: one for one in ada.news if "id" in one}
        assert answers["b2"]["error"]["data"]["code"] == "token_malformed"
        assert [answers[f"b{n}"]["result"]["session"] for n in (0, 1, 3)] == ["third"] * 3


class TestRenewal:
    async def test_an_hour_of_minute_tokens_loses_and_doubles_nothing(self, server: HereServer) -> None:
        renewals = 110 if LONG else 20  # of at least 35 s each: over an hour in the long form
        sender = server.token("ben", ttl_s=90_000)
        async with server.client(server.token("ada", ttl_s=60)) as ada, server.client(sender) as ben:
            await ben.call("room.create", room="den")
            await ada.call("room.subscribe", room="den")
            for number in range(renewals):
                await ben.call("message.send", room="den", text=f"{number} before")
                server.move(35)
                await ada.until(lambda one: told(one, "session.expiring"))
                ada.news = [one for one in ada.news if not told(one, "session.expiring")]
                if number % 3 == 0:  # every third comes late, and the connection is held for a while
                    server.move(30)
                    await ben.call("message.send", room="den", text=f"{number} held")
                described = await ada.call("session.refresh", token=server.token("ada", ttl_s=60))
                assert described["subject"] == "ada"
            last = await ben.call("message.send", room="den", text="the end")
            await ada.until(lambda one: told(one, "event") and one["params"]["seq"] == last["message"]["seq"])
            assert [event["seq"] for event in ada.events("den")] == list(range(2, last["message"]["seq"] + 1))

    @pytest.mark.parametrize(
        "other",
        [{"subject": "ben"}, {"type": "service"}],
        ids=["another subject", "another type"],
    )
    async def test_a_token_of_another_bearer_is_refused_and_the_old_stays(
        self, server: HereServer, other: dict[str, Any]
    ) -> None:
        claims = {"subject": "ada", **other}
        async with server.client(server.token("ada")) as ada:
            assert await refused(ada.call("session.refresh", token=server.token(**claims))) == "subject_mismatch"
            assert (await ada.call("session.describe"))["subject"] == "ada"

    async def test_a_bad_token_is_refused_by_its_code_and_the_old_stays(self, server: HereServer) -> None:
        async with server.client(server.token("ada")) as ada:
            token = server.token("ada")
            assert await refused(ada.call("session.refresh", token=token[:-2])) == "token_bad_signature"
            assert await refused(ada.call("session.refresh", token=token, more=1)) == "invalid_params"
            assert (await ada.call("session.describe"))["subject"] == "ada"

    async def test_new_grants_apply_at_once(self, server: HereServer) -> None:
        async with server.client(server.token("ada")) as ada:
            await ada.call("room.create", room="den")
            await ada.call("room.create", room="hall")
            await ada.call("room.subscribe", room="den")
            await ada.call("room.subscribe", room="hall")
            await ada.call("session.refresh", token=server.token("ada", grants={"room:hall": ["read"]}))
            changed = await ada.until(lambda one: told(one, "session.changed"))
            assert changed["params"] == {"roles": ["member"]}
            ended = await ada.until(lambda one: told(one, "subscription.ended"))
            assert ended["params"] == {"room": "den", "reason": "forbidden"}
            assert await refused(ada.call("message.send", room="hall", text="no")) == "forbidden"

    async def test_the_lifetime_ends_a_connection_whatever_its_tokens(self, tmp_path: Path) -> None:
        async with (
            serving(tmp_path / "data", limits__connection_lifetime=500, limits__ping_interval=0) as server,
            server.client(server.token("ada", ttl_s=9000)) as ada,
        ):
            await ada.call("session.describe")
            server.move(501)
            assert await ada.closed() == (1012, "lifetime")
            assert ada.news[-1]["params"] == {"code": 1012, "reason": "lifetime", "reconnect": True}


class TestRevocation:
    @pytest.mark.parametrize("target", ["token_id", "session", "subject"])
    async def test_it_closes_the_connections_that_it_covers_and_no_other(self, server: HereServer, target: str) -> None:
        named = {"token_id": "jti-1", "session": "sid-1", "subject": "ada"}[target]
        token = server.token("ada", sid="sid-1", jti="jti-1")
        other = server.token("ben", sid="sid-2", jti="jti-2")
        async with (
            server.client(token) as ada,
            server.client(other) as ben,
            server.client(server.token("root", roles=("admin",))) as admin,
        ):
            await ada.call("session.describe")
            assert (await admin.call("session.revoke", **{target: named}, reason="enough"))["revoked"] == 1
            assert await ada.closed() == (4403, "enough")
            closing = {"code": 4403, "reason": "enough", "reconnect": False}
            assert ada.news[-1]["params"] == closing
            assert (await ben.call("session.describe"))["subject"] == "ben"
            async with server.client(token) as again:
                assert await again.closed() == (4401, "token_revoked")

    async def test_a_sign_in_right_after_the_revocation_of_its_subject_lives(self, server: HereServer) -> None:
        async with server.client(server.token("root", roles=("admin",))) as admin:
            await admin.call("session.revoke", subject="ada")
            async with server.client(server.token("ada", sid="sid-later")) as ada:
                assert (await ada.call("session.describe"))["session"] == "sid-later"

    async def test_one_may_end_ones_own_and_nobody_elses(self, server: HereServer) -> None:
        async with (
            server.client(server.token("ada", sid="a1")) as ada,
            server.client(server.token("ada", sid="a2")) as other,
            server.client(server.token("ben", sid="b1")),
        ):
            assert await refused(ada.call("session.revoke", subject="ben")) == "forbidden"
            assert await refused(ada.call("session.revoke", session="b1")) == "not_found"
            assert await refused(ada.call("session.revoke")) == "invalid_params"
            await ada.call("session.revoke", subject="ada")
            assert await ada.closed() == (4403, "revoked")
            assert await other.closed() == (4403, "revoked")


class TestRightsNow:
    async def test_changed_roles_apply_to_live_connections(self, server: HereServer) -> None:
        create = accounts.Create(username="ada", password=hash_password("ada"), roles=["admin"])
        account = server.store.execute(create).reply["account"]
        async with (
            server.client(server.token(account.id, roles=("admin",))) as ada,
            server.client(server.token("ben")) as ben,
            server.client(server.token("root", roles=("admin",))) as root,
        ):
            await ben.call("room.create", room="den", visibility="private")
            await ada.call("room.subscribe", room="den")  # as an admin she may
            await root.call("account.set_roles", account=account.id, roles=["member"])
            changed = await ada.until(lambda one: told(one, "session.changed"))
            assert changed["params"] == {"roles": []}  # what the token claims, as far as the store agrees
            ended = await ada.until(lambda one: told(one, "subscription.ended"))
            assert ended["params"] == {"room": "den", "reason": "forbidden"}
            await ben.call("message.send", room="den", text="among us")
            assert await refused(ada.call("room.get", room="den")) == "not_found"
            assert ada.events("den") == []

    async def test_a_disabled_account_is_gone_at_once(self, server: HereServer) -> None:
        create = accounts.Create(username="ada", password=hash_password("ada"), roles=["member"])
        account = server.store.execute(create).reply["account"]
        async with (
            server.client(server.token(account.id)) as ada,
            server.client(server.token("root", roles=("admin",))) as root,
        ):
            await ada.call("session.describe")
            await root.call("account.disable", account=account.id)
            assert (await ada.closed())[0] == 4403

    async def test_the_removed_the_banned_and_the_leaving_are_told_why(self, server: HereServer) -> None:
        async with (
            server.client(server.token("ada")) as ada,
            server.client(server.token("ben")) as ben,
            server.client(server.token("cy")) as cy,
            server.client(server.token("dee")) as dee,
        ):
            await ada.call("room.create", room="den", visibility="private")
            for client, subject in ((ben, "ben"), (cy, "cy"), (dee, "dee")):
                await ada.call("room.invite", room="den", subject=subject)
                await client.call("room.subscribe", room="den")
            await ada.call("room.remove", room="den", subject="ben")
            await ada.call("room.remove", room="den", subject="cy", ban=True)
            await dee.call("room.leave", room="den")
            for client, reason in ((ben, "removed"), (cy, "banned"), (dee, "left")):
                ended = await client.until(lambda one: told(one, "subscription.ended"))
                assert ended["params"] == {"room": "den", "reason": reason}
            await ada.call("message.send", room="den", text="alone at last")
            for client in (ben, cy, dee):
                assert await refused(client.call("room.get", room="den")) == "not_found"
                assert not [e for e in client.events("den") if e["type"] == "message.created"]


async def fenced(server: HereServer, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A node that has read no revocations for a second; call what this gives, and it reads them."""
    polls: list[Any] = []
    real = server.store.poll
    monkeypatch.setattr(server.store, "poll", lambda heads, done: polls.append((heads, done)))
    while not polls:
        await asyncio.sleep(0.01)
    server.move(1.1)

    def read() -> None:
        monkeypatch.setattr(server.store, "poll", real)
        real(*polls[0])

    return read


class TestTheFence:
    async def test_a_node_that_cannot_read_revocations_hands_out_nothing_until_it_can(
        self, server: HereServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with server.client(server.token("ada")) as ada, server.client(server.token("ben")) as ben:
            await ben.call("room.create", room="den")
            await ada.call("room.subscribe", room="den")
            read = await fenced(server, monkeypatch)
            sending = asyncio.ensure_future(ben.call("message.send", room="den", text="behind the fence"))
            # What is about the connection itself goes on, and so do errors; this one comes behind the message.
            assert (await ben.call("session.describe"))["subject"] == "ben"
            assert await refused(ben.call("room.get", room="nowhere")) == "not_found"
            await ada.call("session.describe")
            assert not sending.done()
            assert ada.events("den") == []
            read()
            assert (await sending)["message"]["text"] == "behind the fence"
            assert (await ada.event("message.created"))["data"]["message"]["text"] == "behind the fence"
            assert len(ada.events("den")) == 1

    async def test_who_was_revoked_meanwhile_gets_no_result_of_a_node_that_does_not_know(
        self, server: HereServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with server.client(server.token("ada")) as ada:
            await ada.call("room.create", room="den")
            await ada.call("message.send", room="den", text="for who may read it")
            read = await fenced(server, monkeypatch)
            server.store.execute(revocation.Revoke(subject="ada"))  # as another node does while the bus is away
            asking = asyncio.ensure_future(ada.call("message.list", room="den"))
            await ada.call("session.describe")
            # A write waits for what was read before it.
            assert await refused(ada.call("message.send", room="nowhere", text="?")) == "not_found"
            read()
            assert await ada.closed() == (4403, "revoked")
            asking.cancel()
            (outcome,) = await asyncio.gather(asking, return_exceptions=True)
            assert isinstance(outcome, BaseException), outcome


async def test_after_a_sleep_of_the_machine_a_token_that_is_over_is_found_within_a_minute(tmp_path: Path) -> None:
    async with (
        serving(tmp_path / "data", limits__ping_interval=0) as server,
        server.client(server.token("ada", ttl_s=900)) as ada,
    ):
        await ada.call("session.describe")
        server.set_clock(930)
        server.move(60)
        assert await ada.closed() == (4401, "token_expired")
