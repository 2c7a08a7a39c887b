"""Queries of the audit log."""

from collections.abc import Sequence
from functools import cache

from sqlalchemy import bindparam, or_, select

from parley.domain.audit import AuditEntry
from parley.store.engine import Query
from parley.store.rows import Rows
from parley.store.schema import audit_entries


@cache
def _page(after: bool, subject: bool, action: bool) -> Query:
    table = audit_entries.c
    statement = select(*table).order_by(table.id.desc()).limit(bindparam("limit"))
    if after:
        statement = statement.where(table.id < bindparam("after"))
    if subject:
        statement = statement.where(or_(table.actor == bindparam("subject"), table.target == bindparam("subject")))
    if action:
        statement = statement.where(table.action == bindparam("action"))
    return Query(statement)


class AuditQueries(Rows):
    def audit_page(
        self, *, after: str | None, subject: str | None, action: str | None, limit: int
    ) -> Sequence[AuditEntry]:
        given = {"after": after, "subject": subject, "action": action}
        query = _page(after is not None, subject is not None, action is not None)
        return self.select(
            AuditEntry, query, limit=limit, **{name: value for name, value in given.items() if value is not None}
        )
