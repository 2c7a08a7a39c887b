"""The members of rooms: they join and leave, are invited, removed and banned, and have roles.

What a role lets them do is `rooms.py`'s; who is connected right now is nobody's here.
"""

from typing import Any, Literal

from parley.domain import accounts, audit, log
from parley.domain.cursors import from_cursor, page
from parley.domain.errors import Refusal
from parley.domain.events import Change
from parley.domain.ids import Id, Subject
from parley.domain.params import Limit, Params, Reason
from parley.domain.ports import Acting, Decision, Transaction
from parley.domain.rooms import (
    KINDS,
    Ban,
    Member,
    MemberView,
    Room,
    add_member,
    governed,
    member_view,
    readable,
    writable,
)

Role = Literal["owner", "moderator", "member"]


class Join(Params):
    room: Id


class Leave(Params):
    room: Id


class Invite(Params):
    room: Id
    subject: Subject
    role: Role | None = None


class Remove(Params):
    room: Id
    subject: Subject
    ban: bool = False
    reason: Reason | None = None


class SetRole(Params):
    room: Id
    subject: Subject
    role: Role


class Members(Params):
    room: Id
    after: str | None = None
    limit: Limit = 50


def join(tx: Transaction, p: Join, who: Acting) -> Decision:
    access = readable(tx, p.room, who)
    if access.member is not None:
        return Decision({"member": member_view(access.member)})
    if access.counts_as is not None:
        return Decision({"member": MemberView(p.room, who.subject, who.principal.name, access.counts_as, None)})
    if access.room.visibility != "public":  # only an admin sees a private room without being in it
        raise Refusal("forbidden", "A private room is joined by invitation.")
    if tx.get(Ban, p.room, who.subject) is not None:
        raise Refusal("banned")
    writable(access.room)
    event = add_member(tx, access.room, who, who.subject, who.principal.name, "member")
    return Decision({"member": event.data["member"]}, [event])


def leave(tx: Transaction, p: Leave, who: Acting) -> Decision:
    access = readable(tx, p.room, who)
    member = access.member
    if access.counts_as is not None:
        raise Refusal("forbidden", "Nobody leaves a room that they are in by what they are.")
    if member is None:
        return Decision({"member": MemberView(p.room, who.subject, who.principal.name, "member", None)})
    _keep_an_owner(tx, member)
    view = member_view(member)
    tx.remove(member)
    event = log.append(tx, access.room, who, "member.left", {"member": view})
    return Decision({"member": view}, [event])


def invite(tx: Transaction, p: Invite, who: Acting) -> Decision:
    access = governed(tx, p.room, who, by=("owner", "moderator"))
    if p.role not in (None, "member") and not (who.is_admin or access.role == "owner"):
        raise Refusal("forbidden", "Only an owner or an admin may invite as owner or moderator.")
    room = access.room
    subject, name = accounts.named(tx, p.subject)
    ban = tx.get(Ban, room.id, subject)
    member = tx.get(Member, room.id, subject)
    if member is not None:
        return Decision({"member": member_view(member)})
    writable(room)
    if ban is not None:
        tx.remove(ban)
    event = add_member(tx, room, who, subject, name, p.role or "member")
    audit.record(tx, who, "room.invite", room.id, subject=subject, role=p.role or "member")
    return Decision({"member": event.data["member"]}, [event])


def remove(tx: Transaction, p: Remove, who: Acting) -> Decision:
    access = governed(tx, p.room, who, by=("owner", "moderator"))
    room = access.room
    subject = _meant(tx, room, p.subject)
    member = tx.get(Member, room.id, subject)
    over_moderator = who.is_admin or access.role == "owner"
    if member is not None and member.role != "member" and not over_moderator:
        raise Refusal("forbidden", "A moderator may remove plain members only.")
    if member is not None:
        _keep_an_owner(tx, member)
    banned_now = p.ban and tx.get(Ban, room.id, subject) is None
    reason = "banned" if p.ban else "removed"
    if member is None and not banned_now:
        # Nothing to write, but a reader who never joined is shown out all the same.
        return Decision({}, changes=[_eviction(room, subject, reason, who)])
    if banned_now:
        tx.add(Ban(room=room.id, subject=subject, at_ms=who.now_ms, by=who.subject, reason=p.reason))
    if member is not None:
        view = member_view(member)
        tx.remove(member)
    else:
        view = MemberView(room.id, subject, accounts.named(tx, subject)[1], "member", None)
    data: dict[str, Any] = {"member": view, "banned": p.ban}
    if p.reason is not None:
        data["reason"] = p.reason
    event = log.append(tx, room, who, "member.removed", data)
    audit.record(tx, who, "room.remove", room.id, subject=subject, ban=p.ban, reason=p.reason)
    return Decision({}, [event])


def set_role(tx: Transaction, p: SetRole, who: Acting) -> Decision:
    access = governed(tx, p.room, who)
    member = tx.get(Member, p.room, _meant(tx, access.room, p.subject))
    if member is None:
        raise Refusal("not_found", "This subject is no member of the room.")
    if member.role == p.role:
        return Decision({"member": member_view(member)})
    writable(access.room)
    _keep_an_owner(tx, member)
    before, member.role = member.role, p.role
    tx.save(member)
    view = member_view(member)
    event = log.append(tx, access.room, who, "member.role_changed", {"member": view})
    audit.record(tx, who, "room.set_role", p.room, subject=member.subject, role=p.role, before=before)
    return Decision({"member": view}, [event])


def members(tx: Transaction, p: Members, who: Acting) -> Decision:
    access = readable(tx, p.room, who)
    if (kept := KINDS.get(access.room.kind)) is not None:
        # A handful of them, and no rows to go on from.
        return Decision({"members": kept.members(tx, access.room), "next": None})
    rows = tx.members_page(p.room, from_cursor(p.after), p.limit + 1)
    shown, following = page(rows, p.limit, key=lambda row: row.subject)
    return Decision({"members": [member_view(row) for row in shown], "next": following})


def _meant(tx: Transaction, room: Room, subject_or_username: str) -> str:
    """The subject: of a member who is called so, else as in an invitation."""
    if tx.get(Member, room.id, subject_or_username) is not None:
        return subject_or_username
    return accounts.named(tx, subject_or_username)[0]


def _keep_an_owner(tx: Transaction, member: Member) -> None:
    if member.role == "owner" and tx.owners(member.room) == 1:
        raise Refusal("conflict", "A room keeps an owner: make somebody else one first.")


def _eviction(room: Room, subject: str, reason: str, who: Acting) -> Change:
    return Change("eviction", room.id, who.now_ms, {"subject": subject, "reason": reason})
