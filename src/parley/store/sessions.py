"""Queries of login sessions, and of what ends or outlives them: revocations, tickets."""

from collections.abc import Sequence

from sqlalchemy import bindparam, delete, select

from parley.domain.revocation import Revocation
from parley.domain.sessions import Session
from parley.domain.tickets import Ticket
from parley.store.engine import Query
from parley.store.rows import Rows
from parley.store.schema import revocations, sessions, tickets

_ALL = select(*sessions.c).where(sessions.c.id > bindparam("after")).order_by(sessions.c.id).limit(bindparam("limit"))
_PAGE = Query(_ALL)
_PAGE_OF_ONE = Query(_ALL.where(sessions.c.subject == bindparam("subject")))
_OF_SUBJECT = Query(select(*sessions.c).where(sessions.c.subject == bindparam("subject")).order_by(sessions.c.id))
_IN_FORCE = Query(select(*revocations.c).where(revocations.c.until_ms > bindparam("now_ms")))
_OVER = (
    Query(delete(sessions).where(sessions.c.expires_at_ms <= bindparam("now_ms"))),
    Query(delete(tickets).where(tickets.c.expires_at_ms <= bindparam("now_ms"))),
    Query(delete(revocations).where(revocations.c.until_ms <= bindparam("now_ms"))),
)


class SessionQueries(Rows):
    def sessions_page(self, subject: str | None, after: str | None, limit: int) -> Sequence[Session]:
        if subject is None:
            return self.select(Session, _PAGE, after=after or "", limit=limit)
        return self.select(Session, _PAGE_OF_ONE, subject=subject, after=after or "", limit=limit)

    def sessions_of(self, subject: str) -> Sequence[Session]:
        return self.select(Session, _OF_SUBJECT, subject=subject)

    def revocations(self, now_ms: int) -> Sequence[Revocation]:
        return self.select(Revocation, _IN_FORCE, now_ms=now_ms)

    def sweep(self, now_ms: int) -> None:
        self.flush()
        for over in _OVER:
            self.cursor.execute(*over.on(self.engine, {"now_ms": now_ms}))
        for kind in (Session, Ticket, Revocation):
            self._rows[kind].clear()
            self._stored[kind].clear()
