"""Cursors of lists: opaque to clients, to us the key of the last row shown."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

from parley.domain.errors import invalid_params

T = TypeVar("T")


def from_cursor(cursor: str | None) -> str | None:
    """The key in a cursor. Raises: Refusal (`invalid_params` on `after`) for one that we did not make."""
    if cursor is None:
        return None
    try:
        key = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, ValueError):
        key = ""
    if not key or not key.isprintable():  # no key of ours holds a control character, and PostgreSQL takes no NUL
        raise invalid_params("after", "This is no cursor of ours: pass the `next` of the page before.")
    return key


def page(rows: Sequence[T], limit: int, key: Callable[[T], str]) -> tuple[Sequence[T], str | None]:
    """Cut `limit + 1` rows to `limit`, with the cursor that leads on, or None at the end."""
    if len(rows) <= limit:
        return rows, None
    shown = rows[:limit]
    return shown, base64.urlsafe_b64encode(key(shown[-1]).encode()).rstrip(b"=").decode()
