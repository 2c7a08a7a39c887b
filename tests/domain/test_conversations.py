"""Conversations: their life, who has them, who reads them (CONTRACT section 3), on both stores."""

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parley.domain import accounts, agents, beginnings, claims, members, messages, receipts, replay, rooms, transcripts
from parley.domain.blocks import Block, Unblock
from parley.domain.claims import Assign, Claim, Return, Transfer
from parley.domain.closings import Close, Rate, Reopen
from parley.domain.conversations import LIFE
from parley.domain.errors import Refusal
from parley.domain.params import Params
from parley.domain.ports import Rules
from parley.domain.principal import OPERATOR, Principal
from parley.domain.visitors import Update
from tests.domain.helpdesk import Helpdesk, of
from tests.lengths import LONG
from tests.stage import Stage, narrowed, somebody


class TestClaiming:
    def test_whoever_claims_has_it_and_all_others_are_too_late(self, stage: Stage, desk: Helpdesk) -> None:
        guest = desk.begin()
        conversation = of(guest.conversation)
        claimed = stage.do(desk.ava, Claim(conversation))["conversation"]
        assert (claimed["status"], claimed["assignee"], claimed["assignee_name"]) == ("open", desk.ava.subject, "ava")
        assert claimed["position"] is None
        assert stage.refused(desk.bo, Claim(conversation)) == "already_claimed"
        assert stage.types(conversation) == ["conversation.queued", "conversation.claimed"]
        assert stage.types("queue") == ["conversation.queued", "conversation.claimed"]

    def test_claiming_what_one_has_changes_nothing(self, stage: Stage, desk: Helpdesk) -> None:
        conversation = of(desk.claimed(desk.ava).conversation)
        assert stage.do(desk.ava, Claim(conversation))["conversation"]["assignee"] == desk.ava.subject
        assert len(stage.log(conversation)) == 2

    def test_in_one_transaction_one_wins(self, stage: Stage, desk: Helpdesk) -> None:
        conversation = of(desk.begin().conversation)
        crowd = [somebody(f"agent-{i}", "agent") for i in range(20)]
        outcomes = stage.together(*[(one, Claim(conversation)) for one in crowd])
        codes = [o.code for o in outcomes if isinstance(o, Refusal)]
        assert codes == ["already_claimed"] * 19

    def test_nobody_has_more_than_their_capacity(self, stage: Stage, desk: Helpdesk) -> None:
        stage.do(desk.ava, agents.SetStatus("available", capacity=2))
        first, second, third = (of(desk.begin().conversation) for _ in range(3))
        stage.do(desk.ava, Claim(first))
        stage.do(desk.ava, Claim(second))
        assert stage.refused(desk.ava, Claim(third)) == "limit_exceeded"
        assert stage.refused(desk.bo, Assign(third, "ava")) == "limit_exceeded"
        stage.do(desk.ava, Close(first))
        assert stage.do(desk.ava, Claim(third))["conversation"]["status"] == "open"

    def test_capacity_is_kept_within_one_transaction_too(self, stage: Stage, desk: Helpdesk) -> None:
        waiting = [of(desk.begin().conversation) for _ in range(12)]
        outcomes = stage.together(*[(desk.ava, Claim(one)) for one in waiting])
        refused = [o.code for o in outcomes if isinstance(o, Refusal)]
        assert refused == ["limit_exceeded"] * 2, "ten is the setting's default"

    def test_an_admin_who_is_no_agent_does_not_claim(self, stage: Stage, desk: Helpdesk) -> None:
        assert stage.refused(desk.root, Claim(of(desk.begin().conversation))) == "forbidden"


class TestAssigning:
    def test_agents_and_admins_give_it_to_somebody(self, stage: Stage, desk: Helpdesk) -> None:
        conversation = of(desk.begin().conversation)
        assert stage.do(desk.root, Assign(conversation, "ava"))["conversation"]["assignee"] == desk.ava.subject
        moved = stage.do(desk.ava, Assign(conversation, desk.bo.subject, reason="she speaks French"))["conversation"]
        assert moved["assignee_name"] == "bo"
        assert stage.types(conversation)[1:] == ["conversation.assigned", "conversation.assigned"]

    def test_a_reason_is_told_to_agents_and_to_nobody_else(self, stage: Stage, desk: Helpdesk) -> None:
        desk.department("Billing")
        conversation = of(desk.claimed(desk.ava).conversation)
        stage.do(desk.ava, Transfer(conversation, "billing", reason="wants money"))
        (note,) = stage.do(desk.bo, messages.List(f"{conversation}.notes"))["messages"]
        assert (note["text"], note["data"]) == ("wants money", {"event": "conversation.transferred"})
        assert stage.log("queue")[-1]["data"]["reason"] == "wants money"
        assert "wants money" not in str(stage.log(conversation))

    def test_nobody_but_an_agent_gets_one(self, stage: Stage, desk: Helpdesk) -> None:
        conversation = of(desk.begin().conversation)
        for nobody in ("ada", "root", "nowhere"):
            assert stage.refusal(desk.ava, Assign(conversation, nobody)).facts == {"field": "agent"}
        stage.do(desk.root, accounts.Disable(desk.bo.subject))
        assert stage.refused(desk.ava, Assign(conversation, "bo")) == "invalid_params"

    def test_an_agent_of_another_issuer_gets_one_once_they_were_seen(self, stage: Stage, desk: Helpdesk) -> None:
        conversation = of(desk.begin().conversation)
        far = somebody("acme:far", "agent", name="Far")
        assert stage.refused(desk.ava, Assign(conversation, far.subject)) == "invalid_params"
        stage.do(far, agents.SetStatus("available"))
        assert stage.do(desk.ava, Assign(conversation, far.subject))["conversation"]["assignee_name"] == "Far"


class TestTheQueue:
    def test_its_places_are_counted_in_each_department_by_how_long_one_waits(
        self, stage: Stage, desk: Helpdesk
    ) -> None:
        desk.department("Sales")
        first, second = desk.begin(), desk.begin()
        other = desk.begin(department="Sales")
        assert [desk.get(guest.conversation)["position"] for guest in (first, second, other)] == [1, 2, 1]
        listed = stage.do(desk.ava, transcripts.List(status="queued"))["conversations"]
        assert {c["id"]: c["position"] for c in listed} == {
            of(first.conversation): 1,
            of(second.conversation): 2,
            of(other.conversation): 1,
        }
        stage.do(desk.ava, Claim(of(first.conversation)))
        assert desk.get(second.conversation)["position"] == 1

    def test_who_was_given_back_keeps_their_place_and_who_comes_back_waits_anew(
        self, stage: Stage, desk: Helpdesk
    ) -> None:
        early = desk.claimed(desk.ava)
        closed = desk.begin()
        stage.clock.forward(s=10)
        late = desk.begin()
        stage.do(desk.ava, Close(of(closed.conversation)))
        stage.clock.forward(s=200)
        assert stage.decide(OPERATOR, Return(of(early.conversation))).reply is True
        stage.do(closed, messages.Send(of(closed.conversation), "one more thing"))
        places = [desk.get(guest.conversation)["position"] for guest in (early, late, closed)]
        assert places == [1, 2, 3]

    def test_an_agent_who_is_gone_gives_back_what_they_have(self, stage: Stage, desk: Helpdesk) -> None:
        gone, there = desk.claimed(desk.ava), desk.claimed(desk.bo)
        stage.clock.forward(s=119)
        stage.decide(OPERATOR, agents.Seen([(desk.bo.subject, "bo")]))
        assert stage.decide(OPERATOR, claims.Abandoned()).reply == []
        assert stage.decide(OPERATOR, Return(of(gone.conversation))).reply is False
        stage.clock.forward(s=2)
        assert stage.decide(OPERATOR, claims.Abandoned()).reply == [gone.conversation]
        assert stage.decide(OPERATOR, Return(of(gone.conversation))).reply is True
        assert stage.decide(OPERATOR, Return(of(there.conversation))).reply is False
        assert desk.get(gone.conversation)["status"] == "queued"
        assert stage.types(of(gone.conversation))[-1] == "conversation.queued"

    def test_so_does_one_who_is_away_though_connected(self, stage: Stage, desk: Helpdesk) -> None:
        guest = desk.claimed(desk.ava)
        stage.do(desk.ava, agents.SetStatus("away"))
        for _ in range(5):
            stage.clock.forward(s=25)
            stage.decide(OPERATOR, agents.Seen([(desk.ava.subject, "ava")]))
        assert stage.decide(OPERATOR, claims.Abandoned()).reply == [guest.conversation]

    def test_an_agent_who_answers_without_a_connection_is_there(self, stage: Stage, desk: Helpdesk) -> None:
        guest = desk.claimed(desk.ava)
        for _ in range(3):
            stage.clock.forward(s=60)
            stage.do(desk.ava, messages.Send(of(guest.conversation), "still looking"))
        assert stage.decide(OPERATOR, claims.Abandoned()).reply == []


class TestTalking:
    def test_visitor_and_agents_talk_and_the_admin_only_reads(self, stage: Stage, desk: Helpdesk) -> None:
        guest = desk.claimed(desk.ava)
        conversation = of(guest.conversation)
        for who in (guest, desk.ava, desk.bo):
            stage.do(who, messages.Send(conversation, "hello"))
        assert stage.refused(desk.root, messages.Send(conversation, "hello")) == "forbidden"
        said = stage.do(desk.root, messages.List(conversation))["messages"]
        assert [message["sender"]["subject"] for message in said] == [guest.subject, desk.ava.subject, desk.bo.subject]

    def test_the_visitors_message_brings_a_closed_one_back_into_the_queue(self, stage: Stage, desk: Helpdesk) -> None:
        guest = desk.claimed(desk.ava)
        conversation = of(guest.conversation)
        stage.do(desk.ava, Close(conversation))
        stage.do(guest, messages.Send(conversation, "one more thing", client_id="x"))
        assert stage.types(conversation)[-2:] == ["conversation.reopened", "message.created"]
        assert desk.get(conversation)["status"] == "queued"
        assert stage.types("queue")[-1] == "conversation.reopened"
        stage.do(desk.ava, Close(conversation))
        assert stage.do(guest, messages.Send(conversation, "again", client_id="x"))["duplicate"] is True
        assert desk.get(conversation)["status"] == "closed", "what was sent before reopens nothing"

    def test_an_agents_message_into_a_closed_one_is_a_conflict(self, stage: Stage, desk: Helpdesk) -> None:
        conversation = of(desk.claimed(desk.ava).conversation)
        stage.do(desk.ava, Close(conversation))
        assert stage.refused(desk.ava, messages.Send(conversation, "bye")) == "conflict"
        assert stage.do(desk.ava, messages.Send(f"{conversation}.notes", "was rude"))["message"]["seq"] == 1
        stage.do(desk.ava, Reopen(conversation))
        assert stage.do(desk.ava, messages.Send(conversation, "sorry"))

    def test_notes_and_the_queue_are_for_agents(self, stage: Stage, desk: Helpdesk) -> None:
        guest = desk.begin()
        for room in (f"{guest.conversation}.notes", "queue"):
            for who in (guest, desk.ada):
                for params in (rooms.Get(room), messages.List(room), replay.Subscribe(room), receipts.List(room)):
                    if not isinstance(params, replay.Subscribe):
                        assert stage.refused(who, params) == "not_found"
            assert stage.do(desk.ava, rooms.Get(room))["room"]["role"] == "member"
            assert stage.do(desk.root, rooms.Get(room))["room"]["role"] is None
        assert stage.refused(desk.ava, messages.Send("queue", "hello")) == "forbidden"

    def test_an_admin_deletes_there_and_agents_do_not(self, stage: Stage, desk: Helpdesk) -> None:
        guest = desk.claimed(desk.ava)
        message = stage.do(guest, messages.Send(of(guest.conversation), "my card is 4111"))["message"]["id"]
        assert stage.refused(desk.ava, messages.Delete(message)) == "forbidden"
        assert stage.do(desk.root, messages.Delete(message))["message"]["deleted"] is True

    @pytest.mark.parametrize("room", ["conversation", "notes", "queue"])
    def test_nobody_governs_the_servers_own_rooms(self, stage: Stage, desk: Helpdesk, room: str) -> None:
        conversation = of(desk.begin().conversation)
        name = {"conversation": conversation, "notes": f"{conversation}.notes", "queue": "queue"}[room]
        for who in (desk.ava, desk.root):
            for params in (
                rooms.Update(name, title="x"),
                rooms.Archive(name),
                members.Invite(name, "ada"),
                members.Remove(name, desk.bo.subject),
                members.SetRole(name, desk.bo.subject, "owner"),
            ):
                assert stage.refused(who, params) == "forbidden", params
        assert stage.do(desk.ava, members.Join(name))["member"]["role"] == "member"
        assert stage.refused(desk.ava, members.Leave(name)) == "forbidden"

    def test_members_are_the_visitor_and_who_has_it(self, stage: Stage, desk: Helpdesk) -> None:
        guest = desk.claimed(desk.ava, name="Vi")
        found = stage.do(guest, members.Members(of(guest.conversation)))["members"]
        assert [member["name"] for member in found] == ["Vi", "ava"]

    def test_conversations_are_in_no_list_of_rooms(self, stage: Stage, desk: Helpdesk) -> None:
        desk.begin()
        assert stage.do(desk.root, rooms.List())["rooms"] == []


class TestReading:
    def test_others_do_not_learn_that_there_is_one(self, stage: Stage, desk: Helpdesk) -> None:
        conversation = of(desk.begin().conversation)
        for params in every_command_about("c-nowhere"):
            refusal = stage.refusal(desk.ada, params)
            real = stage.refusal(desk.ada, type(params)(**{**fields_of(params), "conversation": conversation}))
            assert (refusal.code, refusal.message) == (real.code, real.message) == ("not_found", refusal.message)

    def test_its_visitor_may_see_it_and_not_do_what_agents_do(self, stage: Stage, desk: Helpdesk) -> None:
        conversation = stage.do(desk.ada, beginnings.Start())["conversation"]["id"]
        for params in (Claim(conversation), Assign(conversation, "ava"), Reopen(conversation), Block(conversation)):
            assert stage.refused(desk.ada, params) == "forbidden"

    def test_an_agent_does_not_speak_for_the_visitor(self, stage: Stage, desk: Helpdesk) -> None:
        conversation = of(desk.claimed(desk.ava).conversation)
        assert stage.refused(desk.ava, Rate(conversation, 5)) == "forbidden"

    @pytest.mark.parametrize("named", ["queue", "notes", "room"])
    def test_other_rooms_are_no_conversations(self, stage: Stage, desk: Helpdesk, named: str) -> None:
        stage.do(desk.ada, rooms.Create("den"))
        name = {"queue": "queue", "notes": f"{desk.begin().conversation}.notes", "room": "den"}[named]
        assert stage.refused(desk.ava, transcripts.Get(name)) == "not_found"
        assert stage.refused(desk.ava, Close(name)) == "not_found"

    def test_the_list_is_filtered_and_goes_on(self, stage: Stage, desk: Helpdesk) -> None:
        sales = desk.department("Sales")
        guests = [desk.begin(department="Sales" if i % 2 else None) for i in range(5)]
        ids = [of(guest.conversation) for guest in guests]
        stage.do(desk.ava, Claim(ids[0]))
        stage.do(desk.ava, Close(ids[1]))

        def listed(**filters: str) -> list[str]:
            found: list[str] = []
            after: str | None = None
            while True:
                page = stage.do(desk.ava, transcripts.List(**filters, after=after, limit=2))  # type: ignore[arg-type]
                found += [c["id"] for c in page["conversations"]]
                after = page["next"]
                if after is None:
                    return found

        assert listed() == ids[::-1], "the newest first"
        assert listed(status="queued") == ids[2:], "in the order of the queue"
        assert listed(status="open") == [ids[0]]
        assert listed(status="closed") == [ids[1]]
        assert listed(department=sales) == [ids[3], ids[1]]
        assert listed(assignee=desk.ava.subject) == [ids[0]]
        assert listed(visitor=guests[4].subject) == [ids[4]]
        assert stage.refused(desk.ada, transcripts.List()) == "forbidden"

    def test_the_list_shows_the_newest_message_and_what_is_unread(self, stage: Stage, desk: Helpdesk) -> None:
        guest = desk.claimed(desk.ava, message="one")
        conversation = of(guest.conversation)
        stage.do(guest, messages.Send(conversation, "two"))
        stage.do(desk.ava, messages.Send(conversation, "three"))

        def entry() -> tuple[str, int]:
            (one,) = stage.do(desk.ava, transcripts.List(assignee=desk.ava.subject))["conversations"]
            return one["last_message"]["text"], one["unread"]

        assert entry() == ("three", 2)
        stage.do(desk.ava, receipts.Mark(conversation, 2))
        assert entry() == ("three", 1)
        stage.do(desk.ava, receipts.Mark(conversation, 5))
        assert entry() == ("three", 0)

    def test_a_narrowed_agent_does_what_is_granted_on_the_room(self, stage: Stage, desk: Helpdesk) -> None:
        conversation = of(desk.begin().conversation)
        reader = narrowed(desk.ava, {f"room:{conversation}": ["read"]})
        assert stage.do(reader, transcripts.Get(conversation))
        assert stage.refused(reader, Claim(conversation)) == "forbidden"
        assert stage.refused(reader, transcripts.List()) == "forbidden"
        manager = narrowed(desk.ava, {f"room:{conversation}": ["manage"]})
        assert stage.do(manager, Claim(conversation))

    def test_a_transcript_is_what_was_said_without_the_notes(self, stage: Stage, desk: Helpdesk) -> None:
        guest = desk.claimed(desk.ava, name="Vi", message="hello")
        conversation = of(guest.conversation)
        stage.do(desk.ava, messages.Send(f"{conversation}.notes", "secret"))
        stage.do(desk.ava, messages.Send(conversation, "hello Vi"))
        told = stage.do(guest, transcripts.Export(conversation, "json"))["transcript"]
        assert [message["text"] for message in told["messages"]] == ["hello", "hello Vi"]
        assert told["complete"] is True
        text = stage.do(desk.ava, transcripts.Export(conversation, "text"))["transcript"]
        assert text.splitlines()[1:] == ["2027-01-15 08:00 UTC  Vi: hello", "2027-01-15 08:00 UTC  ava: hello Vi"]

    def test_a_long_transcript_keeps_the_order(self, stage: Stage, desk: Helpdesk) -> None:
        guest = desk.claimed(desk.ava)
        conversation = of(guest.conversation)
        stage.together(*[(guest, messages.Send(conversation, f"{i}")) for i in range(1100)])
        told = stage.do(desk.ava, transcripts.Export(conversation, "json"))["transcript"]
        assert [message["text"] for message in told["messages"]] == [f"{i}" for i in range(1100)]


class TestRating:
    def test_the_visitor_rates_and_may_think_again(self, stage: Stage, desk: Helpdesk) -> None:
        guest = desk.claimed(desk.ava)
        conversation = of(guest.conversation)
        stage.do(desk.ava, Close(conversation))
        rated = stage.do(guest, Rate(conversation, 2, "slow"))["conversation"]
        assert (rated["rating"], rated["comment"]) == (2, "slow")
        stage.do(guest, Rate(conversation, 2, "slow"))
        stage.do(guest, Rate(conversation, 5))
        assert stage.types(conversation)[-2:] == ["conversation.rated", "conversation.rated"]
        assert desk.get(conversation)["rating"] == 5


class TestCapacityAsASetting:
    def test_the_setting_counts_for_those_who_set_nothing(self, store_url: str) -> None:
        stage = Stage(store_url, Rules(capacity=1))
        try:
            desk = Helpdesk(stage)
            desk.claimed(desk.ava)
            assert stage.refused(desk.ava, Claim(of(desk.begin().conversation))) == "limit_exceeded"
        finally:
            stage.close()


# --- The table --------------------------------------------------------------------------------------------------------

STATUSES = ("queued", "open", "closed")
ACTS = ("claim", "assign", "transfer", "close", "reopen", "return", "visitor message", "agent message")


def test_the_table_says_what_every_act_comes_to_in_every_status() -> None:
    assert set(LIFE) == set(itertools.product(STATUSES, ACTS))
    for (status, act), step in LIFE.items():
        assert (step.to is None) == (step.event is None), (status, act)
        assert step.refused is None or step.to is None, (status, act)


lawful = settings(
    max_examples=200 if LONG else 25,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
acts = st.lists(st.tuples(st.sampled_from(ACTS), st.sampled_from(["ava", "bo"])), max_size=20)


@lawful
@given(story=acts)
def test_commands_walk_the_table_and_leave_it_nowhere(stage: Stage, story: list[tuple[str, str]]) -> None:
    """A model of three states beside the real thing: each act leads where the table says, or is refused as it says."""
    desk = _desk_of(stage)
    guest = desk.begin()
    conversation = of(guest.conversation)
    status, assignee, department = "queued", None, None
    for act, name in story:
        agent: Principal = getattr(desk, name)
        stage.clock.forward(s=1)
        step = LIFE[status, act]  # type: ignore[index]
        head = len(stage.log(conversation))
        before = (status, assignee, department)
        own = act == "claim" and status == "open" and assignee == agent.subject
        assert _do(stage, guest, agent, conversation, act) == (None if own else step.refused)
        if step.to is not None:
            status = step.to
            department = "Sales" if act == "transfer" else department
            assignee = agent.subject if status == "open" else None if status == "queued" else assignee
        now = desk.get(conversation)
        assert (now["status"], now["assignee"]) == (status, assignee)
        told = [event["type"] for event in stage.log(conversation)[head:] if event["type"] != "message.created"]
        moved = before != (status, assignee, department)
        assert told == ([f"conversation.{step.event}"] if moved else [])
        assert (now["position"] is None) == (status != "queued")
        assert (now["closed_at"] is None) == (status != "closed")
    replayed = stage.log(conversation)
    assert [event["seq"] for event in replayed] == list(range(1, len(replayed) + 1))
    if story:
        last = [event for event in replayed if event["type"].startswith("conversation.")][-1]
        assert last["data"]["conversation"]["status"] == status, "the log leads to what is"


_desks: dict[int, Helpdesk] = {}


def _desk_of(stage: Stage) -> Helpdesk:
    if id(stage) not in _desks:
        _desks.clear()
        _desks[id(stage)] = desk = Helpdesk(stage)
        desk.department("Sales")
        for agent in (desk.ava, desk.bo):
            stage.do(agent, agents.SetStatus("available", capacity=1000))
    return _desks[id(stage)]


def _do(stage: Stage, guest: Principal, agent: Principal, conversation: str, act: str) -> str | None:
    """The refusal's code, None for what was done."""
    if act == "return":
        stage.clock.forward(s=1000)
    commands: dict[str, tuple[Principal, Params]] = {
        "return": (OPERATOR, Return(conversation)),
        "claim": (agent, Claim(conversation)),
        "assign": (agent, Assign(conversation, agent.subject)),
        "transfer": (agent, Transfer(conversation, "Sales")),
        "close": (agent, Close(conversation)),
        "reopen": (agent, Reopen(conversation)),
        "visitor message": (guest, messages.Send(conversation, "x")),
        "agent message": (agent, messages.Send(conversation, "x")),
    }
    try:
        stage.decide(*commands[act])
    except Refusal as refusal:
        return refusal.code
    return None


# --- What there is to ask about one conversation ----------------------------------------------------------------------


def every_command_about(conversation: str) -> list[Params]:
    return [
        transcripts.Get(conversation),
        transcripts.Export(conversation, "json"),
        Claim(conversation),
        Assign(conversation, "ava"),
        Transfer(conversation, "Sales"),
        Close(conversation),
        Reopen(conversation),
        Rate(conversation, 5),
        Update(conversation, name="x"),
        Block(conversation),
        Unblock(conversation),
    ]


def fields_of(params: Params) -> dict[str, object]:
    return {name: getattr(params, name) for name in params.__struct_fields__}
