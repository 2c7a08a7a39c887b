"""Who did what: the entries that management leaves behind, and `audit.list`.

The only place where the text of a deleted message lives on; what an edited one said before is nowhere. Who came and
went, and what befell a conversation, is told by the logs of rooms alone.
"""

from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from parley.domain.cursors import from_cursor, page
from parley.domain.ids import Subject, rfc3339
from parley.domain.params import Limit, Params
from parley.domain.ports import Acting, Decision, Row, Transaction


class AuditEntry(Row):
    """`actor` and `target` are subjects or ids, `action` a command's name; `detail` is JSON text."""

    KEY: ClassVar = ("id",)
    id: str
    at_ms: int
    actor: str
    action: str
    target: str
    detail: str


class AuditEntryView(Struct):
    id: str
    at: str
    actor: str
    action: str
    target: str
    detail: msgspec.Raw


class List(Params):
    after: str | None = None
    subject: Subject | None = None
    action: str | None = None
    limit: Limit = 50


def record(tx: Transaction, who: Acting, action: str, target: str, **detail: Any) -> None:
    """Note what the one who acts did. `detail` never holds a credential; members that are None are left out."""
    told = {name: value for name, value in detail.items() if value is not None}
    tx.add(
        AuditEntry(
            id=who.new_id(),
            at_ms=who.now_ms,
            actor=who.subject,
            action=action,
            target=target,
            detail=msgspec.json.encode(told).decode(),
        )
    )


def list_entries(tx: Transaction, p: List, who: Acting) -> Decision:
    """Newest first. `subject` finds what that subject did, and what was done to it by name."""
    rows = tx.audit_page(after=from_cursor(p.after), subject=p.subject, action=p.action, limit=p.limit + 1)
    shown, following = page(rows, p.limit, key=lambda row: row.id)
    views = [
        AuditEntryView(row.id, rfc3339(row.at_ms), row.actor, row.action, row.target, msgspec.Raw(row.detail.encode()))
        for row in shown
    ]
    return Decision({"entries": views, "next": following})
