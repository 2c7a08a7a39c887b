"""Nodes say that they live, and whose keys are the store's."""

from parley.domain.nodes import FORGOTTEN_MS, Beat, Living
from parley.domain.principal import OPERATOR
from tests.stage import Stage


def beat(stage: Stage, node: str, keyring: str = "k", *, changed: bool = False) -> Living:
    asked = Beat(node=node, address=f"http://{node}", keyring=keyring, changed=changed)
    living: Living = stage.decide(OPERATOR, asked).reply
    return living


def test_each_node_hears_of_the_others_and_not_of_itself(stage: Stage) -> None:
    assert beat(stage, "a").others == []
    assert [(row.id, row.address) for row in beat(stage, "b").others] == [("a", "http://a")]
    assert [row.id for row in beat(stage, "a").others] == ["b"]


def test_a_node_that_said_nothing_for_long_is_forgotten(stage: Stage) -> None:
    beat(stage, "a")
    stage.clock.forward(s=FORGOTTEN_MS / 1000 + 1)
    beat(stage, "b")
    assert beat(stage, "b").others == []


def test_the_keys_of_who_was_there_first_are_the_stores(stage: Stage) -> None:
    assert beat(stage, "a").has_the_keys
    assert beat(stage, "b").has_the_keys
    assert not beat(stage, "c", "others").has_the_keys
    assert beat(stage, "a").has_the_keys
    assert not beat(stage, "c", "others").has_the_keys
    assert beat(stage, "c").has_the_keys, "it was given the right ones"


def test_a_rotation_is_the_stores_from_the_node_on_that_saw_it(stage: Stage) -> None:
    beat(stage, "a")
    beat(stage, "b")
    stage.clock.forward(s=1)
    assert beat(stage, "a", "rotated", changed=True).has_the_keys
    assert not beat(stage, "b").has_the_keys, "its copy is not there yet"
    assert beat(stage, "b", "rotated", changed=True).has_the_keys
    assert beat(stage, "a", "rotated").has_the_keys


def test_who_had_other_keys_before_does_not_make_its_next_ones_the_stores(stage: Stage) -> None:
    beat(stage, "a")
    assert not beat(stage, "c", "others").has_the_keys
    stage.clock.forward(s=1)
    assert not beat(stage, "c", "half a copy", changed=True).has_the_keys
    assert beat(stage, "a").has_the_keys
    assert beat(stage, "c", changed=True).has_the_keys


def test_what_the_first_one_vouched_for_outlives_it(stage: Stage) -> None:
    beat(stage, "a")
    stage.clock.forward(s=1)
    beat(stage, "b")
    stage.clock.forward(s=5)
    beat(stage, "b")
    stage.clock.forward(s=8)  # a is silent for 14 s
    assert beat(stage, "b").has_the_keys
    assert not beat(stage, "c", "others").has_the_keys


def test_who_comes_when_nobody_is_there_brings_the_keys(stage: Stage) -> None:
    beat(stage, "a")
    stage.clock.forward(s=30)
    assert beat(stage, "b", "rotated while all were down").has_the_keys
