"""Where a replay and the live events become one, without a gap and without a repeat.

The only place that joins the two. A subscription keeps what the room hears from the moment it is asked for, reads the
log, and goes live exactly behind the last event it was told.
"""

from collections.abc import Callable
from typing import Any

from parley.delivery.hub import Hub, Reader, Subscription
from parley.domain.errors import Refusal
from parley.domain.ports import Decision
from parley.domain.replay import Subscribe, Subscribed

Outcome = Decision | BaseException


#: Decides a command on a reading connection, and calls what it is given on the loop.
Read = Callable[[Subscribe, Callable[[Outcome], None]], None]


def subscribe(
    hub: Hub,
    reader: Reader,
    params: Subscribe,
    read: Read,
    is_open: Callable[[], bool],
    done: Callable[[Subscription | None, dict[str, Any] | BaseException], None],
) -> None:
    """Answer `room.subscribe`: `done(subscription, reply)` once, on the loop; no subscription where it is not live.

    A page that does not reach the head (`complete: false`) subscribes nothing. `is_open` is asked after each read, so
    that a connection that ended meanwhile is left alone.
    """
    joining = hub.begin(params.room, reader)
    told: list[Any] = []
    reset: list[bool] = []

    def answered(outcome: Outcome) -> None:
        if isinstance(outcome, BaseException):
            hub.cancel(joining)
            done(None, outcome)
            return
        page: Subscribed = outcome.reply
        reply = page.reply
        if not is_open():
            hub.cancel(joining)
            done(None, Refusal("unavailable"))
            return
        told.extend(reply["events"])
        reset.extend([True] if reply["reset"] else [])
        reply["events"], reply["reset"] = told, bool(reset)
        if not reply["complete"]:
            hub.cancel(joining)
            done(None, reply)
            return
        subscription = Subscription(reader, params.room, page.role)
        extra = hub.finish(joining, subscription, reply["seq"], public=page.public)
        if extra is None:
            # The room moved on between the read and now, past what can be told from memory: read that too.
            onward = params.after is not None or reply["reset"]
            again = Subscribe(room=params.room, after=reply["seq"], epoch=reply["epoch"]) if onward else params
            read(again, answered)
            return
        if extra:
            if params.after is not None or reply["reset"]:
                told.extend(extra)
            reply["seq"] = extra[-1].seq
        done(subscription, reply)

    read(params, answered)
