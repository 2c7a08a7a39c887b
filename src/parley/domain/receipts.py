"""Who has read up to where: `receipt.mark` and `receipt.list`.

A receipt only moves forward and writes no event; readers learn of it by a signal that is joined for each second.
"""

from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from parley.domain.errors import invalid_params
from parley.domain.events import Signal
from parley.domain.ids import Id, rfc3339
from parley.domain.params import Params
from parley.domain.ports import Acting, Decision, Row, Transaction
from parley.domain.rooms import KINDS, joined


class Receipt(Row):
    KEY: ClassVar = ("room", "subject")
    room: str
    subject: str
    seq: int
    at_ms: int


class ReceiptView(Struct):
    subject: str
    seq: int
    at: str


class Mark(Params):
    room: Id
    seq: Annotated[int, Meta(ge=1, le=2**53)]


class List(Params):
    room: Id


def mark(tx: Transaction, p: Mark, who: Acting) -> Decision:
    room = joined(tx, p.room, who).room
    if p.seq > room.seq:
        raise invalid_params("seq", "The room's log does not reach that far.")
    before = tx.get(Receipt, p.room, who.subject)
    if before is not None and before.seq >= p.seq:
        return Decision({})
    tx.put(Receipt(room=p.room, subject=who.subject, seq=p.seq, at_ms=who.now_ms))
    at = rfc3339(who.now_ms)
    moved = ReceiptView(who.subject, p.seq, at)
    return Decision({}, signals=[Signal(p.room, "receipts.changed", at, {"receipts": [moved]})])


def list_receipts(tx: Transaction, p: List, who: Acting) -> Decision:
    room = joined(tx, p.room, who).room
    # Of those who are members now: in a room of which people come and go, those of all who were ever there have no end.
    rows = tx.receipts(p.room, of_members=room.kind not in KINDS)
    views = [ReceiptView(row.subject, row.seq, rfc3339(row.at_ms)) for row in rows]
    return Decision({"receipts": views})
