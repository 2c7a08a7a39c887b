"""What the domain needs from outside, and what it gives back: the transaction, the acting principal, the decision.

The store implements `Transaction`; nothing here knows how.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from msgspec import Struct

from parley.domain.events import Change, Event, Signal
from parley.domain.principal import Person, Principal

if TYPE_CHECKING:
    from parley.domain.accounts import Account
    from parley.domain.agents import Agent
    from parley.domain.audit import AuditEntry
    from parley.domain.conversations import Conversation
    from parley.domain.departments import Department
    from parley.domain.log import Entry
    from parley.domain.messages import Message
    from parley.domain.nodes import NodeRow
    from parley.domain.params import Params
    from parley.domain.receipts import Receipt
    from parley.domain.replies import Reply
    from parley.domain.revocation import Revocation
    from parley.domain.rooms import Member, Room
    from parley.domain.sessions import Session
    from parley.domain.streams import Stream


class Row(Struct, kw_only=True, gc=False):
    """A stored row: the struct's fields are the table's columns, `KEY` its primary key, in the table's order.

    Mutable on purpose: a decision changes what `Transaction.get` gave it, then says `save`.
    """

    KEY: ClassVar[tuple[str, ...]] = ()


R = TypeVar("R", bound=Row)


class Transaction(Protocol):
    """One transaction, as a decision sees it.

    `get` gives the same object each time; `add`, `save`, `put` and `remove` stage a write that the commit carries out,
    and that later `get`s and queries of the same transaction see. There is no savepoint: refuse before the first write.
    """

    @property
    def epoch(self) -> str:
        """The opaque id of this store's logs; a restored backup has another."""

    def get(self, kind: type[R], *key: str | int) -> R | None: ...
    def add(self, row: Row) -> None: ...
    def save(self, row: Row) -> None: ...
    def put(self, row: Row) -> None:
        """Insert, or replace the row with the same key."""

    def remove(self, row: Row) -> None: ...
    def load(self, kind: type[Row], keys: Collection[str], *, again: bool = False) -> None:
        """Read many rows at once that will be asked for one by one; `again`, those that are known too: they may have
        been read before they were locked."""

    # Queries, one group for each noun; pages are ascending and start behind `after`, unless they say otherwise.
    def rooms_page(
        self, *, member: str | None, only_mine: bool, all_private: bool, after: str | None, limit: int
    ) -> Sequence["tuple[Room, Member | None]"]: ...
    def members_page(self, room: str, after: str | None, limit: int) -> Sequence["Member"]: ...
    def owners(self, room: str) -> int: ...
    def sent_before(self, room: str, sender: str, client_id: str) -> "Message | None": ...
    def entries(self, room: str, after: int, limit: int) -> Sequence["tuple[Entry, Message | None]"]: ...
    def messages_page(self, room: str, *, before: int | None, after: int | None, limit: int) -> Sequence["Message"]:
        """Ascending by seq; with neither bound, or with `before`, the newest `limit` below it."""

    def message_at(self, room: str, seq: int) -> "Message | None": ...
    def receipts(self, room: str, *, of_members: bool) -> Sequence["Receipt"]:
        """`of_members`: only of those who have a row as members; in rooms of a kept kind nobody has."""

    def account_by_username(self, username_key: str) -> "Account | None": ...
    def accounts_page(self, after: str | None, limit: int) -> Sequence["Account"]: ...
    def sessions_page(self, subject: str | None, after: str | None, limit: int) -> Sequence["Session"]: ...
    def sessions_of(self, subject: str) -> Sequence["Session"]: ...
    def revocations(self, now_ms: int) -> Sequence["Revocation"]:
        """Those that still refuse something."""

    def sweep(self, now_ms: int) -> None:
        """Remove the sessions, tickets and revocations that are over."""

    def accounts_of_agents(self) -> Sequence["Account"]: ...
    def agents(self) -> Sequence["Agent"]: ...
    def is_attended(self, since_ms: int) -> bool:
        """Whether an agent who is not away was seen since then."""

    def open_with(self, agent: str) -> int:
        """How many open conversations an agent has."""

    def open_conversations(self) -> Mapping[str, int]:
        """The same of everybody who has any."""

    def abandoned(self, before_ms: int) -> Sequence[str]:
        """Open conversations of agents who are gone since before then."""

    def queue_positions(self, conversations: Collection[str]) -> Mapping[str, int]:
        """The places, from 1, of those of them that wait."""

    def conversations_page(
        self,
        *,
        status: str | None,
        department: str | None,
        assignee: str | None,
        visitor: str | None,
        after: tuple[int, str] | None,
        limit: int,
    ) -> Sequence["Conversation"]:
        """Newest first; the queued alone, by `status`, in the order of the queue. `after` is (queued_at_ms, id)."""

    def conversations_of(self, visitor: str) -> Sequence["Conversation"]: ...
    def unread(self, subject: str, rooms: Collection[str]) -> Mapping[str, int]:
        """How many messages of others lie beyond the subject's receipt."""

    def department_by_name(self, name_key: str) -> "Department | None": ...
    def departments_page(self, after: str | None, limit: int) -> Sequence["Department"]: ...
    def reply_by_shortcut(self, shortcut: str) -> "Reply | None": ...
    def replies_page(self, after: str | None, limit: int) -> Sequence["Reply"]: ...
    def streams_page(self, after: str | None, limit: int) -> Sequence["Stream"]: ...
    def streams_held(self) -> Sequence["Stream"]: ...
    def nodes(self) -> Sequence["NodeRow"]: ...
    def forget_person(self, subject: str, conversations: Collection[str]) -> None:
        """Take a person's name out of what they wrote and did there, and off their sessions; no row goes."""

    def audit_page(
        self, *, after: str | None, subject: str | None, action: str | None, limit: int
    ) -> Sequence["AuditEntry"]:
        """Newest first; `after` is the id of the last entry seen."""


class Rules(Struct, frozen=True):
    """The settings that decisions depend on."""

    message_chars: int = 8000
    replay_bytes: int = 524_288
    delete_own: bool = False
    edit_window_s: int = 900
    access_ttl_s: int = 900
    refresh_reuse_s: float = 60
    guest_ttl_s: int = 3600
    #: Open conversations of an agent who says nothing else.
    capacity: int = 10
    #: How long an agent may be gone before their conversations go back to the queue; 0 is for ever.
    return_after_s: float = 120
    #: Whether agents see what a visitor types.
    preview: bool = True


class Acting(Struct, frozen=True, gc=False):
    """Who asks, with the rights that the store holds now, when, and by which rules.

    `roles` are those that count at this moment; `now_ms` is Unix milliseconds, the same for a whole batch.
    """

    principal: Principal
    roles: frozenset[str]
    now_ms: int
    new_id: Callable[[], str]
    rules: Rules

    @property
    def subject(self) -> str:
        return self.principal.subject

    @property
    def is_admin(self) -> bool:
        return "admin" in self.roles

    @property
    def is_agent(self) -> bool:
        return "agent" in self.roles and not self.principal.is_guest

    @property
    def person(self) -> Person:
        p = self.principal
        return Person(p.subject, p.name, p.type)


class Decision(Struct, gc=False):
    """What a command comes to. `reply` is the result as the wire has it; the rest leaves once it is committed."""

    reply: Any
    events: Sequence[Event] = ()
    changes: Sequence[Change] = ()
    signals: Sequence[Signal] = ()


class Job:
    """One command on its way through the store. `done` is called once, on the loop, with what came of it."""

    __slots__ = ("done", "params", "principal")

    def __init__(
        self, params: "Params", principal: Principal, done: Callable[[Decision | BaseException], None]
    ) -> None:
        self.params = params
        self.principal = principal
        self.done = done


class Moved(Struct):
    """What a poll found: heads of rooms that are beyond what was asked with, and the changes since the last poll."""

    heads: dict[str, int]
    changes: Sequence[Change]


class Store(Protocol):
    """Where commands are decided. Every method is called on the loop, returns at once, and answers on the loop.

    `lanes`: writes of different rooms may overtake each other (one writer for each of several shares of the rooms).
    """

    @property
    def lanes(self) -> bool: ...

    def write(self, job: Job) -> None:
        """Decide inside the writer's next transaction; `done` only after its commit, events published just before."""

    def read(self, job: Job) -> None:
        """Decide on a reading connection, which sees at least every commit that was answered."""

    def poll(self, heads: Mapping[str, int], done: Callable[[Moved | BaseException], None]) -> None:
        """Which of these rooms have moved beyond the given seq, and what changed since the last poll."""
