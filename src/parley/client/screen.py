"""A terminal with a log above and one's own line at the bottom; or, without a terminal, plain lines out and in.

Knows nothing of rooms: `terminal.py` says what is shown and hears what is typed.
"""

import asyncio
import contextlib
import os
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable
from typing import Any, Final

from rich.cells import cell_len, set_cell_size
from rich.console import Console, RenderableType
from rich.text import Text

from parley.client.editor import Editor

PROMPT: Final = "› "
_CLEAR_BELOW: Final = "\x1b[J"
_PASTE_ON, _PASTE_OFF = "\x1b[?2004h", "\x1b[?2004l"
#: Lines of a pipe that wait to be sent; whoever writes faster waits.
_LINES_MAX: Final = 100
#: A line without an end is cut here; the server refuses it for its length.
_LINE_BYTES_MAX: Final = 131_072


class Tty:
    """A real terminal. Use as a context manager, within a running loop.

    `typed(line)` gets each finished line, and None at the end of input; `changed(text)` each change of the unfinished
    one; `left()` is called for Ctrl-C.
    """

    def __init__(
        self, typed: Callable[[str | None], None], changed: Callable[[str], None], left: Callable[[], None]
    ) -> None:
        self._typed = typed
        self._left = left
        self._changed = changed
        self._editor = Editor()
        self._status = ""
        self._is_drawn = False
        self._input = sys.stdin.fileno()
        self._before: list[Any] = []
        self._loop = asyncio.get_running_loop()
        self.console = Console(markup=False, highlight=False, emoji=False)

    def __enter__(self) -> "Tty":
        self._before = termios.tcgetattr(self._input)
        tty.setcbreak(self._input)
        # Typed ahead of us is kept; Ctrl-C comes as a signal, and no longer as an exception in the middle of anything.
        self._loop.add_reader(self._input, self._read)
        for signum in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(signum, self._left)
        self._loop.add_signal_handler(signal.SIGWINCH, self._draw)
        self._write(_PASTE_ON)
        self._draw()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.remove_reader(self._input)
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGWINCH):
            self._loop.remove_signal_handler(signum)
        self._erase()
        self._write(_PASTE_OFF)
        termios.tcsetattr(self._input, termios.TCSADRAIN, self._before)

    def show(self, what: RenderableType) -> None:
        """Add to the log."""
        self._erase()
        self.console.print(what)
        self._draw()

    def set_status(self, status: str) -> None:
        """The line above one's own."""
        if status != self._status:
            self._status = status
            self._draw()

    def _read(self) -> None:
        try:
            data = os.read(self._input, 4096)
        except OSError:
            data = b""
        if not data:  # the terminal was closed
            self._loop.remove_reader(self._input)
            self._typed(None)
            return
        before = self._editor.text
        for line in self._editor.feed(data):
            self._typed(line)
        self._draw()
        if self._editor.text != before:
            self._changed(self._editor.text)

    def _draw(self) -> None:
        width = self.console.width
        status = self._status if cell_len(self._status) < width else set_cell_size(self._status, width - 1)
        text, cursor = self._editor.view(max(4, width - len(PROMPT) - 1))
        self._erase()
        self.console.print(Text(status, style="dim", no_wrap=True, overflow="crop"))
        column = len(PROMPT) + cursor
        self._write(f"{PROMPT}{text}\r" + (f"\x1b[{column}C" if column else ""))
        self._is_drawn = True

    def _erase(self) -> None:
        if self._is_drawn:
            self._is_drawn = False
            self._write(f"\r\x1b[1A{_CLEAR_BELOW}")

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # a terminal that is gone needs no goodbye
            self.console.file.write(text)
            self.console.file.flush()


class Plain:
    """No terminal: what is shown goes out in lines, each line that comes in is one message."""

    def __init__(self) -> None:
        # Nobody is at a pipe to be told twice: a width would break lines that programs want whole.
        self.console = Console(markup=False, highlight=False, emoji=False, soft_wrap=True)
        self.errors = Console(markup=False, highlight=False, emoji=False, soft_wrap=True, stderr=True)
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._free = threading.Semaphore(_LINES_MAX)
        self._input = sys.stdin.fileno()

    def show(self, what: RenderableType) -> None:
        self.console.print(what)

    def start_reading(self) -> None:
        """A thread reads: a file or `/dev/null` can't be waited for by the loop."""
        threading.Thread(target=self._read, daemon=True).start()

    async def line(self) -> str | None:
        """The next line without its end, None after the last."""
        line = await self._lines.get()
        self._free.release()
        return line

    def _read(self) -> None:
        # Not by `sys.stdin`: a thread that waits within it would keep the interpreter from ending.
        rest = b""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants what comes
            while data := os.read(self._input, 65536):
                *lines, rest = (rest + data).split(b"\n")
                if len(rest) > _LINE_BYTES_MAX:
                    lines, rest = [*lines, rest], b""
                for line in lines:
                    self._give(line)
            if rest:
                self._give(rest)
            self._loop.call_soon_threadsafe(self._lines.put_nowait, None)

    def _give(self, line: bytes) -> None:
        self._free.acquire()
        text = line.removesuffix(b"\r").decode("utf-8", "replace")
        self._loop.call_soon_threadsafe(self._lines.put_nowait, text)
