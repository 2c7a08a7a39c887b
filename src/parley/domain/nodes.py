"""The nodes that serve one store: each says here that it lives, where the others reach it, and which keys it has.

Nothing here is on the wire. Whether a node counts as gone is judged by `service/nodes.py`, on a clock of its own.

The store's keys are those of the node that first came up, until a running node that has them says that its own have
changed; whoever has others says so of itself.
"""

from collections.abc import Sequence
from typing import ClassVar, Final

from msgspec import Struct

from parley.domain.params import Params
from parley.domain.ports import Acting, Decision, Row, Transaction

#: A row that nobody renewed for this long says nothing about keys any more, and after `FORGOTTEN_MS` is removed.
SILENT_MS: Final = 10_000
FORGOTTEN_MS: Final = 60_000


class NodeRow(Row):
    """`address` is where other nodes reach it, `keyring` the fingerprint of its keys; `vouched_at_ms` is when those
    were last said to be the store's, 0 where they are not."""

    KEY: ClassVar = ("id",)
    id: str
    address: str
    keyring: str
    vouched_at_ms: int
    seen_at_ms: int


class Beat(Params):
    """`node` lives. `changed`: its keys are others than those that it began with, or had at its last beat."""

    node: str
    address: str
    keyring: str
    changed: bool = False


class Living(Struct, frozen=True):
    """What a beat gives: every other node as its row stands, and whether this one has the store's keys."""

    others: Sequence[NodeRow]
    has_the_keys: bool


def beat(tx: Transaction, p: Beat, who: Acting) -> Decision:
    rows = tx.nodes()
    others = [row for row in rows if row.id != p.node]
    mine = next((row for row in rows if row.id == p.node), None)
    vouched = mine.vouched_at_ms if mine is not None and mine.keyring == p.keyring else 0
    said = [row for row in others if row.vouched_at_ms and who.now_ms - row.seen_at_ms < SILENT_MS]
    latest = max(said, key=lambda row: (row.vouched_at_ms, row.id), default=None)
    # Who had other keys before does not make what it has now the store's: half a copy would take out all the others.
    rotated = p.changed and mine is not None and mine.vouched_at_ms > 0
    if rotated or (latest is None and not vouched):
        vouched = who.now_ms
    elif latest is not None and latest.keyring == p.keyring:
        vouched = latest.vouched_at_ms
    elif latest is not None and (vouched, p.node) < (latest.vouched_at_ms, latest.id):
        vouched = 0
    tx.put(NodeRow(id=p.node, address=p.address, keyring=p.keyring, vouched_at_ms=vouched, seen_at_ms=who.now_ms))
    for row in others:
        if who.now_ms - row.seen_at_ms > FORGOTTEN_MS:
            tx.remove(row)
    return Decision(Living(others, vouched > 0))
