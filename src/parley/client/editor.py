"""The line that is being written in a terminal: keys in, text and cursor out.

Does no I/O: `screen.py` reads the keys and draws the line.
"""

import codecs
import unicodedata
from collections.abc import Iterator
from typing import Final

from rich.cells import cell_len, set_cell_size

TEXT_MAX: Final = 16_000
#: A key's escape sequence is short; what goes on for longer is none.
_ESCAPE_MAX: Final = 32
#: Unprintable by Unicode's word, but what holds families of emoji and Persian words together (U+200C, U+200D).
_JOINERS: Final = "\u200c\u200d"
_PASTE_BEGINS, _PASTE_ENDS = "\x1b[200~", "\x1b[201~"
_KEYS: Final = {
    "\x1b[D": "left", "\x1bOD": "left", "\x02": "left",
    "\x1b[C": "right", "\x1bOC": "right", "\x06": "right",
    "\x1b[H": "home", "\x1bOH": "home", "\x1b[1~": "home", "\x01": "home",
    "\x1b[F": "end", "\x1bOF": "end", "\x1b[4~": "end", "\x05": "end",
    "\x1b[3~": "delete", "\x7f": "backspace", "\x08": "backspace",
    "\x15": "clear", "\x17": "word", "\r": "enter", "\n": "enter", "\x03": "quit", "\x04": "eof",
}  # fmt: skip


class Editor:
    """`feed` takes what was typed and gives each line that was finished; None among them means: let me out."""

    def __init__(self) -> None:
        self.text = ""
        self.cursor = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._escape = ""
        self._pasting = False

    def feed(self, data: bytes) -> Iterator[str | None]:
        for character in self._decoder.decode(data):
            key = self._key(character)
            if key is None:
                continue
            if self._pasting and key in ("\r", "\n", "\t"):
                self._insert("\t" if key == "\t" else "\n")  # a pasted text is one message, with its lines
                continue
            match _KEYS.get(key, key):
                case "enter":
                    text, self.text, self.cursor = self.text, "", 0
                    yield text
                case "quit":
                    yield None
                case "eof":
                    if not self.text:
                        yield None
                case "left":
                    self.cursor = self._before(self.cursor)
                case "right":
                    self.cursor = self._after(self.cursor)
                case "home":
                    self.cursor = 0
                case "end":
                    self.cursor = len(self.text)
                case "backspace":
                    self._cut(self._before(self.cursor), self.cursor)
                case "delete":
                    self._cut(self.cursor, self._after(self.cursor))
                case "clear":
                    self._cut(0, self.cursor)
                case "word":
                    kept = self.text[: self.cursor].rstrip().rpartition(" ")
                    self._cut(len(kept[0]) + len(kept[1]), self.cursor)
                case typed:
                    if len(typed) == 1 and (typed.isprintable() or typed in _JOINERS):
                        self._insert(typed)

    def view(self, width: int) -> tuple[str, int]:
        """What of the line fits into `width` cells, and the cell of the cursor in it."""
        text = self.text.replace("\n", "⏎").replace("\t", " ")
        start = 0
        while start < self.cursor and cell_len(text[start : self.cursor]) >= width:
            start += 1
        shown = text[start:]
        if cell_len(shown) > width:
            shown = set_cell_size(shown, width)
        return shown, cell_len(text[start : self.cursor])

    def _key(self, character: str) -> str | None:
        """The key that this character completes."""
        if not self._escape:
            if character != "\x1b":
                return character
            self._escape = character
            return None
        if character == "\x1b":
            self._escape = character
            return None
        self._escape += character
        is_whole = len(self._escape) > 2 and "@" <= character <= "~"
        if not is_whole and (len(self._escape) > 2 or character in "[O") and len(self._escape) < _ESCAPE_MAX:
            return None
        key, self._escape = self._escape, ""
        if key in (_PASTE_BEGINS, _PASTE_ENDS):
            self._pasting = key == _PASTE_BEGINS
            return None
        return key

    def _insert(self, text: str) -> None:
        if len(self.text) < TEXT_MAX:
            self.text = self.text[: self.cursor] + text + self.text[self.cursor :]
            self.cursor += len(text)

    def _cut(self, start: int, end: int) -> None:
        self.text = self.text[:start] + self.text[end:]
        self.cursor = start

    def _before(self, index: int) -> int:
        """One character back, as its reader sees it: marks and joined emoji go with what they belong to."""
        index = max(0, index - 1)
        while index > 0 and (_belongs_to_last(self.text[index]) or self.text[index - 1] == "\u200d"):
            index -= 1
        return index

    def _after(self, index: int) -> int:
        index = min(len(self.text), index + 1)
        while index < len(self.text) and (_belongs_to_last(self.text[index]) or self.text[index - 1] == "\u200d"):
            index += 1
        return index


def _belongs_to_last(character: str) -> bool:
    is_skin_tone = "\U0001f3fb" <= character <= "\U0001f3ff"
    return character == "\u200d" or is_skin_tone or unicodedata.category(character) in ("Mn", "Me", "Mc")
