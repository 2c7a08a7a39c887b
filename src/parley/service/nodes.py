"""Which other nodes live: this one says each second that it does, and reads what the others said.

A node counts as gone once its row has not changed for `LAPSE_S` on our own clock, so no two clocks need to agree. While
the store is away nobody is judged; a node that was itself away, or paused, begins its judgement anew.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from parley.domain.errors import Refusal
from parley.domain.nodes import Beat, Living
from parley.domain.ports import Decision, Job, Store
from parley.domain.principal import OPERATOR

log = logging.getLogger(__name__)

BEAT_S: Final = 1.0
LAPSE_S: Final = 5.0


class Followers(Protocol):
    """Who needs to know."""

    def gone(self, node: str) -> None: ...
    def announce(self) -> None:
        """This node was silent for so long that the others may have taken it for gone."""


class Nodes:
    """`keyring` gives the fingerprint of this node's keys, `address` is where the others reach it.

    `hello`, set from outside, tells the others of this one at once, ahead of their next look: each then calls `met`.
    """

    def __init__(
        self,
        store: Store,
        node: str,
        address: str,
        keyring: Callable[[], str],
        followers: Iterable[Followers],
        *,
        call_later: Callable[[float, Callable[[], None]], object],
        clock_s: Callable[[], float],
    ) -> None:
        self._store = store
        self.hello: Callable[[], None] = lambda: None
        self.node = node
        self.address = address
        self._keyring = keyring
        self._said = keyring()
        self._followers = tuple(followers)
        self._call_later = call_later
        self._clock_s = clock_s
        self._stopped = False
        self._answered_at_s: float | None = None
        self._noticed: dict[str, tuple[int, float]] = {}
        #: Where each other node that lives is reached.
        self.living: dict[str, str] = {}
        self.has_the_keys = True
        self._doubts_its_keys = False

    def start(self) -> None:
        self._beat()

    def stop(self) -> None:
        self._stopped = True

    def met(self, node: str, address: str) -> None:
        """Another node says that it lives: a client of its may ask here before this one looks again."""
        if node != self.node and node not in self.living:
            self._noticed[node] = (-1, self._clock_s())
            self.living[node] = address

    def _beat(self) -> None:
        if self._stopped:
            return
        keyring = self._keyring()
        asked = Beat(node=self.node, address=self.address, keyring=keyring, changed=keyring != self._said)

        def answered(outcome: Decision | BaseException) -> None:
            if not self._stopped:
                self._call_later(BEAT_S, self._beat)
            if isinstance(outcome, Decision):
                self._said = keyring
                self._judge(outcome.reply)
            elif not isinstance(outcome, Refusal):
                log.error("the beat of this node failed", exc_info=outcome)

        self._store.write(Job(asked, OPERATOR, answered))

    def _judge(self, found: Living) -> None:
        now_s = self._clock_s()
        is_first = self._answered_at_s is None
        if is_first:
            self.hello()  # from now on the others find its row
        was_away = self._answered_at_s is not None and now_s - self._answered_at_s > LAPSE_S
        self._answered_at_s = now_s
        # Of nodes that share a directory one is the first to see a change, and the others a moment later: were they not
        # ready meanwhile, a balancer would take out all of them but one.
        has_the_keys = found.has_the_keys or not (is_first or self._doubts_its_keys)
        self._doubts_its_keys = not found.has_the_keys
        if self.has_the_keys and not has_the_keys:
            log.error("this node's keys are not those of the store's other nodes: give all of them the same files")
        self.has_the_keys = has_the_keys
        rows = {row.id: row for row in found.others}
        for node, row in rows.items():
            seen = self._noticed.get(node)
            if seen is None or seen[0] != row.seen_at_ms:
                self._noticed[node] = (row.seen_at_ms, now_s)
                self.living[node] = row.address
            elif was_away:
                self._noticed[node] = (seen[0], now_s)
        for node, (_, noticed_at_s) in list(self._noticed.items()):
            if node not in rows:
                del self._noticed[node]
            if node in self.living and (node not in rows or now_s - noticed_at_s > LAPSE_S):
                del self.living[node]
                log.info("node %s is gone", node)
                for follower in self._followers:
                    follower.gone(node)
        if was_away:
            for follower in self._followers:
                follower.announce()
