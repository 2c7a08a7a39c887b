"""Unicode's normal form C at a bounded price.

Putting the marks on one character into their order costs the square of how many there are, and is done with the
interpreter's lock held: 60,000 of them stop a server for seconds. No language needs more than 30 (UAX #15 §13).
"""

import re
import unicodedata
from functools import cache
from typing import Final

#: Marks on one character. Ornamental writing has some dozens.
MARKS_MAX: Final = 256
#: So many characters become one at most: U+1F82 comes apart into four.
SHRINKS_BY: Final = 4
#: Beyond these there are none that combine.
_MARKS: Final = range(0x300, 0x1F000)


def normal_form(text: str) -> str | None:
    """`text` in NFC; None where more than `MARKS_MAX` marks are on one character."""
    if text.isascii():
        return text
    if len(text) > MARKS_MAX and any(len(run[0]) > MARKS_MAX for run in _runs_of_marks().finditer(text)):
        return None
    return unicodedata.normalize("NFC", text)


@cache
def _runs_of_marks() -> re.Pattern[str]:
    """Made with the first long text, for it takes a while: also what comes apart into marks is one."""
    marks = [chr(code) for code in _MARKS if _is_mark(chr(code))]
    return re.compile(f"[{''.join(map(re.escape, marks))}]+")


def _is_mark(character: str) -> bool:
    return unicodedata.combining(unicodedata.normalize("NFD", character)[0]) != 0
