"""Streams: who sees, governs and sends on them, and the room for talk (CONTRACT 2 and 3)."""

from typing import Any

import pytest

from parley.domain import accounts, audit, members, messages, rooms
from parley.domain.errors import Refusal
from parley.domain.leases import Take
from parley.domain.principal import NOBODY, OPERATOR, Principal
from parley.domain.streams import Create, Delete, Get, List, May, SetPublishers, Stop
from tests.stage import Stage, guest, narrowed, somebody


def show(stage: Stage, owner: Principal, visibility: Any = "public") -> None:
    stage.do(owner, Create("show", title="The show", visibility=visibility))


class TestCommands:
    def test_a_stream_is_its_makers(self, stage: Stage, ada: Principal) -> None:
        assert stage.do(ada, Create("show", title="The show"))["stream"] == {
            "id": "show",
            "title": "The show",
            "visibility": "public",
            "owner": ada.subject,
            "live": False,
            "started_at": None,
            "listeners": 0,
            "broadcaster": None,
        }

    def test_a_taken_id_is_a_conflict_and_the_servers_own_ones_cannot_be_chosen(
        self, stage: Stage, ada: Principal, ben: Principal
    ) -> None:
        show(stage, ada)
        assert stage.refused(ben, Create("show")) == "conflict"
        for name in ("queue", "c-1", "s-1", "a.notes"):
            assert stage.refusal(ben, Create(name)).facts == {"field": "stream"}

    def test_every_account_sees_all_of_them_page_by_page(self, stage: Stage, ada: Principal, ben: Principal) -> None:
        for name in ("one", "two", "six"):
            stage.do(ada, Create(name, visibility="members"))
        first = stage.do(ben, List(limit=2))
        rest = stage.do(ben, List(limit=2, after=first["next"]))
        assert [stream["id"] for stream in first["streams"] + rest["streams"]] == ["one", "six", "two"]
        assert rest["next"] is None

    def test_only_owner_and_admin_govern_it(
        self, stage: Stage, ada: Principal, ben: Principal, root: Principal
    ) -> None:
        show(stage, ada)
        for command in (Stop("show"), Delete("show"), SetPublishers("show", [ben.subject])):
            assert stage.refused(ben, command) == "forbidden"
        for who in (ada, root):
            stage.do(who, SetPublishers("show", ["ben"]))
        assert stage.refused(ben, Stop("show")) == "forbidden", "a publisher does not govern"
        assert stage.do(root, Delete("show")) == {}
        assert stage.refused(ada, Get("show")) == "not_found"

    def test_whoever_asks_for_one_learns_whether_they_may_broadcast(
        self, stage: Stage, ada: Principal, ben: Principal, root: Principal
    ) -> None:
        show(stage, ada)

        def may_publish(who: Principal) -> bool:
            answer: bool = stage.do(who, Get("show"))["stream"]["may_publish"]
            return answer

        assert [may_publish(who) for who in (ada, ben, root)] == [True, False, True]
        stage.do(ada, SetPublishers("show", ["ben"]))
        assert may_publish(ben)
        assert not may_publish(narrowed(ada, {"stream:show": ["listen"]}))
        assert "may_publish" not in stage.do(ada, List())["streams"][0]

    def test_to_a_guest_there_is_none(self, stage: Stage, ada: Principal) -> None:
        show(stage, ada)
        visitor = guest("c-1")
        for name in ("show", "none"):
            for command in (Get(name), Stop(name), Delete(name), SetPublishers(name, [])):
                assert stage.refused(visitor, command) == "not_found"
        assert stage.refused(visitor, List()) == "forbidden"
        assert stage.refused(visitor, Create("mine")) == "forbidden"

    def test_grants_name_the_stream_and_the_action(self, stage: Stage, ada: Principal) -> None:
        show(stage, ada)
        hears = narrowed(ada, {"stream:show": ["listen"]})
        sends = narrowed(ada, {"stream:sh*": ["publish"]})
        rules = narrowed(ada, {"stream:show": ["manage"], "room:show": ["listen"]})
        stage.do(hears, Get("show"))
        stage.do(hears, May("show", action="listen"))
        assert stage.refused(hears, Take("show")) == "forbidden"
        assert stage.refused(hears, Stop("show")) == "forbidden"
        assert stage.refused(sends, Get("show")) == "forbidden"
        stage.decide(sends, Take("show"))
        stage.do(rules, Stop("show"))
        stage.do(narrowed(ada, {"stream:more": ["manage"]}), Create("more"))
        assert stage.refused(rules, Get("show")) == "forbidden"
        assert stage.refused(rules, Create("other")) == "forbidden"
        assert stage.refused(rules, List()) == "forbidden", "it names none"

    def test_who_governs_is_written_down(self, stage: Stage, ada: Principal) -> None:
        show(stage, ada)
        stage.do(ada, SetPublishers("show", ["cy"]))
        stage.decide(ada, Take("show"))
        stage.do(ada, Stop("show"))
        stage.do(ada, Delete("show"))
        entries = stage.do(OPERATOR, audit.List())["entries"]
        assert [entry["action"] for entry in entries][:3] == ["stream.delete", "stream.stop", "stream.set_publishers"]


class TestWhoMayListen:
    def test_everybody_to_a_public_one(self, stage: Stage, ada: Principal, ben: Principal) -> None:
        show(stage, ada)
        for who in (ada, ben, NOBODY, guest("c-1"), somebody("site", type="service")):
            stage.do(who, May("show", action="listen"))

    def test_any_account_to_a_members_one(self, stage: Stage, ada: Principal, ben: Principal) -> None:
        show(stage, ada, "members")
        stage.do(ben, May("show", action="listen"))
        assert stage.refused(NOBODY, May("show", action="listen")) == "token_missing"
        assert stage.refused(guest("c-1"), May("show", action="listen")) == "not_found"
        assert stage.refused(NOBODY, May("none", action="listen")) == "not_found"

    def test_who_follows_a_session_that_is_over_listens_no_more(self, stage: Stage, ada: Principal) -> None:
        show(stage, ada)
        stage.do(ada, May("show", action="listen"))
        assert stage.refused(ada, May("show", action="listen", follows=True)) == "token_expired"

    def test_not_a_disabled_account(self, stage: Stage, ada: Principal, ben: Principal) -> None:
        show(stage, ada)
        stage.do(OPERATOR, accounts.Disable(ben.subject))
        assert stage.refused(ben, May("show", action="listen")) == "token_revoked"


class TestItsRoom:
    def test_any_account_talks_there_and_no_list_shows_it(self, stage: Stage, ada: Principal, ben: Principal) -> None:
        for visibility in ("public", "members"):
            stage.do(ada, Create(visibility, visibility=visibility))  # type: ignore[arg-type]
            room = f"s-{visibility}"
            assert stage.do(ben, rooms.Get(room))["room"]["role"] is None
            stage.do(ben, members.Join(room))
            stage.do(ben, messages.Send(room, "hello"))
            assert stage.do(ada, rooms.Get(room))["room"] | {"seq": 0, "epoch": ""} == {
                "id": room,
                "kind": "room",
                "title": None,
                "visibility": "public",
                "archived": False,
                "epoch": "",
                "seq": 0,
                "role": "owner",
                "created_at": "2027-01-15T08:00:00.000Z",
            }
            assert stage.types(room) == ["member.joined", "member.joined", "message.created"]
        assert stage.do(ada, rooms.List())["rooms"] == []
        assert stage.do(ada, rooms.List(mine=True))["rooms"] == []

    def test_it_is_moderated_but_stays_as_public_as_the_stream(
        self, stage: Stage, ada: Principal, ben: Principal
    ) -> None:
        show(stage, ada)
        stage.do(ben, members.Join("s-show"))
        assert stage.refused(ada, rooms.Update("s-show", visibility="private")) == "forbidden"
        stage.do(ada, members.Remove("s-show", ben.subject, ban=True))
        assert stage.refused(ben, members.Join("s-show")) == "banned"

    def test_it_is_read_only_once_the_stream_is_gone_and_another_owners_with_the_next(
        self, stage: Stage, ada: Principal, ben: Principal
    ) -> None:
        show(stage, ada)
        stage.do(ada, Delete("show"))
        assert stage.refused(ada, messages.Send("s-show", "?")) == "archived"
        show(stage, ben)
        stage.do(ben, messages.Send("s-show", "!"))
        assert stage.do(ada, rooms.Get("s-show"))["room"]["role"] == "member"
        assert stage.do(ben, rooms.Get("s-show"))["room"]["role"] == "owner"

    def test_a_refused_stream_leaves_no_room(self, stage: Stage, ada: Principal) -> None:
        with pytest.raises(Refusal):
            stage.do(guest("c-1"), Create("show"))
        assert stage.refused(ada, rooms.Get("s-show")) == "not_found"
