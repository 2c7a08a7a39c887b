"""One room's events, each exactly once and in order of `seq`, across any number of lines.

Does not open lines: `connection.py` calls `resume` on each new one and hands over what arrives. The log is the truth:
whatever does not fit into the buffer is let go and read again from the log once there is room.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

from parley.client.errors import ConnectionLost, Refused, SubscriptionEnded
from parley.client.line import Line

log = logging.getLogger(__name__)

Event = dict[str, Any]
Signal = dict[str, Any]

#: Events that wait for their reader, and to which one page of a replay (at most 1,000) may come on top.
BUFFERED_MAX: Final = 1000


def tell(callback: Callable[..., None], *arguments: Any) -> None:
    """Call what the user gave us; a mistake in it must not end the line."""
    try:
        callback(*arguments)
    except Exception:
        log.exception("a callback failed")


@dataclass(frozen=True)
class Reset:
    """This is another log than before (a restored backup): drop what you hold; the newest page follows as events."""

    room: str
    epoch: str
    seq: int


class Subscription:
    """Iterate over it: events as the wire has them, and `Reset` where what came before is void.

    The iteration ends with `close`; it raises SubscriptionEnded where the server ended the subscription, and
    SessionRefused where the whole connection ended for good.
    """

    def __init__(
        self, room: str, after: int | None, epoch: str | None, on_signal: Callable[[Signal], None] | None
    ) -> None:
        self.room = room
        #: Where to go on after what was given to the reader; None before the first answer to one without `after`.
        self.seq = after
        self.epoch = epoch
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._on_signal = on_signal
        self._line: Line | None = None
        self._phase = "waiting"  # for a line · asking · live · full (live elsewhere) · ended
        self._heard: int | None = after
        self._heard_epoch = epoch
        self._buffer: deque[Event | Reset] = deque()
        self._came = asyncio.Event()
        self._end: Exception | None = None

    @property
    def is_live(self) -> bool:
        return self._phase == "live"

    @property
    def is_over(self) -> bool:
        return self._phase == "ended"

    @property
    def buffered(self) -> int:
        return len(self._buffer)

    # --- for the reader ---

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event | Reset:
        while not self._buffer:
            if self._end is not None:
                raise self._end.with_traceback(None)
            self._came.clear()
            await self._came.wait()
        item = self._buffer.popleft()
        if isinstance(item, Reset):
            self.epoch = item.epoch
        else:
            self.seq = item["seq"]
        if self._phase == "full" and len(self._buffer) <= BUFFERED_MAX // 2 and self._line is not None:
            self._ask()
        return item

    async def close(self) -> None:
        """Want no more. What is buffered is dropped."""
        line, was_over = self._line, self.is_over
        self._buffer.clear()
        self.end(StopAsyncIteration())
        if line is not None and not was_over:
            line.notify("room.unsubscribe", {"room": self.room})

    # --- for the connection ---

    def resume(self, line: Line) -> None:
        """Catch up and go live on this line."""
        if self._phase == "ended" or (self._phase == "asking" and self._line is line):
            return
        self._line = line
        if len(self._buffer) > BUFFERED_MAX // 2:
            self._phase = "full"
        else:
            self._ask()

    def pause(self) -> None:
        """The line is gone; what it still owed us is asked for on the next."""
        self._line = None
        if self._phase != "ended":
            self._phase = "waiting"

    def take(self, event: Event) -> None:
        """A live event from the line."""
        if self._phase == "live":
            self._give(event)

    def hear(self, signal: Signal) -> None:
        if self._on_signal is not None and self._phase != "ended":
            tell(self._on_signal, signal)

    def end(self, error: Exception) -> None:
        """What is buffered is still given, then `error` is raised."""
        if self._phase == "ended":
            return
        self._phase = "ended"
        self._line = None
        self._end = error
        self._came.set()
        if not self.ready.done():
            self.ready.set_exception(ConnectionLost("closed") if isinstance(error, StopAsyncIteration) else error)
            self.ready.exception()  # whoever awaits it hears it; nobody has to

    def _ask(self) -> None:
        line = self._line
        assert line is not None
        self._phase = "asking"
        params: dict[str, Any] = {"room": self.room}
        if self._heard is not None:
            params["after"] = self._heard
            if self._heard_epoch is not None:
                params["epoch"] = self._heard_epoch
        # Answered in the reader's own turn: an event right behind the answer finds us live.
        line.request("room.subscribe", params, lambda answer: self._answered(line, answer))

    def _answered(self, line: Line, answer: Any) -> None:
        if line is not self._line or self._phase != "asking":
            return
        if isinstance(answer, ConnectionLost):
            return
        if isinstance(answer, Refused):
            if answer.passes or answer.status == 401:
                # Busy for the moment, or held: the next line or token asks again; on this line we do, a little later.
                self._phase = "waiting"
                asyncio.get_running_loop().call_later(answer.retry_after_s or 1, self._ask_again, line)
            else:
                self.end(answer if not self.ready.done() else SubscriptionEnded(self.room, answer.code))
            return
        self._page(answer)
        if not self.ready.done():
            self.ready.set_result(None)
        if answer["complete"]:
            self._phase = "live"
        elif len(self._buffer) >= BUFFERED_MAX:
            self._phase = "full"
        else:
            self._ask()

    def _ask_again(self, line: Line) -> None:
        if line is self._line and self._phase == "waiting":
            self._ask()

    def _page(self, answer: dict[str, Any]) -> None:
        events: list[Event] = answer["events"]
        first = self._heard_epoch is None
        self._heard_epoch = answer["epoch"]
        if answer["reset"]:
            self._heard = events[0]["seq"] - 1 if events else answer["seq"]
            self._put(Reset(self.room, answer["epoch"], answer["seq"]))
        elif self._heard is None:
            self.seq = self._heard = answer["seq"]
        if first:
            self.epoch = answer["epoch"]
        for event in events:
            self._append(event)

    def _give(self, event: Event) -> None:
        assert self._heard is not None
        assert self._line is not None
        if event["seq"] > self._heard + 1:
            self._ask()  # one before it is missing: the log has it
        elif event["seq"] == self._heard + 1 and len(self._buffer) >= BUFFERED_MAX:
            # The reader is slow. Let go: the log keeps the rest, and the line stays free for others.
            self._phase = "full"
            self._line.notify("room.unsubscribe", {"room": self.room})
        else:
            self._append(event)

    def _append(self, event: Event) -> None:
        if self._heard is not None and event["seq"] > self._heard:
            self._heard = event["seq"]
            self._put(event)

    def _put(self, item: Event | Reset) -> None:
        self._buffer.append(item)
        self._came.set()
