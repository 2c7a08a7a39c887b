"""Requests over HTTP as plain as they go: every header as given, every header of the answer as it came.

Follows nothing, retries nothing, adds only `Host` and the length of a body.
"""

import http.client
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.serving import PATIENCE_S, ServerProcess

FORM = ("Content-Type", "application/x-www-form-urlencoded")
EVIL = ("Origin", "https://evil.example")
BEARER = 'Bearer realm="parley"'
JSON = ("Content-Type", "application/json")
Pairs = Iterable[tuple[str, str]]


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """All values of a header as one, None without it."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(values) if values else None

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    server: ServerProcess,
    method: str,
    path: str,
    headers: Pairs = (),
    body: bytes | None = None,
    *,
    chunks: Iterable[bytes] | None = None,
) -> Answer:
    """One request on a connection of its own; `chunks` are sent as such."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
    try:
        given = list(headers)
        connection.putrequest(method, path, skip_accept_encoding=True, skip_host=any(k == "Host" for k, _ in given))
        for name, value in given:
            connection.putheader(name, value)
        if chunks is not None:
            connection.putheader("Transfer-Encoding", "chunked")
        elif body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body, encode_chunked=False)
        for chunk in chunks or ():
            connection.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        if chunks is not None:
            connection.send(b"0\r\n\r\n")
        answer = connection.getresponse()
        return Answer(answer.status, answer.getheaders(), answer.read())
    finally:
        connection.close()


def bearer(token: str) -> tuple[str, str]:
    return ("Authorization", f"Bearer {token}")


def rpc(server: ServerProcess, token: str, body: Any, *headers: tuple[str, str]) -> Answer:
    """`POST /rpc`; `body` is JSON's value, or bytes as they are."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ask(server, "POST", "/rpc", [bearer(token), JSON, *headers], data)


def command(method: str, number: int | None = 1, **params: Any) -> dict[str, Any]:
    """A request of JSON-RPC; a notification where `number` is None."""
    request = {"jsonrpc": "2.0", "method": method, "params": params}
    return request if number is None else {**request, "id": number}


def assert_problem(answer: Answer, status: int, code: str, **facts: Any) -> None:
    """RFC 9457's members, our `code`, and these facts beside them."""
    assert (answer.status, answer.json.get("code")) == (status, code), answer
    assert answer.header("content-type") == "application/problem+json"
    assert answer.header("cache-control") == "no-store"
    assert answer.json["type"] == "about:blank"
    assert answer.json["title"] == http.HTTPStatus(status).phrase
    assert answer.json["status"] == status
    assert answer.json["detail"]
    assert {name: answer.json.get(name) for name in facts} == facts


def login(server: ServerProcess, body: Any, *headers: tuple[str, str]) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ask(server, "POST", "/auth/login", headers or [JSON], data)


def describe(server: ServerProcess, *headers: tuple[str, str]) -> Answer:
    return ask(server, "POST", "/rpc", [JSON, *headers], json.dumps(command("session.describe")).encode())
