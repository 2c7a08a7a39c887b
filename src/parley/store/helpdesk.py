"""Queries of what a helpdesk is furnished with: agents, departments, canned replies."""

from collections.abc import Sequence

from sqlalchemy import bindparam, select

from parley.domain.agents import Agent
from parley.domain.departments import Department
from parley.domain.replies import Reply
from parley.store.engine import Query
from parley.store.rows import Rows
from parley.store.schema import agents, departments, replies

_AGENTS = Query(select(*agents.c).order_by(agents.c.subject))
_SOMEBODY = Query(
    select(agents.c.subject).where(agents.c.away_at_ms.is_(None), agents.c.seen_at_ms >= bindparam("since_ms")).limit(1)
)
_DEPARTMENTS = Query(
    select(*departments.c)
    .where(departments.c.id > bindparam("after"))
    .order_by(departments.c.id)
    .limit(bindparam("limit"))
)
_REPLIES = Query(
    select(*replies.c).where(replies.c.id > bindparam("after")).order_by(replies.c.id).limit(bindparam("limit"))
)


class HelpdeskQueries(Rows):
    def agents(self) -> Sequence[Agent]:
        return self.select(Agent, _AGENTS)

    def is_attended(self, since_ms: int) -> bool:
        return bool(self.select_values(_SOMEBODY, since_ms=since_ms))

    def department_by_name(self, name_key: str) -> Department | None:
        return self.by_other_key(Department, name_key)

    def departments_page(self, after: str | None, limit: int) -> Sequence[Department]:
        return self.select(Department, _DEPARTMENTS, after=after or "", limit=limit)

    def reply_by_shortcut(self, shortcut: str) -> Reply | None:
        return self.by_other_key(Reply, shortcut)

    def replies_page(self, after: str | None, limit: int) -> Sequence[Reply]:
        return self.select(Reply, _REPLIES, after=after or "", limit=limit)
