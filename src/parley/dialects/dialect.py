"""What every dialect is to the rest: requests come out of it, answers and news go in, bytes come out.

The codecs are its implementations; connections and the hub know only this.
"""

from typing import Any, Protocol

from msgspec import Struct

from parley.domain.commands import Command
from parley.domain.errors import Refusal
from parley.domain.events import Event, Signal
from parley.domain.params import Params


class Batch:
    """Requests that are answered together, once all the answers that are `due` are there.

    `waiting` is for whoever carries them out: what may not come before that.
    """

    __slots__ = ("answers", "due", "waiting")

    def __init__(self) -> None:
        self.due = 0
        self.answers: list[bytes] = []
        self.waiting: list[Any] = []

    @property
    def is_answered(self) -> bool:
        return len(self.answers) == self.due


class Request(Struct, eq=False):
    """One request of a client, decoded: either a command's row with its parameters, or why it is refused.

    `method` is the name it asked for, where it had one. `id` and `batch` are the dialect's own, for the answer.
    `greeting` is what the message brings that opens a session in a dialect that has one of its own, None in every
    other. What is aside is refused without consequence, also before a session is open.
    """

    row: Command | None
    params: Params | None
    refusal: Refusal | None = None
    id: Any = None
    batch: Any = None
    method: str | None = None
    greeting: Any = None
    is_aside: bool = False


class Ended(Exception):
    """What came ends the connection: close it with this code, of the native column of the close codes."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Dialect(Protocol):
    """A codec's face. Every method returns whole messages, without the transport's framing."""

    name: str

    def receive(self, data: bytes) -> list[Request]:
        """The requests in one text message, in order. Raises: Ended, for what the protocol does not forgive."""

    def receive_binary(self, data: bytes) -> list[Request]:
        """As `receive`, for a binary message."""

    def result(self, request: Request, result: Any) -> bytes | None:
        """The answer; None where none is due (a notification, a batch that still waits for others)."""

    def refused(self, request: Request, refusal: Refusal) -> bytes | None: ...
    def notice(self, name: str, body: dict[str, Any]) -> bytes | None:
        """A session's own news: `session.expiring`, `subscription.ended`, `ping`, ...; None before it is open."""

    def goodbye(self, code: int) -> bytes | None:
        """The last message before a close with this code, where the dialect has one."""


class Telling(Protocol):
    """How a dialect tells events and signals, where it tells all its clients the same."""

    def event(self, event: Event) -> bytes: ...
    def signal(self, signal: Signal) -> bytes: ...
