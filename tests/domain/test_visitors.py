"""What is known of a visitor: changed, exported, erased, on both stores (CONTRACT section 3)."""

import json

import pytest

from parley.domain import audit, beginnings, claims, closings, messages, replay, rooms, transcripts, visitors
from parley.domain.beginnings import Vouched
from parley.domain.principal import Principal
from parley.domain.visitors import Erase, Export, Update, VerifiedIdentify
from tests.domain.helpdesk import Helpdesk, of
from tests.stage import Stage

VOUCHED = Vouched("shop:7", "Vi Vouched", "vi@shop.example")


@pytest.fixture
def desk(stage: Stage) -> Helpdesk:
    return Helpdesk(stage)


class TestUpdate:
    def test_the_visitor_says_who_they_are_and_agents_learn_of_it(self, stage: Stage, desk: Helpdesk) -> None:
        guest = desk.begin()
        conversation = of(guest.conversation)
        stage.do(guest, Update(conversation, name="Vi", page="https://shop.example/basket"))
        stage.do(guest, Update(conversation, name="Vi"))
        visitor = desk.get(conversation)["visitor"]
        assert (visitor["name"], visitor["page"], visitor["verified"]) == ("Vi", "https://shop.example/basket", False)
        assert stage.types(conversation) == stage.types("queue") == ["conversation.queued", "conversation.updated"]

    def test_from_then_on_they_are_called_so_whatever_their_token_says(self, stage: Stage, desk: Helpdesk) -> None:
        guest = desk.begin(name="Vi")
        stage.do(guest, Update(of(guest.conversation), name="Violet"))
        sent = stage.do(guest, messages.Send(of(guest.conversation), "hello"))["message"]
        assert sent["sender"] == {"subject": guest.subject, "name": "Violet", "type": "guest"}

    def test_agents_change_nothing_of_it(self, stage: Stage, desk: Helpdesk) -> None:
        assert stage.refused(desk.ava, Update(of(desk.begin().conversation), name="x")) == "forbidden"


class TestIdentify:
    def test_the_issuers_word_replaces_the_visitors_own(self, stage: Stage, desk: Helpdesk) -> None:
        guest = desk.begin(name="Somebody", email="own@example.org")
        conversation = of(guest.conversation)
        stage.do(guest, VerifiedIdentify(conversation, "checked", VOUCHED))
        visitor = desk.get(conversation)["visitor"]
        assert (visitor["name"], visitor["email"], visitor["verified"]) == ("Vi Vouched", "vi@shop.example", True)
        stage.do(guest, VerifiedIdentify(conversation, "checked", VOUCHED))
        assert stage.types(conversation)[-1] == "conversation.updated"
        assert len(stage.log(conversation)) == 2, "the same once more changes nothing"
        assert visitor["identity"] == VOUCHED.subject

    def test_a_list_for_it_has_every_conversation_of_the_person(self, stage: Stage, desk: Helpdesk) -> None:
        earlier, later = desk.begin(vouched=VOUCHED), desk.begin(vouched=VOUCHED)
        desk.begin(name=VOUCHED.name, email=VOUCHED.email)  # who only says so is not taken for them

        def listed(visitor: str) -> list[str]:
            found = stage.do(desk.ava, transcripts.List(visitor=visitor))["conversations"]
            return [one["id"] for one in found]

        assert listed(VOUCHED.subject) == [later.conversation, earlier.conversation]
        assert listed(earlier.subject) == [earlier.conversation]

    def test_it_is_nobody_elses_afterwards(self, stage: Stage, desk: Helpdesk) -> None:
        guest = desk.begin(vouched=VOUCHED)
        other = VerifiedIdentify(of(guest.conversation), "checked", Vouched("shop:8", "Other", None))
        assert stage.refused(guest, other) == "conflict"
        assert stage.refused(guest, Update(of(guest.conversation), name="Fake")) == "forbidden"
        assert stage.do(guest, Update(of(guest.conversation), page="https://shop.example/"))

    def test_what_was_not_verified_changes_nothing(self, stage: Stage, desk: Helpdesk) -> None:
        guest = desk.begin()
        asked = visitors.Identify(of(guest.conversation), '{"subject":"shop:7"}')
        assert stage.do(guest, asked) is None, "they may: now the token is looked at"
        assert desk.get(of(guest.conversation))["visitor"]["verified"] is False
        assert stage.refused(desk.ava, asked) == "forbidden"
        assert stage.refused(desk.ada, asked) == "not_found"
        with pytest.raises(AssertionError):
            stage.decide(desk.ada, beginnings.Start(identity='{"subject":"shop:7"}'))


class TestReplays:
    def test_the_log_tells_what_is_known_now_and_what_was_then(self, stage: Stage, desk: Helpdesk) -> None:
        guest = desk.begin(name="Vi")
        conversation = of(guest.conversation)
        stage.do(desk.ava, claims.Claim(conversation))
        stage.do(guest, Update(conversation, name="Violet"))
        for room in (conversation, "queue"):
            told = [event["data"]["conversation"] for event in stage.log(room)]
            assert [(c["status"], c["visitor"]["name"]) for c in told] == [
                ("queued", "Violet"),
                ("open", "Violet"),
                ("open", "Violet"),
            ]


class TestErasing:
    def _scene(self, stage: Stage, desk: Helpdesk) -> Principal:
        guest = desk.begin(name="Secret", email="secret@example.org", page="https://secret.example", message="secret!")
        conversation = of(guest.conversation)
        stage.do(desk.ava, claims.Claim(conversation))
        deleted = stage.do(guest, messages.Send(conversation, "a secret card number"))["message"]["id"]
        stage.do(desk.root, messages.Delete(deleted))
        edited = stage.do(guest, messages.Send(conversation, "a secret word"))["message"]["id"]
        stage.do(guest, messages.Edit(edited, "another secret word"))
        stage.do(desk.ava, messages.Send(conversation, "how may I help?"))
        stage.do(guest, closings.Rate(conversation, 4, "secretly pleased"))
        return guest

    def test_everything_of_the_person_goes_and_nothing_else(self, stage: Stage, desk: Helpdesk) -> None:
        guest = self._scene(stage, desk)
        conversation = of(guest.conversation)
        before = len(stage.log(conversation))
        decision = stage.decide(desk.root, Erase(guest.subject))
        assert {change.target for change in decision.changes} >= {f"subject:{guest.subject}"}
        everything = [
            stage.log(conversation),
            stage.log("queue"),
            stage.do(desk.ava, messages.List(conversation)),
            stage.do(desk.ava, transcripts.List()),
            stage.do(desk.ava, transcripts.Export(conversation, "text")),
            stage.do(desk.ava, replay.EventList("queue", after=0)),
            stage.do(desk.root, audit.List()),
            stage.do(desk.root, Export(guest.subject)),
        ]
        told = json.dumps(everything).lower()
        assert "secret" not in told
        assert "192.0.2.1" not in told
        assert "browser/1" not in told
        assert "how may i help?" in told
        log = stage.log(conversation)
        assert [event["seq"] for event in log] == list(range(1, len(log) + 1))
        assert [e["type"] for e in log[before:]] == ["message.deleted", "message.deleted", "conversation.updated"]
        assert desk.get(conversation)["rating"] == 4, "a number says nothing of the person"

    def test_only_an_admin_does_it_and_only_to_a_visitor(self, stage: Stage, desk: Helpdesk) -> None:
        guest = desk.begin()
        assert stage.refused(desk.ava, Erase(guest.subject)) == "forbidden"
        assert stage.refused(desk.root, Erase("guest:nobody")) == "not_found"
        assert stage.refused(desk.root, Export(desk.bo.subject)) == "not_found"

    def test_an_account_stays_and_so_does_what_it_said_elsewhere(self, stage: Stage, desk: Helpdesk) -> None:
        stage.do(desk.ada, rooms.Create("hall"))
        stage.do(desk.ada, messages.Send("hall", "in the hall"))
        conversation = stage.do(desk.ada, beginnings.Start(message="secret"))["conversation"]["id"]
        decision = stage.decide(desk.root, Erase(desk.ada.subject))
        assert decision.changes == [], "their sign-ins are none of the helpdesk's"
        (kept,) = stage.do(desk.ada, messages.List("hall"))["messages"]
        assert (kept["text"], kept["sender"]["name"]) == ("in the hall", "ada")
        (gone,) = stage.do(desk.ada, messages.List(conversation))["messages"]
        assert gone["deleted"] is True

    def test_twice_is_as_good_as_once(self, stage: Stage, desk: Helpdesk) -> None:
        guest = self._scene(stage, desk)
        stage.do(desk.root, Erase(guest.subject))
        stage.do(desk.root, Erase(guest.subject))
        assert desk.get(guest.conversation)["visitor"]["name"] is None


class TestExporting:
    def test_it_has_all_that_is_kept(self, stage: Stage, desk: Helpdesk) -> None:
        guest = desk.begin(vouched=VOUCHED, message="hello", page="https://shop.example/")
        data = stage.do(desk.root, Export(guest.subject))["data"]
        assert data["subject"] == guest.subject
        assert data["identities"] == ["shop:7"]
        (conversation,) = data["conversations"]
        assert conversation["conversation"]["visitor"]["page"] == "https://shop.example/"
        assert [message["text"] for message in conversation["messages"]] == ["hello"]
        (session,) = data["sessions"]
        assert (session["user_agent"], session["address"]) == ("Browser/1", "192.0.2.1")
