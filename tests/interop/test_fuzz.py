"""The fuzzers, for a short while; what they are and may see stands in `fuzz/`."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from fuzz import broadcast, graphql, ogg, socketio

from tests.lengths import LONG

#: On a machine that has little time for them they are let go on, with other seeds.
ROUNDS_MAX = 8


def fuzzed(run: Callable[..., Any], seconds: float, enough: Callable[[Any], bool]) -> None:
    """Raises: AssertionError, where something was met that may not be, or too little was."""
    seen: dict[str, Counter[str]] = {}
    for seed in range(1, ROUNDS_MAX + 1):
        met = run(seconds=300 if LONG else seconds, seed=seed)
        for target, counted in ({"": met} if isinstance(met, Counter) else met).items():
            seen.setdefault(target, Counter()).update(counted)
        if enough(seen[""] if isinstance(met, Counter) else seen):
            return
    raise AssertionError(f"too little was met: {seen}")


@pytest.mark.timeout(600)
def test_hostile_socketio_clients_meet_only_the_endings_that_are_allowed() -> None:
    def enough(seen: dict[str, Counter[str]]) -> bool:
        codecs, live = seen["codecs"], seen["live"]
        return (
            min(codecs[what] for what in ("taken", "refused", "ended 4400")) > 100
            and min(live[what] for what in ("answered 200", "answered 400", "closed 4400")) > 20
        )

    fuzzed(socketio.run, 10, enough)


@pytest.mark.timeout(400)
def test_hostile_ogg_is_refused_or_resynchronised_at_a_bounded_price() -> None:
    wanted = ("audio", "header", "other", "refused", "served")
    fuzzed(ogg.run, 2, lambda seen: min(seen[what] for what in wanted) > 100)


@pytest.mark.timeout(400)
def test_hostile_broadcasters_are_refused_and_disturb_nobody() -> None:
    wanted = ("4400 not_ogg_opus", "415 not_ogg_opus", "broken chunk", "204", "1000 ")
    fuzzed(broadcast.run, 3, lambda seen: min(seen[what] for what in wanted) > 5 and seen["behaved"] > 50)


@pytest.mark.timeout(400)
def test_hostile_graphql_is_refused_by_code_tells_no_value_back_and_disturbs_nobody() -> None:
    def enough(seen: dict[str, Counter[str]]) -> bool:
        codes = ("invalid_params", "invalid_request", "parse_error")
        return (
            all(min(seen[target][code] for code in codes) > 10 for target in ("codec", "live"))
            and min(seen["live"][what] for what in ("behaved", "carried out", "answered 200")) > 0
        )

    fuzzed(graphql.run, 4, enough)
