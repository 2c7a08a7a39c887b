"""How each dialect is spoken on a socket: its codec, its frames, how its first message signs in, who keeps it alive.

One row for a dialect. Decides nothing about a connection.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from parley.delivery.readers import Encoder
from parley.dialects.dialect import Dialect, Telling
from parley.domain.events import Event, Signal
from parley.tokens.bearer import Credential
from parley.transport.frames import frame_text


class FramedEncoder:
    """A dialect's events as WebSocket text frames: what the hub writes to every socket that shares it."""

    def __init__(self, dialect: Telling) -> None:
        self._dialect = dialect

    def event(self, event: Event) -> bytes:
        return frame_text(self._dialect.event(event))

    def signal(self, signal: Signal) -> bytes:
        return frame_text(self._dialect.signal(signal))


def _as_they_are(code: int, reason: str) -> tuple[int, str]:
    return code, reason


class CredentialIn(Protocol):
    """Finds the credential in a greeting; `beside` is the handshake's own. Raises: TokenRefused."""

    def __call__(
        self, greeting: object, carriers: Collection[str], /, *, beside: Credential | None
    ) -> Credential | None: ...


@dataclass(frozen=True, slots=True)
class Wire:
    """A dialect on a socket.

    `codec` gives a connection its codec: one for all, or one each. `credential_in` is there where a dialect has a
    greeting of its own: a first message that is due also from a bearer whom the handshake knows. `keeps_alive`: the
    connection pings; else the transport does. `closed_with` gives the close code and reason that the dialect's clients
    know, for a code and a reason of the native column (CONTRACT, "Close codes").
    """

    codec: Callable[[], Dialect]
    encoder: Encoder
    credential_in: CredentialIn | None = None
    keeps_alive: bool = True
    closed_with: Callable[[int, str], tuple[int, str]] = _as_they_are
