"""One WebSocket to Parley, from dialling to its end, and the JSON-RPC that runs over it.

Does not reconnect, renew tokens or know rooms: `connection.py` decides what follows an end.
"""

import asyncio
import contextlib
import json
import ssl
from collections import deque
from collections.abc import Callable
from socket import gaierror
from typing import Any, Final, Literal

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_socket
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from parley.client.close_codes import ABNORMAL, FINAL, TOKEN_REFUSED, Timing
from parley.client.errors import CommandRefused, ConnectionLost, ParleyError, SessionRefused
from parley.tokens.bearer import BEARER_SUBPROTOCOL

Carrier = Literal["header", "subprotocol", "message"]
#: What becomes of a request: its result, or why there is none. Called once, in the order in which the line was read.
Answered = Callable[[Any], None]
Heard = Callable[["Line", str, dict[str, Any]], None]
#: What becomes of a binary message; only streams have them.
Sound = Callable[["Line", bytes], None]

#: A longer message closes the socket with 1009 and takes everything else down with it.
REQUEST_BYTES_MAX: Final = 131_072
#: A replay's page is 512 KiB of events at most, but 200 of the longest messages are 8 MiB, and a conversation that is
#: exported has 5,000; anything beyond this is not our server.
ANSWER_BYTES_MAX: Final = 256 * 1024 * 1024
#: Requests on one line without an answer yet; one more is refused here.
UNANSWERED_MAX: Final = 4096
#: Statuses of HTTP that an intermediary or a busy server gives, and that say nothing of us.
_PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


def _in_words(error: Exception) -> str:
    """Why there is no line, as one would say it: nobody at a terminal knows the exceptions of a library."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    if isinstance(error, gaierror):
        return "its name is not known"
    # Where a name has several addresses each was tried, and the error is that of none of them.
    if isinstance(error, ConnectionRefusedError) or "Connect call failed" in str(error):
        return "nothing listens there"
    return f"no answer from the server ({type(error).__name__})"


class _Socket(ClientConnection):
    """Notes when anything came: a RFC 6455 ping, which the library answers by itself, is a sign of life too."""

    heard_at_s = 0.0

    def data_received(self, data: bytes) -> None:
        self.heard_at_s = self.loop.time()
        super().data_received(data)


class _Dial(connect_socket):
    """Follows no redirect: a token goes to the one origin that its user named."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Line:
    """Made by `Line.open`. `over` is done once the line has ended, with the ConnectionLost that says how."""

    def __init__(
        self, socket: _Socket, token: str | None, timing: Timing, heard: Heard, sound: Sound | None = None
    ) -> None:
        self.token = token
        self.session: dict[str, Any] = {}
        loop = asyncio.get_running_loop()
        self.opened_at_s = loop.time()
        self.over: asyncio.Future[ConnectionLost] = loop.create_future()
        self._loop = loop
        self._socket = socket
        self._timing = timing
        self._heard = heard
        self._sound = sound
        self._next_id = 1
        self._unanswered: dict[int, Answered] = {}
        self._outgoing: deque[str] = deque()
        self._outgoing_came = asyncio.Event()
        self._announced: ConnectionLost | None = None
        self._given_up: ConnectionLost | None = None
        self._watching: asyncio.TimerHandle | None = None
        self._tasks = [loop.create_task(self._read()), loop.create_task(self._write())]

    @classmethod
    async def open(
        cls,
        url: str,
        token: str | None,
        *,
        carrier: Carrier,
        timing: Timing,
        heard: Heard,
        protocol: str = "parley.v1",
        sound: Sound | None = None,
    ) -> "Line":
        """Dial, and wait until the server has said who we are; without a token, until the socket is open.

        Raises: SessionRefused, ConnectionLost.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timing.connect_s
        subprotocols = [Subprotocol(protocol)]
        headers = None
        if token is not None and carrier == "subprotocol":
            subprotocols.append(Subprotocol(BEARER_SUBPROTOCOL + token))
        elif token is not None and carrier == "header":
            headers = {"Authorization": f"Bearer {token}"}
        try:
            async with asyncio.timeout_at(deadline_s):
                socket = await _Dial(
                    url,
                    subprotocols=subprotocols,
                    additional_headers=headers,
                    create_connection=_Socket,
                    compression=None,
                    ping_interval=None,
                    open_timeout=None,
                    close_timeout=2,
                    max_size=ANSWER_BYTES_MAX,
                )
        except InvalidStatus as error:
            answer = error.response
            refusal = SessionRefused.of_http(answer.status_code, bytes(answer.body or b""), answer.headers)
            if answer.status_code in _PASSING:
                raise ConnectionLost(refusal.code, retry_after_s=refusal.retry_after_s) from None
            raise refusal from None
        except (OSError, TimeoutError, EOFError, InvalidHandshake) as error:
            # `from None`: the library's errors hold the request, and with it the token.
            raise ConnectionLost(_in_words(error)) from None
        assert isinstance(socket, _Socket)
        line = cls(socket, token, timing, heard, sound)
        try:
            async with asyncio.timeout_at(deadline_s):
                if token is None:
                    line.session = await line._let_in_as_nobody()
                elif carrier == "message":
                    line.session = await line.call("session.authenticate", {"token": token})
                else:
                    # A socket with a refused token is opened and closed at once: only an answer proves that we are in.
                    line.session = await line.call("session.describe", {})
        except CommandRefused as refused:
            line.leave(refused.code)
            if refused.passes:
                raise ConnectionLost(refused.code, retry_after_s=refused.retry_after_s) from None
            raise SessionRefused(refused.code, refused.status, refused.message, refused.data) from None
        except ConnectionLost as lost:
            if lost.code == TOKEN_REFUSED or lost.code in FINAL:
                raise SessionRefused.by_close(lost.code, lost.reason) from None
            raise
        except TimeoutError:
            line.leave("no answer")
            raise ConnectionLost("no answer") from None
        except BaseException:
            line.leave("cancelled")
            raise
        line._watch()
        return line

    async def _let_in_as_nobody(self) -> dict[str, Any]:
        """Where nobody may come in, the question is the last thing that is answered; else the line lives on."""
        with contextlib.suppress(CommandRefused):
            await self.call("session.describe", {})
        await self.pong()
        return {}

    # --- asking ---

    def request(self, method: str, params: dict[str, Any], answered: Answered) -> None:
        """Ask; `answered` gets the result, a CommandRefused or a ConnectionLost, at once where nothing can be sent.

        Raises: ValueError, TypeError where `params` are no JSON.
        """
        number = self._next_id
        text = json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}, allow_nan=False)
        if len(text) > REQUEST_BYTES_MAX:
            answered(CommandRefused("too_large", 413, "a message may have 128 KiB"))
        elif self.over.done():
            answered(self.over.result())
        elif len(self._unanswered) >= UNANSWERED_MAX:
            answered(CommandRefused("limit_exceeded", 429, f"{UNANSWERED_MAX} commands wait for their answers"))
        else:
            self._next_id += 1
            self._unanswered[number] = answered
            self._put(text)

    async def call(self, method: str, params: dict[str, Any]) -> Any:
        """The result. Raises: CommandRefused, ConnectionLost."""
        future: asyncio.Future[Any] = self._loop.create_future()

        def answered(result: Any) -> None:
            if future.done():
                return  # whoever asked has given up
            if isinstance(result, ParleyError):
                future.set_exception(result)
            else:
                future.set_result(result)

        self.request(method, params, answered)
        return await future

    def notify(self, method: str, params: dict[str, Any]) -> None:
        """Say, and want no answer; lost where the line is, or is busy."""
        if not self.over.done() and len(self._outgoing) < UNANSWERED_MAX:
            self._put(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}, allow_nan=False))

    def _put(self, text: str) -> None:
        self._outgoing.append(text)
        self._outgoing_came.set()

    async def send(self, data: bytes) -> None:
        """A binary message; waits while the network takes no more. Raises: ConnectionLost."""
        try:
            await self._socket.send(data)
        except ConnectionClosed:
            raise await self._lost() from None

    async def pong(self) -> None:
        """Ask for a sign of life, and wait for it. Raises: ConnectionLost."""
        try:
            await (await self._socket.ping())
        except ConnectionClosed:
            raise await self._lost() from None

    async def _lost(self) -> ConnectionLost:
        return await asyncio.shield(self.over)  # who waits may be cancelled; what others look at may not

    # --- ending ---

    def leave(self, reason: str, code: int = ABNORMAL) -> None:
        """Give the line up from our side. The closing handshake is not waited for: on a dead line it never comes."""
        if not self.over.done():
            self._given_up = ConnectionLost(reason, code)
            self._end()
            self._socket.transport.abort()

    async def close(self) -> None:
        """Say goodbye properly."""
        if not self.over.done():
            self._given_up = ConnectionLost("closed", 1000)
            self._fail_unanswered(self._given_up)  # an answer may still come while the server says goodbye: too late
            with contextlib.suppress(ConnectionClosed):
                await self._socket.close()
        self._end()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _end(self) -> None:
        if self.over.done():
            return
        if self._watching is not None:
            self._watching.cancel()
        code, reason = self._socket.close_code or ABNORMAL, self._socket.close_reason or ""
        lost = self._given_up or ConnectionLost(reason, code)
        if self._given_up is None and code == ABNORMAL and self._announced is not None:
            lost = self._announced  # the close frame got lost, its announcement did not
        self.over.set_result(lost)
        for task in self._tasks:
            task.cancel()
        self._fail_unanswered(lost)

    def _fail_unanswered(self, lost: ConnectionLost) -> None:
        unanswered, self._unanswered = self._unanswered, {}
        for answered in unanswered.values():
            answered(lost)

    def _watch(self) -> None:
        silent_s = self._loop.time() - max(self._socket.heard_at_s, self.opened_at_s)
        if silent_s >= self._timing.silence_s:
            self.leave("silent")
        else:
            self._watching = self._loop.call_later(self._timing.silence_s - silent_s + 0.001, self._watch)

    # --- the socket ---

    async def _read(self) -> None:
        try:
            while True:
                received = await self._socket.recv()
                if isinstance(received, bytes) and self._sound is not None:
                    self._sound(self, received)
                    continue
                message = json.loads(received)
                for one in message if isinstance(message, list) else [message]:
                    self._take(one)
                if self.over.done():
                    return
        except ConnectionClosed:
            pass
        except ValueError:
            self.leave("the server does not speak JSON")
        finally:
            self._end()

    def _take(self, message: dict[str, Any]) -> None:
        method = message.get("method")
        if method is None:
            answered = self._unanswered.pop(message.get("id") or 0, None)
            if answered is not None:
                error = message.get("error")
                answered(message.get("result") if error is None else CommandRefused.of_rpc(error))
        elif method != "ping":
            params = message.get("params") or {}
            if method == "session.closing":
                self._announced = ConnectionLost(params.get("reason", ""), params.get("code", ABNORMAL))
            self._heard(self, method, params)

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self._outgoing_came.wait()
                while self._outgoing:
                    await self._socket.send(self._outgoing.popleft())
                self._outgoing_came.clear()
