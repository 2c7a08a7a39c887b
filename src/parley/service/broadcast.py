"""One connection's turn on the air: its lease taken and kept, what it sends checked, paced and handed on.

It is cut where the lease, the right or the audio is at an end; how that is said is its connection's
(`transport/streams.py`). Decides no right and holds no socket.
"""

from collections.abc import Callable
from typing import Any, Final

from parley.delivery.broadcast import Audio
from parley.dialects.ogg import Kind, NotOggOpus, OpusStream, Pages
from parley.domain.errors import Refusal
from parley.domain.leases import Cut, End, Keep, Lease, Take
from parley.domain.principal import OPERATOR, Principal
from parley.domain.streams import GRACE_MS, LAPSE_MS, Look, StreamView
from parley.service.streams import Line, Scheduled, Streams

#: How often a holder's node says that it is still there: a few times within `LAPSE_MS`.
KEEP_S: Final = 1.5
#: Without a good answer for this long a node no longer speaks for its lease: others may have it.
LAPSED_S: Final = LAPSE_MS / 1000
#: A line that broke and the next one of the same session may arrive together: how often, and when, it is tried again.
OWN_TRIES: Final = 3
OWN_TRY_S: Final = 0.1
#: How far ahead of real time a broadcaster may be, and how long it may send nothing.
AHEAD_S_MAX: Final = 10.0
STALLED_S: Final = 10.0
#: Links of one lease that are told apart.
LINKS_MAX: Final = 4096


class Broadcast:
    """One connection's turn on the air, over when `end`, `lost` or `cut` was called.

    `said` is told, once and only where it was not the connection's own doing, why it was cut: what the connection then
    says and closes is its own affair.
    """

    def __init__(self, streams: Streams, stream: str, principal: Principal, said: Callable[[Refusal], None]) -> None:
        self.stream = stream
        self.principal = principal
        self.fence: int | None = None
        self._streams = streams
        self._said = said
        self._over = False
        self._pages = Pages(from_start=True)
        self._opus = OpusStream()
        self._line: Line | None = None
        self._begun_s: float | None = None
        self._page_at_s = 0.0
        self.kept_at_s = 0.0
        self._keeping = False
        self._timers: list[Scheduled | None] = [None, None]
        #: Whether it may not be heard now: its token has expired, or its rights are being asked for.
        self.is_held = False

    @property
    def has_begun(self) -> bool:
        """Whether anything came that is Ogg Opus."""
        return self._opus.links > 0

    @property
    def position_s(self) -> float:
        """Seconds of audio so far."""
        return self._opus.position_s

    # --- the lease ---

    def begin(self, done: Callable[[StreamView | Refusal], None], *, tries: int = OWN_TRIES) -> None:
        """Ask for the lease. `done` with the stream as it is now, or with a Refusal."""
        streams = self._streams
        asked_at_s = streams.clock_s()

        def taken(lease: Lease | Refusal) -> None:
            if isinstance(lease, Refusal) and lease.facts.get("own") and tries and not self._over:
                again_s = streams.clock_s() + OWN_TRY_S
                streams.schedule(again_s, lambda: self.begin(done, tries=tries - 1))
                return
            if isinstance(lease, Refusal):
                self._over = True
                self._count(lease.code)
                done(lease)
                return
            self.fence = lease.fence
            if self._over:  # it went meanwhile
                self._let_go(Cut)
                return
            self._count("accepted")
            self._take_up(lease)
            streams.came(self)
            self.kept_at_s = asked_at_s
            self._page_at_s = streams.clock_s()
            self._timers = [None, None]
            self._keep_later()
            self._watch_for_stalling()
            done(lease.stream)

        streams.ask(Take(stream=self.stream), self.principal, taken)

    def _take_up(self, lease: Lease) -> None:
        """What listeners heard last goes on, where it was sent from here and nothing has been sent elsewhere since."""
        line = self._streams.lines.get(self.stream)
        if line is None:
            return
        if lease.resumes and line.fence == lease.fence - 1:
            line.fence = lease.fence
        else:
            del self._streams.lines[self.stream]

    def _keep_later(self) -> None:
        self._timers[0] = self._streams.schedule(self._streams.clock_s() + KEEP_S, self._keep)

    def _keep(self) -> None:
        if self._over or self._keeping or self.fence is None:
            return
        streams, asked_at_s = self._streams, self._streams.clock_s()
        self._keeping = True

        def kept(is_ours: Any) -> None:
            self._keeping = False
            if self._over:
                return
            if is_ours is True:
                self.kept_at_s = asked_at_s
            elif is_ours is False:
                self._ask_why()
                return
            self._keep_later()

        streams.ask(Keep(stream=self.stream, fence=self.fence), OPERATOR, kept)

    def _ask_why(self) -> None:
        """The lease is not ours any more, and the news of it has not come: somebody else has it, or it was stopped."""

        def answered(found: Any) -> None:
            view, _ = (None, 0) if isinstance(found, Refusal) else found.get(self.stream, (None, 0))
            taken = view is not None and view.live
            self.cut(
                Refusal("already_live", "The lease lapsed, and somebody took it.") if taken else Refusal("stopped")
            )

        self._streams.ask(Look(streams=[self.stream]), OPERATOR, answered, writes=False)

    # --- the audio ---

    def feed(self, data: bytes) -> None:
        """What the connection brought. Cuts it where that is not Ogg Opus, or too fast."""
        if self._over or self.fence is None:
            return
        streams, opus = self._streams, self._opus
        now_s = streams.clock_s()
        heard: list[tuple[bytes, bool]] = []
        wrong: NotOggOpus | None = None
        try:
            for page in self._pages.feed(data):
                kind = opus.take(page)
                if kind is Kind.HEADER:
                    if opus.is_ready and self._begins_anew():
                        self._carry(heard)
                        heard = []
                        self._line = streams.lines[self.stream] = Line(self.fence, self._number(), opus)
                elif kind is Kind.AUDIO and not self.is_held:
                    assert self._line is not None
                    heard.append((self._line.page(page, opus.page_samples), page.continued))
                    self._page_at_s = now_s
        except NotOggOpus as found:
            wrong = found
        self._carry(heard)
        if self._begun_s is None and opus.links:
            self._begun_s = now_s
        if wrong is not None:
            self.cut(Refusal("not_ogg_opus", f"The body is not Ogg Opus: {wrong}."))
        elif self._begun_s is not None and opus.paced_s - (now_s - self._begun_s) > AHEAD_S_MAX:
            told = f"The broadcast is more than {AHEAD_S_MAX:g} s ahead of real time."
            self.cut(Refusal("rate_limited", told, retry_after=1))

    def _begins_anew(self) -> bool:
        """Whether listeners need these headers: else what they hear goes on."""
        if self._line is None:
            self._line = self._streams.lines.get(self.stream)  # that of before a cut
        return self._line is None or self._line.head != self._opus.head

    def _number(self) -> int:
        # Rises with every lease and every link, on whatever node.
        assert self.fence is not None
        return self.fence * LINKS_MAX + min(self._opus.links, LINKS_MAX - 1)

    def _carry(self, pages: list[tuple[bytes, bool]]) -> None:
        """Hand on pages, of each whether it begins within a packet of the one before."""
        if not pages or self._line is None or self.fence is None:
            return
        if self._streams.clock_s() - self.kept_at_s > LAPSED_S:
            self._keep()  # woken after a pause: until the store says so, the lease may be another's
            return
        line, (newest, newest_continues) = self._line, pages[-1]
        data = newest if len(pages) == 1 else b"".join(page for page, _ in pages)
        self._streams.carry(
            Audio(
                self.stream,
                self.fence,
                line.number,
                line.headers,
                data,
                pages[0][1],
                len(data) - len(newest),
                newest_continues,
            )
        )

    def _watch_for_stalling(self) -> None:
        if self._over:
            return
        now_s = self._streams.clock_s()
        if self.is_held:
            self._page_at_s = now_s  # what it sends is not looked at
        if now_s - self._page_at_s >= STALLED_S:
            self.cut(Refusal("stalled", f"No page of audio came for {STALLED_S:g} s."))
            return
        self._timers[1] = self._streams.schedule(self._page_at_s + STALLED_S, self._watch_for_stalling)

    # --- its end ---

    def reconsider(self) -> None:
        """Something about who may broadcast has changed."""

        def answered(outcome: StreamView | Refusal) -> None:
            if isinstance(outcome, Refusal) and outcome.status in (401, 403, 404):
                code = outcome.code if outcome.code == "token_revoked" else "forbidden"
                self.cut(Refusal(code))

        if not self._over:
            self._streams.may(self.stream, "publish", self.principal, answered)

    def end(self) -> None:
        """The broadcaster has said that it is done."""
        if self._line is not None and not self._over:
            self._carry([(self._line.end(), False)])
        self._finish(End)

    def lost(self) -> None:
        """Its connection is gone: the place is kept for a while."""
        self._finish(Cut)

    def cut(self, refusal: Refusal) -> None:
        """It may not go on. What was the network's or the encoder's fault leaves it the grace to come back."""
        if self._over:
            return
        self._count(refusal.code)
        comes_back = refusal.code in ("stalled", "rate_limited", "token_expired", "unavailable")
        self._finish(Cut if comes_back else End)
        self._said(refusal)

    def _finish(self, how: type[Keep]) -> None:
        if self._over:
            return
        self._over = True
        for timer in self._timers:
            if timer is not None:
                timer.cancel()
        self._streams.went(self)
        if self.fence is not None:
            self._let_go(how)

    def _let_go(self, how: type[Keep]) -> None:
        streams, stream, fence = self._streams, self.stream, self.fence
        assert fence is not None
        if how is Cut:
            over = End(stream=stream, fence=fence)
            streams.schedule(streams.clock_s() + GRACE_MS / 1000, lambda: streams.ask(over, OPERATOR, _nothing))
        streams.ask(how(stream=stream, fence=fence), OPERATOR, _nothing)

    def _count(self, code: str) -> None:
        outcomes = self._streams.outcomes
        outcomes[code] = outcomes.get(code, 0) + 1


def _nothing(_: Any) -> None:
    return
