"""Streams: live audio, who may hear it and who may send it. Holds `stream.*`.

Who sends is `leases.py`'s. The audio itself never comes here: `delivery/broadcast.py` carries it.
"""

from typing import Annotated, ClassVar, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from parley.domain import accounts, audit, log
from parley.domain.cursors import from_cursor, page
from parley.domain.errors import Refusal, invalid_params
from parley.domain.events import Change, Event
from parley.domain.ids import ChosenId, Id, Subject, is_reserved, rfc3339
from parley.domain.params import Limit, Params
from parley.domain.ports import Acting, Decision, Row, Transaction
from parley.domain.principal import Person
from parley.domain.rooms import KIND_OF_STREAMS, Member, Room, Title, add_member, member_view, tell_room
from parley.domain.sessions import Session

ROOM: Final = "s-"
PUBLISHERS_MAX: Final = 100
#: For how long only the session that was cut off may take its place.
GRACE_MS: Final = 10_000
#: A holder whose node has said nothing for this long counts as cut off since it last did.
LAPSE_MS: Final = 5_000


class Stream(Row):
    """`publishers` is a JSON list of subjects. `fence` counts the leases; the rest of the last is below it.

    `session` is None while nobody has the lease. `held` says that a connection stands behind it; `seen_at_ms` is when
    its node last said so, or when it was cut off. `live_at_ms` is when the broadcast began, cuts within it aside.
    """

    KEY: ClassVar = ("id",)
    id: str
    title: str | None
    visibility: str
    owner: str
    publishers: str
    created_at_ms: int
    fence: int = 0
    session: str | None = None
    subject: str | None = None
    name: str | None = None
    subject_type: str | None = None
    held: bool = False
    live_at_ms: int = 0
    seen_at_ms: int = 0

    def lease_at(self, now_ms: int) -> Literal["free", "held", "grace"]:
        if self.session is None:
            return "free"
        silent_ms = now_ms - self.seen_at_ms
        if self.held and silent_ms < LAPSE_MS:
            return "held"
        return "grace" if silent_ms < GRACE_MS else "free"


class StreamView(Struct):
    """`listeners` is filled in by the node that answers: who is connected is nothing that is stored.

    Told to whoever asks for one stream: `may_publish`, whether they may broadcast on it.
    """

    id: str
    title: str | None
    visibility: str
    owner: str
    live: bool
    started_at: str | None
    listeners: int
    broadcaster: Person | None
    may_publish: bool | UnsetType = UNSET


class Naming(Params):
    """A command about one stream: the store locks its row before it decides."""

    stream: Id


class Create(Params):
    stream: ChosenId
    title: Title | None = None
    visibility: Literal["public", "members"] = "public"


class List(Params):
    after: str | None = None
    limit: Limit = 50


class Get(Naming):
    pass


class Stop(Naming):
    pass


class Delete(Naming):
    pass


class SetPublishers(Naming):
    subjects: Annotated[list[Subject], Meta(max_length=PUBLISHERS_MAX)]


class May(Naming):
    """Not on the wire: may the one who acts listen, or broadcast, now?

    `follows`: who asks has shown its token long ago, and stands on its session alone.
    """

    action: Literal["listen", "publish"]
    follows: bool = False


class Look(Params):
    """Not on the wire: the streams of these ids, as they are shown; those that are not there are left out."""

    streams: list[str]


# --- Who may ---------------------------------------------------------------------------------------------------------


def require(tx: Transaction, stream_id: str, who: Acting, action: str) -> Stream:
    """The stream, where the one who acts may `listen` to it or `publish` on it.

    Raises: Refusal (`not_found`, `token_missing` of nobody in particular on a members' stream, `forbidden`).
    """
    stream, principal = _existing(tx, stream_id), who.principal
    if principal.is_nobody and (action != "listen" or stream.visibility != "public"):
        raise Refusal("token_missing")
    if principal.is_guest and (action != "listen" or stream.visibility != "public"):
        raise Refusal("not_found")
    if principal.grants is not None and not principal.grants.allows(action, f"stream:{stream_id}"):
        raise Refusal("forbidden", "This token does not grant that.")
    if action == "publish" and not _publishes(stream, who):
        raise Refusal("forbidden", "Only the stream's owner, its publishers and admins broadcast on it.")
    return stream


def _existing(tx: Transaction, stream_id: str) -> Stream:
    stream = tx.get(Stream, stream_id)
    if stream is None:
        raise Refusal("not_found", "There is no stream of this id.")
    return stream


def _governed(tx: Transaction, stream_id: str, who: Acting) -> Stream:
    stream = _existing(tx, stream_id)
    if not _governs(stream, who):
        raise Refusal("forbidden", "Only the stream's owner, or an admin, may do this.")
    return stream


def _governs(stream: Stream, who: Acting) -> bool:
    return who.is_admin or who.subject == stream.owner


def _publishes(stream: Stream, who: Acting) -> bool:
    return _governs(stream, who) or who.subject in _publishers(stream)


def _publishers(stream: Stream) -> list[str]:
    return msgspec.json.decode(stream.publishers, type=list[str])


def view(stream: Stream, now_ms: int) -> StreamView:
    live = stream.lease_at(now_ms) != "free"
    sender = Person(stream.subject or "", stream.name or "", stream.subject_type or "account") if live else None
    return StreamView(
        stream.id,
        stream.title,
        stream.visibility,
        stream.owner,
        live,
        rfc3339(stream.live_at_ms) if live else None,
        0,
        sender,
    )


# --- Commands --------------------------------------------------------------------------------------------------------


def create(tx: Transaction, p: Create, who: Acting) -> Decision:
    if is_reserved(p.stream):
        raise invalid_params(
            "stream", "Ids that are `queue`, end in `.notes` or begin with `c-` or `s-` are the server's."
        )
    if tx.get(Stream, p.stream) is not None:
        raise Refusal("conflict", "A stream of this id exists; choose another.")
    stream = Stream(
        id=p.stream,
        title=p.title,
        visibility=p.visibility,
        owner=who.subject,
        publishers="[]",
        created_at_ms=who.now_ms,
        fence=who.now_ms,  # beyond those of a stream of this id that was deleted, of which news may come again
    )
    tx.add(stream)
    audit.record(tx, who, "stream.create", stream.id, title=p.title, visibility=p.visibility)
    return Decision({"stream": view(stream, who.now_ms)}, _open_room(tx, stream, who))


def list_streams(tx: Transaction, p: List, who: Acting) -> Decision:
    rows = tx.streams_page(from_cursor(p.after), p.limit + 1)
    shown, following = page(rows, p.limit, key=lambda row: row.id)
    return Decision({"streams": [view(row, who.now_ms) for row in shown], "next": following})


def get(tx: Transaction, p: Get, who: Acting) -> Decision:
    stream = _existing(tx, p.stream)
    shown = view(stream, who.now_ms)
    grants = who.principal.grants
    shown.may_publish = _publishes(stream, who) and (grants is None or grants.allows("publish", f"stream:{stream.id}"))
    return Decision({"stream": shown})


def stop(tx: Transaction, p: Stop, who: Acting) -> Decision:
    stream = _governed(tx, p.stream, who)
    if stream.lease_at(who.now_ms) == "free":
        return Decision({"stream": view(stream, who.now_ms)})
    free(tx, stream)
    audit.record(tx, who, "stream.stop", stream.id, subject=stream.subject)
    return Decision({"stream": view(stream, who.now_ms)}, changes=[moved(stream, who, "stopped")])


def delete(tx: Transaction, p: Delete, who: Acting) -> Decision:
    stream = _governed(tx, p.stream, who)
    stream.fence += 1
    tx.remove(stream)
    audit.record(tx, who, "stream.delete", stream.id)
    events: list[Event] = []
    room = tx.get(Room, ROOM + stream.id)
    if room is not None and not room.archived:
        room.archived = True
        events.append(tell_room(tx, room, who, "room.archived"))
    return Decision({}, events, changes=[moved(stream, who, "deleted")])


def set_publishers(tx: Transaction, p: SetPublishers, who: Acting) -> Decision:
    stream = _governed(tx, p.stream, who)
    subjects = sorted({accounts.named(tx, subject)[0] for subject in p.subjects})
    before = _publishers(stream)
    if subjects == before:
        return Decision({"stream": view(stream, who.now_ms)})
    stream.publishers = msgspec.json.encode(subjects).decode()
    tx.save(stream)
    audit.record(tx, who, "stream.set_publishers", stream.id, subjects=subjects, before=before)
    return Decision({"stream": view(stream, who.now_ms)}, changes=[moved(stream, who, "publishers")])


def may(tx: Transaction, p: May, who: Acting) -> Decision:
    """The stream as it is shown. Raises: Refusal, as `require`; `token_expired` of a session that is over."""
    if p.follows and who.principal.kept:
        session = tx.get(Session, who.principal.session)
        if session is None or session.expires_at_ms <= who.now_ms:
            raise Refusal("token_expired", "The session is over; sign in again.")
    return Decision(view(require(tx, p.stream, who, p.action), who.now_ms))


def look(tx: Transaction, p: Look, who: Acting) -> Decision:
    tx.load(Stream, p.streams)
    found = [tx.get(Stream, each) for each in p.streams]
    return Decision({row.id: (view(row, who.now_ms), row.fence) for row in found if row is not None})


def free(tx: Transaction, stream: Stream) -> None:
    """End the lease, whoever has it."""
    stream.session, stream.held = None, False
    stream.fence += 1  # whatever the last holder still sends is of a lease that is over
    tx.save(stream)


def moved(stream: Stream, who: Acting, what: str) -> Change:
    """What tells the nodes that something about the stream is another."""
    return Change("stream", stream.id, who.now_ms, {"what": what, "fence": stream.fence})


# --- Its room --------------------------------------------------------------------------------------------------------


def _open_room(tx: Transaction, stream: Stream, who: Acting) -> list[Event]:
    """The stream's room for talk, its owner the stream's: any account reads and joins it, and no list shows it."""
    room = tx.get(Room, ROOM + stream.id)
    events: list[Event] = []
    if room is None:
        room = Room(
            id=ROOM + stream.id,
            kind=KIND_OF_STREAMS,
            title=stream.title,
            visibility="public",
            archived=False,
            seq=0,
            created_at_ms=who.now_ms,
        )
        tx.add(room)
    else:  # of a stream of this id that was deleted: its log goes on, its owners own nothing any more
        room.archived, room.title = False, stream.title
        events.append(tell_room(tx, room, who, "room.updated"))
        for former in _owners(tx, room.id):
            if former.subject != who.subject:
                former.role = "member"
                tx.save(former)
                events.append(log.append(tx, room, who, "member.role_changed", {"member": member_view(former)}))
    member = tx.get(Member, room.id, who.subject)
    if member is None:
        events.append(add_member(tx, room, who, who.subject, who.principal.name, "owner"))
    elif member.role != "owner":
        member.role = "owner"
        tx.save(member)
        events.append(log.append(tx, room, who, "member.role_changed", {"member": member_view(member)}))
    return events


def _owners(tx: Transaction, room: str) -> list[Member]:
    found: list[Member] = []
    after: str | None = None
    while rows := tx.members_page(room, after, 200):
        found += [row for row in rows if row.role == "owner"]
        after = rows[-1].subject
    return found
