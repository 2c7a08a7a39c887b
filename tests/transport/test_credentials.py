"""CONTRACT sections 2 and 5: which credential of a request counts, and in which order it is refused."""

import itertools
from typing import Any

import pytest

from tests.serving import ServerProcess
from tests.transport.asking import BEARER, EVIL, JSON, ask, assert_problem, bearer, command, describe, login, rpc
from tests.transport.conftest import PUBLIC_URL


class TestCredentials:
    """CONTRACT section 1: a bad credential in a header is HTTP 401 with a challenge (RFC 6750)."""

    def test_none_at_all_is_challenged_without_an_error(self, at_home: ServerProcess) -> None:
        for headers in ([], [("Authorization", "Basic eDp5")], [("Token", "x")]):
            answer = describe(at_home, *headers)
            assert_problem(answer, 401, "token_missing")
            assert answer.header("www-authenticate") == BEARER

    def test_in_the_query_it_is_not_looked_at(self, at_home: ServerProcess, ada: str) -> None:
        for name in ("token", "access_token", "ticket"):
            answer = ask(at_home, "POST", f"/rpc?{name}={ada}", [JSON], b"[]")
            assert_problem(answer, 401, "token_missing")

    @pytest.mark.parametrize(
        ("how", "code"),
        [
            ("x", "token_malformed"),
            ("", "token_malformed"),
            ("a.b.c", "token_malformed"),
            ("cut", "token_malformed"),
            ("signed over", "token_bad_signature"),
            ("expired", "token_expired"),
        ],
    )
    def test_a_bad_token_is_challenged_with_its_code(
        self, at_home: ServerProcess, ada: str, how: str, code: str
    ) -> None:
        head, claims, _ = ada.split(".")
        turned = {
            "cut": f"{head}.{claims}",
            "signed over": f"{head}.{claims}.{'A' * 86}",
            "expired": at_home.token("x", ttl_s=-1),
        }.get(how, how)
        answer = describe(at_home, bearer(turned))
        assert_problem(answer, 401, code)
        assert answer.header("www-authenticate") == f'{BEARER}, error="invalid_token", error_description="{code}"'
        assert not turned or turned not in answer.body.decode()

    def test_two_different_ones_are_ambiguous_and_the_same_twice_is_one(self, at_home: ServerProcess, ada: str) -> None:
        other = at_home.login("ben")
        answer = describe(at_home, bearer(ada), bearer(other))
        assert_problem(answer, 400, "ambiguous_credentials")
        assert answer.header("www-authenticate") is None
        assert describe(at_home, bearer(ada), bearer(ada)).status == 200

    def test_a_carrier_that_is_off_is_refused_by_name(self, tmp_path: Any) -> None:
        with ServerProcess(tmp_path / "data", auth__carriers="subprotocol") as server:
            answer = describe(server, bearer(server.token("x")))
            assert_problem(answer, 401, "carrier_disabled", carrier="header")
            assert_problem(describe(server), 401, "token_missing")

    def test_a_disabled_account_is_refused_at_once(self, at_home: ServerProcess) -> None:
        admin = at_home.login("admin")
        made = rpc(
            at_home, admin, command("account.create", username="eve", password="a long enough one", roles=["member"])
        )
        eve = at_home.login("eve", "a long enough one")
        assert describe(at_home, bearer(eve)).status == 200
        rpc(at_home, admin, command("account.disable", account=made.json["result"]["account"]["id"]))
        assert_problem(describe(at_home, bearer(eve)), 401, "token_revoked")
        assert_problem(login(at_home, {"username": "eve", "password": "a long enough one"}), 401, "invalid_credentials")

    def test_too_many_bad_tokens_from_one_address_are_429_and_good_ones_still_pass(
        self, on_the_web: ServerProcess
    ) -> None:
        good = bearer(on_the_web.token("backend", type="service"))
        here = ("X-Forwarded-For", "2001:db8:9::1")
        neighbour = ("X-Forwarded-For", "2001:db8:9::2")
        elsewhere = ("X-Forwarded-For", "2001:db8:a::1")
        answers = [describe(on_the_web, bearer("bad"), here)]
        while answers[-1].status != 429:  # one comes free every 50 ms: sooner or later, as fast as the machine is
            answers.append(describe(on_the_web, bearer("bad"), here))
        *before, refused = answers
        assert {answer.json["code"] for answer in before} == {"token_malformed"}
        assert len(before) >= 20
        assert_problem(refused, 429, "rate_limited")
        assert refused.header("retry-after") == "1"
        assert refused.header("www-authenticate") is None
        assert describe(on_the_web, good, here).status == 200
        assert_problem(describe(on_the_web, here), 401, "token_missing")
        assert_problem(describe(on_the_web, bearer("bad"), elsewhere), 401, "token_malformed")
        # A /64 is one address: one with a bucket of its own would be refused at the 21st try at the earliest.
        while describe(on_the_web, bearer("bad"), here).status != 429:
            pass
        tries = itertools.count()
        while describe(on_the_web, bearer("bad"), neighbour).status != 429:
            assert next(tries) < 19


class TestOrder:
    """What is checked first is reported: path, method, origin, credential, media type, size, body."""

    def test_each_fault_hides_those_after_it(self, on_the_web: ServerProcess) -> None:
        token = bearer(on_the_web.token("x"))
        text = ("Content-Type", "text/plain")
        large = ("Content-Length", "20001")
        assert_problem(ask(on_the_web, "DELETE", "/nowhere", [EVIL]), 404, "not_found")
        assert_problem(ask(on_the_web, "DELETE", "/rpc", [EVIL]), 405, "method_not_allowed")
        assert_problem(ask(on_the_web, "POST", "/rpc", [EVIL, bearer("x"), text, large]), 403, "origin_denied")
        assert_problem(ask(on_the_web, "POST", "/rpc", [bearer("x"), text, large]), 401, "token_malformed")
        assert_problem(ask(on_the_web, "POST", "/rpc", [token, text, large]), 415, "unsupported_media_type")
        assert_problem(ask(on_the_web, "POST", "/rpc", [token, JSON, large]), 413, "too_large")
        assert ask(on_the_web, "POST", "/rpc", [token, JSON], b"{").json["error"]["code"] == -32700

    def test_signing_in_is_asked_for_its_origin_first(self, on_the_web: ServerProcess) -> None:
        answer = ask(on_the_web, "POST", "/auth/login", [EVIL, ("Content-Type", "text/plain")], b"{")
        assert_problem(answer, 403, "origin_denied", origin=EVIL[1], setting="PARLEY_ALLOWED_ORIGINS")
        assert EVIL[1] in answer.json["detail"]
        assert_problem(ask(on_the_web, "POST", "/auth/login", [("Origin", "null"), JSON], b"{}"), 403, "origin_denied")
        twice = [("Origin", PUBLIC_URL), ("Origin", PUBLIC_URL), JSON]
        assert_problem(ask(on_the_web, "POST", "/auth/login", twice, b"{}"), 403, "origin_denied")

    def test_nobody_is_at_unknown_paths(self, at_home: ServerProcess) -> None:
        paths = [
            "/nowhere",
            "/auth",
            "/auth/login/",
            "/RPC",
            "//rpc",
            "/rpc/x",
            "/%00",
        ]
        for path in paths:
            for method in ("GET", "POST"):
                answer = ask(at_home, method, path, body=b"{}")
                assert_problem(answer, 404, "not_found")

    @pytest.mark.parametrize(
        ("method", "path", "allow"),
        [
            ("GET", "/auth/login", "POST, OPTIONS"),
            ("HEAD", "/rpc", "POST, OPTIONS"),
            ("DELETE", "/rpc", "POST, OPTIONS"),
            ("PROPFIND", "/rpc", "POST, OPTIONS"),
            ("POST", "/.well-known/jwks.json", "GET, HEAD, OPTIONS"),
            ("POST", "/", "GET, HEAD, OPTIONS"),
            ("PUT", "/healthz", "GET, HEAD, OPTIONS"),
            ("POST", "/ws", "GET, HEAD, OPTIONS"),
        ],
    )
    def test_a_wrong_method_is_told_the_right_ones(
        self, at_home: ServerProcess, method: str, path: str, allow: str
    ) -> None:
        answer = ask(at_home, method, path)
        assert (answer.status, answer.header("allow")) == (405, allow)
        if method != "HEAD":
            assert_problem(answer, 405, "method_not_allowed")

    def test_a_socket_path_asked_without_an_upgrade_needs_one(self, at_home: ServerProcess) -> None:
        for headers in ([], [("Upgrade", "websocket")], [EVIL]):
            answer = ask(at_home, "GET", "/ws", headers)
            assert_problem(answer, 426, "upgrade_required")
            assert answer.header("upgrade") == "websocket"
            assert answer.header("connection") == "Upgrade"

    def test_options_tells_the_methods(self, at_home: ServerProcess) -> None:
        answer = ask(at_home, "OPTIONS", "/rpc")
        assert (answer.status, answer.header("allow"), answer.body) == (204, "POST, OPTIONS", b"")
        assert_problem(ask(at_home, "OPTIONS", "/nowhere"), 404, "not_found")

    @pytest.mark.parametrize(
        "path", ["/", "/healthz", "/readyz", "/metrics", "/.well-known/jwks.json", "/nowhere", "/ws"]
    )
    def test_head_says_what_get_says_without_its_body(self, at_home: ServerProcess, path: str) -> None:
        get, head = ask(at_home, "GET", path), ask(at_home, "HEAD", path)
        assert (head.status, head.body) == (get.status, b"")
        changing = {"date", "content-length"} if path in ("/metrics", "/readyz") else {"date"}
        assert [h for h in head.headers if h[0] not in changing] == [h for h in get.headers if h[0] not in changing]

    def test_every_answer_says_not_to_guess_and_not_to_tell(self, at_home: ServerProcess) -> None:
        for path in (
            "/",
            "/healthz",
            "/metrics",
            "/nowhere",
            "/rpc",
            "/ws",
            "/.well-known/jwks.json",
            "/static/parley.js",
        ):
            answer = ask(at_home, "GET", path)
            assert answer.header("x-content-type-options") == "nosniff"
            assert answer.header("referrer-policy") == "no-referrer"
            assert answer.header("server") is None
