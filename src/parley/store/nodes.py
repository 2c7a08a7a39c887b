"""The query of nodes."""

from collections.abc import Sequence

from sqlalchemy import select

from parley.domain.nodes import NodeRow
from parley.store.engine import Query
from parley.store.rows import Rows
from parley.store.schema import nodes

_ALL = Query(select(*nodes.c).order_by(nodes.c.id))


class NodeQueries(Rows):
    def nodes(self) -> Sequence[NodeRow]:
        return self.select(NodeRow, _ALL)
