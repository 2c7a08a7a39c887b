"""Departments, canned replies, agents: what a helpdesk is furnished with, on both stores."""

from typing import Any

import pytest

from parley.domain import accounts, agents, claims, departments, replies, transcripts
from parley.domain.departments import Hours
from parley.domain.principal import OPERATOR
from parley.store.engine import Engine, Query
from tests.domain.helpdesk import Helpdesk, of
from tests.stage import Stage, somebody


@pytest.fixture
def desk(stage: Stage) -> Helpdesk:
    return Helpdesk(stage)


class TestDepartments:
    def test_admins_make_and_change_them_and_agents_list_them(self, stage: Stage, desk: Helpdesk) -> None:
        hours = [Hours(days=["mon", "fri"], from_="09:00", to="17:30", zone="Europe/Berlin")]
        made = stage.do(desk.root, departments.Create("Sales", hours))["department"]
        assert made["hours"] == [{"days": ["mon", "fri"], "from": "09:00", "to": "17:30", "zone": "Europe/Berlin"}]
        changed = stage.do(desk.root, departments.Update(made["id"], name="Orders"))["department"]
        assert changed == {"id": made["id"], "name": "Orders", "hours": made["hours"]}
        assert stage.do(desk.ava, departments.List()) == {"departments": [changed], "next": None}
        assert stage.refused(desk.ava, departments.Create("Mine")) == "forbidden"
        assert stage.refused(desk.ada, departments.List()) == "forbidden"

    def test_a_name_is_taken_once_however_it_is_spelt(self, stage: Stage, desk: Helpdesk) -> None:
        sales, other = desk.department("Sales"), desk.department("Other")
        assert stage.refused(desk.root, departments.Create("SALES")) == "conflict"
        assert stage.refused(desk.root, departments.Update(other, name="sales")) == "conflict"
        assert stage.do(desk.root, departments.Update(sales, name="SALES"))
        assert stage.refused(desk.root, departments.Update("nowhere", name="x")) == "not_found"


class TestReplies:
    def test_admins_write_them_and_agents_read_them(self, stage: Stage, desk: Helpdesk) -> None:
        made = stage.do(desk.root, replies.Create("hi", "Hello! How may I help?"))["reply"]
        assert stage.do(desk.ava, replies.List())["replies"] == [made]
        assert stage.refused(desk.root, replies.Create("hi", "again")) == "conflict"
        changed = stage.do(desk.root, replies.Update(made["id"], text="Hello!"))["reply"]
        assert changed == {"id": made["id"], "shortcut": "hi", "text": "Hello!"}
        assert stage.do(desk.root, replies.Delete(made["id"])) == {}
        assert stage.refused(desk.root, replies.Delete(made["id"])) == "not_found"
        assert stage.do(desk.ava, replies.List())["replies"] == []
        assert stage.refused(desk.ava, replies.Create("x", "y")) == "forbidden"

    def test_a_page_goes_on(self, stage: Stage, desk: Helpdesk) -> None:
        for i in range(5):
            stage.do(desk.root, replies.Create(f"r{i}", "text"))
        first = stage.do(desk.ava, replies.List(limit=3))
        rest = stage.do(desk.ava, replies.List(limit=3, after=first["next"]))
        assert [r["shortcut"] for r in first["replies"] + rest["replies"]] == [f"r{i}" for i in range(5)]
        assert rest["next"] is None


class TestAgents:
    def test_the_list_has_all_who_may_answer(self, stage: Stage, desk: Helpdesk) -> None:
        stage.do(somebody("acme:far", "agent", name="Far"), agents.SetStatus("away", capacity=3))
        desk.claimed(desk.ava)
        found = stage.do(desk.root, agents.List())["agents"]
        assert [(a["name"], a["status"], a["capacity"], a["conversations"], a["online"]) for a in found] == [
            ("Far", "away", 3, 0, True),
            ("ava", "available", 10, 1, True),
            ("bo", "available", 10, 0, False),
        ]
        stage.do(desk.root, accounts.Disable(desk.ava.subject))
        stage.do(desk.root, accounts.SetRoles(desk.bo.subject, ["member"]))
        assert [a["name"] for a in stage.do(desk.root, agents.List())["agents"]] == ["Far"]

    def test_the_list_of_many_asks_the_store_no_more_often(
        self, stage: Stage, desk: Helpdesk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []
        on = Query.on

        def counted(query: Query, engine: Engine, parameters: dict[str, Any]) -> tuple[str, dict[str, Any]]:
            asked.append(on(query, engine, parameters)[0])
            return on(query, engine, parameters)

        monkeypatch.setattr(Query, "on", counted)
        stage.do(desk.root, agents.List())
        of_few = len(asked)
        for number in range(20):
            stage.do(somebody(f"acme:{number}", "agent"), agents.SetStatus("available"))
        asked.clear()
        assert len(stage.do(desk.root, agents.List())["agents"]) > 20
        assert len(asked) <= of_few + 1, "those without the role in their row are looked up, all at once"

    def test_away_and_back(self, stage: Stage, desk: Helpdesk) -> None:
        assert stage.do(desk.ava, agents.SetStatus("away", capacity=2))["agent"]["status"] == "away"
        back = stage.do(desk.ava, agents.SetStatus("available"))["agent"]
        assert (back["status"], back["capacity"]) == ("available", 2)

    def test_a_change_is_told_in_the_queue_and_no_change_is_not(self, stage: Stage, desk: Helpdesk) -> None:
        (told,) = stage.decide(desk.ava, agents.SetStatus("away", capacity=3)).signals
        assert (told.room, told.type) == ("queue", "agent.changed")
        agent = told.data["agent"]
        assert (agent.subject, agent.status, agent.capacity) == (desk.ava.subject, "away", 3)
        assert not stage.decide(desk.ava, agents.SetStatus("away", capacity=3)).signals

    def test_who_waits_is_told_whether_anybody_is_here(self, stage: Stage, desk: Helpdesk) -> None:
        waiting = of(desk.begin().conversation)

        def is_attended() -> bool:
            attended: bool = stage.do(desk.root, transcripts.Get(waiting))["conversation"]["attended"]
            return attended

        assert not is_attended()
        stage.decide(OPERATOR, agents.Seen([(desk.ava.subject, "ava")]))
        assert is_attended()
        stage.do(desk.ava, agents.SetStatus("away"))
        assert not is_attended()
        stage.do(desk.ava, agents.SetStatus("available"))
        assert is_attended()
        stage.clock.forward(s=121)
        assert not is_attended()
        stage.do(desk.ava, claims.Claim(waiting))
        assert "attended" not in stage.do(desk.root, transcripts.Get(waiting))["conversation"]

    def test_only_agents_have_a_status(self, stage: Stage, desk: Helpdesk) -> None:
        for who in (desk.ada, desk.root):
            assert stage.refused(who, agents.SetStatus("available")) == "forbidden"
        assert stage.refused(desk.ada, agents.List()) == "forbidden"

    def test_of_no_capacity_is_nobody_to_claim(self, stage: Stage, desk: Helpdesk) -> None:
        stage.do(desk.ava, agents.SetStatus("available", capacity=0))
        assert stage.refused(desk.ava, claims.Claim(of(desk.begin().conversation))) == "limit_exceeded"
