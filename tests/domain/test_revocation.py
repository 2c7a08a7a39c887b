"""What `session.revoke` leaves behind, on both stores. What it does to live connections is told in the scenarios."""

import pytest
from msgspec import structs

from parley.domain.beginnings import VerifiedStart
from parley.domain.ports import Rules
from parley.domain.principal import OPERATOR, Principal
from parley.domain.revocation import InForce, Revoke
from parley.domain.rooms import Create
from parley.domain.sign_ins import Start
from parley.tokens import AccessClaims
from tests.domain.helpdesk import Helpdesk
from tests.stage import START_MS, Stage, narrowed, somebody
from tests.tokens import forge


def targets(stage: Stage) -> list[str]:
    return [row.target for row in stage.decide(OPERATOR, InForce()).reply]


def test_a_token_that_its_bearer_revoked_is_remembered_no_longer_than_it_would_have_lasted(stage: Stage) -> None:
    ada = structs.replace(somebody("ada"), expires_at_s=START_MS / 1000 + 900)
    stage.do(ada, Revoke(token_id=ada.token_id))
    stage.clock.forward(s=899)
    assert targets(stage) == [f"token:{ada.token_id}"]
    stage.clock.forward(s=2)
    assert targets(stage) == []


@pytest.mark.parametrize("sid_is_made_up", [True, False])
def test_a_sign_out_of_an_external_token_is_remembered_while_there_may_be_others_of_its_session(
    stage: Stage, sid_is_made_up: bool
) -> None:
    claims = {name: value for name, value in forge.claims().items() if name not in ("aud", "roles", "sid")}
    said = AccessClaims(**claims, aud=("parley",), roles=("member",), sid="s9", sid_is_made_up=sid_is_made_up)
    stage.do(Principal.of(said), Revoke(session="s9"))
    assert targets(stage) == ["session:s9"]
    stage.clock.forward(s=2 * 86_400)
    assert targets(stage) == [] if sid_is_made_up else ["session:s9"]


def test_a_sign_out_is_remembered_for_an_access_tokens_life_and_for_the_bearers_own_where_that_was_longer(
    stage: Stage,
) -> None:
    """As after a restart with a shorter `ACCESS_TTL`."""
    for ttl_s in (60, 86_400):
        session, _ = stage.decide(OPERATOR, Start(stage.account(f"ada{ttl_s}").subject, 2**50, None, None)).reply
        ada = structs.replace(
            somebody(session.subject, session=session.id, kept=True), expires_at_s=stage.clock.now_ms / 1000 + ttl_s
        )
        stage.do(ada, Revoke(session=session.id))
        lasts_s = max(Rules().access_ttl_s, ttl_s)
        stage.clock.forward(s=lasts_s - 1)
        assert targets(stage) == [f"session:{session.id}"]
        stage.clock.forward(s=2)
        assert targets(stage) == []


def test_a_token_that_an_admin_names_is_remembered_as_long_as_any_may_last(stage: Stage) -> None:
    stage.do(stage.account("root", "admin"), Revoke(token_id="theirs"))
    stage.clock.forward(s=9 * 365 * 86_400)
    assert targets(stage) == ["token:theirs"]


class TestTheTokensOfAConversation:
    """Its guest and an admin may end them; whoever else may see it is told that they may not, and nobody more."""

    def test_its_guest_and_an_admin_may_end_them(self, stage: Stage) -> None:
        desk = Helpdesk(stage)
        for who in (guest := desk.begin(), desk.root):
            assert stage.do(who, Revoke(conversation=guest.conversation)) == {"revoked": 1}

    def test_an_agent_and_the_account_that_began_one_see_it_and_may_not(self, stage: Stage) -> None:
        desk = Helpdesk(stage)
        assert stage.refused(desk.ava, Revoke(conversation=desk.begin().conversation)) == "forbidden"
        begun = stage.do(desk.ada, VerifiedStart())["conversation"]["id"]
        assert stage.refused(desk.ada, Revoke(conversation=begun)) == "forbidden"

    def test_what_is_no_conversation_is_not_found_by_an_agent_either(self, stage: Stage) -> None:
        desk = Helpdesk(stage)
        stage.do(desk.ava, Create("lobby"))
        for named in ("c-made-up", "lobby", "queue"):
            assert stage.refused(desk.ava, Revoke(conversation=named)) == "not_found"

    def test_nobody_else_learns_that_there_is_one(self, stage: Stage) -> None:
        desk = Helpdesk(stage)
        guest, other = desk.begin(), desk.begin()
        for who in (other, desk.ada):
            for named in (guest.conversation, "c-made-up"):
                assert stage.refused(who, Revoke(conversation=named)) == "not_found"

    def test_a_narrowed_token_ends_itself_alone(self, stage: Stage) -> None:
        desk = Helpdesk(stage)
        guest = desk.begin()
        for who in (guest, desk.ava, desk.root):
            only = narrowed(who, {f"room:{guest.conversation}": ["manage"]})
            assert stage.refused(only, Revoke(conversation=guest.conversation)) == "forbidden"
