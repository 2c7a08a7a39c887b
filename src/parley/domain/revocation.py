"""Revocation: what ends tokens before their time. Holds `session.revoke`.

A revocation names a token, a session, a subject or a guest's conversation, and lasts until everything that it refuses
would have expired anyway. Each is told to every node as a change; how a node applies it to live connections is
`service/watch.py`.
"""

from math import isfinite
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from parley.domain import audit
from parley.domain.errors import Refusal, invalid_params
from parley.domain.events import Change
from parley.domain.ids import Id, Subject
from parley.domain.params import Params
from parley.domain.ports import Acting, Decision, Row, Transaction
from parley.domain.rooms import Room, readable
from parley.domain.sessions import Session

#: A token by hand may last ten years (`parley token issue --ttl`): we must remember as long what could refuse it.
LONGEST_TOKEN_MS: Final = 3653 * 86_400_000
A_DAY_MS: Final = 86_400_000
DEFAULT_REASON: Final = "revoked"
REASON_BYTES_MAX: Final = 120  # a close frame holds 125 bytes, two of them the code (RFC 6455 §5.5)


class Revocation(Row):
    """`target` is `token:<jti>`, `session:<sid>`, `subject:<sub>` or `conversation:<id>`.

    `before_ms`, for a subject, is the last moment of sign-ins that it covers; later ones live. After `until_ms` there
    is nothing left that it could refuse.
    """

    KEY: ClassVar = ("target",)
    target: str
    at_ms: int
    before_ms: int
    until_ms: int
    reason: str


class Revoke(Params):
    """Exactly one of the first four."""

    token_id: Id | None = None
    session: Id | None = None
    subject: Subject | None = None
    conversation: Id | None = None
    reason: Annotated[str, Meta(min_length=1, max_length=120)] | None = None


class RevokeToken(Params):
    """Not on the wire: revoke one token whose claims are known, until it expires."""

    token_id: str
    subject: str
    until_ms: int


class InForce(Params):
    """Not on the wire: every revocation that still refuses something."""


def revoke(tx: Transaction, p: Revoke, who: Acting) -> Decision:
    named = [name for name in ("token_id", "session", "subject", "conversation") if getattr(p, name) is not None]
    if len(named) != 1:
        raise invalid_params("session", "Name exactly one of `token_id`, `session`, `subject` and `conversation`.")
    principal = who.principal
    if principal.grants is not None and (p.session, p.token_id) not in (
        (principal.session, None),
        (None, principal.token_id),
    ):
        raise Refusal("forbidden", "A narrowed token may revoke itself and its own session.")
    reason = p.reason or DEFAULT_REASON
    if len(reason.encode()) > REASON_BYTES_MAX:
        raise invalid_params("reason", f"A reason has at most {REASON_BYTES_MAX} bytes of UTF-8.")
    if p.token_id is not None:
        own = p.token_id == principal.token_id
        if not own and not who.is_admin:
            raise Refusal("not_found", "There is no such token of yours.")
        # Who renews and revokes all day leaves nothing behind for years.
        until_ms = int(principal.expires_at_s * 1000) if own and isfinite(principal.expires_at_s) else None
        changes = [entry(tx, who, f"token:{p.token_id}", reason, until_ms=until_ms)]
        count = 1
    elif p.session is not None:
        session = tx.get(Session, p.session)
        # A session of ours is its subject's, whatever another issuer's token calls its own.
        own = p.session == who.principal.session if session is None else session.subject == who.subject
        if not own and not who.is_admin:
            raise Refusal("not_found", "There is no such session of yours.")
        changes = [end_session(tx, who, p.session, reason)]
        count = 1
    elif p.subject is not None:
        if p.subject != who.subject and not who.is_admin:
            raise Refusal("not_found" if who.principal.is_guest else "forbidden")
        count, changes = end_subject(tx, who, p.subject, reason)
    else:
        assert p.conversation is not None
        if not who.is_admin and p.conversation != who.principal.conversation:
            raise _refusal_about(tx, p.conversation, who)
        changes = [entry(tx, who, f"conversation:{p.conversation}", reason)]
        count = 1
    audit.record(
        tx, who, "session.revoke", next(str(getattr(p, name)) for name in named), kind=named[0], reason=p.reason
    )
    return Decision({"revoked": count}, changes=changes)


def _refusal_about(tx: Transaction, conversation: str, who: Acting) -> Refusal:
    """Why this conversation's tokens are not theirs to end: agents see it, others do not."""
    room = tx.get(Room, conversation)
    if room is None or room.kind != "conversation":
        return Refusal("not_found")
    readable(tx, conversation, who)
    return Refusal("forbidden", "Only an admin may do this; an agent blocks the visitor.")


def revoke_token(tx: Transaction, p: RevokeToken, who: Acting) -> Decision:
    change = entry(tx, who, f"token:{p.token_id}", DEFAULT_REASON, until_ms=p.until_ms)
    audit.record(tx, who, "session.revoke", p.token_id, kind="token_id", subject=p.subject)
    return Decision({}, changes=[change])


def in_force(tx: Transaction, p: InForce, who: Acting) -> Decision:
    """A list of Revocation rows."""
    return Decision(list(tx.revocations(who.now_ms)))


def end_session(tx: Transaction, who: Acting, session_id: str, reason: str = DEFAULT_REASON) -> Change:
    """End one sign-in: its refresh token is worth nothing from now on, its access tokens are revoked."""
    session = tx.get(Session, session_id)
    until_ms = None
    if session is not None:
        tx.remove(session)
        # Nothing is issued under it any more, and what was lasts no longer than an access token does; but one from
        # before a change of the settings, as the bearer's own may be, which says so.
        until_ms = max(who.now_ms + _ttl_ms(who, session), _own_token_until_ms(who, session_id))
    elif session_id == who.principal.session and who.principal.claims and who.principal.claims.sid_is_made_up:
        # What else was issued in that second lasts about as long.
        until_ms = int(who.principal.expires_at_s * 1000) + A_DAY_MS
    return entry(tx, who, f"session:{session_id}", reason, until_ms=until_ms)


def end_subject(tx: Transaction, who: Acting, subject: str, reason: str = DEFAULT_REASON) -> tuple[int, list[Change]]:
    """End every sign-in of a subject up to this moment; how many, at least 1, and what the nodes must be told."""
    sessions = list(tx.sessions_of(subject))
    for session in sessions:
        tx.remove(session)
    # By session too: a token that does not say when its bearer signed in is told by the second only.
    changes = [
        entry(tx, who, f"session:{session.id}", reason, until_ms=who.now_ms + _ttl_ms(who, session))
        for session in sessions
    ]
    changes.append(entry(tx, who, f"subject:{subject}", reason))
    return max(1, len(sessions)), changes


def end_other_sessions(tx: Transaction, who: Acting, subject: str) -> list[Change]:
    """End the subject's sign-ins but for the one that asks."""
    others = [session for session in tx.sessions_of(subject) if session.id != who.principal.session]
    return [end_session(tx, who, session.id) for session in others]


def _own_token_until_ms(who: Acting, session_id: str) -> int:
    """When the token of the one who acts expires, where it is of this session; else 0."""
    until_s = who.principal.expires_at_s
    return int(until_s * 1000) if session_id == who.principal.session and isfinite(until_s) else 0


def _ttl_ms(who: Acting, session: Session) -> int:
    return (who.rules.guest_ttl_s if session.type == "guest" else who.rules.access_ttl_s) * 1000


def entry(tx: Transaction, who: Acting, target: str, reason: str, *, until_ms: int | None = None) -> Change:
    until_ms = until_ms or who.now_ms + LONGEST_TOKEN_MS
    tx.put(Revocation(target=target, at_ms=who.now_ms, before_ms=who.now_ms, until_ms=until_ms, reason=reason))
    detail = {"reason": reason, "before_ms": who.now_ms, "until_ms": until_ms}
    return Change("revocation", target, who.now_ms, detail)
