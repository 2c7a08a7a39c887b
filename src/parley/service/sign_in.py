"""Signing in with a name and a password: who may try how often, the session that begins, the tokens that come of it.

Says the same, after the same time, whether the name exists, is disabled or has no password here. Hashing itself is
`passwords.py`; refreshing and ending sessions are commands of `domain/sessions.py`.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from parley.domain import accounts, sessions, sign_ins
from parley.domain.errors import Refusal, invalid_params
from parley.domain.params import Params
from parley.domain.ports import Store
from parley.domain.principal import OPERATOR, Principal
from parley.service.ask import ask
from parley.service.limits import Failures
from parley.service.passwords import Passwords, hash_password, needs_rehash, verify_password
from parley.tokens import Issuer

#: The window of CONTRACT 6, `LOGIN_FAILURES`; an address may fail five times as often as one account from it.
WINDOW_S: Final = 600.0
ADDRESS_FACTOR: Final = 5
PASSWORD_CHARS_MAX: Final = 1024
_USERNAME = re.compile(r"[!-~]{1,128}")
_USER_AGENT_CHARS_MAX: Final = 256

#: A counter and the key under which this attempt counts in it.
Try = tuple[Failures, Hashable]


class SignedIn(Struct):
    """What a sign-in gives; `expires_in` is of the access token, in seconds. Its `repr` shows no token."""

    access_token: str
    expires_in: int
    refresh_token: str

    def __repr__(self) -> str:
        return f"SignedIn(expires_in={self.expires_in})"


class SignIn:
    """`sign_in` for `POST /auth/login`, `prepared` for the commands that carry a password.

    `issuer` gives the issuer of this moment, whose key may be rotated. `clock_s` is Unix time, `monotonic_s` any clock
    that never goes back. `login_failures` is the limit for one account from one address; 0 is off.
    """

    def __init__(
        self,
        store: Store,
        passwords: Passwords,
        *,
        issuer: Callable[[], Issuer],
        refresh_key: bytes,
        access_ttl_s: float,
        refresh_ttl_s: float,
        login_failures: int,
        clock_s: Callable[[], float],
        monotonic_s: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._issuer = issuer
        self._refresh_key = refresh_key
        self._access_ttl_s = access_ttl_s
        self._refresh_ttl_s = refresh_ttl_s
        self._clock_s = clock_s
        self._monotonic_s = monotonic_s
        self._new_id = new_id
        self._by_account = Failures(login_failures, WINDOW_S)
        self._by_address = Failures(login_failures * ADDRESS_FACTOR, WINDOW_S)
        self._by_session = Failures(login_failures, WINDOW_S)
        #: What other nodes should know of.
        self.failures = {"account": self._by_account, "address": self._by_address, "session": self._by_session}
        self._under_way: Counter[Try] = Counter()
        self._ended = asyncio.Event()

    async def sign_in(self, username: str, password: str, address: str | None, user_agent: str | None) -> SignedIn:
        """Raises: Refusal: `invalid_credentials`, `rate_limited` with `retry_after`, `overloaded`, `unavailable`."""
        # Both keys have the address in them: failures elsewhere never lock anybody out here.
        tries: list[Try] = [(self._by_account, (username.lower()[:128], address)), (self._by_address, address)]
        account = await self._tried(tries, lambda: self._account_of(username), password)
        if account is None:
            raise Refusal("invalid_credentials")
        return await self._start(account, address, user_agent)

    async def prepared(self, params: Params, principal: Principal) -> Params:
        """`account.create` and `account.set_password` with the hash in the password's place, ready for the store.

        Raises: Refusal: `forbidden`, before a hash is spent on somebody who may not; `invalid_params` or
        `invalid_credentials` for a `current` that is missing or wrong; `rate_limited`, `overloaded`.
        """
        if not isinstance(params, accounts.Create | accounts.SetPassword):
            return params
        is_admin = "admin" in principal.roles
        if principal.is_guest or principal.grants is not None:
            raise Refusal("forbidden")
        if isinstance(params, accounts.Create):
            if not is_admin:
                raise Refusal("forbidden", "Only an admin may do this.")
        else:
            await self._require_current(params, principal, is_admin=is_admin)
        changes: dict[str, str | None] = {"password": await self._passwords.hash(params.password)}
        if isinstance(params, accounts.SetPassword):
            changes["current"] = None  # checked, and of no use to anybody further in
        prepared: Params = msgspec.structs.replace(params, **changes)
        return prepared

    async def _require_current(self, params: accounts.SetPassword, principal: Principal, *, is_admin: bool) -> None:
        own = params.account in (None, principal.subject)
        if not own and not is_admin:
            raise Refusal("forbidden", "Only an admin may set somebody else's password.")
        if is_admin and (not own or params.current is None):
            return
        if params.current is None:
            raise invalid_params("current", "Your own password is set with the current one beside it.")
        # By session, so that whoever holds a stolen token locks out nobody but that sign-in.
        tries: list[Try] = [(self._by_session, principal.session)]
        if await self._tried(tries, lambda: self._account_of_subject(principal.subject), params.current) is None:
            raise Refusal("invalid_credentials", "The current password is wrong.")

    async def _tried(
        self,
        tries: Sequence[Try],
        find: Callable[[], Awaitable[accounts.Account | None]],
        password: str,
    ) -> accounts.Account | None:
        """The account whose password this is, or None. Counts a failure under each of `tries`."""
        self._require_tries_left(tries)
        async with self._passwords.turn():
            await self._begin(tries)
            try:
                account = await find()
                stored = account.password_hash if account is not None else None
                if len(password) > PASSWORD_CHARS_MAX:
                    stored, password = None, ""
                is_right = await self._passwords.run(verify_password, stored, password)
                if not is_right or account is None or account.disabled:
                    now_s = self._monotonic_s()
                    for failures, key in tries:
                        failures.add(key, now_s)
                    return None
                if stored is not None and needs_rehash(stored):
                    await self._rehash(account, password)
                return account
            finally:
                self._end(tries)

    async def _begin(self, tries: Sequence[Try]) -> None:
        """Wait until this attempt may fail too: a crowd at once has no more tries than a line of them."""
        while True:
            now_s = self._require_tries_left(tries)  # others failed while this one waited
            if all(failures.left(key, now_s) > self._under_way[failures, key] for failures, key in tries):
                break
            # Those under way have a thread already, so one of them ends.
            await self._ended.wait()
        for one in tries:
            self._under_way[one] += 1

    def _end(self, tries: Sequence[Try]) -> None:
        for one in tries:
            self._under_way[one] -= 1
            if not self._under_way[one]:
                del self._under_way[one]
        self._ended.set()
        self._ended = asyncio.Event()

    def _require_tries_left(self, tries: Sequence[Try]) -> float:
        now_s = self._monotonic_s()
        wait_s = max(failures.retry_after(key, now_s) for failures, key in tries)
        if wait_s:
            raise Refusal("rate_limited", "Too many failed sign-ins.", retry_after=round(wait_s + 0.0005, 3))
        return now_s

    async def _account_of(self, username: str) -> accounts.Account | None:
        # What can be no username is not asked for: PostgreSQL refuses a NUL in a text.
        if _USERNAME.fullmatch(username) is None:
            return None
        found = await self._found(username)
        # `Find` takes a subject too, which would be a second name to try passwords under.
        return found if found is not None and found.username_key == username.lower() else None

    async def _account_of_subject(self, subject: str) -> accounts.Account | None:
        found = await self._found(subject)
        return found if found is not None and found.id == subject else None

    async def _found(self, name: str) -> accounts.Account | None:
        found: accounts.Account | None = (await ask(self._store.read, accounts.Find(name=name), OPERATOR)).reply
        return found

    async def _rehash(self, account: accounts.Account, password: str) -> None:
        before = account.password_hash
        assert before is not None
        now = await self._passwords.run(hash_password, password)
        await ask(self._store.write, accounts.Rehash(account=account.id, before=before, password=now), OPERATOR)

    async def _start(self, account: accounts.Account, address: str | None, user_agent: str | None) -> SignedIn:
        ends_at_ms = int((self._clock_s() + self._refresh_ttl_s) * 1000)
        agent = shown_user_agent(user_agent)
        start = sign_ins.Start(subject=account.id, expires_at_ms=ends_at_ms, user_agent=agent, address=address)
        session: sessions.Session
        bearer: sign_ins.Bearer
        session, bearer = (await ask(self._store.write, start, OPERATOR)).reply
        return signed_in(
            session,
            bearer,
            issuer=self._issuer(),
            refresh_key=self._refresh_key,
            now_s=self._clock_s(),
            access_ttl_s=self._access_ttl_s,
            token_id=self._new_id(),
        )


def shown_user_agent(user_agent: str | None) -> str | None:
    """What is kept of the header, for people to tell their sign-ins apart."""
    return None if user_agent is None else "".join(filter(str.isprintable, user_agent))[:_USER_AGENT_CHARS_MAX]


def signed_in(
    session: sessions.Session,
    bearer: sign_ins.Bearer,
    *,
    issuer: Issuer,
    refresh_key: bytes,
    now_s: float,
    access_ttl_s: float,
    token_id: str,
) -> SignedIn:
    """The tokens of a session, as it stands."""
    token = issuer.issue(
        sub=bearer.subject,
        type=bearer.type,
        roles=bearer.roles,
        name=bearer.name,
        conversation=bearer.conversation,
        department=bearer.department,
        sid=session.id,
        jti=token_id,
        now_s=now_s,
        ttl_s=access_ttl_s,
        # The moment that the store gave it: a revocation of this subject before or after it is told apart.
        auth_time=session.created_at_ms / 1000,
    )
    return SignedIn(token, int(access_ttl_s), sign_ins.refresh_token(refresh_key, session.id, session.generation))
