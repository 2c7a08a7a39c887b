"""What `session.revoke` leaves behind, on both stores. What it does to live connections is told in the scenarios."""

from msgspec import structs

from parley.domain.principal import OPERATOR
from parley.domain.revocation import InForce, Revoke
from tests.stage import START_MS, Stage, somebody


def targets(stage: Stage) -> list[str]:
    return [row.target for row in stage.decide(OPERATOR, InForce()).reply]


def test_a_token_that_its_bearer_revoked_is_remembered_no_longer_than_it_would_have_lasted(stage: Stage) -> None:
    ada = structs.replace(somebody("ada"), expires_at_s=START_MS / 1000 + 900)
    stage.do(ada, Revoke(token_id=ada.token_id))
    stage.clock.forward(s=899)
    assert targets(stage) == [f"token:{ada.token_id}"]
    stage.clock.forward(s=2)
    assert targets(stage) == []


def test_a_token_that_an_admin_names_is_remembered_as_long_as_any_may_last(stage: Stage) -> None:
    stage.do(stage.account("root", "admin"), Revoke(token_id="theirs"))
    stage.clock.forward(s=9 * 365 * 86_400)
    assert targets(stage) == ["token:theirs"]
