"""From one broadcaster to many listeners: newest wins, and nobody waits for anybody.

A listener gets the header pages first, then whole pages from the newest on. One whose socket does not drain is passed
over, page by page, until it does. What is handed out is wrapped once for each form of socket, whatever their number.
Knows no Ogg (`dialects/ogg.py`), no lease (`service/broadcast.py`), and no socket.
"""

from collections.abc import Callable
from typing import Final, Protocol

from msgspec import Struct

from parley.delivery.writing import SLICE, write_all

#: One who joins waits for a page that begins with a packet of its own, but for no more than this many.
CONTINUED_MAX: Final = 50

#: How bytes look on a kind of socket: a binary message, a chunk of HTTP.
Form = Callable[[bytes], bytes]


class Audio(Struct, frozen=True):
    """Some pages of a broadcast, on their way to the listeners of every node.

    `fence` is that of the lease under which they were sent; `link` names the header pages that they follow, and rises
    with each set of them, over all leases. `data` is whole pages, the last of which begins at `last`; `continues` and
    `last_continues` say of the first and of the last that they begin within a packet of the page before.
    """

    stream: str
    fence: int
    link: int
    headers: bytes
    data: bytes
    continues: bool = False
    last: int = 0
    last_continues: bool = False


class Listener(Protocol):
    """What is needed of whoever listens."""

    @property
    def form(self) -> Form: ...
    @property
    def congested(self) -> bool:
        """Whether its socket does not drain: what is written now would wait."""

    def write(self, data: bytes, /) -> None:
        """Hand over what its `form` made. May raise once the socket has gone."""

    def over(self) -> None:
        """The broadcast has ended; another may follow."""


class Tuned:
    """One listener's place at one stream; made by `Broadcasts.join`."""

    __slots__ = ("_channel", "in_step", "is_muted", "listener", "told", "waited")

    def __init__(self, channel: "_Channel", listener: Listener) -> None:
        self._channel = channel
        self.listener = listener
        self.told: int | None = None  # the link whose headers it has
        self.in_step = False  # whether it got the page before the next
        self.is_muted = False
        self.waited = 0

    def regroup(self) -> None:
        """The listener's socket stopped or resumed draining."""
        self._channel.groups[self.listener.form].stale = True

    def mute(self) -> None:
        """Hand it nothing more until `unmute`."""
        self.is_muted = True
        if self._channel.pass_over(self.listener.write):
            self.in_step = False
        self.regroup()

    def unmute(self) -> None:
        if self.is_muted:
            self.is_muted = False
            self.regroup()


class _Group:
    """The listeners of a stream whose bytes look the same."""

    __slots__ = ("form", "late", "members", "passed_over", "stale", "writers")

    def __init__(self, form: Form) -> None:
        self.form = form
        self.members: dict[Tuned, None] = {}
        self.writers: list[Callable[[bytes], None]] = []  # those in step
        self.late: list[Tuned] = []  # those who are to get the next page, and are not in step
        self.passed_over = 0
        self.stale = False

    def refresh(self, link: int) -> None:
        self.stale = False
        self.writers, self.late, self.passed_over = [], [], 0
        for tuned in self.members:
            if tuned.is_muted or tuned.listener.congested:
                tuned.in_step = False
                self.passed_over += 1
            elif tuned.in_step and tuned.told == link:
                self.writers.append(tuned.listener.write)
            else:
                tuned.in_step = False
                self.late.append(tuned)


class _Channel:
    __slots__ = ("fence", "groups", "headers", "link", "newest", "newest_continues", "out", "rest")

    def __init__(self) -> None:
        self.fence = 0
        self.link: int | None = None  # None while nothing is on the air
        self.headers = b""
        self.newest = b""
        self.newest_continues = False
        self.groups: dict[Form, _Group] = {}
        #: Slices of a round that still have to go out.
        self.rest: list[tuple[list[Callable[[bytes], None]], bytes]] = []
        #: Who left or was muted since they were cut.
        self.out: set[Callable[[bytes], None]] = set()

    @property
    def listeners(self) -> int:
        return sum(len(group.members) for group in self.groups.values())

    def stale(self) -> None:
        for group in self.groups.values():
            group.stale = True

    def pass_over(self, write: Callable[[bytes], None]) -> bool:
        """Hand this one nothing of what still has to go out, if there is any."""
        if self.rest:
            self.out.add(write)
        return bool(self.rest)

    def pass_over_all(self) -> None:
        self.drop_rest()
        self.stale()
        for group in self.groups.values():
            for tuned in group.members:
                tuned.in_step = False

    def write_slice(self) -> None:
        """The next that has to go out; there is one."""
        writers, data = self.rest.pop(0)
        write_all([write for write in writers if write not in self.out] if self.out else writers, data)
        if not self.rest:
            self.out.clear()

    def drop_rest(self) -> None:
        self.rest = []
        self.out.clear()


class Broadcasts:
    """Every stream that has a broadcaster or a listener on this node.

    `before` runs ahead of each round and is where what has come due takes effect; while `is_fenced` nothing is handed
    to anybody. `call_soon` is the loop's.
    """

    def __init__(
        self,
        call_soon: Callable[[Callable[[], None]], object],
        before: Callable[[], None],
        is_fenced: Callable[[], bool],
    ) -> None:
        self._call_soon = call_soon
        self._before = before
        self._is_fenced = is_fenced
        self._channels: dict[str, _Channel] = {}
        #: Told of a stream that somebody here begins to listen to, and of one that nobody does any more.
        self.opened: Callable[[str], None] = _nothing
        self.closed: Callable[[str], None] = _nothing
        self.pages_delivered = 0
        self.pages_passed_over = 0

    # --- in ---

    def receive(self, audio: Audio) -> None:
        """Take pages from whoever carries them. What is of a lease before the last one is dropped."""
        channel = self._channel(audio.stream)
        if audio.fence < channel.fence:
            return
        link = audio.link
        channel.fence = audio.fence
        if channel.link != link:
            if channel.link is not None and link < channel.link:
                return
            channel.link, channel.headers = link, audio.headers
            channel.newest = b""
            channel.stale()
        if not audio.data:
            return
        channel.newest, channel.newest_continues = audio.data[audio.last :], audio.last_continues
        self._before()
        if self._is_fenced():
            channel.pass_over_all()
            return
        while channel.rest:
            channel.write_slice()
        for group in list(channel.groups.values()):
            if group.stale:
                group.refresh(link)
            self.pages_passed_over += group.passed_over
            self.pages_delivered += len(group.writers)
            if group.writers:
                self._write(channel, group.writers, group.form(audio.data))
            if group.late:
                self._let_in(channel, group, audio)

    def end(self, stream: str, fence: int) -> None:
        """The leases up to `fence` are over: their audio is not taken any more, and listeners are told."""
        channel = self._channels.get(stream)
        if channel is None or fence < channel.fence:
            return
        channel.fence = fence
        self._before()
        while channel.rest and not self._is_fenced():
            channel.write_slice()
        channel.drop_rest()
        channel.link, channel.headers, channel.newest = None, b"", b""
        for group in list(channel.groups.values()):
            group.stale = True
            for tuned in list(group.members):
                tuned.in_step, tuned.told = False, None
                tuned.listener.over()
        self._forget_if_idle(stream, channel)

    # --- who ---

    def join(self, stream: str, listener: Listener, *, is_muted: bool = False) -> Tuned:
        """Let one listen from now on, to this broadcast and to those that follow; muted, once it is unmuted."""
        channel = self._channel(stream)
        group = channel.groups.get(listener.form)
        if not channel.groups:
            self.opened(stream)
        if group is None:
            group = channel.groups[listener.form] = _Group(listener.form)
        tuned = Tuned(channel, listener)
        group.members[tuned] = None
        group.stale = True
        tuned.is_muted = is_muted
        if channel.link is not None and not is_muted and not self._is_fenced():
            # With the newest page, which may be a second long: waiting for the next one would be heard.
            tuned.told = channel.link
            tuned.in_step = bool(channel.newest) and not channel.newest_continues
            data = channel.headers + channel.newest if tuned.in_step else channel.headers
            write_all([listener.write], listener.form(data))
        return tuned

    def leave(self, stream: str, tuned: Tuned) -> None:
        channel = self._channels.get(stream)
        group = channel.groups.get(tuned.listener.form) if channel is not None else None
        if channel is None or group is None or tuned not in group.members:
            return
        del group.members[tuned]
        group.stale = True
        channel.pass_over(tuned.listener.write)
        if not group.members:
            del channel.groups[tuned.listener.form]
            if not channel.groups:
                self.closed(stream)
        self._forget_if_idle(stream, channel)

    def listeners(self, stream: str) -> int:
        """How many listen to it here."""
        channel = self._channels.get(stream)
        return channel.listeners if channel is not None else 0

    def counts(self) -> dict[str, int]:
        """The streams that somebody listens to here, each with how many do."""
        return {stream: count for stream, channel in self._channels.items() if (count := channel.listeners)}

    @property
    def listeners_in_all(self) -> int:
        return sum(channel.listeners for channel in self._channels.values())

    def fences(self) -> dict[str, int]:
        """The streams that are sent or heard here, each with the fence of the last lease that was heard of."""
        return {stream: channel.fence for stream, channel in self._channels.items()}

    # --- out ---

    def _write(self, channel: _Channel, writers: list[Callable[[bytes], None]], data: bytes) -> None:
        if len(writers) <= SLICE:
            write_all(writers, data)
            return
        write_all(writers[:SLICE], data)
        for start in range(SLICE, len(writers), SLICE):
            channel.rest.append((writers[start : start + SLICE], data))
        self._call_soon(lambda: self._next_slice(channel))

    def _next_slice(self, channel: _Channel) -> None:
        # As ahead of each round: a process that was paused between two slices wakes up to them before its timers.
        self._before()
        if self._is_fenced():
            channel.pass_over_all()
        if channel.rest:
            channel.write_slice()
        if channel.rest:
            self._call_soon(lambda: self._next_slice(channel))

    def _let_in(self, channel: _Channel, group: _Group, audio: Audio) -> None:
        """Give the page to those who are not in step, unless the first thing in it is half a packet to them."""
        bare = whole = None
        link, still_late = channel.link, []
        for tuned in group.late:
            if audio.continues and tuned.waited < CONTINUED_MAX:
                tuned.waited += 1
                still_late.append(tuned)
                continue
            if tuned.told == link:
                bare = data = bare or group.form(audio.data)
            else:
                whole = data = whole or group.form(audio.headers + audio.data)
            tuned.told, tuned.in_step, tuned.waited = link, True, 0
            write_all([tuned.listener.write], data)
            self.pages_delivered += 1
            group.writers.append(tuned.listener.write)
        group.late = still_late

    def _channel(self, stream: str) -> _Channel:
        channel = self._channels.get(stream)
        if channel is None:
            channel = self._channels[stream] = _Channel()
        return channel

    def _forget_if_idle(self, stream: str, channel: _Channel) -> None:
        if channel.link is None and not channel.groups and self._channels.get(stream) is channel:
            del self._channels[stream]


def _nothing(_: str) -> None:
    return
