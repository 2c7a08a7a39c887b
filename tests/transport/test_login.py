"""CONTRACT section 2: signing in by password, and the public keys."""

import time

import pytest

from parley.tokens import KeySet, Verifier
from tests.serving import ServerProcess
from tests.transport.asking import BEARER, FORM, JSON, ask, assert_problem, login


class TestLogin:
    """`POST /auth/login` `{username, password}` (JSON or form) → 200 or 401 `invalid_credentials`."""

    @pytest.mark.parametrize(
        ("body", "media_type"),
        [
            (b'{"username": "ada", "password": "ada"}', "application/json"),
            (b'{"username": "ADA", "password": "ada"}', 'Application/JSON ; charset="UTF-8"'),
            (b"username=ada&password=ada", "application/x-www-form-urlencoded"),
            (b"password=%61da&username=ad%61", "application/x-www-form-urlencoded;charset=utf-8"),
        ],
    )
    def test_it_answers_with_a_token_that_the_published_keys_verify(
        self, at_home: ServerProcess, body: bytes, media_type: str
    ) -> None:
        answer = login(at_home, body, ("Content-Type", media_type))
        assert answer.status == 200
        assert answer.header("content-type") == "application/json"
        assert answer.header("cache-control") == "no-store"
        assert set(answer.json) == {"access_token", "token_type", "expires_in", "refresh_token"}
        assert (answer.json["token_type"], answer.json["expires_in"]) == ("Bearer", 900)
        keys = KeySet.from_jwks(ask(at_home, "GET", "/.well-known/jwks.json").json)
        claims = Verifier(keys, issuer="parley", audience="parley").verify(answer.json["access_token"], time.time())
        assert claims.name == "Ada"
        assert answer.json["refresh_token"].startswith(claims.sid + ".")

    def test_a_wrong_password_and_a_name_that_nobody_has_are_answered_alike(self, at_home: ServerProcess) -> None:
        wrong = login(at_home, {"username": "ada", "password": "ben"})
        unknown = login(at_home, {"username": "nobody", "password": "ben"})
        empty = login(at_home, {"username": "", "password": ""})
        assert_problem(wrong, 401, "invalid_credentials")
        assert wrong.body == unknown.body == empty.body
        without_date = [[h for h in one.headers if h[0] != "date"] for one in (wrong, unknown, empty)]
        assert without_date[0] == without_date[1] == without_date[2]
        assert wrong.header("www-authenticate") == BEARER

    @pytest.mark.parametrize(
        "headers",
        [
            [],
            [("Content-Type", "text/plain")],
            [("Content-Type", "multipart/form-data; boundary=x")],
            [("Content-Type", "application/json; charset=utf-16")],
            [JSON, ("Content-Encoding", "gzip")],
            [JSON, FORM],
        ],
    )
    def test_another_media_type_is_415(self, at_home: ServerProcess, headers: list[tuple[str, str]]) -> None:
        answer = ask(at_home, "POST", "/auth/login", headers, b'{"username": "ada", "password": "ada"}')
        assert_problem(answer, 415, "unsupported_media_type")

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"\xff",
            b'\xef\xbb\xbf{"username": "ada", "password": "ada"}',
            '{"username": "ada", "password": "ada"}'.encode("utf-16"),
            b'{"username": "ada", "password": NaN}',
            b'{"username": "ada", "password": "ada"} {}',
            b"{'username': 'ada'}",
            b"username=ada&password=ada",
        ],
    )
    def test_what_is_not_json_is_a_parse_error(self, at_home: ServerProcess, body: bytes) -> None:
        assert_problem(login(at_home, body), 400, "parse_error")

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            (b"[]", "body"),
            (b"null", "body"),
            (b'"ada"', "body"),
            (b"[" * 10_000 + b"]" * 10_000, "body"),
            (b"{}", "username"),
            (b'{"username": "ada"}', "password"),
            (b'{"username": 1, "password": "ada"}', "username"),
            (b'{"username": "ada", "password": null}', "password"),
            (b'{"username": "ada", "password": ' + b"9" * 6000 + b"}", "password"),
            (b'{"username": "ada", "password": ["ada"]}', "password"),
            (b'{"username": "ada", "password": "ada", "otp": ""}', "otp"),
            (b'{"username": "ada", "password": "ada", "password": "ada"}', "password"),
            (b'{"username": "a\\u0000", "password": "ada"}', "username"),
            (b'{"username": "ada", "password": "\\ud800"}', "password"),
        ],
    )
    def test_json_of_another_form_names_the_field(self, at_home: ServerProcess, body: bytes, field: str) -> None:
        answer = login(at_home, body)
        assert_problem(answer, 422, "invalid_params", field=field)

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            (b"", "username"),
            (b"username=ada", "password"),
            (b"username=ada&password=ada&password=ada", "password"),
            (b"username=ada&password=ada&x=", "x"),
            (b"username=ada&password=%00", "password"),
        ],
    )
    def test_a_form_of_another_form_names_the_field(self, at_home: ServerProcess, body: bytes, field: str) -> None:
        assert_problem(login(at_home, body, FORM), 422, "invalid_params", field=field)

    @pytest.mark.parametrize("body", [b"username", b"username=%ff&password=x", b"\xff=1", b"a&" * 200])
    def test_what_is_no_form_is_a_parse_error(self, at_home: ServerProcess, body: bytes) -> None:
        assert_problem(login(at_home, body, FORM), 400, "parse_error")

    def test_ten_failures_are_enough_and_the_answer_says_when_to_come_back(self, on_the_web: ServerProcess) -> None:
        here = ("X-Forwarded-For", "203.0.113.10")
        for _ in range(10):
            assert_problem(
                login(on_the_web, {"username": "ben", "password": "x"}, JSON, here), 401, "invalid_credentials"
            )
        answer = login(on_the_web, {"username": "ben", "password": "ben"}, JSON, here)
        assert_problem(answer, 429, "rate_limited")
        retry_after = answer.header("retry-after")
        assert retry_after is not None
        assert 590 <= int(retry_after) <= 600
        assert 0 <= int(retry_after) - answer.json["retry_after"] < 1
        elsewhere = ("X-Forwarded-For", "203.0.113.11")
        assert login(on_the_web, {"username": "ben", "password": "ben"}, JSON, elsewhere).status == 200


class TestKeys:
    """`GET /.well-known/jwks.json`: RFC 7517 set, cacheable; `{"keys": []}` with HS256."""

    def test_the_set_is_public_and_cacheable(self, at_home: ServerProcess) -> None:
        answer = ask(at_home, "GET", "/.well-known/jwks.json")
        assert answer.status == 200
        assert answer.header("content-type") == "application/jwk-set+json"
        assert answer.header("cache-control") == "public, max-age=300"
        (key,) = answer.json["keys"]
        assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("EC", "P-256", "ES256", "sig")
        assert "d" not in key

    def test_what_has_not_changed_is_not_sent_again(self, at_home: ServerProcess) -> None:
        etag = ask(at_home, "GET", "/.well-known/jwks.json").header("etag")
        assert etag
        again = ask(at_home, "GET", "/.well-known/jwks.json", [("If-None-Match", etag)])
        assert (again.status, again.body, again.header("etag")) == (304, b"", etag)
        assert again.header("cache-control") == "public, max-age=300"
        assert ask(at_home, "GET", "/.well-known/jwks.json", [("If-None-Match", '"x"')]).status == 200

    def test_a_secret_is_not_published(self, on_the_web: ServerProcess) -> None:
        assert ask(on_the_web, "GET", "/.well-known/jwks.json").body == b'{"keys":[]}'
