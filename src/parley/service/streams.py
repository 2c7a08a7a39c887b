"""Streams as a node knows them: who broadcasts and listens here, what becomes of a stream, and the news of it.

One connection's turn on the air is `broadcast.py`; the pages are carried by `delivery/broadcast.py`; who may what is
decided in the domain.
"""

import functools
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal, Protocol

from parley.delivery.broadcast import Audio, Broadcasts
from parley.delivery.hub import Hub
from parley.dialects.ogg import Continuous, OpusHead, OpusStream, Page
from parley.domain.errors import Refusal
from parley.domain.events import Change, Signal
from parley.domain.ids import rfc3339
from parley.domain.params import Params
from parley.domain.ports import Decision, Job, Store
from parley.domain.principal import OPERATOR, Principal
from parley.domain.streams import ROOM, Look, May, StreamView

log = logging.getLogger(__name__)

#: News of a stream is told at most this often.
TELL_S: Final = 1.0
#: How often it is asked whether what is heard here is still on the air: its node may have gone without a word.
LOOK_S: Final = 5.0

Done = Callable[[Any], None]


class Watcher(Protocol):
    """A connection that is told what becomes of a stream."""

    def stream_changed(self, frame: bytes, /) -> None: ...
    def stream_deleted(self) -> None: ...


class Line:
    """What listeners hear as one Ogg stream: it goes on over a broadcaster's cuts and links while their form is one.

    `fence` is that of the last lease that it was sent under.
    """

    def __init__(self, fence: int, number: int, stream: OpusStream) -> None:
        self.fence = fence
        self.number = number
        self.head: OpusHead = stream.head
        self._pages = Continuous(number & 0xFFFFFFFF)
        self.headers = b"".join(page.data for page in self._pages.headers(stream.headers))

    def page(self, page: Page, samples: int) -> bytes:
        return self._pages.audio(page, samples).data

    def end(self) -> bytes:
        return self._pages.end().data


class OnTheAir(Protocol):
    """A connection's turn on the air, as far as it is known here."""

    stream: str
    fence: int | None
    kept_at_s: float

    @property
    def position_s(self) -> float: ...
    def reconsider(self) -> None:
        """Who may broadcast has changed."""

    def cut(self, refusal: Refusal, /) -> None: ...


class Scheduled(Protocol):
    def cancel(self) -> None: ...


class Streams:
    """`carry` takes audio to the listeners of every node; `encode` makes a signal one frame for all watchers.

    `schedule(at_s, callback)` is the wheel's, `clock_s` its clock, `clock_ms` gives Unix milliseconds.
    """

    def __init__(
        self,
        store: Store,
        hub: Hub,
        broadcasts: Broadcasts,
        *,
        carry: Callable[[Audio], None],
        encode: Callable[[Signal], bytes],
        schedule: Callable[[float, Callable[[], None]], Scheduled],
        clock_s: Callable[[], float],
        clock_ms: Callable[[], int],
    ) -> None:
        self.store = store
        self.broadcasts = broadcasts
        self.carry = carry
        self.schedule = schedule
        self.clock_s = clock_s
        self._hub = hub
        self._encode = encode
        self._clock_ms = clock_ms
        self._local: dict[str, set[OnTheAir]] = {}
        self._watchers: dict[str, dict[Watcher, None]] = {}
        self._told_at_s: dict[str, float] = {}
        self._telling: set[str] = set()
        self._stopped = False
        #: What listeners have heard last, where the broadcast may go on after a cut.
        self.lines: dict[str, Line] = {}
        #: A stream's listeners on other nodes, as far as they are known.
        self.listeners_elsewhere: Callable[[str], int] = lambda _: 0
        #: Why broadcasts were refused or cut: a code -> how often; read by the metrics.
        self.outcomes: dict[str, int] = {}

    def start(self) -> None:
        self._look()

    def stop(self) -> None:
        self._stopped = True

    # --- who may ---

    def may(
        self,
        stream: str,
        action: Literal["listen", "publish"],
        principal: Principal,
        done: Callable[[StreamView | Refusal], None],
        *,
        follows: bool = False,
    ) -> None:
        """Whether one may listen or broadcast now: `done` with the stream, or with a Refusal."""
        self.ask(May(stream=stream, action=action, follows=follows), principal, done, writes=False)

    def ask(self, params: Params, principal: Principal, done: Done, *, writes: bool = True) -> None:
        """`done` with the reply, or with a Refusal, on the loop."""

        def decided(outcome: Decision | BaseException) -> None:
            if isinstance(outcome, Decision):
                done(outcome.reply)
            elif isinstance(outcome, Refusal):
                done(outcome)
            else:
                log.error("%s failed", type(params).__name__, exc_info=outcome)
                done(Refusal("unavailable"))

        job = Job(params, principal, decided)
        self.store.write(job) if writes else self.store.read(job)

    # --- who is here ---

    def listeners(self, stream: str) -> int:
        return self.broadcasts.listeners(stream) + self.listeners_elsewhere(stream)

    def counted(self, views: Iterable[StreamView]) -> None:
        """Fill in what no store knows: how many listen."""
        for view in views:
            view.listeners = self.listeners(view.id)

    def broadcasts_of(self, stream: str) -> list[OnTheAir]:
        """Those of a stream that come in here: one, or for a moment none or two."""
        return list(self._local.get(stream, ()))

    def all(self) -> list[OnTheAir]:
        return [each for here in self._local.values() for each in here]

    def kept_at_s(self) -> float:
        """Since when at the latest every lease held here is known to be ours; now, where there is none."""
        return min((each.kept_at_s for each in self.all()), default=self.clock_s())

    @property
    def broadcasters(self) -> int:
        return sum(map(len, self._local.values()))

    def came(self, broadcast: OnTheAir) -> None:
        self._local.setdefault(broadcast.stream, set()).add(broadcast)

    def went(self, broadcast: OnTheAir) -> None:
        here = self._local.get(broadcast.stream)
        if here is not None:
            here.discard(broadcast)
            if not here:
                del self._local[broadcast.stream]

    def watch(self, stream: str, watcher: Watcher) -> None:
        self._watchers.setdefault(stream, {})[watcher] = None

    def unwatch(self, stream: str, watcher: Watcher) -> None:
        here = self._watchers.get(stream)
        if here is not None:
            here.pop(watcher, None)
            if not here:
                del self._watchers[stream]

    # --- what becomes of streams ---

    def changed(self, change: Change) -> None:
        """What the bus told, and the poll tells again."""
        stream, what, fence = change.target, change.detail["what"], change.detail["fence"]
        if what in ("stopped", "deleted", "ended"):
            for broadcast in self.broadcasts_of(stream):
                if broadcast.fence is not None and broadcast.fence < fence:
                    broadcast.cut(Refusal("stopped"))
            self.end(stream, fence)
        if what == "publishers":
            for broadcast in self.broadcasts_of(stream):
                broadcast.reconsider()
        if what == "deleted":
            for watcher in list(self._watchers.get(stream, ())):
                watcher.stream_deleted()
        else:
            self.tell(stream)

    def end(self, stream: str, fence: int) -> None:
        """The leases up to `fence` are over."""
        line = self.lines.get(stream)
        if line is not None and line.fence < fence:
            del self.lines[stream]
        self.broadcasts.end(stream, fence)

    def tell(self, stream: str) -> None:
        """Something about it has changed: tell those who watch it, at most once a second."""
        if stream in self._telling or not self._is_watched(stream):
            return
        self._telling.add(stream)
        due_s = self._told_at_s.get(stream, float("-inf")) + TELL_S
        self.schedule(max(due_s, self.clock_s()), functools.partial(self._ask_news, stream))

    def _is_watched(self, stream: str) -> bool:
        return stream in self._watchers or ROOM + stream in self._hub.rooms

    def _ask_news(self, stream: str) -> None:
        def answered(found: Any) -> None:
            self._telling.discard(stream)
            if isinstance(found, Refusal):
                self.tell(stream)  # the store is away: until it is back
            elif stream in found:
                self._tell(found[stream][0])

        if self._stopped:
            return
        now_s = self.clock_s()
        self._told_at_s.pop(stream, None)
        self._told_at_s[stream] = now_s  # so the first is the one that was told longest ago
        for other, told_s in list(self._told_at_s.items())[:2]:  # a little at a time, so that it does not grow
            if now_s - told_s > 2 * TELL_S:
                del self._told_at_s[other]
        self.ask(Look(streams=[stream]), OPERATOR, answered, writes=False)

    def _tell(self, view: StreamView) -> None:
        signal = self.news(view)
        self._hub.signal(signal)
        watchers = self._watchers.get(view.id)
        if watchers:
            frame = self._encode(signal)
            for watcher in list(watchers):
                watcher.stream_changed(frame)

    def news(self, view: StreamView) -> Signal:
        self.counted([view])
        return Signal(ROOM + view.id, "stream.changed", rfc3339(self._clock_ms()), {"stream": view})

    def news_frame(self, view: StreamView) -> bytes:
        """What a watcher is told at its start."""
        return self._encode(self.news(view))

    def _look(self) -> None:
        """Whether what is on the air here still is, by the store: what ended without a word ends here too."""
        if self._stopped:
            return
        self.schedule(self.clock_s() + LOOK_S, self._look)
        heard = self.broadcasts.fences()

        def answered(found: Any) -> None:
            if isinstance(found, Refusal):
                return
            for stream, fence in heard.items():
                view, stored = found.get(stream, (None, fence))
                if view is None or not view.live:
                    self.end(stream, max(fence, stored))
                    self.tell(stream)

        if heard:
            self.ask(Look(streams=list(heard)), OPERATOR, answered, writes=False)
