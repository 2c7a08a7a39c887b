"""Queries of rooms and their members."""

from collections.abc import Sequence

from sqlalchemy import and_, bindparam, func, literal_column, select

from parley.domain.rooms import Member, Room
from parley.store.engine import Query
from parley.store.rows import Rows
from parley.store.schema import members, rooms

_MINE = and_(members.c.room == rooms.c.id, members.c.subject == bindparam("member"))
_PAGE = select(*rooms.c, *members.c).limit(bindparam("limit"))
# Conversations, notes, the queue and streams' rooms are listed by their own nouns, and may be millions: the index
# `ix_rooms_listed` has none of them. It is only used where the query says the very words of its condition.
_LISTED = rooms.c.kind == literal_column("'room'")
_ROOMS_MINE = Query(
    _PAGE.select_from(members.join(rooms, _MINE))
    .where(_LISTED, members.c.room > bindparam("after"))
    .order_by(members.c.room)
)
_ROOMS_OF = Query(
    _PAGE.select_from(rooms.outerjoin(members, _MINE))
    .where(_LISTED, rooms.c.visibility == bindparam("visibility"), rooms.c.id > bindparam("after"))
    .order_by(rooms.c.id)
)
_MEMBERS = Query(
    select(*members.c)
    .where(members.c.room == bindparam("room"), members.c.subject > bindparam("after"))
    .order_by(members.c.subject)
    .limit(bindparam("limit"))
)
_OWNERS = Query(
    select(func.count()).select_from(members).where(members.c.room == bindparam("room"), members.c.role == "owner")
)


class RoomQueries(Rows):
    def rooms_page(
        self, *, member: str | None, only_mine: bool, all_private: bool, after: str | None, limit: int
    ) -> Sequence[tuple[Room, Member | None]]:
        width = len(rooms.c)
        given = {"member": member or "", "after": after or "", "limit": limit}
        # One walk through each index, and the first of all: a condition for both kinds would walk past every private
        # room there is.
        found = [] if all_private and not only_mine else self.select_values(_ROOMS_MINE, **given)
        if not only_mine:
            for visibility in ("public", "private") if all_private else ("public",):
                found += self.select_values(_ROOMS_OF, visibility=visibility, **given)
        once = {values[0]: values for values in found}
        return [
            (
                self.adopt(Room, values[:width]),
                self.adopt(Member, values[width:]) if values[width] is not None else None,
            )
            for _, values in sorted(once.items())[:limit]
        ]

    def members_page(self, room: str, after: str | None, limit: int) -> Sequence[Member]:
        return self.select(Member, _MEMBERS, room=room, after=after or "", limit=limit)

    def owners(self, room: str) -> int:
        ((count,),) = self.select_values(_OWNERS, room=room)
        assert isinstance(count, int)
        return count
