"""Accounts: the stored people, their roles and passwords. Holds every `account.*` command.

Never sees a password: what arrives here in `password` is its Argon2 hash, put there by `service/sign_in.py`.
Sign-ins and their refresh tokens are `sessions.py`.
"""

from functools import lru_cache
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct

from parley.domain import audit, revocation
from parley.domain.cursors import from_cursor, page
from parley.domain.errors import Refusal, invalid_params
from parley.domain.events import Change
from parley.domain.ids import Subject, rfc3339
from parley.domain.params import Limit, Params
from parley.domain.ports import Acting, Decision, Row, Transaction

AccountRole = Literal["member", "agent", "admin"]
# Without a colon: a subject of another issuer has one, and a name on the command line may be either.
Username = Annotated[str, Meta(pattern=r"^[!-9;-~]{1,128}\Z")]
Password = Annotated[str, Meta(min_length=1, max_length=1024)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]


class Account(Row):
    """`id` is the subject. `username_key` is the username in lower case, and unique; `roles` is JSON text.

    A row without `username` and `password_hash` is of somebody who signs in elsewhere; its roles come with each token.
    """

    KEY: ClassVar = ("id",)
    id: str
    username: str | None
    username_key: str | None
    name: str
    password_hash: str | None
    roles: str
    disabled: bool
    created_at_ms: int

    @property
    def role_set(self) -> frozenset[str]:
        return _roles_of(self.roles)


class AccountView(Struct):
    id: str
    username: str | None
    name: str
    roles: list[str]
    disabled: bool
    created_at: str


@lru_cache(maxsize=256)
def _roles_of(roles_json: str) -> frozenset[str]:
    return frozenset(msgspec.json.decode(roles_json, type=list[str]))


def account_view(a: Account) -> AccountView:
    return AccountView(
        a.id, a.username, a.name, msgspec.json.decode(a.roles, type=list[str]), a.disabled, rfc3339(a.created_at_ms)
    )


class Create(Params):
    username: Username
    password: Password
    roles: list[AccountRole]
    name: Name | None = None


class List(Params):
    after: str | None = None
    limit: Limit = 50


class SetRoles(Params):
    account: Subject
    roles: list[AccountRole]


class Disable(Params):
    account: Subject


class SetPassword(Params):
    """`current` was checked, and `password` hashed, before this is decided."""

    password: Password
    account: Subject | None = None
    current: str | None = None


class Find(Params):
    """Not on the wire: an account by its username or its subject, for signing in and for the command line."""

    name: str


class Rehash(Params):
    """Not on the wire: the same password under today's parameters, in place of the hash `before`."""

    account: str
    before: str
    password: str


def named(tx: Transaction, subject_or_username: str) -> tuple[str, str]:
    """The subject and display name behind a subject or a username; somebody unknown goes by the subject itself."""
    account = tx.get(Account, subject_or_username) or tx.account_by_username(subject_or_username.lower())
    return (account.id, account.name) if account else (subject_or_username, subject_or_username)


def roles_now(tx: Transaction, subject: str, claimed: frozenset[str], *, kept: bool) -> frozenset[str]:
    """The roles that count at this moment.

    Under a session that we keep, the stored ones; under any other token the claim's, and for accounts of our own only
    as far as the store agrees.
    Raises: Refusal (`token_revoked`) where the account is disabled.
    """
    account = tx.get(Account, subject)
    if account is None:
        return claimed
    if account.disabled:
        raise Refusal("token_revoked", "The account is disabled.")
    if kept:
        return account.role_set
    return claimed if account.username is None else claimed & account.role_set


def find(tx: Transaction, p: Find, who: Acting) -> Decision:
    """The row itself, or None: for sign-in and the command line, never for a client."""
    return Decision(tx.account_by_username(p.name.lower()) or tx.get(Account, p.name))


def create(tx: Transaction, p: Create, who: Acting) -> Decision:
    key = p.username.lower()
    if tx.account_by_username(key) is not None:
        raise Refusal("conflict", "An account of this username exists.")
    account = Account(
        id=who.new_id(),
        username=p.username,
        username_key=key,
        name=p.name or p.username,
        password_hash=p.password,
        roles=_roles_json(p.roles),
        disabled=False,
        created_at_ms=who.now_ms,
    )
    tx.add(account)
    audit.record(tx, who, "account.create", account.id, username=p.username, roles=p.roles)
    return Decision({"account": account_view(account)}, changes=[Change("account", account.id, who.now_ms)])


def list_accounts(tx: Transaction, p: List, who: Acting) -> Decision:
    rows = tx.accounts_page(from_cursor(p.after), p.limit + 1)
    shown, following = page(rows, p.limit, key=lambda row: row.id)
    return Decision({"accounts": [account_view(row) for row in shown], "next": following})


def set_roles(tx: Transaction, p: SetRoles, who: Acting) -> Decision:
    account = _existing(tx, p.account)
    roles = _roles_json(p.roles)
    if roles == account.roles:
        return Decision({"account": account_view(account)})
    audit.record(tx, who, "account.set_roles", account.id, roles=p.roles, before=sorted(account.role_set))
    account.roles = roles
    tx.save(account)
    return Decision({"account": account_view(account)}, changes=[Change("account", account.id, who.now_ms)])


def disable(tx: Transaction, p: Disable, who: Acting) -> Decision:
    account = _existing(tx, p.account)
    if account.disabled:
        return Decision({"account": account_view(account)})
    account.disabled = True
    tx.save(account)
    audit.record(tx, who, "account.disable", account.id)
    _, revoked = revocation.end_subject(tx, who, account.id)
    changes = [Change("account", account.id, who.now_ms), *revoked]
    return Decision({"account": account_view(account)}, changes=changes)


def set_password(tx: Transaction, p: SetPassword, who: Acting) -> Decision:
    target = p.account or who.subject
    if target != who.subject and not who.is_admin:
        raise Refusal("forbidden", "Only an admin may set somebody else's password.")
    account = tx.get(Account, target)
    if account is None or account.username is None:
        raise Refusal("not_found", "This subject has no password here.")
    account.password_hash = p.password
    tx.save(account)
    audit.record(tx, who, "account.set_password", account.id)
    ended = revocation.end_other_sessions(tx, who, account.id)
    return Decision({}, changes=[Change("account", account.id, who.now_ms), *ended])


def rehash(tx: Transaction, p: Rehash, who: Acting) -> Decision:
    account = tx.get(Account, p.account)
    if account is not None and account.password_hash == p.before:  # else it was set anew in between
        account.password_hash = p.password
        tx.save(account)
    return Decision(None)


def _existing(tx: Transaction, account_id: str) -> Account:
    account = tx.get(Account, account_id)
    if account is None:
        raise Refusal("not_found", "There is no account of this id.")
    return account


def _roles_json(roles: list[AccountRole]) -> str:
    if not roles:
        raise invalid_params("roles", "An account has at least one role.")
    return msgspec.json.encode(sorted(set(roles))).decode()
