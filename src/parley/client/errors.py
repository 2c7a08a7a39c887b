"""What the client raises: a refusal by its `code`, a line that was lost, a subscription that ended.

Holds facts, never a token or a password; what follows from an error is decided by `connection.py` and by the caller.
"""

import json
from collections.abc import Mapping
from typing import Any, Self

from parley.client.close_codes import ABNORMAL

DAY_S = 86_400


class ParleyError(Exception):
    """The base of everything that the client raises by itself."""


class Refused(ParleyError):
    """The server's "no": `code` names it, `status` is HTTP's, `data` what else it says (`field`, `retry_after`)."""

    def __init__(self, code: str, status: int, message: str = "", data: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.status = status
        self.message = message
        self.data = dict(data or {})

    @property
    def retry_after_s(self) -> float | None:
        """Seconds after which the same request makes sense again, where the server named them."""
        try:
            seconds = float(self.data["retry_after"])
        except (KeyError, TypeError, ValueError):
            return None
        return seconds if 0 <= seconds < DAY_S else None

    @property
    def passes(self) -> bool:
        """Whether the very same request may succeed a little later."""
        return self.status >= 500 or self.code == "rate_limited"

    @classmethod
    def of_rpc(cls, error: object) -> Self:
        """From the `error` member of a JSON-RPC answer."""
        members = error if isinstance(error, dict) else {}
        data = members.get("data")
        data = data if isinstance(data, dict) else {}
        code, status = data.get("code"), data.get("status")
        return cls(
            code if isinstance(code, str) else "internal",
            status if isinstance(status, int) else 500,
            str(members.get("message", "")),
            data,
        )

    @classmethod
    def of_http(cls, status: int, body: bytes, headers: Mapping[str, str]) -> Self:
        """From an answer of HTTP. One that is no problem+json, as a proxy in between gives, becomes `http_<status>`."""
        try:
            problem = json.loads(body)
        except ValueError:
            problem = None
        problem = problem if isinstance(problem, dict) else {}
        code = problem.get("code")
        data = {"retry_after": headers["retry-after"], **problem} if "retry-after" in headers else problem
        return cls(code if isinstance(code, str) else f"http_{status}", status, str(problem.get("detail", "")), data)


class CommandRefused(Refused):
    """One command was refused; the connection lives on."""


class SessionRefused(Refused):
    """Nobody is let in, or no longer: a bad token or password, or a close after which coming back is wrong.

    `close_code` is that of the socket, None where it was refused before.
    """

    close_code: int | None = None

    @classmethod
    def by_close(cls, close_code: int, reason: str) -> "SessionRefused":
        status = {4401: 401, 4403: 403, 4409: 409}.get(close_code, 400)
        refusal = cls(reason or f"closed_{close_code}", status, f"the server closed with {close_code}")
        refusal.close_code = close_code
        return refusal


class NoOtherToken(SessionRefused):
    """A new token is needed, and whoever gives tokens has only the one that was refused."""

    def __init__(self) -> None:
        super().__init__("token_expired", 401, "there is no newer token")


class ConnectionLost(ParleyError):
    """No answer will come: the line is, or got, lost. Whether the command took effect is not known.

    `code` is the close code, 1006 where there was none; `retry_after_s` is set where the server named it.
    """

    def __init__(self, reason: str, code: int = ABNORMAL, retry_after_s: float | None = None) -> None:
        super().__init__(f"the connection was lost: {reason or code}")
        self.reason = reason
        self.code = code
        self.retry_after_s = retry_after_s


class SubscriptionEnded(ParleyError):
    """The server ended a subscription: `reason` is `removed`, `banned`, `left`, `forbidden`, or a refusal's code."""

    def __init__(self, room: str, reason: str) -> None:
        super().__init__(f"the subscription to {room} ended: {reason}")
        self.room = room
        self.reason = reason
