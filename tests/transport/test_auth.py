"""CONTRACT section 2, the rows under `/auth/`: refreshing, signing out, revoking, tickets.

Signing in is in `test_login.py`.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from parley.tokens import KeySet, Verifier
from tests.serving import PATIENCE_S, ServerProcess
from tests.transport.asking import JSON, Answer, ask, assert_problem, bearer, command, rpc

FORM = ("Content-Type", "application/x-www-form-urlencoded")
BEARER = 'Bearer realm="parley"'


class Person:
    """One sign-in."""

    def __init__(self, server: ServerProcess, name: str) -> None:
        self.server = server
        answer = ask(server, "POST", "/auth/login", [JSON], json.dumps({"username": name, "password": name}).encode())
        assert answer.status == 200
        self.access: str = answer.json["access_token"]
        self.refresh: str = answer.json["refresh_token"]

    @property
    def code(self) -> str | None:
        """The code with which the access token is refused, None where it is not."""
        answer = rpc(self.server, self.access, command("session.describe"))
        return None if answer.status == 200 else str(answer.json["code"])

    def used(self, refresh_token: str | None = None) -> Answer:
        return refresh(self.server, {"refresh_token": refresh_token or self.refresh})


def refresh(server: ServerProcess, body: Any, *headers: tuple[str, str]) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ask(server, "POST", "/auth/refresh", headers or [JSON], data)


def revoke(server: ServerProcess, access: str, token: str, **more: str) -> Answer:
    body = urlencode({"token": token, **more}).encode()
    return ask(server, "POST", "/auth/revoke", [bearer(access), FORM], body)


def ticket_of(server: ServerProcess, access: str) -> str:
    answer = ask(server, "POST", "/auth/tickets", [bearer(access)], b"")
    assert answer.status == 201
    ticket: str = answer.json["ticket"]
    return ticket


@contextmanager
def socket(server: ServerProcess, query: str = "", token: str | None = None) -> Iterator[ClientConnection]:
    protocols: Any = ["parley.v1"] + ([f"bearer.{token}"] if token else [])
    with connect(server.ws_url + query, subprotocols=protocols, open_timeout=PATIENCE_S) as opened:
        yield opened


def described(opened: ClientConnection) -> dict[str, Any]:
    opened.send(json.dumps(command("session.describe")))
    result: dict[str, Any] = json.loads(opened.recv(PATIENCE_S))["result"]
    return result


def closed(opened: ClientConnection) -> tuple[int, str]:
    """Code and reason, once the server has closed."""
    with pytest.raises(ConnectionClosed) as end:
        list(iter(lambda: opened.recv(PATIENCE_S), None))
    assert end.value.rcvd is not None
    return end.value.rcvd.code, end.value.rcvd.reason


class TestRefresh:
    """`POST /auth/refresh` `{refresh_token}` → 200 as login; 401 `invalid_grant`."""

    @pytest.mark.parametrize("media_type", ["application/json", "application/x-www-form-urlencoded"])
    def test_it_answers_as_login_does_for_the_same_session(self, at_home: ServerProcess, media_type: str) -> None:
        ada = Person(at_home, "ada")
        members = {"refresh_token": ada.refresh, "grant_type": "refresh_token"}
        body = json.dumps(members) if media_type.endswith("json") else urlencode(members)
        answer = refresh(at_home, body.encode(), ("Content-Type", media_type))
        assert answer.status == 200
        assert answer.header("content-type") == "application/json"
        assert answer.header("cache-control") == "no-store"
        assert set(answer.json) == {"access_token", "token_type", "expires_in", "refresh_token"}
        assert (answer.json["token_type"], answer.json["expires_in"]) == ("Bearer", 900)
        verifier = Verifier(KeySet.from_jwks(ask(at_home, "GET", "/.well-known/jwks.json").json))
        before, after = (verifier.verify(token, time.time()) for token in (ada.access, answer.json["access_token"]))
        assert (before.sub, before.sid, before.auth_time) == (after.sub, after.sid, after.auth_time)
        assert before.jti != after.jti

    def test_used_again_it_gives_the_very_same_successor(self, at_home: ServerProcess) -> None:
        ada = Person(at_home, "ada")
        first, again = ada.used(), ada.used()
        assert first.json["refresh_token"] == again.json["refresh_token"] != ada.refresh
        assert ada.used(first.json["refresh_token"]).status == 200

    def test_used_after_its_successor_it_is_a_theft_and_ends_the_session_and_its_sockets(
        self, at_home: ServerProcess
    ) -> None:
        ada = Person(at_home, "ada")
        with socket(at_home, token=ada.access) as live:
            described(live)
            second = ada.used().json["refresh_token"]
            third = ada.used(second).json["refresh_token"]
            assert_problem(ada.used(), 401, "invalid_grant")
            assert closed(live) == (4403, "revoked")
        assert ada.code == "token_revoked"
        for token in (second, third):
            assert_problem(ada.used(token), 401, "invalid_grant")

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda token: "",
            lambda token: "x",
            lambda token: token[:-1],
            lambda token: token + "A",
            lambda token: token.replace(".0.", ".1."),
            lambda token: token.replace(".0.", ".00."),
            lambda token: "0" + token,
            lambda token: "a.1." + "A" * 43,
            lambda token: token.replace(".0.", ".99999999999999999999."),
            lambda token: "x" * 10_000,
            lambda token: "é" + token,
        ],
    )
    def test_whatever_is_none_of_ours_is_an_invalid_grant(self, at_home: ServerProcess, spoil: Any) -> None:
        answer = refresh(at_home, {"refresh_token": spoil(Person(at_home, "ada").refresh)})
        assert_problem(answer, 401, "invalid_grant")
        assert answer.header("www-authenticate") == BEARER

    def test_an_access_token_refreshes_nothing(self, at_home: ServerProcess, ada: str) -> None:
        assert_problem(refresh(at_home, {"refresh_token": ada}), 401, "invalid_grant")

    @pytest.mark.parametrize(
        ("body", "field"),
        [(b"{}", "refresh_token"), (b'{"refresh_token": 1}', "refresh_token"), (b'{"refresh_token":"a","x":1}', "x")],
    )
    def test_json_of_another_form_names_the_field(self, at_home: ServerProcess, body: bytes, field: str) -> None:
        assert_problem(refresh(at_home, body), 422, "invalid_params", field=field)

    def test_another_media_type_is_415(self, at_home: ServerProcess) -> None:
        answer = refresh(at_home, {"refresh_token": "x"}, ("Content-Type", "text/plain"))
        assert_problem(answer, 415, "unsupported_media_type")


class TestLogout:
    """`POST /auth/logout`, bearer → 204; ends the session and its sockets."""

    def test_it_ends_the_session_its_sockets_its_tokens_and_no_other(self, at_home: ServerProcess) -> None:
        ada, other = Person(at_home, "ada"), Person(at_home, "ada")
        with socket(at_home, token=ada.access) as live, socket(at_home, token=other.access) as elsewhere:
            described(live)
            described(elsewhere)
            answer = ask(at_home, "POST", "/auth/logout", [bearer(ada.access)], b"")
            assert (answer.status, answer.body) == (204, b"")
            assert closed(live) == (4403, "revoked")
            assert described(elsewhere)["name"] == "Ada"
        assert ada.code == "token_revoked"
        assert_problem(ada.used(), 401, "invalid_grant")
        assert other.code is None

    def test_signed_out_twice_is_a_revoked_token(self, at_home: ServerProcess) -> None:
        ada = Person(at_home, "ada")
        ask(at_home, "POST", "/auth/logout", [bearer(ada.access)], b"")
        assert_problem(ask(at_home, "POST", "/auth/logout", [bearer(ada.access)], b""), 401, "token_revoked")

    @pytest.mark.parametrize("path", ["/auth/logout", "/auth/revoke", "/auth/tickets"])
    def test_without_a_bearer_it_is_401_with_a_plain_challenge(self, at_home: ServerProcess, path: str) -> None:
        answer = ask(at_home, "POST", path, [FORM], b"token=x")
        assert_problem(answer, 401, "token_missing")
        assert answer.header("www-authenticate") == BEARER


class TestRevoke:
    """`POST /auth/revoke`, form `token=` (RFC 7009; access or refresh), bearer → 200, also where it is not theirs."""

    def test_an_access_token_is_revoked_by_itself(self, at_home: ServerProcess) -> None:
        ada = Person(at_home, "ada")
        again = ada.used().json["access_token"]
        with socket(at_home, token=ada.access) as live, socket(at_home, token=again) as renewed:
            described(live)
            described(renewed)
            answer = revoke(at_home, again, ada.access, token_type_hint="access_token")
            assert (answer.status, answer.body) == (200, b"")
            assert closed(live) == (4403, "revoked")
            assert described(renewed)["name"] == "Ada"
        assert ada.code == "token_revoked"

    def test_a_refresh_token_is_revoked_with_its_session(self, at_home: ServerProcess) -> None:
        ada = Person(at_home, "ada")
        with socket(at_home, token=ada.access) as live:
            described(live)
            assert revoke(at_home, ada.access, ada.refresh, token_type_hint="refresh_token").status == 200
            assert closed(live) == (4403, "revoked")
        assert_problem(ada.used(), 401, "invalid_grant")

    @pytest.mark.parametrize("kind", ["access", "refresh"])
    def test_somebody_elses_is_200_without_effect_and_an_admins_has_one(
        self, at_home: ServerProcess, kind: str
    ) -> None:
        ada, ben, admin = (Person(at_home, name) for name in ("ada", "ben", "admin"))
        answer = revoke(at_home, ben.access, getattr(ada, kind))
        assert (answer.status, answer.body) == (200, b"")
        assert ada.code is None
        assert revoke(at_home, admin.access, getattr(ada, kind)).status == 200
        assert ada.code == "token_revoked"

    @pytest.mark.parametrize("kind", ["access", "refresh"])
    def test_to_a_narrowed_token_every_sign_in_but_its_own_is_somebody_elses(
        self, at_home: ServerProcess, kind: str
    ) -> None:
        ada = Person(at_home, "ada")
        subject = rpc(at_home, ada.access, command("session.describe")).json["result"]["subject"]
        narrowed = at_home.token(subject, grants={"room:lobby": ["read"]})
        assert revoke(at_home, narrowed, getattr(ada, kind)).status == 200
        assert ada.code is None

    @pytest.mark.parametrize("token", ["x", "", "a.b.c", "x" * 5000, "s.1." + "A" * 43])
    def test_what_is_no_token_is_200_too(self, at_home: ServerProcess, ada: str, token: str) -> None:
        assert revoke(at_home, ada, token).status == 200

    def test_an_expired_one_is_200(self, at_home: ServerProcess, ada: str) -> None:
        assert revoke(at_home, ada, at_home.token("ada", ttl_s=-100)).status == 200

    def test_only_a_form_is_taken(self, at_home: ServerProcess, ada: str) -> None:
        answer = ask(at_home, "POST", "/auth/revoke", [bearer(ada), JSON], b'{"token": "x"}')
        assert_problem(answer, 415, "unsupported_media_type")
        assert_problem(
            ask(at_home, "POST", "/auth/revoke", [bearer(ada), FORM], b""), 422, "invalid_params", field="token"
        )
        answer = ask(at_home, "POST", "/auth/revoke", [bearer(ada), FORM], b"token=a&token=b")
        assert_problem(answer, 422, "invalid_params", field="token")

    def test_what_else_a_client_of_oauth_says_is_ignored(self, at_home: ServerProcess) -> None:
        ada = Person(at_home, "ada")
        assert revoke(at_home, ada.access, ada.refresh, client_id="shop", client_secret="s").status == 200
        assert_problem(ada.used(), 401, "invalid_grant")


class TestTickets:
    """`POST /auth/tickets`, bearer → 201 `{ticket, expires_in}`: opaque, one use, 30 s."""

    def test_one_opens_one_socket_for_the_bearer_of_its_token(self, at_home: ServerProcess) -> None:
        ada = Person(at_home, "ada")
        answer = ask(at_home, "POST", "/auth/tickets", [bearer(ada.access)], b"")
        assert answer.status == 201
        assert answer.header("cache-control") == "no-store"
        assert set(answer.json) == {"ticket", "expires_in"}
        assert answer.json["expires_in"] == 30
        ticket = answer.json["ticket"]
        assert len(ticket) >= 43
        assert ada.access not in ticket
        with socket(at_home, f"?ticket={ticket}") as live:
            session = described(live)
            assert session["session"] == rpc(at_home, ada.access, command("session.describe")).json["result"]["session"]
            with socket(at_home, f"?ticket={ticket}") as again:
                assert closed(again) == (4401, "ticket_invalid")
            assert described(live) is not None

    @pytest.mark.parametrize("ticket", ["", "x", "A" * 43, "x" * 500, "%00", "%ff"])
    def test_what_is_none_is_closed_with_its_code(self, at_home: ServerProcess, ticket: str) -> None:
        with socket(at_home, f"?ticket={ticket}") as refused:
            assert closed(refused) == (4401, "ticket_invalid")

    def test_it_dies_with_the_session_and_with_the_token(self, at_home: ServerProcess) -> None:
        ada = Person(at_home, "ada")
        ticket = ticket_of(at_home, ada.access)
        ask(at_home, "POST", "/auth/logout", [bearer(ada.access)], b"")
        with socket(at_home, f"?ticket={ticket}") as refused:
            assert closed(refused) == (4401, "ticket_invalid")
        ben = Person(at_home, "ben")
        ticket = ticket_of(at_home, ben.access)
        revoke(at_home, ben.access, ben.access)
        with socket(at_home, f"?ticket={ticket}") as refused:
            assert closed(refused) == (4401, "ticket_invalid")

    def test_it_is_as_narrow_as_its_token(self, at_home: ServerProcess) -> None:
        narrowed = at_home.token("zoe", grants={"room:lobby": ["read"]})
        with socket(at_home, f"?ticket={ticket_of(at_home, narrowed)}") as live:
            live.send(json.dumps(command("room.create", room="den")))
            assert json.loads(live.recv(PATIENCE_S))["error"]["data"]["code"] == "forbidden"

    def test_a_ticket_is_no_bearer(self, at_home: ServerProcess, ada: str) -> None:
        assert_problem(rpc(at_home, ticket_of(at_home, ada), command("session.describe")), 401, "token_malformed")

    def test_a_ticket_and_a_token_are_ambiguous(self, at_home: ServerProcess, ada: str) -> None:
        headers = [bearer(ada), ("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
        headers.append(("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="))
        assert_problem(ask(at_home, "GET", "/ws?ticket=x", headers), 400, "ambiguous_credentials")


@pytest.mark.parametrize("path", ["/auth/login", "/auth/refresh", "/auth/logout", "/auth/revoke", "/auth/tickets"])
def test_each_of_them_is_a_post(at_home: ServerProcess, path: str) -> None:
    answer = ask(at_home, "GET", path)
    assert_problem(answer, 405, "method_not_allowed")
    assert "POST" in str(answer.header("allow"))


@pytest.mark.parametrize("path", ["/auth/login", "/auth/refresh", "/auth/logout", "/auth/revoke", "/auth/tickets"])
def test_a_foreign_page_is_denied_before_its_credential_is_looked_at(at_home: ServerProcess, path: str) -> None:
    answer = ask(at_home, "POST", path, [("Origin", "https://evil.example"), bearer("x"), JSON], b"{}")
    assert_problem(answer, 403, "origin_denied", origin="https://evil.example")
