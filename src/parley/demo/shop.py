"""The demo's shop: somebody else's site, on a port of its own, under a strict policy, with the widget's one line on it.

Serves its few files on loopback and nothing else; knows of the chat only where it is.
"""

import asyncio
import socket
from collections.abc import Sequence
from importlib import resources
from typing import Final

from parley.config import Settings

#: A request's head: it may be this long, and take so long.
HEAD_BYTES_MAX: Final = 8192
HEAD_S: Final = 10.0

_MEDIA_TYPES: Final = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8"}
_FILES: Final = {"/": "shop.html", "/shop.css": "shop.css"}


class Shop:
    """Listens from the start, on the port beside the chat's where that is free; answers once `open` was called.

    Raises: nothing where its port is taken: then it has another.
    """

    def __init__(self, chat_port: int) -> None:
        self._listener = _listen(chat_port + 1 if chat_port else 0)
        self.port: int = self._listener.getsockname()[1]
        self._answers: dict[str, bytes] = {}
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def origins(self) -> Sequence[str]:
        """As whoever looks at it may spell it."""
        return (self.url, f"http://localhost:{self.port}")

    def framing(self, settings: Settings) -> Settings:
        """These settings, and the shop may frame the widget."""
        return settings.model_copy(update={"widget_origins": [*settings.widget_origins, *self.origins]})

    async def open(self, chat: str) -> None:
        """Serve; the widget is `chat`'s, an origin."""
        folder = resources.files(__package__)
        for path, name in _FILES.items():
            body = (folder / name).read_text("utf-8").replace("{{chat}}", chat).encode()
            self._answers[path] = _answer("200 OK", _MEDIA_TYPES[name.rpartition(".")[2]], body, chat)
        self._answers[""] = _answer("404 Not Found", _MEDIA_TYPES["html"], b"<title>Nothing here</title>", chat)
        self._server = await asyncio.start_server(self._serve, sock=self._listener, limit=HEAD_BYTES_MAX)

    async def close(self) -> None:
        """At once: what is asked now is not answered."""
        if self._server is None:
            self._listener.close()
            return
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            async with asyncio.timeout(HEAD_S):
                head = await reader.readuntil(b"\r\n\r\n")
                method, _, rest = head.decode("latin-1").partition(" ")
                answer = self._answers.get(rest.partition(" ")[0].partition("?")[0], self._answers[""])
                writer.write(answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == "HEAD" else answer)
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a browser that opened a line and asked nothing
        finally:
            writer.close()
            self._open.discard(task)


def _listen(wanted: int) -> socket.socket:
    for port in (wanted, 0):
        try:
            return socket.create_server(("127.0.0.1", port), backlog=64)
        except (OSError, OverflowError):
            if port == 0:
                raise
    raise AssertionError("the last port was any")


def _answer(status: str, media_type: str, body: bytes, chat: str) -> bytes:
    # What a careful site has: nothing inline, nothing of others but the chat's script and frame.
    policy = (
        f"default-src 'none'; script-src {chat}; frame-src {chat}; style-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n"
        f"Content-Security-Policy: {policy}\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("latin-1") + body
