"""All live connections of this node: how many, whose, and which have to go when there is one too many.

Finds them by subject, session, token and conversation, so that a revocation reaches each. Opens and closes none itself.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from parley.domain.principal import Principal
from parley.tokens.revocation import signed_in_before


class Live(Protocol):
    """What is counted here: a connection whose bearer is known."""

    @property
    def heard_at_s(self) -> float:
        """When its peer was last heard of, on the loop's clock."""

    @property
    def begun_at_ms(self) -> int:
        """When it authenticated, Unix milliseconds."""

    @property
    def principal(self) -> Principal | None: ...
    @property
    def dialect(self) -> str: ...
    def replaced(self) -> None:
        """It is one too many for its subject: close it with 4409."""

    def revoked(self, reason: str) -> None:
        """What it stands on was revoked: close it with 4403."""

    def rights_changed(self) -> None:
        """Something about its account changed: ask anew what it may."""

    def fence(self) -> None:
        """Hand it nothing that it might not be allowed to read: this node does not know what was revoked."""

    def unfence(self) -> None: ...


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
        self.is_fenced = False
        #: Told of a subject, how many it has here now, and how many it may have on all nodes.
        self.crowded: Callable[[str, int, int], None] | None = None
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
        limit = self._limit(principal)
        theirs = self._by["subject:" + principal.subject]
        if self.crowded is not None and limit:
            self.crowded(principal.subject, len(theirs), limit)
        if limit and len(theirs) > limit:
            self._replace(theirs, connection)

    def add_nobody(self, connection: Live) -> None:
        """One that needs no bearer: a listener of a public stream. It is counted, and is nobody's."""
        self._all[connection] = None

    def disown(self, connection: Live, principal: Principal) -> None:
        """It acts for this bearer no longer: it closes, which a peer can draw out, or it has another bearer now.

        So it is never taken for one too many of theirs, nor for the one that makes room; the node still has it.
        """
        was_theirs = False
        for key in _keys(principal):
            found = self._by.get(key)
            if found is not None and connection in found:
                was_theirs = True
                del found[connection]
                if not found:
                    del self._by[key]
        if was_theirs and self.crowded is not None and (limit := self._limit(principal)):
            self.crowded(principal.subject, len(self._by.get("subject:" + principal.subject, ())), limit)

    def remove(self, connection: Live) -> None:
        """It has gone; `disown` it first."""
        self._all.pop(connection, None)

    def _limit(self, principal: Principal) -> int:
        return self._per_service if principal.type == "service" else self._per_subject

    def _replace(self, theirs: Iterable[Live], newest: Live | None) -> None:
        others = [other for other in theirs if other is not newest]
        if others:
            min(others, key=lambda other: other.heard_at_s).replaced()

    def replace_one(self, subject: str) -> None:
        """The subject has one too many, with those elsewhere: the longest silent goes, and not the last to come."""
        theirs = self.of("subject:" + subject)
        self._replace(theirs, theirs[-1] if len(theirs) > 1 else None)

    def counts(self) -> Iterator[tuple[str, int, int]]:
        """Each subject, how many it has here, and how many it may have."""
        for key, theirs in list(self._by.items()):
            principal = next(iter(theirs)).principal
            if key.startswith("subject:") and principal is not None:
                yield principal.subject, len(theirs), self._limit(principal)

    def of(self, key: str) -> list[Live]:
        """Those under a key: `subject:…`, `session:…`, `token:…` or `conversation:…`."""
        return list(self._by.get(key, ()))

    def by_dialect(self) -> Counter[str]:
        """How many there are, by the name of what they speak."""
        return Counter(connection.dialect for connection in self._all)

    def __iter__(self) -> Iterator[Live]:
        return iter(list(self._all))

    # --- what befalls them (service.watch.Audience) ---

    def revoked(self, target: str, *, before_ms: int, reason: str) -> None:
        """Close those under `target`; under a subject, those that began up to `before_ms`: later ones are not meant."""
        for connection in self.of(target):
            principal = connection.principal
            is_late = target.startswith("subject:") and connection.begun_at_ms > before_ms
            # It may have begun here before this node knew: then its token is one of those that were revoked.
            if is_late and not (principal and principal.claims and signed_in_before(principal.claims, before_ms)):
                continue
            connection.revoked(reason)

    def rights_changed(self, subject: str) -> None:
        for connection in self.of(f"subject:{subject}"):
            connection.rights_changed()

    def fence(self) -> None:
        self.is_fenced = True
        for connection in self:
            connection.fence()

    def unfence(self) -> None:
        self.is_fenced = False
        for connection in self:
            connection.unfence()

    def count(self, session: str) -> int:
        """How many live connections a session has on this node."""
        return len(self._by.get(f"session:{session}", ()))


def _keys(principal: Principal) -> tuple[str, ...]:
    keys = ("subject:" + principal.subject, "session:" + principal.session, "token:" + principal.token_id)
    return (*keys, "conversation:" + principal.conversation) if principal.conversation else keys
