"""Who may use which command at all: what a guest's token and a narrowed one leave (CONTRACT section 3)."""

import pytest

from parley.domain import members, replay, rooms, sessions, visitors
from parley.domain.ports import Decision
from tests.domain.helpdesk import Helpdesk, of
from tests.stage import Stage, narrowed, somebody


@pytest.fixture
def desk(stage: Stage) -> Helpdesk:
    return Helpdesk(stage)


def test_a_guest_names_itself_where_it_may_do_nothing_with_it(stage: Stage, desk: Helpdesk) -> None:
    guest = desk.begin()
    for command in (visitors.Export, visitors.Erase):
        assert stage.refused(guest, command(guest.subject)) == "forbidden"
        assert stage.refused(guest, command("guest:2")) == "not_found"


def test_a_narrowed_admin_sees_no_sessions_but_its_own(stage: Stage) -> None:
    root = narrowed(somebody("root", "admin"), {"room:*": ["read"]})
    assert stage.do(root, sessions.List()) == {"sessions": [], "next": None}
    assert stage.refused(root, sessions.List(subject="ada")) == "forbidden"


def test_a_narrowed_token_makes_the_rooms_that_it_may_manage(stage: Stage) -> None:
    ada = narrowed(somebody("ada"), {"room:team-*": ["manage"], "room:hall": ["read", "send"]})
    assert stage.do(ada, rooms.Create(room="team-a"))["room"]["role"] == "owner"
    for room in ("hall", "den", None):
        assert stage.refused(ada, rooms.Create(room=room)) == "forbidden"


class TestUnsubscribe:
    """Where nothing is subscribed."""

    def test_what_one_may_not_read_does_not_exist(self, stage: Stage, desk: Helpdesk) -> None:
        stage.do(desk.ada, rooms.Create(room="den", visibility="private"))
        stage.do(desk.ada, rooms.Create(room="hall"))
        guest = desk.begin()
        for who, room, code in (
            (somebody("ben"), "den", "not_found"),
            (somebody("ben"), "nowhere", "not_found"),
            (guest, "hall", "not_found"),
            (narrowed(desk.ada, {"room:hall": ["send", "manage"], "room:den": ["read"]}), "hall", "forbidden"),
        ):
            assert stage.refused(who, replay.Unsubscribe(room)) == code
        stage.do(desk.ada, members.Remove("hall", "ben", ban=True))
        assert stage.refused(somebody("ben"), replay.Unsubscribe("hall")) == "banned"

    def test_nothing_ends_and_nothing_is_written(self, stage: Stage, desk: Helpdesk) -> None:
        stage.do(desk.ada, rooms.Create(room="hall"))
        assert stage.decide(somebody("ben"), replay.Unsubscribe("hall")) == Decision({})
        guest = desk.begin()
        assert stage.do(guest, replay.Unsubscribe(of(guest.conversation))) == {}
