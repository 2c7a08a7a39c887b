"""The members of rooms: who may join, invite, remove and ban, and that nothing changes twice (CONTRACT section 3)."""

from parley.domain import members, messages, rooms
from parley.domain.principal import Principal
from tests.stage import Stage, somebody


class TestJoiningAndLeaving:
    def test_joining_twice_is_one_event(self, stage: Stage, ada: Principal, ben: Principal) -> None:
        stage.do(ada, rooms.Create(room="hall"))
        first = stage.do(ben, members.Join("hall"))
        stage.clock.forward(s=10)
        assert stage.do(ben, members.Join("hall")) == first
        assert stage.types("hall") == ["member.joined", "member.joined"]

    def test_leaving_what_one_is_not_in_answers_and_writes_nothing(
        self, stage: Stage, ada: Principal, ben: Principal
    ) -> None:
        stage.do(ada, rooms.Create(room="hall"))
        member = stage.do(ben, members.Leave("hall"))["member"]
        assert (member["subject"], member["joined_at"]) == (ben.subject, None)
        assert stage.types("hall") == ["member.joined"]

    def test_who_left_a_private_room_no_longer_finds_it(self, stage: Stage, ada: Principal, ben: Principal) -> None:
        stage.do(ada, rooms.Create(room="den", visibility="private"))
        stage.do(ada, members.Invite("den", ben.subject))
        assert stage.do(ben, members.Join("den"))["member"]["role"] == "member"
        stage.do(ben, members.Leave("den"))
        assert stage.refused(ben, rooms.Get("den")) == "not_found"
        assert stage.types("den") == ["member.joined", "member.joined", "member.left"]

    def test_an_admin_may_read_a_private_room_but_joins_by_invitation(
        self, stage: Stage, ada: Principal, root: Principal
    ) -> None:
        stage.do(ada, rooms.Create(room="den", visibility="private"))
        assert stage.refused(root, members.Join("den")) == "forbidden"

    def test_the_last_owner_stays(self, stage: Stage, ada: Principal, ben: Principal, root: Principal) -> None:
        stage.do(ada, rooms.Create(room="hall"))
        stage.do(ben, members.Join("hall"))
        for who, params in (
            (ada, members.Leave("hall")),
            (root, members.Remove("hall", ada.subject)),
            (ada, members.SetRole("hall", ada.subject, "member")),
        ):
            assert stage.refused(who, params) == "conflict", params
        stage.do(ada, members.SetRole("hall", ben.subject, "owner"))
        stage.do(ada, members.Leave("hall"))
        assert stage.refused(ben, members.Leave("hall")) == "conflict"


class TestInviting:
    def test_an_invited_account_is_a_member_at_once_under_its_name(
        self, stage: Stage, ada: Principal, ben: Principal
    ) -> None:
        stage.do(ada, rooms.Create(room="den", visibility="private"))
        member = stage.do(ada, members.Invite("den", "BEN"))["member"]
        assert (member["subject"], member["name"], member["role"]) == (ben.subject, "ben", "member")
        assert stage.do(ben, rooms.Get("den"))["room"]["role"] == "member"

    def test_somebody_from_elsewhere_goes_by_the_subject(self, stage: Stage, ada: Principal) -> None:
        stage.do(ada, rooms.Create(room="den", visibility="private"))
        member = stage.do(ada, members.Invite("den", "acme:auth0|7"))["member"]
        assert (member["subject"], member["name"]) == ("acme:auth0|7", "acme:auth0|7")

    def test_inviting_a_member_has_no_effect(self, stage: Stage, ada: Principal, ben: Principal) -> None:
        stage.do(ada, rooms.Create(room="hall"))
        stage.do(ben, members.Join("hall"))
        assert stage.do(ada, members.Invite("hall", ben.subject, role="owner"))["member"]["role"] == "member"
        assert len(stage.log("hall")) == 2

    def test_members_may_not_invite_and_moderators_only_members(
        self, stage: Stage, ada: Principal, ben: Principal
    ) -> None:
        stage.do(ada, rooms.Create(room="hall"))
        stage.do(ben, members.Join("hall"))
        assert stage.refused(ben, members.Invite("hall", "x")) == "forbidden"
        stage.do(ada, members.SetRole("hall", ben.subject, "moderator"))
        assert stage.refused(ben, members.Invite("hall", "x", role="moderator")) == "forbidden"
        assert stage.do(ben, members.Invite("hall", "x"))["member"]["role"] == "member"
        assert stage.do(ada, members.Invite("hall", "y", role="moderator"))["member"]["role"] == "moderator"


class TestRemovingAndBanning:
    def test_a_banned_account_is_told_so_in_a_public_room(self, stage: Stage, ada: Principal, ben: Principal) -> None:
        stage.do(ada, rooms.Create(room="hall"))
        stage.do(ben, members.Join("hall"))
        assert stage.do(ada, members.Remove("hall", ben.subject, ban=True, reason="spam")) == {}
        for params in (rooms.Get("hall"), members.Join("hall"), messages.Send("hall", "x"), messages.List("hall")):
            assert stage.refused(ben, params) == "banned", params
        removed = stage.log("hall")[-1]
        assert removed["type"] == "member.removed"
        assert removed["data"]["member"]["subject"] == ben.subject
        assert (removed["data"]["banned"], removed["data"]["reason"]) == (True, "spam")

    def test_a_banned_account_does_not_find_a_private_room(self, stage: Stage, ada: Principal, ben: Principal) -> None:
        stage.do(ada, rooms.Create(room="den", visibility="private"))
        stage.do(ada, members.Invite("den", ben.subject))
        stage.do(ada, members.Remove("den", ben.subject, ban=True))
        assert stage.refused(ben, rooms.Get("den")) == "not_found"

    def test_removed_without_a_ban_one_may_come_again(self, stage: Stage, ada: Principal, ben: Principal) -> None:
        stage.do(ada, rooms.Create(room="hall"))
        stage.do(ben, members.Join("hall"))
        stage.do(ada, members.Remove("hall", ben.subject))
        assert stage.refused(ben, messages.Send("hall", "x")) == "forbidden"
        stage.do(ben, members.Join("hall"))
        assert stage.types("hall")[1:] == ["member.joined", "member.removed", "member.joined"]

    def test_an_invitation_lifts_a_ban(self, stage: Stage, ada: Principal, ben: Principal) -> None:
        stage.do(ada, rooms.Create(room="hall"))
        stage.do(ada, members.Remove("hall", ben.subject, ban=True))
        assert stage.refused(ben, members.Join("hall")) == "banned"
        stage.do(ada, members.Invite("hall", ben.subject))
        stage.do(ben, members.Leave("hall"))
        stage.do(ben, members.Join("hall"))

    def test_a_username_bans_its_account_and_nobody_who_only_is_called_so(
        self, stage: Stage, ada: Principal, ben: Principal
    ) -> None:
        stage.do(ada, rooms.Create(room="hall"))
        stage.do(ada, members.Remove("hall", "Ben", ban=True))
        assert stage.refused(ben, rooms.Get("hall")) == "banned"
        assert stage.log("hall")[-1]["data"]["member"] == {
            "room": "hall",
            "subject": ben.subject,
            "name": "ben",
            "role": "member",
            "joined_at": None,
        }
        called_ben = somebody("ben")
        stage.do(called_ben, members.Join("hall"))
        stage.do(ada, members.SetRole("hall", "ben", "moderator"))
        assert stage.do(called_ben, rooms.Get("hall"))["room"]["role"] == "moderator"
        stage.do(ada, members.Remove("hall", "ben"))
        assert stage.do(called_ben, rooms.Get("hall"))["room"]["role"] is None

    def test_a_second_ban_writes_no_second_event(self, stage: Stage, ada: Principal, ben: Principal) -> None:
        stage.do(ada, rooms.Create(room="hall"))
        stage.do(ada, members.Remove("hall", ben.subject, ban=True))
        told = stage.decide(ada, members.Remove("hall", ben.subject, ban=True))
        assert not told.events
        assert stage.types("hall") == ["member.joined", "member.removed"]

    def test_a_reader_who_never_joined_is_shown_out_by_a_change(
        self, stage: Stage, ada: Principal, ben: Principal
    ) -> None:
        stage.do(ada, rooms.Create(room="hall"))
        decision = stage.decide(ada, members.Remove("hall", ben.subject))
        (change,) = decision.changes
        assert (change.kind, change.target) == ("eviction", "hall")
        assert change.detail == {"subject": ben.subject, "reason": "removed"}
        assert not decision.events

    def test_a_moderator_removes_plain_members_only(self, stage: Stage, ada: Principal, ben: Principal) -> None:
        cid = stage.account("cid")
        stage.do(ada, rooms.Create(room="hall"))
        for who in (ben, cid):
            stage.do(who, members.Join("hall"))
        assert stage.refused(ben, members.Remove("hall", cid.subject)) == "forbidden"
        stage.do(ada, members.SetRole("hall", ben.subject, "moderator"))
        assert stage.refused(ben, members.Remove("hall", ada.subject)) == "forbidden"
        stage.do(ben, members.Remove("hall", cid.subject))
