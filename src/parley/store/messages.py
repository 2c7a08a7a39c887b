"""Queries of messages, and of the log that tells of them."""

from collections.abc import Iterable, Sequence

from sqlalchemy import bindparam, select

from parley.domain.log import Entry
from parley.domain.messages import Message
from parley.store.engine import Query
from parley.store.rows import Asking, Rows
from parley.store.schema import events, messages

# The log is what has a room's messages in their order: an index of the messages by `seq` would be a second one, and a
# page to write for each room of a batch.
_CREATED = (
    select(*messages.c)
    .select_from(events.join(messages, messages.c.id == events.c.message))
    .where(events.c.room == bindparam("room"), events.c.type == "message.created")
)
_AT = Query(_CREATED.where(events.c.seq == bindparam("seq")))
_ENTRIES = Query(
    select(*events.c, *messages.c)
    .select_from(events.outerjoin(messages, messages.c.id == events.c.message))
    .where(events.c.room == bindparam("room"), events.c.seq > bindparam("after"))
    .order_by(events.c.seq)
    .limit(bindparam("limit"))
)
_PAGE = _CREATED.limit(bindparam("limit"))
_BEYOND = events.c.seq > bindparam("after")
_BELOW = events.c.seq < bindparam("before")
_NEWEST_BELOW = Query(_PAGE.where(_BELOW).order_by(events.c.seq.desc()))
_NEWEST_BETWEEN = Query(_PAGE.where(_BELOW, _BEYOND).order_by(events.c.seq.desc()))
_OLDEST_BEYOND = Query(_PAGE.where(_BEYOND).order_by(events.c.seq))
_NO_SEQ_REACHES = 2**62


class MessageQueries(Rows):
    def sent_before(self, room: str, sender: str, client_id: str) -> Message | None:
        return self.by_other_key(Message, (room, sender, client_id))

    def asking_sent(self, keys: Iterable[tuple[str, str, str]]) -> Asking | None:
        """For many (room, sender, client_id) at once what `sent_before` will be asked."""
        return self.asking_by_other_keys(Message, keys)

    def message_at(self, room: str, seq: int) -> Message | None:
        found = self.select(Message, _AT, room=room, seq=seq)
        return found[0] if found else None

    def messages_page(self, room: str, *, before: int | None, after: int | None, limit: int) -> Sequence[Message]:
        if before is None and after is not None:
            return self.select(Message, _OLDEST_BEYOND, room=room, after=after, limit=limit)
        below = _NO_SEQ_REACHES if before is None else before
        if after is None:
            newest_first = self.select(Message, _NEWEST_BELOW, room=room, before=below, limit=limit)
        else:
            newest_first = self.select(Message, _NEWEST_BETWEEN, room=room, before=below, after=after, limit=limit)
        newest_first.reverse()
        return newest_first

    def entries(self, room: str, after: int, limit: int) -> Sequence[tuple[Entry, Message | None]]:
        width = len(events.c)
        return [
            (
                self.adopt(Entry, values[:width]),
                self.adopt(Message, values[width:]) if values[width] is not None else None,
            )
            for values in self.select_values(_ENTRIES, room=room, after=after, limit=limit)
        ]
