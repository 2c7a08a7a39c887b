"""All live connections of this node: how many, whose, and which have to go when there is one too many.

Finds them by subject, session, token and conversation, so that a revocation reaches each. Opens and closes none itself.
"""

from collections import Counter
from typing import Protocol

from parley.domain.principal import Principal


class Live(Protocol):
    """What is counted here: a connection whose bearer is known."""

    @property
    def heard_at_s(self) -> float:
        """When its peer was last heard of, on the loop's clock."""

    @property
    def principal(self) -> Principal | None: ...
    def replaced(self) -> None:
        """It is one too many for its subject: close it with 4409."""


class Connections:
    """The node's connections. A limit of 0 is off.

    A connection is pending from its upgrade until it has authenticated; one that brought a credential never is.
    """

    def __init__(
        self, *, total_max: int, pending_max: int, pending_per_address: int, per_subject: int, per_service: int
    ) -> None:
        self._total_max = total_max
        self._pending_max = pending_max
        self._pending_per_address = pending_per_address
        self._per_subject = per_subject
        self._per_service = per_service
        self._pending: Counter[str] = Counter()
        self._all: dict[Live, None] = {}
        self._by: dict[str, dict[Live, None]] = {}

    # --- counting ---

    @property
    def is_full(self) -> bool:
        return bool(self._total_max) and len(self._all) + self.pending >= self._total_max

    @property
    def pending(self) -> int:
        return self._pending.total()

    def __len__(self) -> int:
        return len(self._all)

    def may_wait(self, address: str) -> bool:
        """Whether one more may connect from this address without a credential."""
        if self._pending_max and self.pending >= self._pending_max:
            return False
        return not self._pending_per_address or self._pending[address] < self._pending_per_address

    def wait(self, address: str) -> None:
        self._pending[address] += 1

    def waited(self, address: str) -> None:
        """It authenticated, or went."""
        self._pending[address] -= 1
        if self._pending[address] <= 0:
            del self._pending[address]

    # --- whose ---

    def add(self, connection: Live, principal: Principal) -> None:
        """A connection's bearer is known. Where that is one too many for the subject, the longest silent goes."""
        self._all[connection] = None
        for key in _keys(principal):
            self._by.setdefault(key, {})[connection] = None
        limit = self._per_service if principal.type == "service" else self._per_subject
        theirs = self._by["subject:" + principal.subject]
        if limit and len(theirs) > limit:
            others = [other for other in theirs if other is not connection]
            min(others, key=lambda other: other.heard_at_s).replaced()

    def remove(self, connection: Live, principal: Principal) -> None:
        self._all.pop(connection, None)
        for key in _keys(principal):
            found = self._by.get(key)
            if found is not None:
                found.pop(connection, None)
                if not found:
                    del self._by[key]

    def of(self, key: str) -> list[Live]:
        """Those under a key: `subject:…`, `session:…`, `token:…` or `conversation:…`."""
        return list(self._by.get(key, ()))

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(list(self._all))


def _keys(principal: Principal) -> tuple[str, ...]:
    keys = ("subject:" + principal.subject, "session:" + principal.session, "token:" + principal.token_id)
    return (*keys, "conversation:" + principal.conversation) if principal.conversation else keys
