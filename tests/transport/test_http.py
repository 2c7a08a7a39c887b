"""CONTRACT sections 2 and 5 over a real socket: `/rpc`, other origins, sizes, and what only bugs and the hostile do."""

import asyncio
import http.client
import json
import socket
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from parley.domain.errors import Refusal
from parley.service.limits import Buckets
from parley.transport import bodies
from parley.transport.addresses import Addresses
from parley.transport.app import AppParts, create_app
from parley.transport.origins import Origins
from tests.serving import PATIENCE_S, ServerProcess
from tests.transport.asking import (
    EVIL,
    FORM,
    JSON,
    ask,
    assert_problem,
    bearer,
    command,
    describe,
    login,
    rpc,
)
from tests.transport.conftest import ALLOWED, PUBLIC_URL


class TestRpc:
    """`POST /rpc`: JSON-RPC 2.0, one or a batch; problems only for origin, credential, media type and size."""

    def test_a_session_describes_itself_without_a_connection(self, at_home: ServerProcess, ada: str) -> None:
        answer = rpc(at_home, ada, command("session.describe"))
        assert answer.status == 200
        assert answer.header("content-type") == "application/json"
        assert answer.header("cache-control") == "no-store"
        session = answer.json["result"]
        assert set(session) == {
            "subject",
            "type",
            "name",
            "roles",
            "session",
            "connection",
            "expires_at",
            "server_time",
        }
        assert (session["type"], session["name"], session["roles"]) == ("account", "Ada", ["member"])
        assert session["connection"] is None
        assert answer.json == {"jsonrpc": "2.0", "id": 1, "result": session}

    def test_a_message_that_is_sent_is_there_for_the_next_request(self, at_home: ServerProcess, ada: str) -> None:
        text = "Grüße 👩‍👩‍👧 \u202eabc"
        sent = rpc(at_home, ada, command("message.send", room="lobby", text=text, client_id="http-1"))
        message = sent.json["result"]["message"]
        assert message["text"] == text
        read = rpc(at_home, ada, command("message.get", message=message["id"])).json["result"]
        assert read == {"message": message}
        again = rpc(at_home, ada, command("message.send", room="lobby", text="other", client_id="http-1")).json
        assert again["result"] == {"message": message, "duplicate": True}

    def test_a_batch_takes_effect_in_its_own_order(self, at_home: ServerProcess, ada: str) -> None:
        batch = [command("room.create", 1, room="batch-1")]
        batch += [command("message.send", n, room="batch-1", text=str(n)) for n in range(2, 10)]
        batch += [command("message.list", 20, room="batch-1"), command("room.archive", 21, room="batch-1")]
        batch += [command("message.send", 22, room="batch-1", text="too late")]
        answers = {one["id"]: one for one in rpc(at_home, ada, batch).json}
        assert sorted(answers) == [*range(1, 10), 20, 21, 22]
        assert [one["text"] for one in answers[20]["result"]["messages"]] == [str(n) for n in range(2, 10)]
        assert answers[22]["error"]["data"]["code"] == "archived"

    def test_a_room_refuses_as_json_rpc_with_status_200(self, at_home: ServerProcess, ada: str) -> None:
        answer = rpc(at_home, ada, command("room.get", 7, room="no-such-room"))
        assert answer.status == 200
        error = answer.json["error"]
        assert (answer.json["id"], error["code"], error["data"]) == (7, -32004, {"code": "not_found", "status": 404})

    @pytest.mark.parametrize(
        "method", ["session.authenticate", "session.refresh", "room.subscribe", "room.unsubscribe"]
    )
    @pytest.mark.parametrize("params", [{}, {"room": "lobby"}, {"token": "x"}, {"nonsense": 1}])
    def test_what_is_about_a_connection_is_unknown_whatever_its_parameters(
        self, at_home: ServerProcess, ada: str, method: str, params: dict[str, Any]
    ) -> None:
        answer = rpc(at_home, ada, command(method, 3, **params))
        assert answer.status == 200
        assert answer.json["error"]["code"] == -32601
        assert answer.json["error"]["data"] == {"code": "unknown_command", "status": 404}
        assert answer.json["id"] == 3

    @pytest.mark.parametrize(
        ("body", "code", "data"),
        [
            (b"", -32700, {"code": "parse_error", "status": 400}),
            (b"{", -32700, {"code": "parse_error", "status": 400}),
            (b'{"jsonrpc":"2.0","id":1,"method":"session.describe"', -32700, {"code": "parse_error", "status": 400}),
            (b"\xff", -32700, {"code": "parse_error", "status": 400}),
            (b"[]", -32600, {"code": "invalid_request", "status": 400}),
            (b"1", -32600, {"code": "invalid_request", "status": 400}),
            (b'{"jsonrpc":"2.0","id":1}', -32600, {"code": "invalid_request", "status": 400}),
            (
                b'{"jsonrpc":"1.0","id":1,"method":"session.describe"}',
                -32600,
                {"code": "invalid_request", "status": 400},
            ),
            (
                json.dumps([command("session.describe")] * 101).encode(),
                -32600,
                {"code": "invalid_request", "status": 400},
            ),
        ],
    )
    def test_what_is_no_request_is_an_error_of_json_rpc_with_id_null(
        self, at_home: ServerProcess, ada: str, body: bytes, code: int, data: dict[str, Any]
    ) -> None:
        answer = rpc(at_home, ada, body)
        assert answer.status == 200
        assert (answer.json["id"], answer.json["error"]["code"], answer.json["error"]["data"]) == (None, code, data)

    def test_a_batch_of_a_hundred_is_one_array_of_a_hundred(self, at_home: ServerProcess, ada: str) -> None:
        batch = [command("session.describe", number) for number in range(100)]
        assert sorted(one["id"] for one in rpc(at_home, ada, batch).json) == list(range(100))

    def test_only_notifications_are_answered_by_204_once_they_took_effect(
        self, at_home: ServerProcess, ada: str
    ) -> None:
        create = command("room.create", None, room="quiet-1")
        nothing = rpc(at_home, ada, create)
        assert (nothing.status, nothing.body) == (204, b"")
        assert nothing.header("cache-control") == "no-store"
        many = [
            command("room.update", None, room="quiet-1", title="Quiet"),
            command("no.such", None),
            {"jsonrpc": "2.0", "method": "room.join"},
        ]
        assert rpc(at_home, ada, many).status == 204
        assert rpc(at_home, ada, command("room.get", room="quiet-1")).json["result"]["room"]["title"] == "Quiet"

    def test_what_a_batch_refuses_stands_beside_what_it_does(self, at_home: ServerProcess, ada: str) -> None:
        batch = [command("session.describe", 1), 5, command("no.such", 2), command("session.describe", None)]
        answers = rpc(at_home, ada, batch).json
        assert [(one["id"], one.get("error", {}).get("code")) for one in answers] == [
            (1, None),
            (None, -32600),
            (2, -32601),
        ]

    def test_a_rate_is_refused_with_when_to_come_back_and_costs_nothing_else(self, on_the_web: ServerProcess) -> None:
        token = on_the_web.login("agent")
        batch = [command("message.send", number, room="lobby", text="x") for number in range(100)]
        answers = rpc(on_the_web, token, batch).json
        refused = [one["error"] for one in answers if "error" in one]
        assert 1 <= len(refused) <= 80
        assert {one["code"] for one in refused} == {-32029}
        assert all(one["data"]["code"] == "rate_limited" and 0 < one["data"]["retry_after"] <= 1 for one in refused)


class TestCors:
    """`PARLEY_ALLOWED_ORIGINS` also rules CORS on the paths that pages of others may use."""

    PATHS = (
        "/.well-known/jwks.json",
        "/rpc",
        "/auth/login",
        "/auth/refresh",
        "/graphql",
        "/conversations/x",
        "/streams/radio",
    )

    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize("origin", [PUBLIC_URL, ALLOWED])
    def test_an_admitted_page_can_read_every_answer_refusals_included(
        self, on_the_web: ServerProcess, path: str, origin: str
    ) -> None:
        for method in ("GET", "POST"):
            answer = ask(on_the_web, method, path, [("Origin", origin), JSON], b"{}")
            assert answer.header("access-control-allow-origin") == origin
            assert answer.header("access-control-expose-headers") == "Retry-After, WWW-Authenticate"
            assert answer.header("access-control-allow-credentials") is None
            assert answer.header("vary") == "Origin"

    @pytest.mark.parametrize("path", ["/rpc", "/auth/login", "/.well-known/jwks.json"])
    def test_a_preflight_is_told_methods_and_headers(self, on_the_web: ServerProcess, path: str) -> None:
        asked = [
            ("Origin", ALLOWED),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "authorization,content-type"),
        ]
        answer = ask(on_the_web, "OPTIONS", path, asked)
        assert (answer.status, answer.body) == (204, b"")
        assert answer.header("access-control-allow-origin") == ALLOWED
        assert answer.header("access-control-allow-methods") == answer.header("allow")
        assert answer.header("access-control-allow-headers") == "Authorization, Content-Type, *"
        assert answer.header("access-control-max-age") == "7200"
        assert answer.header("vary") == "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"

    def test_a_foreign_get_or_preflight_is_answered_without_cors_headers(self, on_the_web: ServerProcess) -> None:
        preflight = ("Access-Control-Request-Method", "POST")
        answers = [
            ask(on_the_web, "GET", "/.well-known/jwks.json", [EVIL]),
            ask(on_the_web, "OPTIONS", "/rpc", [EVIL, preflight]),
            ask(on_the_web, "GET", "/healthz", [("Origin", ALLOWED)]),
            ask(on_the_web, "OPTIONS", "/healthz", [("Origin", ALLOWED), preflight]),
            ask(on_the_web, "GET", "/", [("Origin", ALLOWED)]),
        ]
        assert [answer.status for answer in answers] == [200, 204, 200, 204, 200]
        for answer in answers:
            assert not [name for name, _ in answer.headers if name.startswith("access-control-")]

    def test_a_foreign_post_is_refused_without_cors_headers(self, on_the_web: ServerProcess) -> None:
        answer = ask(on_the_web, "POST", "/rpc", [EVIL, JSON], b"{}")
        assert_problem(answer, 403, "origin_denied")
        assert answer.header("access-control-allow-origin") is None
        assert answer.header("vary") == "Origin"

    def test_who_asks_without_an_origin_is_told_that_it_matters(self, on_the_web: ServerProcess) -> None:
        answer = ask(on_the_web, "GET", "/.well-known/jwks.json")
        assert answer.header("vary") == "Origin"
        assert answer.header("access-control-allow-origin") is None

    def test_at_home_the_loopback_names_may_call_each_other(self, at_home: ServerProcess, ada: str) -> None:
        for host in ("localhost", "127.0.0.1", "[::1]"):
            origin = f"http://{host}:{at_home.port}"
            answer = rpc(at_home, ada, command("session.describe"), ("Origin", origin))
            assert (answer.status, answer.header("access-control-allow-origin")) == (200, origin)
        for origin in ("http://localhost", f"http://localhost:{at_home.port + 1}", "http://evil.example", "null"):
            assert_problem(rpc(at_home, ada, b"{}", ("Origin", origin)), 403, "origin_denied")


class TestSize:
    """Over the size limit: 413 `too_large`, without reading it all; the client gets to see it."""

    def test_up_to_the_limit_it_is_read(self, on_the_web: ServerProcess) -> None:
        token = on_the_web.token("x")
        body = json.dumps(command("session.describe")).encode().ljust(20_000)
        assert rpc(on_the_web, token, body).status == 200
        assert_problem(rpc(on_the_web, token, body + b" "), 413, "too_large")

    def test_a_chunked_body_counts_as_it_comes(self, on_the_web: ServerProcess) -> None:
        headers = [bearer(on_the_web.token("x")), JSON]
        body = json.dumps(command("session.describe")).encode().ljust(20_000)
        pieces = [body[at : at + 700] for at in range(0, len(body), 700)]
        assert ask(on_the_web, "POST", "/rpc", headers, chunks=pieces).json["id"] == 1
        assert_problem(ask(on_the_web, "POST", "/rpc", headers, chunks=[*pieces, b" "]), 413, "too_large")

    def test_signing_in_has_the_same_limit(self, on_the_web: ServerProcess) -> None:
        body = b'{"username": "ada", "password": "' + b"x" * 20_000 + b'"}'
        assert_problem(login(on_the_web, body), 413, "too_large")

    def test_an_endless_body_is_answered_before_its_end(self, on_the_web: ServerProcess) -> None:
        with socket.create_connection(("127.0.0.1", on_the_web.port), PATIENCE_S) as line:
            head = f"POST /rpc HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {on_the_web.token('x')}\r\n"
            line.sendall(head.encode() + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(30):
                line.sendall(b"3e8\r\n" + b" " * 1000 + b"\r\n")
            answer = http.client.HTTPResponse(line)
            answer.begin()
            assert answer.status == 413
            assert json.loads(answer.read())["code"] == "too_large"
            # Nothing more is wanted; it may still be sent for a moment, and then the line is closed.
            assert line.recv(1) == b""

    def test_a_large_body_is_refused_by_its_announcement(self, on_the_web: ServerProcess) -> None:
        headers = [bearer(on_the_web.token("x")), JSON, ("Content-Length", "1000000000"), ("Expect", "100-continue")]
        begun_s = time.monotonic()
        assert_problem(ask(on_the_web, "POST", "/rpc", headers), 413, "too_large")
        assert time.monotonic() - begun_s < 5

    def test_a_client_still_sending_gets_to_see_why_it_is_refused(self, on_the_web: ServerProcess) -> None:
        headers = [("Authorization", "Bearer bad"), JSON, ("X-Forwarded-For", "203.0.113.77")]
        answer = ask(on_the_web, "POST", "/rpc", headers, b" " * 3_000_000)
        assert_problem(answer, 401, "token_malformed")
        assert answer.header("connection") == "close"

    def test_an_unread_body_within_the_limit_leaves_the_connection_open(self, on_the_web: ServerProcess) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", on_the_web.port, timeout=PATIENCE_S)
        for _ in range(3):
            connection.request("POST", "/nowhere", b"x" * 15_000)
            answer = connection.getresponse()
            assert (answer.status, json.loads(answer.read())["code"]) == (404, "not_found")
            assert connection.sock is not None
        connection.close()

    def test_a_body_that_does_not_come_is_not_waited_for(self) -> None:
        async def never() -> Any:
            await asyncio.Event().wait()

        async def read() -> bytes:
            return await bodies.read(Request({"type": "http", "headers": []}, never), 1000, 0.01)

        with pytest.raises(Refusal) as refused:
            asyncio.run(read())
        assert refused.value.code == "invalid_request"

    def test_a_limit_of_0_is_off(self) -> None:
        sent = iter([{"type": "http.request", "body": b"x" * 500_000, "more_body": more} for more in (True, False)])

        async def receive() -> Any:
            return next(sent)

        async def read() -> bytes:
            return await bodies.read(Request({"type": "http", "headers": []}, receive), 0)

        assert len(asyncio.run(read())) == 1_000_000


class TestBugs:
    """500 `internal` with an `incident` id, nothing of the cause."""

    def request(self, receive: list[dict[str, Any]], **parts: Any) -> tuple[list[Any], list[Any]]:
        """What the application sent, and what it told of the request, where a part is as given."""
        told: list[Any] = []
        sent: list[Any] = []
        given: dict[str, Any] = {
            "door": None,
            "admission": None,
            "sign_in": None,
            "sessions": None,
            "tickets": None,
            "jwks": dict,
            "origins": Origins(None, lambda: 8000, []),
            "addresses": Addresses([]),
            "carriers": (),
            "bad_tokens": Buckets(0, 0),
            "refusals": None,
            "helpdesk": None,
            "request_bytes_max": 1000,
            "clock_s": time.monotonic,
            "clock_ms": lambda: 0,
            "access": lambda *line: told.append(line),
        }
        method, path = ("POST", "/auth/login") if receive else ("GET", "/.well-known/jwks.json")
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
            "client": ("192.0.2.1", 1),
        }
        coming = iter(receive)

        async def come() -> Any:
            return next(coming)

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(create_app(AppParts(**{**given, **parts}))(scope, come, send))
        return sent, told

    def test_a_bug_is_an_incident_that_the_log_explains_and_the_answer_does_not(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken() -> Any:
            raise ZeroDivisionError("the very cause")

        sent, told = self.request([], jwks=broken)
        problem = json.loads(sent[1]["body"])
        assert (sent[0]["status"], problem["code"], problem["status"]) == (500, "internal", 500)
        assert "cause" not in sent[1]["body"].decode()
        assert problem["incident"] in caplog.text
        assert "the very cause" in caplog.text
        assert [line[:3] for line in told] == [("GET", "/.well-known/jwks.json", 500)]
        assert told[0][4] == "192.0.2.1"

    def test_a_client_that_went_is_no_bug(self, caplog: pytest.LogCaptureFixture) -> None:
        sent, told = self.request([{"type": "http.disconnect"}])
        assert (sent, [line[2] for line in told]) == ([], [499])
        assert "incident" not in caplog.text


class TestHostility:
    """Anything else malformed gets a clear error and costs nobody else anything."""

    VALUES = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["username", "password", "jsonrpc", "method", "id", "params", "x"]), inner, max_size=4
            )
        ),
        max_leaves=12,
    )

    @settings(
        derandomize=True, max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(VALUES.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40))
    def test_whatever_is_sent_as_a_command_is_answered(self, at_home: ServerProcess, ada: str, body: bytes) -> None:
        answer = rpc(at_home, ada, body)
        assert answer.status in (200, 204)
        if answer.status == 200:
            for one in answer.json if isinstance(answer.json, list) else [answer.json]:
                assert one["jsonrpc"] == "2.0"
                assert one["error"]["data"]["code"] != "internal"

    @settings(
        derandomize=True, max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(VALUES.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40), st.sampled_from([JSON, FORM]))
    def test_whatever_is_sent_to_sign_in_is_refused_as_the_clients_fault(
        self, at_home: ServerProcess, body: bytes, media_type: tuple[str, str]
    ) -> None:
        try:
            members = bodies.form(body) if media_type == FORM else bodies.json_object(body)
            bodies.texts(members, ("username", "password"))
        except Refusal as refusal:
            assert_problem(login(at_home, body, media_type), refusal.status, refusal.code)

    def test_no_credential_and_no_query_is_in_the_log(self, at_home: ServerProcess, ada: str) -> None:
        secret = "hunter2-hunter2-hunter2"
        login(at_home, {"username": "ada", "password": secret})
        ask(at_home, "GET", f"/healthz?token={ada}&password={secret}", [bearer(ada)])
        ask(at_home, "GET", f"/nowhere/{ada}")
        ask(at_home, "GET", f"/nowhere/{secret * 4}")
        describe(at_home, bearer(ada[:-1]))
        ask(at_home, "GET", "/the-last-of-it")
        deadline_s = time.monotonic() + PATIENCE_S
        while "/the-last-of-it" not in at_home.log and time.monotonic() < deadline_s:
            time.sleep(0.01)
        assert "/healthz" in at_home.log
        assert secret not in at_home.log
        assert ada.split(".")[2] not in at_home.log
        assert "token=" not in at_home.log

    @pytest.mark.parametrize(
        "target", ["*", "rpc", "http://other.example/healthz", "/%ff", "/..%2f..%2fetc", "/?x=%zz", "/rpc;x"]
    )
    def test_strange_targets_are_answered(self, at_home: ServerProcess, target: str) -> None:
        with socket.create_connection(("127.0.0.1", at_home.port), PATIENCE_S) as line:
            line.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            answer = http.client.HTTPResponse(line)
            answer.begin()
            assert answer.status in (200, 400, 404)
            assert answer.status == 200 or json.loads(answer.read())["code"] in ("not_found", "invalid_request")
