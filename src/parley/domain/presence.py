"""Typing and presence: who may say that they type, and who may see who is there.

Nothing of it is stored; who is there is `delivery/presence.py`, when it is told `delivery/signals.py`.
"""

from typing import Annotated

from msgspec import Meta

from parley.domain.ids import Id
from parley.domain.params import Params
from parley.domain.ports import Acting, Decision, Transaction
from parley.domain.rooms import joined


class TypingSet(Params):
    room: Id
    active: bool
    text: Annotated[str, Meta(max_length=500)] | None = None


class PresenceList(Params):
    room: Id


def admit_typing(tx: Transaction, p: TypingSet, who: Acting) -> Decision:
    joined(tx, p.room, who)
    return Decision({})


def admit_list(tx: Transaction, p: PresenceList, who: Acting) -> Decision:
    joined(tx, p.room, who)
    return Decision({})
