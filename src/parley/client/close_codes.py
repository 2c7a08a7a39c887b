"""What a close code asks of a native client: stop, or come back, and when.

Does not dial: `connection.py` does. Source: the native column of the protocol's table of close codes.

| code                                          | then                                        |
|-----------------------------------------------|---------------------------------------------|
| 4400, 4403, 4409; 1002, 1003, 1007, 1009      | stop                                        |
| 4401                                          | get a new token, then come back at once     |
| 1012                                          | come back after a random delay, up to 5 s   |
| 1013, 4429                                    | come back later                             |
| any other, 4408 and 4420 among them, and none | come back soon, each time a little later    |
"""

from dataclasses import dataclass
from typing import Final

#: We were refused, or broke the protocol, or gave our place to another connection of ours.
FINAL: Final = frozenset({1002, 1003, 1007, 1009, 4400, 4403, 4409})
PATIENT: Final = frozenset({1013, 4429})
TOKEN_REFUSED: Final = 4401
RESTARTING: Final = 1012
#: What we say of a line that we gave up ourselves, and of one that ended without a close (RFC 6455 §7.1.5).
ABNORMAL: Final = 1006


@dataclass(frozen=True)
class Timing:
    """Seconds. `silence_s`: a line that brings nothing for so long is dead. `connect_s`: dialling and being let in."""

    silence_s: float = 45
    connect_s: float = 10
    retry_s: float = 1
    retry_max_s: float = 30
    restart_s: float = 5
    overloaded_s: float = 5
    #: A line that lived so long was a good one: the next pause is short again.
    lasting_s: float = 10


def delay_s(code: int, attempts: int, timing: Timing, chance: float) -> float:
    """How long to wait before the next attempt, always with jitter: after a restart everybody comes at once.

    `attempts` in a row have failed before; `chance` is uniform in [0, 1).
    """
    if code == TOKEN_REFUSED and attempts == 0:
        return 0
    if code == RESTARTING and attempts == 0:
        return chance * timing.restart_s
    first_s = timing.overloaded_s if code in PATIENT else timing.retry_s
    return min(timing.retry_max_s, first_s * 2.0 ** min(attempts, 16)) * (0.5 + chance / 2)
