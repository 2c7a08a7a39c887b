"""A stream's socket that outlives its lines, for who broadcasts and for who listens.

Dials, renews the token, notices a dead line soon, and comes back. What travels over it is `broadcasting.py` and
`listening.py`; one line is `line.py`.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final
from urllib.parse import quote

from parley.client.admission import Admission, lives_longer
from parley.client.close_codes import FINAL, TOKEN_REFUSED, Timing, delay_s
from parley.client.connection import State
from parley.client.credentials import Credentials
from parley.client.errors import CommandRefused, ConnectionLost, SessionRefused
from parley.client.line import Carrier, Line, Sound

PROTOCOL: Final = "parley.stream.v1"
#: A broadcaster's place is kept for 10 s: coming back must be tried several times within that.
SOON: Final = Timing(retry_s=0.5, retry_max_s=4)
#: A line that lets this pass without answering a ping is dead; the first is sent every so often.
PULSE_S: Final = 2.0
PULSE_MISSED_S: Final = 5.0

#: Says whether a refusal, or a close with this code, is the end. `was_up`: a line has been up before.
Judge = Callable[[ConnectionLost | SessionRefused, bool], bool]


class StreamSocket:
    """`path` is `publish` or `listen`; without `credentials` it is a public stream that is listened to.

    `wanted` returns when a line is: there is none before.
    """

    def __init__(
        self,
        ws: str,
        stream: str,
        path: str,
        credentials: Credentials | None,
        *,
        carrier: Carrier = "header",
        timing: Timing = SOON,
        sound: Sound | None = None,
        on_state: Callable[[State], None] = lambda state: None,
        on_stream: Callable[[dict[str, Any]], None] = lambda stream: None,
        is_over: Judge | None = None,
        wanted: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._url = f"{ws}/streams/{quote(stream, safe='')}/{path}"
        self._credentials = credentials
        self._admission = None if credentials is None else Admission(credentials)
        self._carrier: Carrier = carrier
        self._timing = timing
        self._sound = sound
        self._on_state = on_state
        self._on_stream = on_stream
        self._is_over = is_over or (lambda end, was_up: False)
        self._wanted = wanted
        self._attempts = 0
        #: The loop's time when the last line ended; None before the first was up.
        self.lost_at_s: float | None = None
        self._was_up = False

    async def run(self, use: Callable[[Line], Coroutine[Any, Any, None]]) -> None:
        """Give each line to `use`, until that returns or raises; a line's end cancels it, and the next one begins it.

        Raises: SessionRefused, ConnectionLost where no line comes up, or where coming back is wrong.
        """
        self._on_state(State("connecting"))
        try:
            while True:
                if self._wanted is not None:
                    await self._wanted()
                try:
                    line = await self._open()
                    lost = await self._used(line, use)
                    if lost is None:
                        return
                    self._note(line, lost)
                    end: ConnectionLost | SessionRefused = self._judged(lost)
                except (ConnectionLost, SessionRefused) as refused:
                    end = refused
                await self._pause(end)
        finally:
            if self._admission is not None:
                await self._admission.close()
            if self._credentials is not None:
                await self._credentials.close()

    async def _open(self) -> Line:
        if self._admission is None:
            return await self._dial(None)
        return await self._admission.open(self._dial)

    async def _dial(self, token: str | None) -> Line:
        return await Line.open(
            self._url,
            token,
            carrier=self._carrier,
            timing=self._timing,
            heard=self._heard,
            protocol=PROTOCOL,
            sound=self._sound,
        )

    async def _used(self, line: Line, use: Callable[[Line], Coroutine[Any, Any, None]]) -> ConnectionLost | None:
        """None where `use` was done with it."""
        self._was_up = True
        self._on_state(State("live"))
        using = asyncio.create_task(use(line))
        pulse = asyncio.create_task(_watch(line))
        try:
            either: set[asyncio.Future[Any]] = {using, line.over}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if using.done():
                with contextlib.suppress(ConnectionLost):
                    using.result()
                    await line.close()
                    return None
            return await asyncio.shield(line.over)
        except BaseException:
            line.leave("given up")
            raise
        finally:
            for task in (using, pulse):
                task.cancel()
            await asyncio.gather(using, pulse, return_exceptions=True)

    def _note(self, line: Line, lost: ConnectionLost) -> None:
        now_s = asyncio.get_running_loop().time()
        self.lost_at_s = now_s
        if now_s - line.opened_at_s > self._timing.lasting_s:
            self._attempts = 0
        if lost.code == TOKEN_REFUSED and self._admission is not None:
            self._admission.refused(line.token, SessionRefused.by_close(lost.code, lost.reason))

    def _judged(self, lost: ConnectionLost) -> ConnectionLost | SessionRefused:
        """A close of ours to be final becomes the refusal that it is."""
        return SessionRefused.by_close(lost.code, lost.reason) if lost.code in FINAL else lost

    async def _pause(self, end: ConnectionLost | SessionRefused) -> None:
        """Wait for the time to come back. Raises: `end`, where that is not to be."""
        if self._is_over(end, self._was_up):
            raise end
        if isinstance(end, SessionRefused):
            if end.close_code != 4409 and not (self._was_up and end.passes):
                raise end
            code, reason = end.close_code or 0, end.code
        else:
            if not self._was_up:
                raise end
            code, reason = end.code, end.reason
        pause_s = delay_s(code, self._attempts, self._timing, random.random())  # noqa: S311
        pause_s = max(pause_s, end.retry_after_s or 0)
        self._attempts += 1
        self._on_state(State("reconnecting", reason, pause_s))
        await asyncio.sleep(pause_s)

    def _heard(self, line: Line, method: str, params: dict[str, Any]) -> None:
        if method == "session.expiring" and self._admission is not None:
            self._admission.expiring(line, self._timing.retry_s, lambda token: _present(line, token))
        elif method == "signal" and params.get("type") == "stream.changed":
            stream = (params.get("data") or {}).get("stream")
            if isinstance(stream, dict):
                self._on_stream(stream)


async def _present(line: Line, token: str) -> bool:
    try:
        session = await line.call("session.refresh", {"token": token})
    except CommandRefused as refused:
        if refused.code == "subject_mismatch":
            raise SessionRefused(refused.code, refused.status, refused.message) from None
        raise
    before = line.session
    line.token, line.session = token, session
    return lives_longer(session, before)


async def _watch(line: Line) -> None:
    """Networks that swallow say nothing, and the place on the air is kept for seconds only."""
    with contextlib.suppress(ConnectionLost):
        while True:
            try:
                async with asyncio.timeout(PULSE_MISSED_S):
                    await line.pong()
            except TimeoutError:
                line.leave("silent")
                return
            await asyncio.sleep(PULSE_S)
