"""How a conversation begins: by a guest, who is then somebody, or by an account."""

from typing import Any

import pytest

from parley.domain import beginnings, messages, transcripts
from parley.domain.errors import Refusal
from tests.domain.helpdesk import Helpdesk, of
from tests.stage import Stage


class TestBeginning:
    def test_it_waits_in_the_queue_with_all_that_its_visitor_said(self, stage: Stage, desk: Helpdesk) -> None:
        sales = desk.department("Sales")
        guest = desk.begin(name="Vi", email="vi@example.org", department="sales", page="https://shop.example/x")
        conversation = of(guest.conversation)
        assert stage.do(guest, transcripts.Get(conversation))["conversation"] == {
            "id": conversation,
            "status": "queued",
            "department": sales,
            "assignee": None,
            "assignee_name": None,
            "visitor": {
                "subject": guest.subject,
                "name": "Vi",
                "email": "vi@example.org",
                "page": "https://shop.example/x",
                "verified": False,
                "identity": None,
            },
            "position": 1,
            "rating": None,
            "comment": None,
            "blocked": False,
            "created_at": "2027-01-15T08:00:00.000Z",
            "queued_at": "2027-01-15T08:00:00.000Z",
            "closed_at": None,
            "preview": True,
            "attended": False,
        }

    def test_its_log_begins_with_its_queuing_and_the_first_message_follows(self, stage: Stage, desk: Helpdesk) -> None:
        guest = desk.begin(name="Vi", message="hello")
        queued, said = stage.log(of(guest.conversation))
        assert (queued["type"], queued["seq"], queued["actor"]["name"]) == ("conversation.queued", 1, "Vi")
        assert (said["type"], said["data"]["message"]["text"]) == ("message.created", "hello")
        (told,) = stage.log("queue")
        assert told["type"] == "conversation.queued"
        assert told["data"] == queued["data"], "agents learn of it in the queue, in the same words"

    def test_its_ids_are_of_the_servers_own_kind(self, desk: Helpdesk) -> None:
        guest = desk.begin()
        assert of(guest.conversation).startswith("c-")
        assert guest.subject.startswith("guest:")

    def test_an_accounts_conversation_is_the_accounts(self, stage: Stage, desk: Helpdesk) -> None:
        made = stage.do(desk.ada, beginnings.Start(message="hello"))["conversation"]
        assert made["visitor"]["subject"] == desk.ada.subject
        assert made["visitor"]["name"] == "ada"
        assert stage.do(desk.ada, messages.Send(made["id"], "more"))["message"]["seq"] == 3

    @pytest.mark.parametrize(
        ("start", "field"), [({"department": "nowhere"}, "department"), ({"message": ""}, "message")]
    )
    def test_what_is_wrong_with_a_beginning_is_named(self, desk: Helpdesk, start: dict[str, Any], field: str) -> None:
        with pytest.raises(Refusal) as refused:
            desk.begin(**start)
        assert refused.value.facts == {"field": field}
        assert desk.stage.log("queue") == []
