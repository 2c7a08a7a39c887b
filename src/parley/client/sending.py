"""Messages on their way: each is sent, and after a lost line sent again, with one `client_id`, until it is answered.

Knows no rooms and opens no lines: `connection.py` hands over each new one.

A message is *doubtful* once it was written to a line that ended before the answer. It may be stored already, so a
passing refusal of it is no answer; and it is sent alone, so that messages keep the order in which they were given.
"""

import asyncio
import functools
import json
import random
from collections import deque
from typing import Any, Final

from parley.client.errors import CommandRefused, ConnectionLost
from parley.client.line import Line

WAITING_MAX: Final = 1000
#: How often a passing refusal of a doubtful message is taken for "later" before its sender hears it.
PATIENCE: Final = 20


class _Sending:
    __slots__ = ("attempts", "doubtful", "future", "is_written", "params")

    def __init__(self, params: dict[str, Any], future: "asyncio.Future[Any]") -> None:
        self.params = params
        self.future = future
        self.is_written = False
        self.doubtful = False
        self.attempts = 0


class Outgoing:
    """The messages of one connection that are not answered yet, in the order given; at most WAITING_MAX."""

    def __init__(self) -> None:
        self._waiting: deque[_Sending] = deque()
        self._line: Line | None = None
        self._held = False
        self._retrying: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    async def add(self, params: dict[str, Any]) -> Any:
        """The result of `message.send`; `params` bring a `client_id`.

        Raises: CommandRefused (`limit_exceeded` where too many wait already), and whatever `fail` is told.
        """
        if len(self._waiting) >= WAITING_MAX:
            raise CommandRefused("limit_exceeded", 429, f"{WAITING_MAX} messages wait already")
        json.dumps(params, allow_nan=False)  # what is no JSON fails here, not between others' messages
        sending = _Sending(params, asyncio.get_running_loop().create_future())
        self._waiting.append(sending)
        self._pump()
        try:
            return await sending.future
        finally:
            if sending in self._waiting:  # given up by its sender
                self._waiting.remove(sending)

    def open(self, line: Line) -> None:
        self._line = line
        self._held = False
        self._pump()

    def hold(self) -> None:
        """The token runs out: what waits keeps waiting until `open`, or messages would overtake each other."""
        self._held = True

    def close(self) -> None:
        self._line = None
        if self._retrying is not None:
            self._retrying.cancel()
            self._retrying = None

    def fail(self, error: Exception) -> None:
        """Nothing will be sent any more."""
        self.close()
        waiting, self._waiting = self._waiting, deque()
        for sending in waiting:
            if not sending.future.done():
                sending.future.set_exception(error)
                sending.future.exception()  # whoever still awaits it hears it; nobody else needs to be told

    def _pump(self) -> None:
        line = self._line
        if line is None or self._held or self._retrying is not None:
            return
        for sending in list(self._waiting):
            if sending.is_written:
                if sending.doubtful:
                    return
                continue
            if sending.doubtful and sending is not self._waiting[0]:
                return
            sending.is_written = True
            line.request("message.send", sending.params, functools.partial(self._answered, line, sending))
            if sending.doubtful:
                return

    def _answered(self, line: Line, sending: _Sending, result: Any) -> None:
        if isinstance(result, ConnectionLost):
            sending.is_written = False
            sending.doubtful = True
            return
        if isinstance(result, CommandRefused) and line is self._line:
            if result.code == "token_expired":
                # Refused for the line's sake, and certainly not stored by this attempt.
                sending.is_written = False
                self._held = True
                return
            if sending.doubtful and result.passes and sending.attempts < PATIENCE:
                sending.attempts += 1
                sending.is_written = False
                pause_s = result.retry_after_s or 1 + random.random()  # noqa: S311 (jitter)
                self._retrying = asyncio.get_running_loop().call_later(pause_s, self._retry)
                return
        if sending in self._waiting:
            self._waiting.remove(sending)
        if not sending.future.done():
            if isinstance(result, CommandRefused):
                sending.future.set_exception(result)
            else:
                sending.future.set_result(result)
        self._pump()

    def _retry(self) -> None:
        self._retrying = None
        self._pump()
