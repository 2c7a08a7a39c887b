"""Queries of receipts."""

from collections.abc import Sequence

from sqlalchemy import and_, bindparam, select

from parley.domain.receipts import Receipt
from parley.store.engine import Query
from parley.store.rows import Rows
from parley.store.schema import members, receipts

_BY_MEMBER = and_(members.c.room == receipts.c.room, members.c.subject == receipts.c.subject)
_ALL = select(*receipts.c).where(receipts.c.room == bindparam("room")).order_by(receipts.c.subject)
_IN_ROOM = Query(_ALL)
_OF_MEMBERS = Query(_ALL.select_from(receipts.join(members, _BY_MEMBER)))


class ReceiptQueries(Rows):
    def receipts(self, room: str, *, of_members: bool) -> Sequence[Receipt]:
        return self.select(Receipt, _OF_MEMBERS if of_members else _IN_ROOM, room=room)
