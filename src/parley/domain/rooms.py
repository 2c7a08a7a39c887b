"""Rooms, and who may see or do what in one.

Who comes, goes and is what in a room is `members.py`'s; messages are `messages.py`'s.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar, Final, Literal

from msgspec import Meta, Struct

from parley.domain import audit, log
from parley.domain.cursors import from_cursor, page
from parley.domain.errors import Refusal, invalid_params
from parley.domain.events import Event
from parley.domain.ids import ChosenId, Id, is_reserved, rfc3339
from parley.domain.params import Limit, Params
from parley.domain.ports import Acting, Decision, Row, Transaction

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
    event = add_member(tx, room, who, who.subject, who.principal.name, "owner")
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
    event = tell_room(tx, room, who, "room.updated")
    return Decision({"room": room_view(tx, room, access.role)}, [event])


def archive(tx: Transaction, p: Archive, who: Acting) -> Decision:
    access = governed(tx, p.room, who)
    room = access.room
    if room.archived:
        return Decision({"room": room_view(tx, room, access.role)})
    room.archived = True
    event = tell_room(tx, room, who, "room.archived")
    audit.record(tx, who, "room.archive", room.id)
    return Decision({"room": room_view(tx, room, access.role)}, [event])


def add_member(tx: Transaction, room: Room, who: Acting, subject: str, name: str, role: str) -> Event:
    """Write a member's row; the event that tells of it."""
    member = Member(room=room.id, subject=subject, name=name, role=role, joined_at_ms=who.now_ms)
    tx.add(member)
    return log.append(tx, room, who, "member.joined", {"member": member_view(member)})


def tell_room(tx: Transaction, room: Room, who: Acting, kind: str) -> Event:
    """Write what became of the room (`room.updated`, `room.archived`) to its log."""
    # The view names the seq of the very entry that carries it; `role` is each reader's own, so nobody's here.
    view = room_view(tx, room, None)
    view.seq = room.seq + 1
    return log.append(tx, room, who, kind, {"room": view})
