"""Messages: sent once, edited for a while, deleted into a tombstone (CONTRACT section 3)."""

import time
from typing import Any

import pytest

from parley.domain import audit, members, messages, rooms
from parley.domain.ports import Rules
from parley.domain.principal import OPERATOR, Principal
from tests.stage import Stage, as_json, guest, narrowed, somebody


@pytest.fixture
def ada(stage: Stage) -> Principal:
    """The owner of the room `hall`."""
    ada = stage.account("ada")
    stage.do(ada, rooms.Create(room="hall"))
    return ada


@pytest.fixture
def ben(stage: Stage, ada: Principal) -> Principal:
    """A plain member of it."""
    ben = stage.account("ben")
    stage.do(ben, members.Join("hall"))
    return ben


def sent(stage: Stage, who: Principal, text: str = "hello", **more: Any) -> Any:
    return stage.do(who, messages.Send("hall", text, **more))["message"]


class TestSending:
    def test_a_message_is_an_event_with_the_rooms_next_seq(self, stage: Stage, ada: Principal, ben: Principal) -> None:
        answer = stage.do(ben, messages.Send("hall", "hello", client_id="one", data={"k": [1, None]}))
        message = answer["message"]
        assert answer["duplicate"] is False
        assert message == {
            "id": message["id"],
            "room": "hall",
            "seq": 3,
            "text": "hello",
            "sender": {"subject": ben.subject, "name": "ben", "type": "account"},
            "at": "2027-01-15T08:00:00.000Z",
            "client_id": "one",
            "data": {"k": [1, None]},
        }
        event = stage.log("hall")[-1]
        assert (event["type"], event["seq"], event["data"]) == ("message.created", 3, {"message": message})

    def test_the_event_that_leaves_is_the_event_that_is_replayed(self, stage: Stage, ada: Principal) -> None:
        decision = stage.decide(ada, messages.Send("hall", "ünï", reply_to=None, data={"a": 1}))
        (event,) = decision.events
        assert as_json(event) == stage.log("hall")[-1]

    def test_text_is_kept_in_nfc(self, stage: Stage, ada: Principal) -> None:
        assert sent(stage, ada, "e\u0301")["text"] == "\u00e9"

    @pytest.mark.parametrize(
        "text", ["🦜" * 8000, "שלום \u202eאבג\u202c", "👩‍👩‍👧‍👦", "a\tb\nc", "<b>&amp;</b>", "\ufeff", "'; --"]
    )
    def test_any_text_comes_back_as_it_went(self, stage: Stage, ada: Principal, text: str) -> None:
        assert sent(stage, ada, text)["text"] == text
        assert stage.do(ada, messages.List("hall"))["messages"][-1]["text"] == text

    def test_a_text_is_neither_empty_nor_too_long(self, stage: Stage, ada: Principal) -> None:
        for text in ("", "x" * 8001):
            refusal = stage.refusal(ada, messages.Send("hall", text))
            assert (refusal.code, refusal.facts) == ("invalid_params", {"field": "text"})

    def test_the_length_is_counted_after_nfc(self, stage: Stage, ada: Principal) -> None:
        assert len(sent(stage, ada, "e\u0301" * 8000)["text"]) == 8000

    def test_a_heap_of_marks_is_no_text(self, stage: Stage, ada: Principal) -> None:
        assert sent(stage, ada, "a" + "\u0301" * 50)["text"] == "\u00e1" + "\u0301" * 49
        for heap in ("a" + "\u0301\u0316" * 15_000, "a" + "\u0301\u0316" * 30_000):
            begun_s = time.process_time()
            refusal = stage.refusal(ada, messages.Send("hall", heap))
            assert (refusal.code, refusal.facts) == ("invalid_params", {"field": "text"})
            assert time.process_time() - begun_s < 0.3, "everybody waits for it"

    def test_only_members_send(self, stage: Stage, ada: Principal) -> None:
        assert stage.refused(stage.account("cid"), messages.Send("hall", "x")) == "forbidden"
        assert stage.refused(stage.account("root", "admin"), messages.Send("hall", "x")) == "forbidden"
        assert stage.refused(guest("c-1"), messages.Send("hall", "x")) == "not_found"

    def test_a_reply_is_to_a_message_of_the_same_room(self, stage: Stage, ada: Principal) -> None:
        stage.do(ada, rooms.Create(room="other"))
        there = stage.do(ada, messages.Send("other", "x"))["message"]["id"]
        here = sent(stage, ada)["id"]
        assert sent(stage, ada, reply_to=here)["reply_to"] == here
        for target in (there, "no-such-message"):
            refusal = stage.refusal(ada, messages.Send("hall", "x", reply_to=target))
            assert (refusal.code, refusal.facts) == ("invalid_params", {"field": "reply_to"})

    def test_data_has_a_bound(self, stage: Stage, ada: Principal) -> None:
        sent(stage, ada, data={"k": "x" * (8192 - 8)})
        refusal = stage.refusal(ada, messages.Send("hall", "x", data={"k": "x" * 8185}))
        assert (refusal.code, refusal.facts) == ("invalid_params", {"field": "data"})


class TestSendingAgain:
    def test_the_first_is_returned_whatever_the_text(self, stage: Stage, ada: Principal, ben: Principal) -> None:
        first = sent(stage, ben, "one", client_id="c")
        for text in ("one", "two", "", "x" * 9000):
            assert stage.do(ben, messages.Send("hall", text, client_id="c")) == {"message": first, "duplicate": True}
        assert stage.types("hall").count("message.created") == 1

    def test_a_client_id_is_its_senders_in_its_room(self, stage: Stage, ada: Principal, ben: Principal) -> None:
        stage.do(ada, rooms.Create(room="other"))
        sent(stage, ben, client_id="c")
        assert stage.do(ada, messages.Send("hall", "x", client_id="c"))["duplicate"] is False
        assert stage.do(ada, messages.Send("other", "x", client_id="c"))["duplicate"] is False

    def test_a_deleted_message_comes_back_as_its_tombstone(self, stage: Stage, ada: Principal, ben: Principal) -> None:
        first = sent(stage, ben, "secret", client_id="c")
        stage.do(ada, messages.Delete(first["id"]))
        again = stage.do(ben, messages.Send("hall", "secret", client_id="c"))
        assert again["duplicate"] is True
        assert again["message"]["deleted"] is True
        assert "text" not in again["message"]


class TestEditing:
    def test_an_edit_changes_the_text_and_every_later_replay(
        self, stage: Stage, ada: Principal, ben: Principal
    ) -> None:
        message = sent(stage, ben, "old")
        stage.clock.forward(s=60)
        edited = stage.do(ben, messages.Edit(message["id"], "new"))["message"]
        assert edited == {**message, "text": "new", "edited_at": "2027-01-15T08:01:00.000Z"}
        log = stage.log("hall")
        assert [event["type"] for event in log[-2:]] == ["message.created", "message.edited"]
        assert log[-1]["data"] == log[-2]["data"] == {"message": edited}
        assert "old" not in str(log)

    def test_only_its_sender_edits_within_fifteen_minutes(self, stage: Stage, ada: Principal, ben: Principal) -> None:
        message = sent(stage, ben, "old")
        assert stage.refused(ada, messages.Edit(message["id"], "x")) == "forbidden"
        stage.clock.forward(s=900)
        stage.do(ben, messages.Edit(message["id"], "in time"))
        stage.clock.forward(s=0.001)
        assert stage.refused(ben, messages.Edit(message["id"], "late")) == "forbidden"

    def test_the_same_text_is_no_event(self, stage: Stage, ada: Principal) -> None:
        message = sent(stage, ada, "é")
        assert stage.do(ada, messages.Edit(message["id"], "e\u0301"))["message"] == message
        assert stage.types("hall")[-1] == "message.created"

    def test_a_tombstone_cannot_be_edited(self, stage: Stage, ada: Principal) -> None:
        message = sent(stage, ada)
        stage.do(ada, messages.Delete(message["id"]))
        assert stage.refused(ada, messages.Edit(message["id"], "x")) == "conflict"

    def test_a_banned_sender_no_longer_edits(self, stage: Stage, ada: Principal, ben: Principal) -> None:
        message = sent(stage, ben)
        stage.do(ada, members.Remove("hall", ben.subject, ban=True))
        assert stage.refused(ben, messages.Edit(message["id"], "x")) == "banned"


class TestDeleting:
    def test_what_is_left_is_a_tombstone_without_text_or_data(
        self, stage: Stage, ada: Principal, ben: Principal
    ) -> None:
        message = sent(stage, ben, "secret", data={"also": "secret"}, client_id="c")
        stage.do(ben, messages.Edit(message["id"], "secret, edited"))
        stage.clock.forward(s=5)
        tombstone = stage.do(ada, messages.Delete(message["id"], "spam"))["message"]
        assert tombstone == {
            "id": message["id"],
            "room": "hall",
            "seq": message["seq"],
            "sender": message["sender"],
            "at": message["at"],
            "deleted": True,
            "deleted_at": "2027-01-15T08:00:05.000Z",
            "deleted_by": {"subject": ada.subject, "name": "ada", "type": "account"},
            "reason": "spam",
        }
        log = stage.log("hall")
        assert [event["data"] for event in log[-3:]] == [{"message": tombstone}] * 3
        assert "secret" not in str(log)
        assert stage.do(ben, messages.Get(message["id"]))["message"] == tombstone
        assert stage.do(ben, messages.List("hall"))["messages"] == [tombstone]

    def test_the_text_lives_on_in_the_audit_log_only(self, stage: Stage, ada: Principal, ben: Principal) -> None:
        message = sent(stage, ben, "secret")
        stage.do(ada, messages.Delete(message["id"], "spam"))
        (entry,) = stage.do(OPERATOR, audit.List(action="message.delete"))["entries"]
        assert (entry["actor"], entry["target"]) == (ada.subject, message["id"])
        assert entry["detail"] == {"room": "hall", "text": "secret", "reason": "spam"}

    def test_owners_moderators_and_admins_delete_and_plain_members_do_not(
        self, stage: Stage, ada: Principal, ben: Principal
    ) -> None:
        cid = stage.account("cid")
        stage.do(cid, members.Join("hall"))
        one, two, three = (sent(stage, cid, text)["id"] for text in ("1", "2", "3"))
        assert stage.refused(ben, messages.Delete(one)) == "forbidden"
        assert stage.refused(cid, messages.Delete(one)) == "forbidden", "their own: only where the policy allows it"
        stage.do(ada, messages.Delete(one))
        stage.do(stage.account("root", "admin"), messages.Delete(two))
        stage.do(ada, members.SetRole("hall", ben.subject, "moderator"))
        stage.do(ben, messages.Delete(three))

    def test_deleting_twice_is_one_event_and_keeps_the_first_reason(self, stage: Stage, ada: Principal) -> None:
        message = sent(stage, ada)
        first = stage.do(ada, messages.Delete(message["id"], "first"))
        assert stage.do(ada, messages.Delete(message["id"], "second")) == first
        assert stage.types("hall").count("message.deleted") == 1

    def test_where_the_policy_allows_it_members_delete_their_own(self, store_url: str) -> None:
        stage = Stage(store_url, Rules(delete_own=True))
        ada, ben = stage.account("ada"), stage.account("ben")
        stage.do(ada, rooms.Create(room="hall"))
        stage.do(ben, members.Join("hall"))
        hers, his = sent(stage, ada)["id"], sent(stage, ben)["id"]
        assert stage.refused(ben, messages.Delete(hers)) == "forbidden"
        assert stage.do(ben, messages.Delete(his))["message"]["deleted"] is True
        stage.close()


class TestReadingMessages:
    def test_pages_are_oldest_first_and_the_newest_page_comes_without_bounds(
        self, stage: Stage, ada: Principal, ben: Principal
    ) -> None:
        for i in range(7):
            sent(stage, ada, str(i))

        def texts(**bounds: int) -> tuple[list[str], bool]:
            page = stage.do(ben, messages.List("hall", **bounds))
            return [message["text"] for message in page["messages"]], page["complete"]

        assert texts(limit=3) == (["4", "5", "6"], False)
        assert texts(limit=7) == (list("0123456"), True)
        assert texts(before=7, limit=3) == (["1", "2", "3"], False)
        assert texts(before=6, limit=3) == (["0", "1", "2"], True)
        assert texts(after=7, limit=3) == (["5", "6"], True)
        assert texts(after=0, limit=3) == (["0", "1", "2"], False)
        assert texts(after=4, before=8, limit=2) == (["3", "4"], False)
        assert texts(after=4, before=8, limit=9) == (["2", "3", "4"], True)
        assert texts(before=0) == ([], True)

    def test_a_message_of_an_unreadable_room_does_not_exist(self, stage: Stage, ada: Principal) -> None:
        stage.do(ada, rooms.Create(room="den", visibility="private"))
        message = stage.do(ada, messages.Send("den", "x"))["message"]
        cid = stage.account("cid")
        for params in (
            messages.Get(message["id"]),
            messages.Edit(message["id"], "x"),
            messages.Delete(message["id"]),
            messages.Get("no-such-message"),
        ):
            assert stage.refused(cid, params) == "not_found", params
        assert stage.refused(guest("c-1"), messages.Get(message["id"])) == "not_found"

    def test_grants_are_asked_for_the_messages_room(self, stage: Stage, ada: Principal) -> None:
        stage.do(ada, rooms.Create(room="other"))
        here, there = sent(stage, ada), stage.do(ada, messages.Send("other", "x"))["message"]
        token = narrowed(ada, {"room:hall": ["read", "send"]})
        stage.do(token, messages.Get(here["id"]))
        stage.do(token, messages.Edit(here["id"], "edited"))
        for params in (messages.Get(there["id"]), messages.Edit(there["id"], "x"), messages.Delete(here["id"])):
            assert stage.refused(token, params) == "forbidden", params


def test_a_sender_is_told_as_their_token_names_them(stage: Stage, ada: Principal) -> None:
    service = somebody("bot", "member", type="service", name="Botty")
    stage.do(ada, members.Invite("hall", "bot"))
    assert sent(stage, service)["sender"] == {"subject": "bot", "name": "Botty", "type": "service"}
