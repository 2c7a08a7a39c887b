"""What is kept no longer than it is of use: sessions, tickets and revocations that are over.

Swept once an hour by `service/watch.py`; nothing depends on when.
"""

from parley.domain.params import Params
from parley.domain.ports import Acting, Decision, Transaction


class Sweep(Params):
    pass


def sweep(tx: Transaction, p: Sweep, who: Acting) -> Decision:
    tx.sweep(who.now_ms)
    return Decision(None)
