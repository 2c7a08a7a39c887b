"""Getting a line with a token that the server takes, and putting newer tokens on it while it lives.

Knows what was said of the last token, so that it is not shown again. When to come back after a line is decided by
`connection.py` and `stream_socket.py`; where tokens come from is `credentials.py`.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

from parley.client.close_codes import TOKEN_REFUSED
from parley.client.credentials import Credentials
from parley.client.errors import CommandRefused, ConnectionLost, NoOtherToken, SessionRefused
from parley.client.line import Line

log = logging.getLogger(__name__)

#: How many fresh tokens may be refused in a row before we stop asking for more.
FRESH_TOKENS_MAX: Final = 2


class Admission:
    """Made once for all lines of one connection."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        #: The token that must not be shown again, and what was said of it.
        self._spent: str | None = None
        self._refusal: SessionRefused | None = None
        self._renewing: tuple[Line, asyncio.Task[None]] | None = None

    async def open(self, dial: Callable[[str], Awaitable[Line]]) -> Line:
        """A new line, with a new token for as long as those are refused and there is hope. Raises as `Line.open`."""
        for _ in range(1 + FRESH_TOKENS_MAX):
            try:
                token = await self._credentials.access(self._spent)
            except NoOtherToken as none:
                raise self._refusal or none from None
            try:
                line = await dial(token)
            except SessionRefused as refusal:
                if refusal.status != 401:
                    raise
                self.refused(token, refusal)
            else:
                self._refusal = None
                return line
        assert self._refusal is not None
        raise self._refusal

    def refused(self, token: str | None, refusal: SessionRefused) -> None:
        """A line ended because of its token."""
        self._spent, self._refusal = token, refusal

    def expiring(self, line: Line, retry_s: float, present: Callable[[str], Awaitable[bool]]) -> None:
        """Put a new token on the living line, in time. Where there is none, the server will say so by its close.

        `present` hands the token to the server, notes it on the line, and says whether it lives longer than the one
        before. It raises CommandRefused, ConnectionLost, as `Line.call` does.
        """
        before: asyncio.Task[None] | None = None
        if self._renewing is not None:
            of, before = self._renewing
            if of is not line:
                before.cancel()
                before = None
        self._renewing = line, asyncio.create_task(self._renew(line, retry_s, present, before))

    async def close(self) -> None:
        if self._renewing is not None:
            self._renewing[1].cancel()
            await asyncio.gather(self._renewing[1], return_exceptions=True)

    async def _renew(
        self,
        line: Line,
        retry_s: float,
        present: Callable[[str], Awaitable[bool]],
        before: asyncio.Task[None] | None,
    ) -> None:
        if before is not None:
            # A token that lives for less than the margin is told of as soon as it is taken: before whoever has brought
            # it could note that.
            await asyncio.gather(before, return_exceptions=True)
        spent, pause_s = line.token, retry_s
        while not line.over.done():
            try:
                token = await self._asked(spent)
                if token is None:
                    pass
                elif await present(token):
                    return
                else:
                    # Made in the same second as the one before, it ends with it, and nobody warns of an end twice.
                    spent = token
            except SessionRefused as refusal:
                if not refusal.passes:
                    return
            except CommandRefused as refused:
                if refused.status == 401:
                    spent = token  # a bad one from whoever gives tokens: another may be better
                elif not refused.passes:
                    # A server that can't renew in place: come back at once, with the new token.
                    line.leave("token_expiring", TOKEN_REFUSED)
                    return
            except ConnectionLost:
                pass
            await asyncio.sleep(pause_s * (1 + random.random()))  # noqa: S311
            pause_s *= 2

    async def _asked(self, spent: str | None) -> str | None:
        """A token beside `spent`; None where whoever gives tokens failed, by whatever it raised."""
        try:
            return await self._credentials.access(spent)
        except (SessionRefused, ConnectionLost):
            raise
        except Exception as error:
            log.warning("the token callback failed: %s", type(error).__name__)
            return None


def lives_longer(session: dict[str, Any], before: dict[str, Any]) -> bool:
    """Whether this session, as `session.describe` and `session.refresh` have it, ends after that one."""
    return bool(session.get("expires_at") != before.get("expires_at"))
