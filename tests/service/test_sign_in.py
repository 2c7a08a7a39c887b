"""Signing in: against a real store, with a clock that is moved."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from argon2 import PasswordHasher

from parley.domain import accounts, sign_ins
from parley.domain.errors import Refusal
from parley.domain.ids import IdSource
from parley.domain.params import Params
from parley.domain.ports import Decision
from parley.domain.principal import OPERATOR, Principal
from parley.domain.rooms import Create as CreateRoom
from parley.domain.sessions import Session
from parley.service.ask import ask
from parley.service.passwords import Passwords, hash_password, needs_rehash, verify_password
from parley.service.sign_in import SignedIn, SignIn
from parley.store import Store, open_store
from parley.tokens import Issuer, KeySet, SigningKey, Verifier

KEY = SigningKey.generate()
REFRESH_KEY = bytes(range(32))
HASH = hash_password("sesame")


@dataclass
class World:
    """A store with the accounts ada (member), root (admin) and gone (disabled), and who signs them in."""

    store: Store
    passwords: Passwords
    sign_in: SignIn
    ids: dict[str, str]
    monotonic_s: float = 0.0

    async def ask(self, params: Params) -> Decision:
        return await ask(self.store.write, params, OPERATOR)

    async def login(
        self, username: str = "ada", password: str = "sesame", address: str = "192.0.2.7", agent: str | None = None
    ) -> SignedIn:
        return await self.sign_in.sign_in(username, password, address, agent)

    async def account(self, name: str) -> accounts.Account:
        found = (await ask(self.store.read, accounts.Find(name=name), OPERATOR)).reply
        assert isinstance(found, accounts.Account)
        return found

    def principal(self, name: str, *roles: str) -> Principal:
        return Principal(self.ids[name], "account", name, frozenset(roles), f"sid-{name}", "jti", "parley", 1e12)


@asynccontextmanager
async def world(url: str, *, login_failures: int = 10, passwords: Passwords | None = None) -> AsyncIterator[World]:
    loop = asyncio.get_running_loop()

    def clock_ms() -> int:
        return time.time_ns() // 1_000_000

    store = open_store(url, clock_ms=clock_ms, random_bytes=os.urandom, loop_call=loop.call_soon_threadsafe)
    passwords = passwords or Passwords()
    ids = {}
    for name, role in (("ada", "member"), ("root", "admin"), ("gone", "member")):
        create = accounts.Create(username=name, password=HASH, roles=[role], name=name.title())  # type: ignore[list-item]
        ids[name] = (await ask(store.write, create, OPERATOR)).reply["account"].id
    await ask(store.write, accounts.Disable(account=ids["gone"]), OPERATOR)
    made: World
    sign_in = SignIn(
        store,
        passwords,
        issuer=lambda: Issuer(KEY),
        refresh_key=REFRESH_KEY,
        access_ttl_s=900,
        refresh_ttl_s=2_592_000,
        login_failures=login_failures,
        clock_s=time.time,
        monotonic_s=lambda: made.monotonic_s,
        new_id=IdSource(clock_ms, os.urandom),
    )
    made = World(store, passwords, sign_in, ids)
    try:
        yield made
    finally:
        passwords.close()
        await asyncio.to_thread(store.close, 5)


async def refusal(awaitable: Awaitable[object]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await awaitable
    return caught.value


pytestmark = pytest.mark.anyio


async def test_signing_in_gives_an_access_token_with_every_claim_and_a_kept_session(sqlite_url: str) -> None:
    async with world(sqlite_url) as w:
        signed = await w.login("ADA", agent="Mozilla/5.0 \x00\x1b[2J" + "x" * 1000)
        claims = Verifier(KeySet([KEY])).verify(signed.access_token, time.time())
        assert (claims.sub, claims.type, claims.roles, claims.name) == (w.ids["ada"], "account", ("member",), "Ada")
        assert claims.exp - claims.iat == signed.expires_in == 900
        session, generation = sign_ins.used_refresh_token(REFRESH_KEY, signed.refresh_token)
        assert (session, generation) == (claims.sid, 0)
        kept, roles, _ = (await ask(w.store.read, sign_ins.Resolve(session=claims.sid), Principal.of(claims))).reply
        assert (kept, roles) == (True, {"member"})
        other = Verifier(KeySet([KEY])).verify((await w.login()).access_token, time.time())
        assert other.sid != claims.sid
        assert other.jti != claims.jti


async def test_what_a_browser_says_of_itself_is_kept_short_and_printable(sqlite_url: str) -> None:
    async with world(sqlite_url) as w:
        begun: list[Session] = []
        write = w.store.write

        def spying(job):  # type: ignore[no-untyped-def]
            done = job.done

            def heard(outcome: Decision) -> None:
                begun.append(outcome.reply[0])
                done(outcome)

            job.done = heard
            write(job)

        w.store.write = spying  # type: ignore[method-assign]
        await w.login(agent="Mozilla/5.0 \x00\x1b[2J" + "x" * 1000)
        (session,) = begun
        assert session.user_agent is not None
        assert session.user_agent.startswith("Mozilla/5.0 [2Jx")
        assert len(session.user_agent) == 256
        assert session.address == "192.0.2.7"


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("ada", "wrong"),
        ("ada", ""),
        ("ada", "sesame "),
        ("ada", "x" * 100_000),
        ("ada", "\ud800"),
        ("nobody", "sesame"),
        ("gone", "sesame"),
        ("", ""),
        ("a" * 100_000, "sesame"),
        ("ada\x00", "sesame"),
        ("\ud800", "sesame"),
    ],
)
async def test_whatever_is_wrong_the_answer_is_the_same(sqlite_url: str, username: str, password: str) -> None:
    async with world(sqlite_url) as w:
        refused = await refusal(w.login(username, password))
        assert (refused.code, refused.message, refused.facts) == (
            "invalid_credentials",
            "The name or the password is wrong.",
            {},
        )


async def test_an_id_is_no_second_name_to_sign_in_under(sqlite_url: str) -> None:
    async with world(sqlite_url) as w:
        assert (await refusal(w.login(w.ids["ada"]))).code == "invalid_credentials"


async def test_a_name_that_does_not_exist_takes_as_long_as_one_that_does(sqlite_url: str) -> None:
    async with world(sqlite_url, login_failures=0) as w:
        took: dict[str, list[float]] = {"ada": [], "nobody": [], "gone": [], "\x00": []}
        for _ in range(7):
            for name, times in took.items():
                # Of all threads of this process, and the least of several: a busy machine does not show in it.
                began = time.process_time()
                await refusal(w.login(name, "wrong"))
                times.append(time.process_time() - began)
        least = {name: min(times) for name, times in took.items()}
        assert max(least.values()) < 1.5 * min(least.values()), least


async def test_a_composed_and_a_decomposed_password_are_the_same(sqlite_url: str) -> None:
    async with world(sqlite_url) as w:
        await w.ask(accounts.SetPassword(account=w.ids["ada"], password=hash_password("caf\u00e9")))
        assert await w.login(password="cafe\u0301")


# --- limits


async def test_after_ten_failures_the_account_waits_at_that_address_and_nowhere_else(sqlite_url: str) -> None:
    async with world(sqlite_url) as w:
        for n in range(10):
            w.monotonic_s = float(n)
            assert (await refusal(w.login("Ada" if n % 2 else "ada", "wrong"))).code == "invalid_credentials"
        refused = await refusal(w.login())
        assert refused.code == "rate_limited"
        assert refused.facts["retry_after"] == pytest.approx(591, abs=0.01)
        assert await w.login(address="192.0.2.8")
        assert await w.login("root")
        w.monotonic_s = 600.0
        assert await w.login()


async def test_after_fifty_failures_the_address_waits_whatever_the_name(sqlite_url: str) -> None:
    async with world(sqlite_url) as w:
        for n in range(50):
            assert (await refusal(w.login(f"nobody{n}", "wrong"))).code == "invalid_credentials"
        assert (await refusal(w.login())).code == "rate_limited"
        assert await w.login(address="192.0.2.8")


async def test_a_right_password_is_no_failure_however_often(sqlite_url: str) -> None:
    async with world(sqlite_url, login_failures=2) as w:
        assert len([await w.login() for _ in range(12)]) == 12


async def test_a_crowd_at_once_has_no_more_tries_than_a_line(sqlite_url: str) -> None:
    async with world(sqlite_url) as w:
        codes = [
            refused.code
            for refused in await asyncio.gather(*(refusal(w.login(password=f"guess{n}")) for n in range(40)))
        ]
        assert codes.count("invalid_credentials") == 10
        assert codes.count("rate_limited") == 30


async def test_many_right_sign_ins_at_once_all_succeed(sqlite_url: str) -> None:
    async with world(sqlite_url) as w:
        assert len(await asyncio.gather(*(w.login() for _ in range(30)))) == 30


async def test_a_limit_of_zero_lets_everybody_try(sqlite_url: str) -> None:
    async with world(sqlite_url, login_failures=0) as w:
        for _ in range(12):
            assert (await refusal(w.login(password="wrong"))).code == "invalid_credentials"


async def test_a_full_line_is_overloaded_and_counts_as_no_failure(sqlite_url: str) -> None:
    async with world(sqlite_url, login_failures=1, passwords=Passwords(threads=1, waiting_max=2)) as w:
        outcomes = await asyncio.gather(*(w.login() for _ in range(5)), return_exceptions=True)
        assert sum(isinstance(outcome, SignedIn) for outcome in outcomes) == 3
        assert [outcome.code for outcome in outcomes if isinstance(outcome, Refusal)] == ["overloaded"] * 2
        assert await w.login()
        assert w.passwords.waiting == 0


# --- passwords of commands


async def prepared(w: World, params: Params, who: Principal) -> accounts.Create | accounts.SetPassword:
    ready = await w.sign_in.prepared(params, who)
    assert isinstance(ready, accounts.Create | accounts.SetPassword)
    return ready


async def test_a_new_accounts_password_is_hashed_before_the_store_sees_it(sqlite_url: str) -> None:
    async with world(sqlite_url) as w:
        create = accounts.Create(username="ben", password="open", roles=["member"])
        ready = await prepared(w, create, w.principal("root", "admin"))
        assert ready.password.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        await w.ask(ready)
        assert await w.login("ben", "open")


@pytest.mark.parametrize("who", ["a member", "a guest", "a narrowed admin"])
async def test_no_hash_is_spent_on_somebody_who_may_not_create_accounts(sqlite_url: str, who: str) -> None:
    from msgspec.structs import replace

    from parley.tokens import Grants

    async with world(sqlite_url) as w:
        w.passwords.close()  # a hash would fail
        admin = w.principal("root", "admin")
        principal = {
            "a member": w.principal("ada", "member"),
            "a guest": replace(admin, type="guest"),
            "a narrowed admin": replace(admin, grants=Grants.parse({"room:x": ["manage"]})),
        }[who]
        create = accounts.Create(username="ben", password="open", roles=["member"])
        assert (await refusal(w.sign_in.prepared(create, principal))).code == "forbidden"


async def test_ones_own_password_is_set_with_the_current_one(sqlite_url: str) -> None:
    async with world(sqlite_url) as w:
        ada = w.principal("ada", "member")
        missing = await refusal(w.sign_in.prepared(accounts.SetPassword(password="new"), ada))
        assert (missing.code, missing.facts) == ("invalid_params", {"field": "current"})
        wrong = await refusal(w.sign_in.prepared(accounts.SetPassword(password="new", current="wrong"), ada))
        assert wrong.code == "invalid_credentials"
        for account in (None, w.ids["ada"]):
            ready = await prepared(w, accounts.SetPassword(password="new", current="sesame", account=account), ada)
            assert isinstance(ready, accounts.SetPassword)
            assert ready.current is None
            assert verify_password(ready.password, "new")


async def test_an_admin_sets_any_password_and_a_member_no_other(sqlite_url: str) -> None:
    async with world(sqlite_url) as w:
        change = accounts.SetPassword(password="new", account=w.ids["ada"])
        await w.ask(await prepared(w, change, w.principal("root", "admin")))
        assert await w.login(password="new")
        other = accounts.SetPassword(password="new", account=w.ids["root"], current="sesame")
        assert (await refusal(w.sign_in.prepared(other, w.principal("ada", "member")))).code == "forbidden"


async def test_guessing_the_current_password_with_a_stolen_token_is_limited_and_locks_nobody_out(
    sqlite_url: str,
) -> None:
    async with world(sqlite_url) as w:
        thief = w.principal("ada", "member")
        for n in range(10):
            guess = accounts.SetPassword(password="new", current=f"guess{n}")
            assert (await refusal(w.sign_in.prepared(guess, thief))).code == "invalid_credentials"
        right = accounts.SetPassword(password="new", current="sesame")
        assert (await refusal(w.sign_in.prepared(right, thief))).code == "rate_limited"
        assert await w.login()


async def test_other_commands_pass_as_they_are(sqlite_url: str) -> None:
    async with world(sqlite_url) as w:
        create = CreateRoom(room="launch")
        assert await w.sign_in.prepared(create, w.principal("ada", "member")) is create


async def test_a_hash_of_older_parameters_is_replaced_at_the_next_sign_in(sqlite_url: str) -> None:
    async with world(sqlite_url) as w:
        old = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(b"sesame")
        await w.ask(accounts.SetPassword(account=w.ids["ada"], password=old))
        await w.login()
        now = (await w.account("ada")).password_hash
        assert now is not None
        assert now != old
        assert not needs_rehash(now)
        assert await w.login()


async def test_a_password_that_was_set_meanwhile_is_not_replaced_by_the_old_one(sqlite_url: str) -> None:
    async with world(sqlite_url) as w:
        await w.ask(accounts.Rehash(account=w.ids["ada"], before="another", password="hash"))
        assert (await w.account("ada")).password_hash == HASH


async def test_the_loop_turns_while_passwords_are_checked(sqlite_url: str) -> None:
    async with world(sqlite_url) as w:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        counting = asyncio.create_task(count())
        await w.login()
        counting.cancel()
        assert turns > 20


async def test_no_token_is_in_a_repr(sqlite_url: str) -> None:
    async with world(sqlite_url) as w:
        signed = await w.login()
        assert repr(signed) == "SignedIn(expires_in=900)"


def test_a_damaged_hash_lets_nobody_in() -> None:
    for stored in ("", "x", "$argon2id$", HASH[:-5], None):
        assert not verify_password(stored, "sesame")
    assert verify_password(HASH, "sesame")
