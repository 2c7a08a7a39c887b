"""Queries of rooms and their members."""

from collections.abc import Sequence

from sqlalchemy import and_, bindparam, func, or_, select

from parley.domain.rooms import Member, Room
from parley.store.engine import Query
from parley.store.rows import Rows
from parley.store.schema import members, rooms

_MINE = and_(members.c.room == rooms.c.id, members.c.subject == bindparam("member"))
_PAGE = (
    select(*rooms.c, *members.c).order_by(rooms.c.id).limit(bindparam("limit")).where(rooms.c.id > bindparam("after"))
)
_LISTED = rooms.c.kind == "room"  # conversations, notes, the queue and streams' rooms are listed by their own nouns
_ROOMS_MINE = Query(_PAGE.select_from(members.join(rooms, _MINE)).where(_LISTED))
_ROOMS_ALL = Query(_PAGE.select_from(rooms.outerjoin(members, _MINE)).where(_LISTED))
_ROOMS_OPEN = Query(
    _PAGE.select_from(rooms.outerjoin(members, _MINE)).where(
        _LISTED, or_(rooms.c.visibility == "public", members.c.subject.is_not(None))
    )
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
        query = _ROOMS_MINE if only_mine else _ROOMS_ALL if all_private else _ROOMS_OPEN
        width = len(rooms.c)
        found = self.select_values(query, member=member or "", after=after or "", limit=limit)
        return [
            (
                self.adopt(Room, values[:width]),
                self.adopt(Member, values[width:]) if values[width] is not None else None,
            )
            for values in found
        ]

    def members_page(self, room: str, after: str | None, limit: int) -> Sequence[Member]:
        return self.select(Member, _MEMBERS, room=room, after=after or "", limit=limit)

    def owners(self, room: str) -> int:
        ((count,),) = self.select_values(_OWNERS, room=room)
        assert isinstance(count, int)
        return count
