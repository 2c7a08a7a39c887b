"""What `session.revoke` leaves behind, on both stores. What it does to live connections is told in the scenarios."""

import pytest
from msgspec import structs

from parley.domain.principal import OPERATOR, Principal
from parley.domain.revocation import InForce, Revoke
from parley.tokens import AccessClaims
from tests.stage import START_MS, Stage, somebody
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


def test_a_token_that_an_admin_names_is_remembered_as_long_as_any_may_last(stage: Stage) -> None:
    stage.do(stage.account("root", "admin"), Revoke(token_id="theirs"))
    stage.clock.forward(s=9 * 365 * 86_400)
    assert targets(stage) == ["token:theirs"]
