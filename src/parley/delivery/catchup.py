"""Where a replay and the live events become one, without a gap and without a repeat.

The only place that joins the two. A subscription keeps what the room hears from the moment it is asked for, reads the
log, and goes live exactly behind the last event it was told.
"""

from collections.abc import Callable
from typing import Any, Final

from parley.delivery.hub import Hub
from parley.delivery.readers import Reader, Subscription
from parley.domain.errors import Refusal
from parley.domain.ports import Decision
from parley.domain.replay import Subscribe, Subscribed

#: Pages read for one subscription before it is refused: each further one is due to a change that overtook the last.
READS_MAX: Final = 20

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
    over: Callable[[], None],
) -> None:
    """Answer `room.subscribe`: `done(subscription, reply)` once, on the loop; no subscription where it is not live.

    A page that does not reach the head (`complete: false`) subscribes nothing. `is_open` is asked after each read, so
    that a connection that ended meanwhile is left alone. `over` is called last.
    """
    joining = hub.begin(params.room, reader)
    reads_left = READS_MAX

    def ended(outcome: dict[str, Any] | BaseException) -> None:
        hub.cancel(joining)
        try:
            done(None, outcome)
        finally:
            over()

    def answered(outcome: Outcome) -> None:
        nonlocal reads_left
        if isinstance(outcome, BaseException):
            ended(outcome)
            return
        page: Subscribed = outcome.reply
        reply = page.reply
        if not is_open():
            ended(Refusal("unavailable"))
            return
        if not reply["complete"]:
            ended(reply)
            return
        subscription = Subscription(reader, params.room, page.role, privy=page.privy)
        onward = hub.finish(joining, subscription, reply["seq"], public=page.public)
        if onward is None:
            # The room moved on between the read and now, past what can be told from memory: read it all anew, so that
            # the page knows nothing that has been deleted since.
            reads_left -= 1
            if reads_left:
                read(params, answered)
            else:
                ended(Refusal("unavailable"))
            return
        if not is_open():  # what had come due was run meanwhile
            hub.unsubscribe(subscription)
            ended(Refusal("unavailable"))
            return
        try:
            done(subscription, reply)
            for event in onward:
                if not subscription.is_live:
                    break
                reader.outbox.put_events(reader.encoder.event(event), subscription, event.seq - 1)
        finally:
            over()

    read(params, answered)


def follow(
    hub: Hub,
    subscription: Subscription,
    read: Read,
    is_open: Callable[[], bool],
    over: Callable[[], None] = lambda: None,
) -> None:
    """Take up a subscription that was held: give what it missed from the log, page by page, then what is live.

    At the socket's own pace, one page of one room at a time: catching up is never too slow a reader. Rights are those
    of each read: where they are gone, the subscription ends. `over` is called once it is live, or not to be.
    """
    mine = subscription.follows = object()
    reader, room = subscription.reader, subscription.room

    def is_ours() -> bool:
        return subscription.follows is mine and is_open() and hub.holds(subscription)

    def next_page() -> None:
        if not is_ours():
            reader.outbox.page_read()
            over()
            return
        joining = hub.listen(room)

        def answered(outcome: Outcome) -> None:
            try:
                if not is_ours():
                    hub.cancel(joining)
                    over()
                elif isinstance(outcome, BaseException):
                    hub.cancel(joining)
                    refused(outcome)
                elif outcome.reply.reply["reset"]:  # it does not know yet what the reader was told already
                    hub.cancel(joining)
                    refused(Refusal("unavailable"))
                else:
                    take(outcome.reply, joining)
            finally:
                reader.outbox.page_read()

        read(Subscribe(room=room, after=subscription.told), answered)

    def refused(outcome: BaseException) -> None:
        if isinstance(outcome, Refusal) and outcome.status == 503:
            subscription.follows = None  # the store is away; whoever finds it again follows again
            reader.stranded(subscription)
        else:
            code = outcome.code if isinstance(outcome, Refusal) else "forbidden"
            hub.end_one(subscription, code if code == "banned" else "forbidden")
        over()

    def take(page: Subscribed, joining: Any) -> None:
        subscription.role, subscription.privy = page.role, page.privy
        give(page.reply["events"])
        if not page.reply["complete"]:
            hub.cancel(joining)
            reader.outbox.next_page(next_page)
            return
        onward = hub.finish(joining, subscription, page.reply["seq"], public=page.public)
        if onward is None:
            hub.cancel(joining)
            reader.outbox.next_page(next_page)
            return
        subscription.follows = None
        give(onward)
        if not is_open():  # what had come due was run meanwhile
            hub.hold(subscription)
            reader.outbox.withhold()
        over()

    def give(events: list[Any]) -> None:
        if events:
            before, subscription.told = subscription.told, events[-1].seq
            encoder = reader.encoder
            reader.outbox.put_events(b"".join(map(encoder.event, events)), subscription, before, asked=True)

    reader.outbox.next_page(next_page)
