"""Log lines: one for each event, whatever its text, and no credential in any of them."""

import io
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import structlog

from parley import logs
from parley.domain.sign_ins import refresh_token
from parley.logs import VALUE_CHARS_MAX, redacted
from parley.tokens import Issuer, SigningKey
from tests.serving import ServerProcess

CLAIMS = {"sub": "ada", "type": "account", "roles": ["member"], "sid": "s", "jti": "j", "now_s": 1e9, "ttl_s": 900}


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


def configured(form: str, level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    logs.configure(form, level, stream)  # type: ignore[arg-type]
    return stream


def tokens() -> dict[str, str]:
    made = {
        algorithm: Issuer(SigningKey.generate(algorithm)).issue(**CLAIMS)  # type: ignore[arg-type]
        for algorithm in ("ES256", "EdDSA", "RS256", "HS256")
    }
    made["refresh"] = refresh_token(os.urandom(32), "0192f0c1-2b3c-7d4e-8f90-a1b2c3d4e5f6", 12)
    made["no signature"] = made["ES256"].rpartition(".")[0] + "."
    made["header alone"] = made["ES256"].partition(".")[0]
    made["indented header"] = "ewogICJhbGciOiAiRVMyNTYiCn0." + made["ES256"].partition(".")[2]
    made["opaque"] = "Zm9vYmFyLW9wYXF1ZS1zZWNyZXQ"
    return made


#: Places in which a credential has been seen in the logs of servers; `opaque` ones are known by their place alone.
TOKENS = tokens()
PLACES = [
    "Authorization: Bearer {}",
    "authorization: bearer {}, and more",
    "(b'authorization', b'Bearer {}')",
    "Sec-WebSocket-Protocol: parley.v1, bearer.{}",
    "['parley.v1', 'bearer.{}']",
    "GET /ws?token={} HTTP/1.1",
    "GET /ws?room=a&ticket={}&x=1",
    "access_token={}&refresh_token={}",
    '{{"jsonrpc": "2.0", "params": {{"token": "{}"}}}}',
    '{{"access_token":"{}","refresh_token":"{}"}}',
    "{{'refresh_token': '{}'}}",
    'connection_init {{"payload": {{"authorization": "Bearer {}"}}}}',
    'password="{}"',
    "{{'password': b'{}'}}",
    "token: {}",
    "bad token {} from 127.0.0.1",
    "{}",
]


@pytest.mark.parametrize("form", ["console", "json"])
@pytest.mark.parametrize(
    ("place", "kind"),
    # Alone among words, nothing tells an opaque one from them.
    [(place, kind) for place in PLACES for kind in TOKENS if kind != "opaque" or place not in PLACES[-3:]],
)
def test_a_credential_in_any_place_is_redacted(form: str, place: str, kind: str) -> None:
    token = TOKENS[kind]
    text = place.format(token, token)
    stream = configured(form)
    log = logging.getLogger("parley.test")
    log.warning(text)
    log.warning("%s", {"nested": [text]})
    log.warning("extra", extra={"detail": text, "deep": {"list": [text]}})
    structlog.get_logger("parley.test").warning("structured", text=text)
    try:
        raise ValueError(text)
    except ValueError:
        log.exception("it failed")
    written = stream.getvalue()
    assert len(written.splitlines()) >= 5
    assert token not in written
    for part in token.split("."):
        assert len(part) < 12 or part not in written
    if form == "json":
        for line in written.splitlines():
            json.loads(line)


def test_what_is_no_credential_stays_as_it_is() -> None:
    for text in (
        "parley.transport.websocket closed 4401 token_expired",
        "token_id=0192f0c1-2b3c-7d4e-8f90-a1b2c3d4e5f6 session 0192f0c1-2b3c-7d4e-8f90-a1b2c3d4e5f6",
        "refused: token_malformed: This is not a well-formed token.",
        "GET /rooms/launch.v1.2?after=17",
        "http://127.0.0.1:8000 takes carriers header, subprotocol, ticket, message",
        "kid=q1w2e3r4t5y6u7i8o9p0q1w2e3r4t5y6u7i8o9p0abc",
    ):
        assert redacted(text) == text


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g", "c2FsdHNhbHQ"),
        ("postgresql://parley:sesame@db/parley", "sesame"),
        ("redis://:sesame@h:6379/0", "sesame"),
        ("-----BEGIN PRIVATE KEY-----\nsesame\n-----END PRIVATE KEY-----", "sesame"),
        ('{"kty":"EC","d":"c2VzYW1lc2VzYW1l"}', "c2VzYW1l"),
        ("/ws?token=" + quote("a b/c"), "a%20b"),
    ],
)
def test_other_secrets_are_redacted_too(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in redacted(text)


def test_a_json_line_is_one_object_with_its_facts_as_members() -> None:
    stream = configured("json")
    logging.getLogger("parley.test").info("two\nlines of %s", "ada", extra={"room": "launch", "n": 3})
    (line,) = stream.getvalue().splitlines()
    said = json.loads(line)
    assert said["event"] == "two\nlines of ada"
    assert (said["room"], said["n"], said["level"], said["logger"]) == ("launch", 3, "info", "parley.test")
    assert said["timestamp"].endswith("Z")


def test_no_text_of_a_peer_can_forge_a_second_line_on_a_console() -> None:
    stream = configured("console")
    logging.getLogger("parley.test").info("hello %s", "ada\n2026-11-24 [error] forged \x1b[2J")
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


def test_the_lines_of_libraries_come_out_in_the_same_form() -> None:
    stream = configured("json")
    # A server that ran in this process before has told uvicorn to say no less than this.
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    logging.getLogger("alembic.runtime.migration").info("Context impl SQLiteImpl.")
    logging.getLogger("picows").warning("odd frame")
    assert [json.loads(line)["logger"] for line in stream.getvalue().splitlines()] == ["uvicorn.error", "picows"]


def test_lines_below_the_level_are_not_written() -> None:
    stream = configured("json", "warning")
    logging.getLogger("parley.test").info("quiet")
    structlog.get_logger("parley.test").info("quiet")
    logs.access("GET", "/", 200, 1.0, "127.0.0.1")
    assert stream.getvalue() == ""


def test_an_access_line_has_no_query() -> None:
    stream = configured("json")
    logs.access("GET", "/ws?token=abc&room=launch", 101, 3.14159, "192.0.2.7")
    said = json.loads(stream.getvalue())
    assert {name: said[name] for name in ("method", "path", "status", "ms", "address")} == {
        "method": "GET",
        "path": "/ws",
        "status": 101,
        "ms": 3.1,
        "address": "192.0.2.7",
    }


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_very_long_value_is_cut(form: str) -> None:
    stream = configured(form)
    logging.getLogger("parley.test").info("x" * 1_000_000, extra={"y": "y" * 1_000_000})
    assert len(stream.getvalue()) < 3 * VALUE_CHARS_MAX


def test_redacting_takes_time_in_proportion_to_the_text() -> None:
    for hostile in (
        "eyJ" * 20_000,
        "a" * 15 + "." * 60_000,
        "bearer " * 10_000,
        "token=" * 10_000,
        "a-" * 30_000,
        "://" * 20_000,
    ):
        began_s = time.thread_time()
        redacted(hostile)
        assert time.thread_time() - began_s < 1.0, hostile[:20]


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_server_that_is_fed_credentials_everywhere_logs_none_of_them(tmp_path: Path, form: str) -> None:
    with ServerProcess(tmp_path / "data", log_format=form, log_level="debug", auth__carriers="header,query") as server:
        good = server.token("ada")
        bad = TOKENS["ES256"]
        for secret in (good, bad, TOKENS["refresh"], TOKENS["opaque"]):
            for head in (
                f"GET /ws?token={secret} HTTP/1.1\r\n",
                f"GET /ws?ticket={secret} HTTP/1.1\r\n",
                f"GET /nowhere?token={secret}&ticket={secret} HTTP/1.1\r\n",
                f"GET /metrics HTTP/1.1\r\nAuthorization: Bearer {secret}\r\n",
                f"POST /rpc HTTP/1.1\r\nAuthorization: Bearer {secret}\r\nContent-Length: 2\r\n\r\n{{}}",
                f"POST /auth/login?password={secret} HTTP/1.1\r\nContent-Length: 2\r\n\r\n{{}}",
                f"GET /ws HTTP/1.1\r\nSec-WebSocket-Protocol: parley.v1, bearer.{secret}\r\n",
                f"GET /ws HTTP/1.1\r\nToken: {secret}\r\nAuthorization: Bearer {secret}\r\n",
                f"BREW /{secret} HTTP/9.9\r\nAuthorization: {secret}\r\n",
            ):
                with socket.create_connection(("127.0.0.1", server.port), timeout=10) as peer:
                    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                    upgrade += "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nHost: 127.0.0.1\r\n\r\n"
                    peer.sendall((head if head.endswith("{}") else head + upgrade).encode())
                    assert peer.recv(65_536)
            server.post("/auth/login", {"username": secret, "password": secret})
        assert server.stop() == 0
        written = server.log
    assert "/auth/login" in written
    for secret in (good, bad, TOKENS["refresh"]):
        assert secret not in written
        assert secret.rpartition(".")[2] not in written
    # In a path an opaque secret can't be told from a name: whoever puts one there has logged it.
    assert TOKENS["opaque"] not in written.replace("/" + TOKENS["opaque"], "")
