"""What every dialect is to the rest: requests come out of it, answers and news go in, bytes come out.

The codecs are its implementations; connections and the hub know only this.
"""

from typing import Any, Protocol

from parley.domain.commands import Command
from parley.domain.errors import Refusal
from parley.domain.events import Event, Signal
from parley.domain.params import Params


class Request:
    """One request of a client, decoded: either a command's row with its parameters, or why it is refused.

    `method` is the name it asked for, where it had one. `id` and `batch` are the dialect's own, for the answer.
    """

    __slots__ = ("batch", "id", "method", "params", "refusal", "row")

    def __init__(
        self,
        row: Command | None,
        params: Params | None,
        refusal: Refusal | None = None,
        *,
        id: Any = None,
        batch: Any = None,
        method: str | None = None,
    ) -> None:
        self.row = row
        self.params = params
        self.refusal = refusal
        self.id = id
        self.batch = batch
        self.method = method


class Dialect(Protocol):
    """A codec's face. Every method returns whole messages, without the transport's framing."""

    name: str

    def receive(self, data: bytes) -> list[Request]:
        """The requests in one message, in order. Never raises for what a client may send."""

    def result(self, request: Request, result: Any) -> bytes | None:
        """The answer; None where none is due (a notification, a batch that still waits for others)."""

    def refused(self, request: Request, refusal: Refusal) -> bytes | None: ...
    def event(self, event: Event) -> bytes: ...
    def signal(self, signal: Signal) -> bytes: ...
    def notice(self, name: str, body: dict[str, Any]) -> bytes:
        """A session's own news: `session.expiring`, `subscription.ended`, `ping`, ..."""
