"""Queries of login sessions."""

from collections.abc import Sequence

from sqlalchemy import bindparam, select

from parley.domain.sessions import Session
from parley.store.engine import Query
from parley.store.rows import Rows
from parley.store.schema import sessions

_ALL = select(*sessions.c).where(sessions.c.id > bindparam("after")).order_by(sessions.c.id).limit(bindparam("limit"))
_PAGE = Query(_ALL)
_PAGE_OF_ONE = Query(_ALL.where(sessions.c.subject == bindparam("subject")))


class SessionQueries(Rows):
    def sessions_page(self, subject: str | None, after: str | None, limit: int) -> Sequence[Session]:
        if subject is None:
            return self.select(Session, _PAGE, after=after or "", limit=limit)
        return self.select(Session, _PAGE_OF_ONE, subject=subject, after=after or "", limit=limit)
