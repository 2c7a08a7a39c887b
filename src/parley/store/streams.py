"""Queries of streams."""

from collections.abc import Sequence

from sqlalchemy import bindparam, select

from parley.domain.streams import Stream
from parley.store.engine import Query
from parley.store.rows import Rows
from parley.store.schema import streams

_PAGE = Query(
    select(*streams.c).where(streams.c.id > bindparam("after")).order_by(streams.c.id).limit(bindparam("limit"))
)
_HELD = Query(select(*streams.c).where(streams.c.held).order_by(streams.c.id))


class StreamQueries(Rows):
    def streams_page(self, after: str | None, limit: int) -> Sequence[Stream]:
        return self.select(Stream, _PAGE, after=after or "", limit=limit)

    def streams_held(self) -> Sequence[Stream]:
        return self.select(Stream, _HELD)
