"""What happened: durable events with a `seq`, signals without one, and changes that no room is told of.

Shapes are those of the wire (CONTRACT, "Events"); how a dialect wraps them is the dialect's.
"""

from typing import Any, Literal

from msgspec import Struct

from parley.domain.principal import Person


class Event(Struct, frozen=True, gc=False):
    """One entry of a room's log. `seq` counts 1, 2, 3... without holes in each room; `at` is RFC 3339.

    `data` holds the thing as the commands return it, under its name: `{"message": ...}`, `{"member": ...}`.
    """

    room: str
    seq: int
    type: str
    at: str
    actor: Person
    data: dict[str, Any]


class Signal(Struct, frozen=True):
    """Happened and forgotten: never stored, no `seq`."""

    room: str
    type: str
    at: str
    data: dict[str, Any]


ChangeKind = Literal["account", "revocation", "lift", "eviction", "stream"]


class Change(Struct, frozen=True):
    """Something outside every room that each node must follow: an account, a revocation or its end, an
    eviction, a stream that is on the air, no longer so, or broadcast by others.

    `target` is a subject (`account`), a room (`eviction`), a stream, or what was revoked or is no more (`subject:…`,
    `session:…`, `token:…`, `conversation:…`). Read by the poll in commit order, and told by the bus before that.
    """

    kind: ChangeKind
    target: str
    at_ms: int
    detail: dict[str, Any] = {}
