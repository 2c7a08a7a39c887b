"""Rooms, their members and bans, and who may see or do what in one.

Holds every `room.*` command. Messages are `messages.py`; who is connected right now is nobody's here.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal

from msgspec import Meta, Struct

from parley.domain import accounts, audit, log
from parley.domain.cursors import from_cursor, page
from parley.domain.errors import Refusal, invalid_params
from parley.domain.events import Change, Event
from parley.domain.ids import ChosenId, Id, Subject, is_reserved, rfc3339
from parley.domain.params import Limit, Params, Reason
from parley.domain.ports import Acting, Decision, Row, Transaction

Role = Literal["owner", "moderator", "member"]
Visibility = Literal["public", "private"]
Title = Annotated[str, Meta(max_length=200)]
#: What a stream's room is in the store: nobody lists it, and to its readers it is a room like others.
KIND_OF_STREAMS: Final = "stream"


class Room(Row):
    KEY: ClassVar = ("id",)
    id: str
    kind: str
    title: str | None
    visibility: str
    archived: bool
    seq: int
    created_at_ms: int


class Member(Row):
    KEY: ClassVar = ("room", "subject")
    room: str
    subject: str
    name: str
    role: str
    joined_at_ms: int


class Ban(Row):
    KEY: ClassVar = ("room", "subject")
    room: str
    subject: str
    at_ms: int
    by: str
    reason: str | None


class RoomView(Struct):
    id: str
    kind: str
    title: str | None
    visibility: str
    archived: bool
    epoch: str
    seq: int
    role: str | None
    created_at: str


class MemberView(Struct):
    room: str
    subject: str
    name: str
    role: str
    joined_at: str | None


class Access(Struct, gc=False):
    """A room that the one who acts may read, and what they are in it.

    `counts_as` is the role of those who are members by what they are, without a row. `privy`: also shown what only
    agents see.
    """

    room: Room
    member: Member | None
    counts_as: str | None = None
    privy: bool = False

    @property
    def role(self) -> str | None:
        return self.member.role if self.member else self.counts_as


class Kept(Struct, frozen=True):
    """A kind of room that its noun keeps: who is who there is no matter of members' rows.

    `access` raises `not_found` for those who may not read it. `speak` comes right before a message is written, with its
    id: it raises where that may not be, and gives the events that precede it.
    """

    access: Callable[[Transaction, Room, Acting], Access]
    members: Callable[[Transaction, Room], list[MemberView]]
    speak: Callable[[Transaction, Room, Acting, str], Sequence[Event]]


#: The kinds beside `room`. The registry fills it in: the nouns that keep them stand above this one.
KINDS: Final[dict[str, Kept]] = {}


def room_view(tx: Transaction, room: Room, role: str | None) -> RoomView:
    return RoomView(
        room.id,
        "room" if room.kind == KIND_OF_STREAMS else room.kind,
        room.title,
        room.visibility,
        room.archived,
        tx.epoch,
        room.seq,
        role,
        rfc3339(room.created_at_ms),
    )


def member_view(member: Member) -> MemberView:
    return MemberView(member.room, member.subject, member.name, member.role, rfc3339(member.joined_at_ms))


# --- Who may ---------------------------------------------------------------------------------------------------------


def readable(tx: Transaction, room_id: str, who: Acting) -> Access:
    """The room, if it may be read: by a member, by any account where it is public, by an admin.

    Raises: Refusal (`not_found`, `banned`). What one may not read does not exist.
    """
    room = tx.get(Room, room_id)
    if room is None:
        raise Refusal("not_found")
    if who.principal.is_guest and room.id != who.principal.conversation:
        raise Refusal("not_found")
    if (kept := KINDS.get(room.kind)) is not None:
        return kept.access(tx, room, who)
    member = tx.get(Member, room_id, who.subject)
    if not who.is_admin:
        public = room.visibility == "public"
        if tx.get(Ban, room_id, who.subject) is not None:
            raise Refusal("banned" if public else "not_found")
        if member is None and not public:
            raise Refusal("not_found")
    return Access(room, member)


def joined(tx: Transaction, room_id: str, who: Acting) -> Access:
    """The room, if the one who acts is a member of it. Raises: also `forbidden`."""
    access = readable(tx, room_id, who)
    if access.role is None:
        raise Refusal("forbidden", "Only members of the room may do this; join it first.")
    return access


def governed(tx: Transaction, room_id: str, who: Acting, *, by: tuple[str, ...] = ("owner",)) -> Access:
    """The room, if the one who acts has one of the roles `by` in it, or is an admin. Raises: also `forbidden`."""
    access = moderated(tx, room_id, who, by=by)
    if access.room.kind in KINDS:
        raise Refusal("forbidden", "This room is the server's own: nobody governs it.")
    return access


def moderated(tx: Transaction, room_id: str, who: Acting, *, by: tuple[str, ...] = ("owner", "moderator")) -> Access:
    """As `governed`, for what is done to its messages: in every kind of room."""
    access = readable(tx, room_id, who)
    if not who.is_admin and access.role not in by:
        raise Refusal("forbidden", f"Only {' or '.join(by)} of the room, or an admin, may do this.")
    return access


def writable(room: Room) -> None:
    """Raise `archived` where nothing may be written any more."""
    if room.archived:
        raise Refusal("archived")


# --- Commands --------------------------------------------------------------------------------------------------------


class Create(Params):
    room: ChosenId | None = None
    title: Title | None = None
    visibility: Visibility = "public"


class List(Params):
    mine: bool = False
    after: str | None = None
    limit: Limit = 50


class Get(Params):
    room: Id


class Update(Params):
    room: Id
    title: Title | None = None
    visibility: Visibility | None = None


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


class Archive(Params):
    room: Id


def create(tx: Transaction, p: Create, who: Acting) -> Decision:
    if p.room is not None and is_reserved(p.room):
        raise invalid_params(
            "room", "Ids that are `queue`, end in `.notes` or begin with `c-` or `s-` are the server's."
        )
    if p.room is not None and tx.get(Room, p.room) is not None:
        raise Refusal("conflict", "A room of this id exists; choose another, or leave `room` out.")
    room = Room(
        id=p.room or who.new_id(),
        kind="room",
        title=p.title,
        visibility=p.visibility,
        archived=False,
        seq=0,
        created_at_ms=who.now_ms,
    )
    tx.add(room)
    event = _add_member(tx, room, who, who.subject, who.principal.name, "owner")
    audit.record(tx, who, "room.create", room.id, title=room.title, visibility=room.visibility)
    return Decision({"room": room_view(tx, room, "owner")}, [event])


def list_rooms(tx: Transaction, p: List, who: Acting) -> Decision:
    rows = tx.rooms_page(
        member=who.subject,
        only_mine=p.mine,
        all_private=who.is_admin,
        after=from_cursor(p.after),
        limit=p.limit + 1,
    )
    shown, following = page(rows, p.limit, key=lambda row: row[0].id)
    views = [room_view(tx, room, member.role if member else None) for room, member in shown]
    return Decision({"rooms": views, "next": following})


def get(tx: Transaction, p: Get, who: Acting) -> Decision:
    access = readable(tx, p.room, who)
    return Decision({"room": room_view(tx, access.room, access.role)})


def update(tx: Transaction, p: Update, who: Acting) -> Decision:
    access = governed(tx, p.room, who)
    room = access.room
    title = room.title if p.title is None else p.title
    visibility = p.visibility or room.visibility
    if (title, visibility) == (room.title, room.visibility):
        return Decision({"room": room_view(tx, room, access.role)})
    if room.kind == KIND_OF_STREAMS and visibility != room.visibility:
        raise Refusal("forbidden", "A stream's room is as public as its stream.")
    writable(room)
    before = {"title": room.title, "visibility": room.visibility}
    room.title, room.visibility = title, visibility
    audit.record(tx, who, "room.update", room.id, title=title, visibility=visibility, before=before)
    event = _tell_room(tx, room, who, "room.updated")
    return Decision({"room": room_view(tx, room, access.role)}, [event])


def archive(tx: Transaction, p: Archive, who: Acting) -> Decision:
    access = governed(tx, p.room, who)
    room = access.room
    if room.archived:
        return Decision({"room": room_view(tx, room, access.role)})
    room.archived = True
    event = _tell_room(tx, room, who, "room.archived")
    audit.record(tx, who, "room.archive", room.id)
    return Decision({"room": room_view(tx, room, access.role)}, [event])


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
    event = _add_member(tx, access.room, who, who.subject, who.principal.name, "member")
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
    event = _add_member(tx, room, who, subject, name, p.role or "member")
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


def _add_member(tx: Transaction, room: Room, who: Acting, subject: str, name: str, role: str) -> Any:
    member = Member(room=room.id, subject=subject, name=name, role=role, joined_at_ms=who.now_ms)
    tx.add(member)
    return log.append(tx, room, who, "member.joined", {"member": member_view(member)})


def _meant(tx: Transaction, room: Room, subject_or_username: str) -> str:
    """The subject: of a member who is called so, else as in an invitation."""
    if tx.get(Member, room.id, subject_or_username) is not None:
        return subject_or_username
    return accounts.named(tx, subject_or_username)[0]


def _tell_room(tx: Transaction, room: Room, who: Acting, kind: str) -> Any:
    # The view names the seq of the very entry that carries it; `role` is each reader's own, so nobody's here.
    view = room_view(tx, room, None)
    view.seq = room.seq + 1
    return log.append(tx, room, who, kind, {"room": view})


def _keep_an_owner(tx: Transaction, member: Member) -> None:
    if member.role == "owner" and tx.owners(member.room) == 1:
        raise Refusal("conflict", "A room keeps an owner: make somebody else one first.")


def _eviction(room: Room, subject: str, reason: str, who: Acting) -> Change:
    return Change("eviction", room.id, who.now_ms, {"subject": subject, "reason": reason})
