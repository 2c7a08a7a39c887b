"""What a message's `data` may hold: what every client reads back as it was sent."""

from typing import Any

import pytest

from parley.domain import messages, rooms
from parley.domain.errors import Refusal
from parley.domain.principal import Principal
from tests.stage import Stage, somebody

ADA = somebody("ada")


def send(stage: Stage, who: Principal, data: Any) -> Any:
    stage.do(who, rooms.Create(room=f"r{stage.clock.now_ms}"))
    sent = stage.do(who, messages.Send(room=f"r{stage.clock.now_ms}", text="hello", data=data))
    stage.clock.forward(s=1)
    return sent["message"]["data"]


@pytest.fixture
def quick_stage(sqlite_url: str) -> Any:
    stage = Stage(sqlite_url)
    yield stage
    stage.close()


def test_numbers_up_to_two_to_the_53rd_come_back_as_they_went(quick_stage: Stage) -> None:
    data = {"n": [2**53, -(2**53), 0, 0.1, -1.5, 5e-324, True, None], "a": {"b": 2**53 - 1}}
    assert send(quick_stage, ADA, data) == data


def test_a_number_beyond_two_to_the_53rd_is_refused_wherever_it_stands(quick_stage: Stage) -> None:
    for number in (2**53 + 1, -(2**53) - 1, 2**64, 2**70, 1e16, -1e300):
        for data in ({"a": number}, {"a": [1, number]}, {"a": {"b": {"c": [[number]]}}}):
            with pytest.raises(Refusal) as refused:
                send(quick_stage, ADA, data)
            assert (refused.value.code, refused.value.facts) == ("invalid_params", {"field": "data"})
            quick_stage.clock.forward(s=1)


def test_a_nul_in_data_is_refused_whatever_dialect_let_it_through(quick_stage: Stage) -> None:
    for data in ({"a": "\0"}, {"\0": 1}, {"a": [{"b": "c\0"}]}):
        with pytest.raises(Refusal) as refused:
            send(quick_stage, ADA, data)
        assert refused.value.facts == {"field": "data"}
        quick_stage.clock.forward(s=1)
