"""Queries of receipts."""

from collections.abc import Sequence

from sqlalchemy import bindparam, select

from parley.domain.receipts import Receipt
from parley.store.engine import Query
from parley.store.rows import Rows
from parley.store.schema import receipts

_IN_ROOM = Query(select(*receipts.c).where(receipts.c.room == bindparam("room")).order_by(receipts.c.subject))


class ReceiptQueries(Rows):
    def receipts(self, room: str) -> Sequence[Receipt]:
        return self.select(Receipt, _IN_ROOM, room=room)
