"""The fuzzers, for a short while; what they are and may see stands in `fuzz/`."""

import pytest
from fuzz import broadcast, graphql, ogg, socketio

from tests.lengths import LONG


@pytest.mark.timeout(600)
def test_hostile_socketio_clients_meet_only_the_endings_that_are_allowed() -> None:
    seen = socketio.run(seconds=300 if LONG else 10, seed=1)
    assert min(seen["codecs"][what] for what in ("taken", "refused", "ended 4400")) > 100
    assert min(seen["live"][what] for what in ("answered 200", "answered 400", "closed 4400")) > 20


@pytest.mark.timeout(400)
def test_hostile_ogg_is_refused_or_resynchronised_at_a_bounded_price() -> None:
    seen = ogg.run(seconds=300 if LONG else 2, seed=1)
    assert min(seen[what] for what in ("audio", "header", "other", "refused", "served")) > 100


@pytest.mark.timeout(400)
def test_hostile_broadcasters_are_refused_and_disturb_nobody() -> None:
    seen = broadcast.run(seconds=300 if LONG else 3, seed=1)
    assert min(seen[what] for what in ("4400 not_ogg_opus", "415 not_ogg_opus", "broken chunk", "204", "1000 ")) > 5
    assert seen["behaved"] > 50


@pytest.mark.timeout(400)
def test_hostile_graphql_is_refused_by_code_tells_no_value_back_and_disturbs_nobody() -> None:
    seen = graphql.run(seconds=300 if LONG else 4, seed=1)
    for target in ("codec", "live"):
        assert min(seen[target][code] for code in ("invalid_params", "invalid_request", "parse_error")) > 10
    assert min(seen["live"][what] for what in ("behaved", "carried out", "answered 200")) > 0
