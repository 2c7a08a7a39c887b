"""Login sessions: what a sign-in begins, refreshing keeps and revoking ends.

A refresh token is `<session>.<generation>.<mac>`: the store holds the generation only, and without the keyring's key
nobody can make the mac, so the database alone gives none away and the successor can be given a second time.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from typing import ClassVar

from msgspec import Struct

from parley.domain.accounts import Account, roles_now
from parley.domain.errors import Refusal
from parley.domain.ids import rfc3339
from parley.domain.params import Params
from parley.domain.ports import Acting, Decision, Row, Transaction
from parley.domain.principal import ROLES, Principal


class Session(Row):
    KEY: ClassVar = ("id",)
    id: str
    subject: str
    type: str
    generation: int
    created_at_ms: int
    last_used_at_ms: int
    expires_at_ms: int
    user_agent: str | None
    address: str | None


class SessionView(Struct):
    """`connection` is the id of the connection that asks, None over HTTP; times are RFC 3339."""

    subject: str
    type: str
    name: str
    roles: list[str]
    session: str
    connection: str | None
    expires_at: str
    server_time: str


class Authenticate(Params):
    token: str


class Describe(Params):
    pass


class Start(Params):
    """Not on the wire: the session of a sign-in that `service/sign_in.py` has checked."""

    subject: str
    expires_at_ms: int
    user_agent: str | None
    address: str | None


class Resolve(Params):
    """Not on the wire: what the store says now of the bearer of a verified token."""

    session: str


def start(tx: Transaction, p: Start, who: Acting) -> Decision:
    account = tx.get(Account, p.subject)
    if account is None or account.disabled:
        raise Refusal("invalid_credentials")
    session = Session(
        id=who.new_id(),
        subject=p.subject,
        type="account",
        generation=0,
        created_at_ms=who.now_ms,
        last_used_at_ms=who.now_ms,
        expires_at_ms=p.expires_at_ms,
        user_agent=p.user_agent,
        address=p.address,
    )
    tx.add(session)
    return Decision((session, account))


def resolve(tx: Transaction, p: Resolve, who: Acting) -> Decision:
    """`(kept, roles)`: whether the session is one of the store's, and the roles that count now.

    Raises: Refusal (`token_revoked`) where the account is disabled; dispatch has asked already.
    """
    session = tx.get(Session, p.session)
    kept = session is not None and session.subject == who.subject
    return Decision((kept, roles_now(tx, who.subject, who.principal.roles, kept=kept)))


def describe(principal: Principal, connection: str | None, now_ms: int) -> SessionView:
    """What `session.describe` answers, on a connection or over HTTP (None); `now_ms` is Unix milliseconds."""
    return SessionView(
        subject=principal.subject,
        type=principal.type,
        name=principal.name,
        roles=[role for role in ROLES if role in principal.roles],
        session=principal.session,
        connection=connection,
        expires_at=rfc3339(int(principal.expires_at_s * 1000)),
        server_time=rfc3339(now_ms),
    )


def refresh_token(key: bytes, session: str, generation: int) -> str:
    """The refresh token of a generation; `key` is the keyring's refresh key of at least 32 bytes."""
    mac = hmac.digest(key, f"refresh|{session}|{generation}".encode(), hashlib.sha256)
    return f"{session}.{generation}.{urlsafe_b64encode(mac).rstrip(b'=').decode()}"
