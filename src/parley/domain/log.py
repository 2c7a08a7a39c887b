"""A room's log: how an entry is appended and gets its `seq`.

A message's text is not in the log but in the message, in one place, so that deleting or editing it changes every later
replay. How the log is read back is `replay.py`.
"""

from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from parley.domain.events import Event
from parley.domain.ids import rfc3339
from parley.domain.ports import Acting, Row, Transaction

if TYPE_CHECKING:
    from parley.domain.rooms import Room


class Entry(Row):
    """One stored entry. `message` names the message it tells of; `data` is JSON text for everything else."""

    KEY: ClassVar = ("room", "seq")
    room: str
    seq: int
    type: str
    at_ms: int
    actor: str
    actor_name: str
    actor_type: str
    message: str | None = None
    data: str | None = None


def append(
    tx: Transaction,
    room: "Room",
    who: Acting,
    kind: str,
    data: dict[str, Any],
    message_id: str | None = None,
    *,
    stored: dict[str, Any] | None = None,
) -> Event:
    """Take the room's next seq and write the entry; `data` is the wire's. With `message_id` the entry refers to it.

    `stored` is what is kept in the place of `data`, where a replay fills in the rest from elsewhere.
    """
    room.seq += 1
    tx.save(room)
    person = who.person
    tx.add(
        Entry(
            room=room.id,
            seq=room.seq,
            type=kind,
            at_ms=who.now_ms,
            actor=person.subject,
            actor_name=person.name,
            actor_type=person.type,
            message=message_id,
            data=None if message_id else msgspec.json.encode(data if stored is None else stored).decode(),
        )
    )
    return Event(room.id, room.seq, kind, rfc3339(who.now_ms), person, data)
