"""Signing in and staying signed in: what begins a session, and what using its refresh token comes to.

A refresh token is `<session>.<generation>.<mac>`: the store holds the generation only, and without the keyring's key
nobody can make the mac, so the database alone gives none away and the successor can be given a second time.
Nothing here is on the wire: `service/sign_in.py` has checked passwords and macs before it asks.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from typing import Final

from msgspec import Struct

from parley.domain import audit, revocation
from parley.domain.accounts import Account, roles_now
from parley.domain.conversations import Conversation, Visitor
from parley.domain.errors import Refusal
from parley.domain.params import Params
from parley.domain.ports import Acting, Decision, Transaction
from parley.domain.sessions import Session

#: What an account's name is cut to, when it is not chosen here.
NAME_CHARS_MAX: Final = 200


class Start(Params):
    """The session of a sign-in that `service/sign_in.py` has checked."""

    subject: str
    expires_at_ms: int
    user_agent: str | None
    address: str | None


class Refresh(Params):
    """A refresh token whose mac `service/sign_in.py` has checked is used."""

    session: str
    generation: int
    expires_at_ms: int


class Refreshed(Struct):
    """What using a refresh token came to. `stolen`: it was used before, and too long ago; the session is over."""

    session: Session
    bearer: "Bearer"
    stolen: bool


class Bearer(Struct, frozen=True):
    """Whom the tokens of a session are for. `conversation` and `department` are a guest's."""

    subject: str
    type: str
    name: str | None
    roles: tuple[str, ...]
    conversation: str | None = None
    department: str | None = None


class Resolve(Params):
    """What the store says now of the bearer of a verified token."""

    session: str


class Meet(Params):
    """The bearer of an external issuer's token, seen for the first time: an account row without a password."""

    name: str


def start(tx: Transaction, p: Start, who: Acting) -> Decision:
    """`(session, bearer)`. Raises: Refusal (`invalid_credentials`)."""
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
    return Decision((session, _account_of(account)))


def refresh(tx: Transaction, p: Refresh, who: Acting) -> Decision:
    """Use a refresh token.

    | generation                | answer                                                                   |
    |---------------------------|--------------------------------------------------------------------------|
    | the newest                | the next one                                                             |
    | the one before, within    | the newest again: an answer was lost, or two tabs asked at once          |
    | `refresh_reuse_s`         |                                                                          |
    | any other that was used   | a theft: the session ends, live connections included                     |

    Raises: Refusal (`invalid_grant`). A theft is a reply, not a refusal, because it must be written.
    """
    session = tx.get(Session, p.session)
    if session is None or session.expires_at_ms <= who.now_ms or p.generation > session.generation:
        raise Refusal("invalid_grant")
    bearer = bearer_of(tx, session, who.now_ms)
    if p.generation == session.generation:
        session.generation += 1
        session.last_used_at_ms = who.now_ms
        session.expires_at_ms = p.expires_at_ms
        tx.save(session)
    elif p.generation < session.generation - 1 or (
        who.now_ms - session.last_used_at_ms > who.rules.refresh_reuse_s * 1000
    ):
        audit.record(tx, who, "session.stolen", session.id, subject=session.subject)
        change = revocation.end_session(tx, who, session.id)
        return Decision(Refreshed(session, bearer, stolen=True), changes=[change])
    return Decision(Refreshed(session, bearer, stolen=False))


def bearer_of(tx: Transaction, session: Session, now_ms: int) -> Bearer:
    """As the store has them now. Raises: Refusal (`invalid_grant`) where they may have no token."""
    if session.type == "guest":
        return _guest_of(tx, session, now_ms)
    account = tx.get(Account, session.subject)
    if account is None or account.disabled:
        raise Refusal("invalid_grant")
    return _account_of(account)


def _account_of(account: Account) -> Bearer:
    return Bearer(account.id, "account", account.name, tuple(sorted(account.role_set)))


def _guest_of(tx: Transaction, session: Session, now_ms: int) -> Bearer:
    conversation = session.conversation or ""
    c, person = tx.get(Conversation, conversation), tx.get(Visitor, conversation)
    revoked = tx.get(revocation.Revocation, f"conversation:{conversation}")
    if c is None or person is None or (revoked is not None and revoked.until_ms > now_ms):
        raise Refusal("invalid_grant")
    return Bearer(session.subject, "guest", person.name, ("guest",), c.id, c.department)


def resolve(tx: Transaction, p: Resolve, who: Acting) -> Decision:
    """`(kept, roles, is_stored)`: whether the session is one of the store's, the roles that count now, and whether the
    bearer has an account row.

    Raises: Refusal (`token_revoked`) where the account is disabled; dispatch has asked already.
    """
    session = tx.get(Session, p.session)
    kept = session is not None and session.subject == who.subject
    roles = roles_now(tx, who.subject, who.principal.roles, kept=kept)
    return Decision((kept, roles, tx.get(Account, who.subject) is not None))


def meet(tx: Transaction, p: Meet, who: Acting) -> Decision:
    """The roles that count now. The row has none of its own: they come with each token.

    Raises: Refusal (`token_revoked`) where the account is disabled; dispatch has asked already.
    """
    if tx.get(Account, who.subject) is None:
        tx.add(
            Account(
                id=who.subject,
                username=None,
                username_key=None,
                name=p.name[:NAME_CHARS_MAX] or who.subject,
                password_hash=None,
                roles="[]",
                disabled=False,
                created_at_ms=who.now_ms,
            )
        )
    return Decision(roles_now(tx, who.subject, who.principal.roles, kept=False))


def refresh_token(key: bytes, session: str, generation: int) -> str:
    """The refresh token of a generation; `key` is the keyring's refresh key of at least 32 bytes."""
    mac = hmac.digest(key, f"refresh|{session}|{generation}".encode(), hashlib.sha256)
    return f"{session}.{generation}.{urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def used_refresh_token(key: bytes, token: str) -> tuple[str, int]:
    """The session and generation of a refresh token whose mac is right. Raises: Refusal (`invalid_grant`)."""
    session, _, rest = token.partition(".")
    number, _, _ = rest.partition(".")
    if not number.isascii() or not number.isdigit() or len(number) > 19 or len(token) > 200 or not token.isascii():
        raise Refusal("invalid_grant")
    if not hmac.compare_digest(refresh_token(key, session, int(number)), token):
        raise Refusal("invalid_grant")
    return session, int(number)
