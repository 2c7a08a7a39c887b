"""uvicorn's HTTP protocol with bounds: how large a request head may be and how long it may take.

Answers no request itself: that is the application's (`app`), or for upgrades `upgrade`'s. Writes no log.

Lends its transport to a live stream's `GET`, which is given prebuilt chunks as sockets are given frames: under `LEND`
the request's scope has what borrows it.
"""

import asyncio
from typing import Any, Final, Protocol, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from parley.transport.upgrade import Upgrade, UpgradeRequest, problem, split_target

HEAD_BYTES_MAX = 16_384
HEAD_TIMEOUT_S = 10.0
# How long a peer that we refused may go on sending before the connection is cut: hanging up on unread bytes would
# make the kernel send a reset, and the peer might never see the refusal.
REFUSED_TIMEOUT_S = 2.0

_TOO_LARGE = problem(431, "head_too_large", f"A request head may have at most {HEAD_BYTES_MAX} bytes.").encoded
_MALFORMED = problem(400, "invalid_request", "This is not HTTP/1.1.").encoded


#: Under this key of the ASGI scope is `HttpProtocol.lend`, for targets with `LENT_TO` in them.
LEND: Final = "parley.lend"
LENT_TO: Final = b"/streams/"


class Borrower(Protocol):
    """Who writes to a transport that was lent, between the head of an answer and its end."""

    def writing_paused(self) -> None: ...
    def writing_resumed(self) -> None: ...


class HttpProtocol(HttpToolsProtocol):
    """One connection until it is closed or upgraded; give the class to uvicorn as `http=`."""

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.access_log = False  # uvicorn's would hold URLs with their queries, and those may hold credentials
        self.upgrade: Upgrade | None = None
        # The size of the head that is being read, twice: by what the parser has told of it, which is exact once it is
        # whole, and by what it was fed, because a header that never ends is never told.
        self._told_bytes = 0
        self._fed_bytes = 0
        self._head_is_whole = True
        self._begun = 0  # heads begun in the bytes at hand
        # Whether this head asks for a socket that there is, once somebody wanted to know.
        self._is_upgrade: bool | None = None
        self._body_is_whole = True
        self._is_deaf = False  # refused: nothing that comes is read any more
        self._head_timer: asyncio.TimerHandle | None = None
        self._borrower: Borrower | None = None

    def lend(self, borrower: Borrower | None) -> asyncio.Transport:
        """Let one write chunks of the present answer's body, and hear when the transport drains; None ends that."""
        self._borrower = borrower
        return self.transport

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._borrower is not None:
            self._borrower.writing_paused()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._borrower is not None:
            self._borrower.writing_resumed()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        self._borrower = None
        if self.upgrade is not None:
            self.upgrade.abandon()
            self.upgrade = None
        super().connection_lost(exc)

    def shutdown(self) -> None:
        if self.upgrade is not None:
            self.upgrade.respond(problem(503, "unavailable", "The server is stopping.", [("Retry-After", "5")]))
        else:
            super().shutdown()

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        if self.upgrade is not None:  # reading waits for the decision; this was on its way
            self.upgrade.early += data
            return
        self._unset_keepalive_if_required()
        was_between, self._begun = self._head_is_whole and self._body_is_whole, 0
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as at:
            self._stop_head_timer()
            if self._should_upgrade():
                self._begin_upgrade(data[at.args[0] :])
            elif self.cycle is not None:
                self.cycle.keep_alive = False  # answered as plain HTTP; the parser will go no further
            return
        except httptools.HttpParserError:
            self._refuse(_TOO_LARGE if self._told_bytes > HEAD_BYTES_MAX else _MALFORMED)
            return
        if not self._head_is_whole:
            if self._begun == 0:
                self._fed_bytes += len(data)
            else:  # behind a body in the same piece it began nobody knows where
                self._fed_bytes = len(data) if self._begun == 1 and was_between else 0
            if self._fed_bytes > HEAD_BYTES_MAX:
                self._refuse(_TOO_LARGE)
            elif self._head_timer is None:
                self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._head_is_late)

    # --- from the parser ---

    def on_message_begin(self) -> None:
        self._told_bytes = len(b"GET  HTTP/1.1\r\n\r\n")
        self._is_upgrade = None
        self._head_is_whole = self._body_is_whole = False
        self._begun += 1
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_is_whole = True
        self._stop_head_timer()
        if LENT_TO in self.url:
            self.scope[LEND] = self.lend  # type: ignore[typeddict-unknown-key]
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._body_is_whole = True
        super().on_message_complete()

    def _count(self, size: int) -> None:
        self._told_bytes += size
        if self._told_bytes > HEAD_BYTES_MAX:
            raise ValueError("head too large")  # ends feed_data

    # --- endings ---

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self.flow.read_paused:  # it is we who do not read: an earlier request is still being answered
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._head_is_late)
        else:
            self.transport.abort()

    def _refuse(self, answer: bytes) -> None:
        self._is_deaf = True
        self._stop_head_timer()
        transport = self.transport
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False  # an answer is on its way: no other may cut into it
            return
        transport.write(answer)
        if transport.can_write_eof():
            transport.write_eof()
            self._head_timer = self.loop.call_later(REFUSED_TIMEOUT_S, transport.abort)
        else:
            transport.close()

    # --- upgrades ---

    def _get_upgrade(self) -> bytes | None:
        """The protocol asked for, lower-case, where `Connection` names `upgrade` on any of its lines."""
        asked, named = None, False
        for name, value in self.headers:
            if name == b"upgrade":
                asked = value.strip().lower()
            elif name == b"connection":
                named = named or b"upgrade" in [token.strip() for token in value.lower().split(b",")]
        return asked if named else None

    def _should_upgrade(self) -> bool:
        if self._is_upgrade is None:
            self._is_upgrade = super()._should_upgrade() and self._upgrades.takes(
                split_target(self.url.decode("latin-1"))[0]
            )
        return self._is_upgrade

    @property
    def _upgrades(self) -> "type[Upgrade]":
        return cast("type[Upgrade]", self.ws_protocol_class)

    def _begin_upgrade(self, early: bytes) -> None:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.headers]
        request = UpgradeRequest(
            method=self.scope["method"],
            target=self.url.decode("latin-1"),
            http_version=self.scope["http_version"],
            headers=headers,
            client=self.client,
            is_secure=self.scheme == "https",
        )
        upgrade = self._upgrades(config=self.config, server_state=self.server_state, app_state=self.app_state)
        self.upgrade = upgrade
        upgrade.begin(self.transport, request, early, self._upgraded)

    def _upgraded(self) -> None:
        self.connections.discard(self)
        self.upgrade = None
        self.parser = None  # type: ignore[assignment]  # it refers back to us
