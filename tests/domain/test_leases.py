"""The lease of a stream: who may take it, what a cut leaves, and that an old one counts for nothing."""

from typing import Any

import msgspec

from parley.domain.ids import rfc3339
from parley.domain.leases import Cut, End, Keep, Lease, Restarted, Take
from parley.domain.principal import OPERATOR, Principal
from parley.domain.streams import Create, Delete, Get, Look, SetPublishers, Stop
from tests.stage import Stage, guest


def show(stage: Stage, owner: Principal, visibility: Any = "public") -> None:
    stage.do(owner, Create("show", title="The show", visibility=visibility))


def take(stage: Stage, who: Principal, stream: str = "show") -> Lease:
    lease = stage.decide(who, Take(stream)).reply
    assert isinstance(lease, Lease)
    return lease


def shown(stage: Stage) -> Any:
    return stage.do(OPERATOR, Get("show"))["stream"]


class TestTheLease:
    def test_owner_publishers_and_admins_may_have_it(
        self, stage: Stage, ada: Principal, ben: Principal, root: Principal
    ) -> None:
        show(stage, ada)
        assert stage.refused(ben, Take("show")) == "forbidden"
        stage.do(ada, SetPublishers("show", [ben.subject]))
        for who in (ada, ben, root):
            lease = take(stage, who)
            assert shown(stage)["broadcaster"] == {"subject": who.subject, "name": who.name, "type": "account"}
            assert stage.decide(OPERATOR, End("show", lease.fence)).reply is True
        assert stage.refused(guest("c-1"), Take("show")) == "not_found"
        assert stage.refused(ada, Take("none")) == "not_found"

    def test_one_at_a_time_the_same_session_included(self, stage: Stage, ada: Principal, root: Principal) -> None:
        show(stage, ada)
        first = take(stage, ada)
        assert stage.refused(ada, Take("show")) == "already_live"
        assert stage.refused(root, Take("show")) == "already_live"
        assert stage.decide(OPERATOR, Keep("show", first.fence)).reply is True

    def test_after_a_cut_only_its_session_may_have_it_for_10_s(
        self, stage: Stage, ada: Principal, root: Principal
    ) -> None:
        show(stage, ada)
        began = stage.clock.now_ms
        lease = take(stage, ada)
        stage.clock.forward(s=3)
        assert stage.decide(OPERATOR, Cut("show", lease.fence)).reply is True
        stage.clock.forward(s=9.9)
        assert shown(stage)["live"], "a gap, not an end"
        assert stage.refused(root, Take("show")) == "already_live"
        another = msgspec.structs.replace(ada, session="another")
        assert stage.refused(another, Take("show")) == "already_live"
        again = take(stage, ada)
        assert again.resumes
        assert again.fence > lease.fence
        assert shown(stage)["started_at"] == rfc3339(began)
        stage.decide(OPERATOR, Cut("show", again.fence))
        stage.clock.forward(s=10)
        assert not shown(stage)["live"]
        assert not take(stage, root).resumes

    def test_a_fence_that_is_past_moves_nothing(self, stage: Stage, ada: Principal) -> None:
        show(stage, ada)
        old = take(stage, ada).fence
        stage.decide(OPERATOR, Cut("show", old))
        new = take(stage, ada).fence
        for command in (Keep("show", old), Cut("show", old), End("show", old)):
            assert stage.decide(OPERATOR, command).reply is False
        assert stage.decide(OPERATOR, Keep("show", new)).reply is True

    def test_one_whose_node_fell_silent_counts_as_cut(self, stage: Stage, ada: Principal, root: Principal) -> None:
        show(stage, ada)
        lease = take(stage, ada)
        stage.clock.forward(s=4)
        stage.decide(OPERATOR, Keep("show", lease.fence))
        stage.clock.forward(s=4.9)
        assert stage.refused(ada, Take("show")) == "already_live"
        stage.clock.forward(s=0.1)
        assert stage.refused(root, Take("show")) == "already_live"
        stage.clock.forward(s=5)
        other = take(stage, root)
        assert stage.decide(OPERATOR, Keep("show", lease.fence)).reply is False, "it must not speak for it any more"
        assert stage.decide(OPERATOR, Keep("show", other.fence)).reply is True

    def test_stopping_frees_it_at_once_and_tells_every_node(
        self, stage: Stage, ada: Principal, root: Principal
    ) -> None:
        show(stage, ada)
        lease = take(stage, ada)
        (change,) = stage.decide(root, Stop("show")).changes
        assert (change.kind, change.target, change.detail["what"]) == ("stream", "show", "stopped")
        assert change.detail["fence"] > lease.fence
        assert stage.decide(root, Stop("show")).changes == (), "nothing changes twice"
        assert not take(stage, ada).resumes

    def test_a_stream_made_anew_has_later_fences(self, stage: Stage, ada: Principal) -> None:
        show(stage, ada)
        old = take(stage, ada).fence
        stage.do(ada, Delete("show"))
        stage.clock.forward(s=1)
        show(stage, ada)
        assert take(stage, ada).fence > old, "news of the old one, told again, is not about the new one"

    def test_after_a_restart_no_connection_stands_behind_it(self, stage: Stage, ada: Principal) -> None:
        show(stage, ada)
        take(stage, ada)
        stage.decide(OPERATOR, Restarted())
        assert take(stage, ada).resumes

    def test_they_are_looked_at_together(self, stage: Stage, ada: Principal) -> None:
        show(stage, ada)
        lease = take(stage, ada)
        found = stage.decide(OPERATOR, Look(["show", "none"])).reply
        assert list(found) == ["show"]
        assert found["show"][0].live
        assert found["show"][1] == lease.fence
