"""The same bytes to many sockets, in one stretch of the loop. Knows neither what they say nor who reads them."""

import logging
from collections.abc import Callable, Sequence
from typing import Final

log = logging.getLogger(__name__)

#: Writes in one uninterrupted stretch of the loop: about 10 ms.
SLICE: Final = 2000


def write_all(writers: Sequence[Callable[[bytes], None]], data: bytes) -> None:
    """Write to each; one that has gone must neither end the round nor cost the others anything."""
    remaining = iter(writers)
    while True:
        try:
            for write in remaining:
                write(data)
            return
        except (RuntimeError, OSError):
            pass  # its connection_lost is on its way; the iterator stands behind it already
        except Exception:
            log.exception("a reader could not be written to")
