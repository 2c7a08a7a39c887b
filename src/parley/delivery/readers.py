"""Whoever reads rooms on this node, as the hub sees them, and their place in each room.

What they are written, and when, is `room.py`'s.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from parley.delivery.outbox import Place
from parley.domain.events import Event, Signal

if TYPE_CHECKING:
    from parley.delivery.room import Group


class Encoder(Protocol):
    """What a group of subscribers share: their dialect, and with it the frames. One object for each group of equals.

    No bytes at all: these subscribers are not told of it.
    """

    def event(self, event: Event) -> bytes: ...
    def signal(self, signal: Signal) -> bytes: ...


class ReaderOutbox(Protocol):
    """What the hub needs of an `Outbox`."""

    @property
    def congested(self) -> bool: ...
    def put_events(self, frames: bytes, place: Place, before: int, *, asked: bool = False) -> None: ...
    def withhold(self) -> None: ...
    def next_page(self, read: Callable[[], None]) -> None: ...
    def page_read(self) -> None: ...


class Reader(Protocol):
    """What the hub needs of a connection."""

    @property
    def outbox(self) -> ReaderOutbox: ...
    @property
    def encoder(self) -> Encoder: ...
    def write(self, data: bytes, /) -> None:
        """Hand over what its encoder made, of one event or of several. May raise once the socket has gone."""

    @property
    def subject(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def is_admin(self) -> bool: ...
    def subscription_ended(self, subscription: "Subscription", reason: str) -> None:
        """The hub has taken it off the list; tell the client why."""

    def stranded(self, subscription: "Subscription") -> None:
        """What it missed can't be read now; `catchup.follow` it again when the store is back."""


class Subscription:
    """One connection's place in one room. `role` is the reader's role there, None for one who is no member; `privy`
    readers are also shown what only agents see.

    While it is held (see `Hub.hold`), `told` is the last event that was handed to the reader's socket; `follows` is
    what `catchup.follow` works through, None while nothing does. `is_awaited`: the client has not got the answer yet
    that begins it.
    """

    __slots__ = ("follows", "group", "is_awaited", "live_after", "made_at_s", "privy", "reader", "role", "room", "told")

    def __init__(self, reader: Reader, room: str, role: str | None, *, privy: bool = False) -> None:
        self.reader = reader
        self.room = room
        self.role = role
        self.privy = privy
        self.group: Group | None = None
        self.live_after = 0
        self.made_at_s = 0.0
        self.told = 0
        self.follows: object = None
        self.is_awaited = False

    @property
    def is_live(self) -> bool:
        """Whether what the room hears goes to the reader by itself."""
        return self.group is not None

    def regroup(self) -> None:
        """The reader's socket stopped or resumed draining: it leaves or rejoins the fast round."""
        if self.group is not None:
            self.group.stale = True
