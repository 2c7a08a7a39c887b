"""A connection to Parley that outlives its lines: it reconnects, renews its token, resumes its rooms and sends again.

Holds what must survive a line; one line is `line.py`, one room `subscription.py`, unanswered messages `sending.py`.
"""

import asyncio
import logging
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self

from parley.client.admission import Admission, lives_longer
from parley.client.close_codes import FINAL, TOKEN_REFUSED, Timing, delay_s
from parley.client.credentials import Credentials, TokenCallback, chosen, origins
from parley.client.errors import (
    CommandRefused,
    ConnectionLost,
    ParleyError,
    SessionRefused,
    SubscriptionEnded,
)
from parley.client.line import Carrier, Line
from parley.client.sending import Outgoing
from parley.client.subscription import Signal, Subscription, tell

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class State:
    """`reason` is a close reason or a code; `retry_in_s` is set while the next attempt waits."""

    name: Literal["connecting", "live", "reconnecting", "ended"]
    reason: str = ""
    retry_in_s: float | None = None


def connect(
    url: str,
    *,
    token: str | None = None,
    token_callback: TokenCallback | None = None,
    username: str | None = None,
    password: str | None = None,
    carrier: Carrier = "header",
    timing: Timing | None = None,
    on_state: Callable[[State], None] | None = None,
    on_notice: Callable[[str, dict[str, Any]], None] | None = None,
) -> "Chat":
    """A connection to the server at `url` (`http(s)://` or `ws(s)://`): `async with connect(…) as chat:`.

    Who we are is one of `token`, `token_callback` (an async callable; asked again for each new token) and `username`
    with `password`. `carrier` says how the token travels. `on_state` hears each change of state; `on_notice(method,
    params)` each notification that no subscription takes (`session.expiring`, `session.closing`, …).

    Entering raises SessionRefused or ConnectionLost; only what came up once is brought up again.
    """
    http, ws = origins(url)
    credentials = chosen(http, token=token, token_callback=token_callback, username=username, password=password)
    assert credentials is not None
    return Chat(f"{ws}/ws", credentials, carrier, timing or Timing(), on_state, on_notice)


class Chat:
    """Made by `connect`. `session` is who we are, as `session.describe` has it."""

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        carrier: Carrier,
        timing: Timing,
        on_state: Callable[[State], None] | None,
        on_notice: Callable[[str, dict[str, Any]], None] | None,
    ) -> None:
        self.state = State("connecting")
        self.session: dict[str, Any] = {}
        self._url = url
        self._credentials = credentials
        self._admission = Admission(credentials)
        self._carrier: Carrier = carrier
        self._timing = timing
        self._on_state = on_state
        self._on_notice = on_notice
        self._line: Line | None = None
        self._subscriptions: dict[str, Subscription] = {}
        self._outgoing = Outgoing()
        self._changed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        # Raised to all who ask from then on, each time without the traceback of the times before: they would pile up.
        self._ended: ParleyError | None = None
        self._attempts = 0

    async def __aenter__(self) -> Self:
        try:
            self._welcome(await self._let_in())
        except BaseException:
            await self._credentials.close()
            raise
        self._keeper = asyncio.create_task(self._keep())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- for the user ---

    async def call(self, command: str, /, **params: Any) -> Any:
        """The result of any command. `message.send` waits for a line and is sent again until it is answered.

        Raises: CommandRefused; ConnectionLost where the line is, or gets, lost; SessionRefused where all is over.
        """
        if self._ended is not None:
            raise self._ended.with_traceback(None)
        if command == "message.send":
            if params.get("client_id") is None:
                params["client_id"] = secrets.token_hex(16)
            return await self._outgoing.add(params)
        if self._line is None:
            raise ConnectionLost("not connected")
        return await self._line.call(command, params)

    async def send(
        self,
        room: str,
        text: str,
        *,
        client_id: str | None = None,
        reply_to: str | None = None,
        data: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The message as it is stored, once it is durable. Raises: CommandRefused, SessionRefused."""
        params: dict[str, Any] = {"room": room, "text": text, "client_id": client_id}
        if reply_to is not None:
            params["reply_to"] = reply_to
        if data is not None:
            params["data"] = data
        message: dict[str, Any] = (await self.call("message.send", **params))["message"]
        return message

    async def subscribe(
        self,
        room: str,
        *,
        after: int | None = None,
        epoch: str | None = None,
        on_signal: Callable[[Signal], None] | None = None,
    ) -> Subscription:
        """Follow a room: from now, or from behind `after`, in the log that `epoch` names. One for each room.

        Raises: CommandRefused (`not_found`, `banned`, …), SessionRefused; ValueError where it is followed already.
        """
        if self._ended is not None:
            raise self._ended.with_traceback(None)
        held = self._subscriptions.get(room)
        if held is not None and not held.is_over:
            raise ValueError(f"already subscribed to {room}")
        self._subscriptions = {name: held for name, held in self._subscriptions.items() if not held.is_over}
        subscription = self._subscriptions[room] = Subscription(room, after, epoch, on_signal)
        if self._line is not None:
            subscription.resume(self._line)
        try:
            await subscription.ready
        except BaseException:
            await subscription.close()
            raise
        return subscription

    def notify(self, command: str, /, **params: Any) -> None:
        """A command whose answer does not matter (`typing.set`); without a line it is forgotten."""
        if self._line is not None:
            self._line.notify(command, params)

    async def live(self) -> None:
        """Wait until there is a line. Raises: SessionRefused where there will be none."""
        # A line that is over is no line, also before we have come round to leaving it: who tries again in a loop would
        # otherwise never let us.
        while self._line is None or self._line.over.done():
            if self._ended is not None:
                raise self._ended.with_traceback(None)
            self._changed.clear()
            await self._changed.wait()

    async def close(self) -> None:
        """Say goodbye. What waits for an answer fails with ConnectionLost; iterations end."""
        line = self._line
        if self._keeper is not None:
            self._keeper.cancel()
        tasks = [] if self._keeper is None else [self._keeper]
        self._finish(ConnectionLost("closed", 1000))
        if line is not None:
            await line.close()
        await asyncio.gather(*tasks, self._admission.close(), return_exceptions=True)
        await self._credentials.close()

    # --- keeping a line ---

    async def _let_in(self) -> Line:
        return await self._admission.open(
            lambda token: Line.open(self._url, token, carrier=self._carrier, timing=self._timing, heard=self._heard)
        )

    async def _keep(self) -> None:
        try:
            while True:
                line = self._line
                assert line is not None
                lost = await asyncio.shield(line.over)  # a cancelled `_keep` must not cancel what others look at
                if self._ended is not None:
                    return
                self._leave(line)
                if asyncio.get_running_loop().time() - line.opened_at_s > self._timing.lasting_s:
                    self._attempts = 0
                self._welcome(await self._come_back(lost, line.token))
        except ParleyError as refusal:
            self._finish(refusal)
        except Exception as bug:
            log.exception("the connection broke")
            self._finish(ConnectionLost(type(bug).__name__))

    async def _come_back(self, lost: ConnectionLost, token: str | None) -> Line:
        while True:
            if lost.code in FINAL:
                raise SessionRefused.by_close(lost.code, lost.reason)
            if lost.code == TOKEN_REFUSED:
                self._admission.refused(token, SessionRefused.by_close(lost.code, lost.reason))
            # Jitter is no secret; the module `random` is meant for it.
            pause_s = delay_s(lost.code, self._attempts, self._timing, random.random())  # noqa: S311
            pause_s = max(pause_s, lost.retry_after_s or 0)
            self._attempts += 1
            self._enter(State("reconnecting", lost.reason, pause_s))
            await asyncio.sleep(pause_s)
            try:
                return await self._let_in()
            except ConnectionLost as again:
                lost = again
            except SessionRefused as refusal:
                if not refusal.passes:
                    raise
                lost = ConnectionLost(refusal.code, retry_after_s=refusal.retry_after_s)
            except Exception as error:
                # A token callback may raise anything: its server may be away as well as ours.
                lost = ConnectionLost(f"token_callback ({type(error).__name__})")

    def _welcome(self, line: Line) -> None:
        if self.session and line.session["subject"] != self.session["subject"]:
            # What waits to be sent, and what is followed, are another person's.
            line.leave("subject_mismatch")
            raise SessionRefused("subject_mismatch", 401, "the new token is for somebody else")
        self._line = line
        self.session = line.session
        self._enter(State("live"))
        self._carry_on(line)

    def _carry_on(self, line: Line) -> None:
        for subscription in list(self._subscriptions.values()):
            if not subscription.is_live:
                subscription.resume(line)
        self._outgoing.open(line)

    def _leave(self, line: Line) -> None:
        if self._line is line:
            self._line = None
            self._outgoing.close()
            for subscription in self._subscriptions.values():
                subscription.pause()

    def _finish(self, error: ParleyError) -> None:
        if self._ended is not None:
            return
        self._ended = error
        line = self._line
        if line is not None:
            self._leave(line)
        self._outgoing.fail(error)
        # Closed by ourselves: whoever reads a room has read all there is.
        end: Exception = StopAsyncIteration() if isinstance(error, ConnectionLost) and error.code == 1000 else error
        for subscription in self._subscriptions.values():
            subscription.end(end)
        self._subscriptions.clear()
        self._enter(State("ended", error.code if isinstance(error, SessionRefused) else str(error)))

    def _enter(self, state: State) -> None:
        self.state = state
        self._changed.set()
        if self._on_state is not None:
            tell(self._on_state, state)

    # --- what the server says by itself ---

    def _heard(self, line: Line, method: str, params: dict[str, Any]) -> None:
        if method == "session.expiring":
            # It may come before the line is ours: where less than the margin is left, it comes first of all.
            self._admission.expiring(line, self._timing.retry_s, lambda token: self._present(line, token))
        room = params.get("room")
        subscription = self._subscriptions.get(room) if isinstance(room, str) else None
        if method == "event" and subscription is not None:
            subscription.take(params)
        elif method == "signal" and subscription is not None:
            subscription.hear(params)
        elif method == "subscription.ended" and subscription is not None:
            del self._subscriptions[subscription.room]
            subscription.end(SubscriptionEnded(subscription.room, params.get("reason", "")))
        else:
            if method == "session.changed" and self._line is line:
                self.session = {**self.session, "roles": params.get("roles", [])}
            if self._on_notice is not None:
                tell(self._on_notice, method, params)

    async def _present(self, line: Line, token: str) -> bool:
        # Held until the answer: a message behind the old token's end would be refused, and the next one not.
        self._outgoing.hold()
        try:
            session = await line.call("session.refresh", {"token": token})
        except CommandRefused as refused:
            if self._line is line:
                self._outgoing.open(line)
            if refused.code == "subject_mismatch":
                self._finish(SessionRefused(refused.code, refused.status, refused.message))
                line.leave(refused.code)
                return True
            raise
        before = line.session
        line.token, line.session = token, session
        if self._line is line:
            self.session = session
            self._carry_on(line)
        return lives_longer(session, before)
