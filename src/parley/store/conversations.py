"""Queries of conversations and of the people behind them."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import BindParameter, and_, bindparam, func, null, or_, select, update

from parley.domain.audit import AuditEntry
from parley.domain.conversations import QUEUE, Conversation
from parley.domain.log import Entry
from parley.domain.messages import Message
from parley.domain.ports import Row
from parley.domain.sessions import Session
from parley.store.engine import Engine, Query
from parley.store.rows import Rows
from parley.store.schema import agents, audit_entries, conversations, events, messages, receipts, sessions, visitors

_ABANDONED_MAX: Final = 200  # in one look; the rest comes with the next
_c = conversations.c

_OPEN_WITH = Query(
    select(func.count()).select_from(conversations).where(_c.assignee == bindparam("agent"), _c.status == "open")
)
_OPEN = Query(select(_c.assignee, func.count()).where(_c.status == "open").group_by(_c.assignee))
_gone = and_(_c.status == "open", _c.assigned_at_ms < bindparam("before_ms"))
_ABANDONED = Query(
    select(_c.id)
    .select_from(conversations.outerjoin(agents, agents.c.subject == _c.assignee))
    .where(
        _gone,
        or_(
            agents.c.subject.is_(None),
            agents.c.seen_at_ms < bindparam("before_ms"),
            agents.c.away_at_ms < bindparam("before_ms"),
        ),
    )
    .order_by(_c.id)
    .limit(_ABANDONED_MAX)
)
_ahead = conversations.alias("ahead")
_POSITION = Query(
    select(func.count())
    .select_from(
        conversations.join(
            _ahead,
            and_(
                _ahead.c.status == "queued",
                _ahead.c.department.is_not_distinct_from(_c.department),
                or_(
                    _ahead.c.queued_at_ms < _c.queued_at_ms,
                    and_(_ahead.c.queued_at_ms == _c.queued_at_ms, _ahead.c.id <= _c.id),
                ),
            ),
        )
    )
    .where(_c.id == bindparam("conversation"), _c.status == "queued")
)
#: The whole queue in its order: beyond a few, one walk costs less than a count for each.
_QUEUE = Query(select(_c.id, _c.department).where(_c.status == "queued").order_by(_c.queued_at_ms, _c.id))
_OF_VISITOR = Query(select(*_c).where(_c.visitor == bindparam("visitor")).order_by(_c.id))
_FILTERS: Final = ("status", "department", "assignee", "visitor")


@cache
def _page(filters: tuple[str, ...], *, in_order: bool, going_on: bool) -> Query:
    wanted: list[Any] = [_c[name] == bindparam(name) for name in filters if name != "visitor"]
    if "visitor" in filters:
        vouched = select(visitors.c.conversation).where(visitors.c.identity == bindparam("visitor"))
        wanted.append(or_(_c.visitor == bindparam("visitor"), _c.id.in_(vouched)))
    if going_on and in_order:
        later = _c.queued_at_ms > bindparam("queued_at_ms")
        same = and_(_c.queued_at_ms == bindparam("queued_at_ms"), _c.id > bindparam("after"))
        wanted.append(or_(later, same))
    elif going_on:
        wanted.append(_c.id < bindparam("after"))
    order = (_c.queued_at_ms, _c.id) if in_order else (_c.id.desc(),)
    return Query(select(*_c).where(*wanted).order_by(*order).limit(bindparam("limit")))


@cache
def _unread(engine: Engine) -> Query:
    wanted, condition = engine.keys_clause([events.c.room])
    mine = and_(receipts.c.room == events.c.room, receipts.c.subject == bindparam("subject"))
    return Query(
        select(events.c.room, func.count())
        .select_from(wanted.join(events, condition).outerjoin(receipts, mine))
        .where(
            events.c.type == "message.created",
            events.c.actor != bindparam("subject"),
            events.c.seq > func.coalesce(receipts.c.seq, 0),
        )
        .group_by(events.c.room)
    )


_in_room: Final[BindParameter[str]] = bindparam("room")
_them: Final[BindParameter[str]] = bindparam("subject")
# By the room's log: of the messages themselves no index begins with the room, and this happens inside a writing
# transaction, for which everybody waits.
_message_there = messages.c.id.in_(
    select(events.c.message).where(events.c.room == _in_room, events.c.type == "message.created")
)
_FORGET_IN_ROOM: Final = (
    Query(update(messages).where(_message_there, messages.c.sender == _them).values(sender_name=_them)),
    Query(update(messages).where(_message_there, messages.c.deleted_by == _them).values(deleted_by_name=_them)),
    Query(
        update(audit_entries)
        .where(
            audit_entries.c.action == "message.delete",
            audit_entries.c.target.in_(select(messages.c.id).where(_message_there, messages.c.sender == _them)),
        )
        .values(detail='{"erased":true}')
    ),
)
_FORGET_IN_LOG: Final = Query(
    update(events).where(events.c.room == _in_room, events.c.actor == _them).values(actor_name=_them)
)
_FORGET_SESSIONS: Final = Query(
    update(sessions).where(sessions.c.subject == _them).values(user_agent=null(), address=null())
)
_FORGOTTEN: Final[tuple[type[Row], ...]] = (Message, Entry, Session, AuditEntry)


class ConversationQueries(Rows):
    def open_with(self, agent: str) -> int:
        ((count,),) = self.select_values(_OPEN_WITH, agent=agent)
        return int(count)

    def open_conversations(self) -> Mapping[str, int]:
        return {agent: int(count) for agent, count in self.select_values(_OPEN)}

    def abandoned(self, before_ms: int) -> Sequence[str]:
        return [row[0] for row in self.select_values(_ABANDONED, before_ms=before_ms)]

    def queue_positions(self, conversations: Collection[str]) -> Mapping[str, int]:
        if not conversations:
            return {}
        if len(conversations) == 1:
            (wanted,) = conversations
            ((place,),) = self.select_values(_POSITION, conversation=wanted)
            return {wanted: int(place)} if place else {}
        ahead: Counter[str | None] = Counter()
        found: dict[str, int] = {}
        for conversation, department in self.select_values(_QUEUE):
            ahead[department] += 1
            if conversation in conversations:
                found[conversation] = ahead[department]
        return found

    def conversations_page(
        self,
        *,
        status: str | None,
        department: str | None,
        assignee: str | None,
        visitor: str | None,
        after: tuple[int, str] | None,
        limit: int,
    ) -> Sequence[Conversation]:
        given = dict(zip(_FILTERS, (status, department, assignee, visitor), strict=True))
        wanted: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        in_order = status == "queued"
        query = _page(tuple(wanted), in_order=in_order, going_on=after is not None)
        if after is not None:
            wanted["after"] = after[1]
            if in_order:
                wanted["queued_at_ms"] = after[0]
        return self.select(Conversation, query, limit=limit, **wanted)

    def conversations_of(self, visitor: str) -> Sequence[Conversation]:
        return self.select(Conversation, _OF_VISITOR, visitor=visitor)

    def unread(self, subject: str, rooms: Collection[str]) -> Mapping[str, int]:
        if not rooms:
            return {}
        keys = self.engine.keys_parameters(rooms, 1)
        return {room: int(count) for room, count in self.select_values(_unread(self.engine), subject=subject, **keys)}

    def forget_person(self, subject: str, conversations: Collection[str]) -> None:
        self.flush()
        for room in conversations:
            for query in _FORGET_IN_ROOM:
                self.cursor.execute(*query.on(self.engine, {"subject": subject, "room": room}))
        for room in (*conversations, QUEUE):
            self.cursor.execute(*_FORGET_IN_LOG.on(self.engine, {"subject": subject, "room": room}))
        self.cursor.execute(*_FORGET_SESSIONS.on(self.engine, {"subject": subject}))
        for kind in _FORGOTTEN:
            self._rows[kind].clear()
            self._stored[kind].clear()
        for known in self._by_other_key.values():
            known.clear()
