"""The lease of a stream: the right to send, which only one has.

`service/broadcast.py` asks for it, and says that its holder is still there. Who may have it is `streams.py`'s.

The lease, kept in the stream's row and moved by comparing the fence, a number that only rises:

| state | what is so                                    | who may take it             | becomes              |
|-------|-----------------------------------------------|-----------------------------|----------------------|
| free  | nobody sends                                  | whoever may broadcast       | held by `Take`       |
| held  | its node said so not `LAPSE_MS` ago           | nobody, its session neither | grace, free by `End` |
| grace | cut off (`Cut`, or its node fell silent)      | the session that had it     | held, free by time   |
"""

from msgspec import Struct

from parley.domain.errors import Refusal
from parley.domain.params import Params
from parley.domain.ports import Acting, Decision, Transaction
from parley.domain.streams import Naming, Stream, StreamView, free, moved, require, view


class Lease(Struct, frozen=True):
    """What a `Take` gives: `fence` names it from now on; `resumes` says that the broadcast goes on after a cut."""

    fence: int
    resumes: bool
    stream: StreamView


class Take(Naming):
    """Not on the wire: the lease, for the session of the one who acts."""


class Keep(Naming):
    """Not on the wire: the holder of the lease `fence` is still there."""

    fence: int


class Cut(Keep):
    """Not on the wire: its connection is gone; the grace begins."""


class End(Keep):
    """Not on the wire: the broadcast of the lease `fence` is over."""


class Restarted(Params):
    """Not on the wire: the one node there is has just begun, so no connection stands behind any lease."""


def take(tx: Transaction, p: Take, who: Acting) -> Decision:
    """A `Lease`. Raises: Refusal (as `require`; `already_live`, `own` where it is this session that has it)."""
    stream = require(tx, p.stream, who, "publish")
    state = stream.lease_at(who.now_ms)
    is_own = (stream.session, stream.subject) == (who.principal.session, who.subject)
    resumes = state == "grace" and is_own
    if state == "held" and is_own:
        raise Refusal("already_live", "Another connection of this session is broadcasting.", own=True)
    if state != "free" and not resumes:
        raise Refusal("already_live")
    person = who.person
    stream.fence += 1
    stream.session, stream.held = who.principal.session, True
    stream.subject, stream.name, stream.subject_type = person.subject, person.name, person.type
    stream.seen_at_ms = who.now_ms
    if not resumes:
        stream.live_at_ms = who.now_ms
    tx.save(stream)
    lease = Lease(stream.fence, resumes, view(stream, who.now_ms))
    return Decision(lease, changes=[moved(stream, who, "taken")])


def keep(tx: Transaction, p: Keep, who: Acting) -> Decision:
    """Whether the lease is still that one's."""
    stream = tx.get(Stream, p.stream)
    if stream is None or stream.fence != p.fence or not stream.held:
        return Decision(False)
    stream.seen_at_ms = who.now_ms
    tx.save(stream)
    return Decision(True)


def cut(tx: Transaction, p: Cut, who: Acting) -> Decision:
    stream = tx.get(Stream, p.stream)
    if stream is None or stream.fence != p.fence or not stream.held:
        return Decision(False)
    stream.held = False
    stream.seen_at_ms = who.now_ms
    tx.save(stream)
    return Decision(True)


def end(tx: Transaction, p: End, who: Acting) -> Decision:
    stream = tx.get(Stream, p.stream)
    if stream is None or stream.fence != p.fence or stream.session is None:
        return Decision(False)
    free(tx, stream)
    return Decision(True, changes=[moved(stream, who, "ended")])


def restarted(tx: Transaction, p: Restarted, who: Acting) -> Decision:
    for stream in tx.streams_held():
        stream.held = False
        stream.seen_at_ms = who.now_ms
        tx.save(stream)
    return Decision(None)
