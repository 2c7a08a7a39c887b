"""What a node makes of the others' beats: who lives is `domain/nodes.py`, and here on a real store."""

from collections.abc import Callable

from parley.domain.ports import Job
from parley.service.nodes import Nodes
from tests.stage import Stage


class Beating:
    """A node that beats when the test says so."""

    def __init__(self, stage: Stage, name: str, keys: str) -> None:
        self.stage, self.keys = stage, keys
        self._due: list[Callable[[], None]] = []
        self.nodes = Nodes(
            self,  # type: ignore[arg-type]  # the store, whose answer is there at once
            name,
            f"http://{name}",
            lambda: self.keys,
            [],
            call_later=lambda _, beat: self._due.append(beat),
            clock_s=lambda: stage.clock.now_ms / 1000,
        )
        self.nodes.start()

    def write(self, job: Job) -> None:
        job.done(self.stage.store.execute(job.params, job.principal))

    def beat(self) -> bool:
        """One beat, and whether its keys are then those of the store."""
        self._due.pop()()
        return self.nodes.has_the_keys


def test_of_nodes_with_one_directory_none_is_unready_while_the_others_read_what_the_first_has_read(
    stage: Stage,
) -> None:
    first, second = Beating(stage, "a", "k"), Beating(stage, "b", "k")
    stage.clock.forward(s=1)
    first.keys = "rotated"
    assert first.beat()
    assert second.beat(), "it is about to read the same file"
    second.keys = "rotated"
    assert second.beat()
    assert first.beat()


def test_a_node_that_does_not_get_the_new_keys_is_not_ready_until_it_does(stage: Stage) -> None:
    first, second = Beating(stage, "a", "k"), Beating(stage, "b", "k")
    stage.clock.forward(s=1)
    first.keys = "rotated"
    first.beat()
    assert [second.beat() for _ in range(3)] == [True, False, False]
    second.keys = "rotated"
    assert second.beat()


def test_a_node_that_comes_with_other_keys_is_not_ready_from_the_first_moment_on(stage: Stage) -> None:
    Beating(stage, "a", "k")
    assert not Beating(stage, "b", "others").nodes.has_the_keys
