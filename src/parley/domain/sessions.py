"""Login sessions as they are stored and told: `session.list`, `session.describe`.

What begins and keeps one is `sign_ins.py`, what ends one `revocation.py`.
"""

from typing import ClassVar

from msgspec import Struct

from parley.domain.cursors import from_cursor, page
from parley.domain.errors import Refusal
from parley.domain.ids import Subject, rfc3339
from parley.domain.params import Limit, Params
from parley.domain.ports import Acting, Decision, Row, Transaction
from parley.domain.principal import ROLES, Principal


class Session(Row):
    """`generation` is that of the newest refresh token; `last_used_at_ms` is when the one before it was first used.

    `conversation` is a guest's: the one that its tokens open.
    """

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
    conversation: str | None = None


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


class ListedSession(Struct):
    """One of `session.list`. `connections` counts the live ones; the node fills it in."""

    id: str
    subject: str
    created_at: str
    last_used_at: str
    user_agent: str | None
    address: str | None
    connections: int = 0


class Authenticate(Params):
    token: str


class Renew(Params):
    """`session.refresh`: carried out by the connection that it renews."""

    token: str


class List(Params):
    subject: Subject | None = None
    after: str | None = None
    limit: Limit = 50


class Describe(Params):
    pass


def list_sessions(tx: Transaction, p: List, who: Acting) -> Decision:
    subject = p.subject or who.subject
    if subject != who.subject and who.principal.is_guest:
        raise Refusal("not_found")
    if subject != who.subject and (not who.is_admin or who.principal.grants is not None):
        raise Refusal("forbidden", "Only an admin may see somebody else's sessions.")
    rows = tx.sessions_page(subject, from_cursor(p.after), p.limit + 1)
    shown, following = page(rows, p.limit, key=lambda row: row.id)
    views = [
        ListedSession(
            row.id, row.subject, rfc3339(row.created_at_ms), rfc3339(row.last_used_at_ms), row.user_agent, row.address
        )
        for row in shown
        if row.expires_at_ms > who.now_ms and (who.principal.grants is None or row.id == who.principal.session)
    ]
    return Decision({"sessions": views, "next": following})


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
