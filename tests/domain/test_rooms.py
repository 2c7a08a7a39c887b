"""Rooms: who sees them, who governs them, and that nothing changes twice (CONTRACT section 3)."""

import pytest

from parley.domain import members, messages, receipts, rooms
from parley.domain.principal import Principal
from tests.stage import Stage, guest, narrowed, somebody


class TestCreate:
    def test_the_creator_is_the_owner_and_the_log_begins_with_their_joining(self, stage: Stage, ada: Principal) -> None:
        room = stage.do(ada, rooms.Create(room="den", title="The den", visibility="private"))["room"]
        assert room == {
            "id": "den",
            "kind": "room",
            "title": "The den",
            "visibility": "private",
            "archived": False,
            "epoch": stage.store.epoch,
            "seq": 1,
            "role": "owner",
            "created_at": "2027-01-15T08:00:00.000Z",
        }
        (joined,) = stage.log("den")
        assert joined["type"] == "member.joined"
        assert joined["seq"] == 1
        assert joined["actor"] == {"subject": ada.subject, "name": "ada", "type": "account"}
        assert joined["data"]["member"] == {
            "room": "den",
            "subject": ada.subject,
            "name": "ada",
            "role": "owner",
            "joined_at": "2027-01-15T08:00:00.000Z",
        }

    def test_without_an_id_the_server_makes_one(self, stage: Stage, ada: Principal) -> None:
        one = stage.do(ada, rooms.Create())["room"]["id"]
        other = stage.do(ada, rooms.Create())["room"]["id"]
        assert one < other, "ids ascend with time"

    def test_a_taken_id_is_a_conflict_whoever_holds_it(self, stage: Stage, ada: Principal, ben: Principal) -> None:
        stage.do(ada, rooms.Create(room="den", visibility="private"))
        assert stage.refused(ben, rooms.Create(room="den")) == "conflict"
        assert stage.refused(ada, rooms.Create(room="den")) == "conflict"

    @pytest.mark.parametrize("name", ["queue", "c-1", "s-radio", "launch.notes"])
    def test_ids_of_the_servers_own_kind_cannot_be_chosen(self, stage: Stage, ada: Principal, name: str) -> None:
        refusal = stage.refusal(ada, rooms.Create(room=name))
        assert (refusal.code, refusal.facts) == ("invalid_params", {"field": "room"})

    def test_guests_create_none(self, stage: Stage) -> None:
        assert stage.refused(guest("c-1"), rooms.Create(room="den")) == "forbidden"


class TestReading:
    def test_any_account_reads_a_public_room_and_has_no_role_in_it(
        self, stage: Stage, ada: Principal, ben: Principal
    ) -> None:
        stage.do(ada, rooms.Create(room="hall"))
        assert stage.do(ben, rooms.Get("hall"))["room"]["role"] is None

    def test_a_private_room_does_not_exist_for_others_but_admins(
        self, stage: Stage, ada: Principal, ben: Principal, root: Principal
    ) -> None:
        stage.do(ada, rooms.Create(room="den", visibility="private"))
        for params in (
            rooms.Get("den"),
            members.Join("den"),
            members.Leave("den"),
            members.Members("den"),
            rooms.Update("den", title="x"),
            rooms.Archive("den"),
            members.Invite("den", "somebody"),
            messages.Send("den", "hello"),
            messages.List("den"),
            receipts.List("den"),
        ):
            assert stage.refused(ben, params) == "not_found", params
        assert stage.do(root, rooms.Get("den"))["room"]["role"] is None

    def test_a_room_that_is_not_there_is_not_found(self, stage: Stage, root: Principal) -> None:
        assert stage.refused(root, rooms.Get("nowhere")) == "not_found"

    def test_a_guest_finds_no_room_but_its_conversation(self, stage: Stage, ada: Principal) -> None:
        stage.do(ada, rooms.Create(room="hall"))
        assert stage.refused(guest("c-1"), rooms.Get("hall")) == "not_found"
        assert stage.refused(guest("c-1"), members.Join("hall")) == "not_found"
        assert stage.refused(guest("c-1"), rooms.List()) == "forbidden"

    def test_a_list_shows_public_rooms_and_ones_own(
        self, stage: Stage, ada: Principal, ben: Principal, root: Principal
    ) -> None:
        stage.do(ada, rooms.Create(room="hall"))
        stage.do(ada, rooms.Create(room="den", visibility="private"))
        stage.do(ben, rooms.Create(room="attic", visibility="private"))

        def listed(who: Principal, *, mine: bool = False) -> dict[str, str | None]:
            return {room["id"]: room["role"] for room in stage.do(who, rooms.List(mine=mine))["rooms"]}

        assert listed(ada) == {"den": "owner", "hall": "owner"}
        assert listed(ben) == {"attic": "owner", "hall": None}
        assert listed(ben, mine=True) == {"attic": "owner"}
        assert listed(root) == {"attic": None, "den": None, "hall": None}
        assert listed(root, mine=True) == {}

    def test_a_list_goes_on_with_its_cursor_and_ends_with_none(self, stage: Stage, ada: Principal) -> None:
        names = [f"room-{i}" for i in range(5)]
        for name in names:
            stage.do(ada, rooms.Create(room=name))
        seen: list[str] = []
        cursor = None
        pages = 0
        while True:
            page = stage.do(ada, rooms.List(after=cursor, limit=2))
            seen += [room["id"] for room in page["rooms"]]
            pages += 1
            cursor = page["next"]
            if cursor is None:
                break
        assert (seen, pages) == (names, 3)

    @pytest.mark.parametrize("cursor", ["", "!", "AA", "AAAA", "é", "x" * 4000])
    def test_a_cursor_that_is_not_ours_is_invalid(self, stage: Stage, ada: Principal, cursor: str) -> None:
        refusal = stage.refusal(ada, rooms.List(after=cursor))
        assert (refusal.code, refusal.facts) == ("invalid_params", {"field": "after"})


class TestGoverning:
    def test_only_owners_and_admins_update_set_roles_and_archive(
        self, stage: Stage, ada: Principal, ben: Principal, root: Principal
    ) -> None:
        stage.do(ada, rooms.Create(room="hall"))
        stage.do(ben, members.Join("hall"))
        stage.do(ada, members.SetRole("hall", ben.subject, "moderator"))
        for params in (
            rooms.Update("hall", title="x"),
            members.SetRole("hall", ben.subject, "owner"),
            rooms.Archive("hall"),
        ):
            assert stage.refused(ben, params) == "forbidden", params
        assert stage.do(root, rooms.Update("hall", title="Hall"))["room"]["title"] == "Hall"
        assert stage.refused(ada, members.SetRole("hall", "nobody", "member")) == "not_found"

    def test_an_update_is_an_event_whose_room_has_the_events_own_seq(self, stage: Stage, ada: Principal) -> None:
        stage.do(ada, rooms.Create(room="hall"))
        answered = stage.do(ada, rooms.Update("hall", title="Hall", visibility="private"))["room"]
        event = stage.log("hall")[-1]
        assert (event["type"], event["seq"], event["data"]["room"]["seq"]) == ("room.updated", 2, 2)
        assert event["data"]["room"] == {**answered, "role": None}

    def test_what_changes_nothing_writes_no_event(self, stage: Stage, ada: Principal) -> None:
        stage.do(ada, rooms.Create(room="hall", title="Hall"))
        stage.do(ada, rooms.Update("hall", title="Hall"))
        stage.do(ada, rooms.Update("hall"))
        stage.do(ada, members.SetRole("hall", ada.subject, "owner"))
        assert stage.types("hall") == ["member.joined"]
        stage.do(ada, rooms.Archive("hall"))
        stage.do(ada, rooms.Archive("hall"))
        assert stage.types("hall") == ["member.joined", "room.archived"]

    def test_in_an_archived_room_only_tidying_is_left(self, stage: Stage, ada: Principal, ben: Principal) -> None:
        stage.do(ada, rooms.Create(room="hall"))
        stage.do(ben, members.Join("hall"))
        sent = stage.do(ben, messages.Send("hall", "hello", client_id="one"))["message"]
        stage.do(ada, rooms.Archive("hall"))
        for who, params in (
            (ben, messages.Send("hall", "more")),
            (ben, messages.Edit(sent["id"], "other")),
            (stage.account("dee"), members.Join("hall")),
            (ada, members.Invite("hall", "x")),
            (ada, rooms.Update("hall", title="x")),
            (ada, members.SetRole("hall", ben.subject, "moderator")),
        ):
            assert stage.refused(who, params) == "archived", params
        assert stage.do(ben, messages.Send("hall", "hello", client_id="one"))["duplicate"] is True
        stage.do(ben, receipts.Mark("hall", 3))
        stage.do(ada, messages.Delete(sent["id"]))
        stage.do(ada, members.Remove("hall", "x", ban=True))
        stage.do(ben, members.Leave("hall"))
        assert stage.types("hall")[-3:] == ["message.deleted", "member.removed", "member.left"]

    def test_members_are_listed_by_subject(self, stage: Stage, ada: Principal) -> None:
        stage.do(ada, rooms.Create(room="hall"))
        for subject in ("~z", "Zed", "a b".replace(" ", "-"), "acme:1"):
            stage.do(ada, members.Invite("hall", subject))
        page = stage.do(ada, members.Members("hall", limit=3))
        rest = stage.do(ada, members.Members("hall", limit=3, after=page["next"]))
        subjects = [member["subject"] for member in page["members"] + rest["members"]]
        assert subjects == sorted([ada.subject, "~z", "Zed", "a-b", "acme:1"])
        assert rest["next"] is None


class TestNarrowedTokens:
    def test_a_narrowed_token_may_use_what_it_names_and_nothing_else(self, stage: Stage, ada: Principal) -> None:
        stage.do(ada, rooms.Create(room="hall"))
        stage.do(ada, rooms.Create(room="team-1"))
        token = narrowed(ada, {"room:team-*": ["read"], "room:hall": ["send"]})
        assert stage.do(token, rooms.Get("team-1"))["room"]["id"] == "team-1"
        stage.do(token, messages.Send("hall", "hello"))
        for params in (
            rooms.Get("hall"),
            messages.Send("team-1", "x"),
            rooms.Update("team-1", title="x"),
            rooms.List(),
            rooms.Create(room="new"),
        ):
            assert stage.refused(token, params) == "forbidden", params

    def test_grants_do_not_widen_what_the_bearer_may(self, stage: Stage, ada: Principal, ben: Principal) -> None:
        stage.do(ada, rooms.Create(room="den", visibility="private"))
        token = narrowed(ben, {"room:*": ["read", "send", "manage"]})
        assert stage.refused(token, rooms.Get("den")) == "not_found"


def test_a_principal_without_an_account_is_what_its_token_says(stage: Stage) -> None:
    foreign = somebody("acme:7", "member", name="Fay")
    stage.do(foreign, rooms.Create(room="hall"))
    assert stage.log("hall")[0]["actor"] == {"subject": "acme:7", "name": "Fay", "type": "account"}
    stage.do(somebody("acme:8", "admin"), rooms.Update("hall", title="Admins by claim"))
