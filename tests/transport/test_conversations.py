"""`POST /conversations`: who may begin, what they get, and how often (CONTRACT sections 1, 2 and 6)."""

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from websockets.sync.client import connect

from tests.serving import ServerProcess
from tests.transport.asking import JSON, Answer, ask, assert_problem, bearer, command, rpc

SECRET = "a secret of the shop's, 32 bytes and more"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    data = tmp_path_factory.mktemp("conversations") / "data"
    secret = data.parent / "secret"
    secret.write_text(SECRET)
    issuers = [
        {
            "name": "shop",
            "issuer": "https://shop.example",
            "audience": "parley",
            "secret_file": str(secret),
            "use": "identity",
            "default_kid": "shop-1",
        }
    ]
    settings = {"auth__issuers": json.dumps(issuers), "limits__conversations_per_min": 0}
    with ServerProcess(data, "--demo", **settings) as server:
        yield server


def begin(server: ServerProcess, body: Any = None, *headers: tuple[str, str]) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
    return ask(server, "POST", "/conversations", [JSON, *headers], data)


def identity(**claims: Any) -> str:
    """What the shop says of its customer."""
    now_s = time.time()
    said = {"sub": "customer-7", "name": "Vi Vouched", "email": "vi@shop.example", **claims}
    payload = {"iss": "https://shop.example", "aud": "parley", "iat": int(now_s), "exp": int(now_s) + 60, **said}
    return jwt.encode(payload, SECRET, "HS256", headers={"kid": "shop-1"})


def call(server: ServerProcess, token: str, method: str, **params: Any) -> Any:
    """The result, or the refusal's code."""
    answer = rpc(server, token, command(method, **params)).json
    return answer["result"] if "result" in answer else answer["error"]["data"]["code"]


class TestAGuest:
    def test_gets_a_conversation_and_tokens_for_it(self, server: ServerProcess) -> None:
        answer = begin(server, {"name": "Vi", "message": "hello", "page": "https://shop.example/"})
        assert answer.status == 201
        assert answer.header("cache-control") == "no-store"
        body = answer.json
        assert set(body) == {"conversation", "access_token", "token_type", "expires_in", "refresh_token"}
        assert (body["token_type"], body["expires_in"]) == ("Bearer", 3600)
        conversation = body["conversation"]
        session = call(server, body["access_token"], "session.describe")
        assert session["subject"] == conversation["visitor"]["subject"]
        assert (session["type"], session["roles"], session["name"]) == ("guest", ["guest"], "Vi")
        said = call(server, body["access_token"], "message.list", room=conversation["id"])["messages"]
        assert [message["text"] for message in said] == ["hello"]

    def test_its_token_says_which_conversation_and_department(self, server: ServerProcess) -> None:
        admin = server.login("admin")
        name = f"Sales {time.time_ns()}"
        department = call(server, admin, "department.create", name=name)["department"]["id"]
        body = begin(server, {"department": name}).json
        claims = json.loads(_decoded(body["access_token"]))
        assert claims["sub"].startswith("guest:")
        assert (claims["conversation"], claims["department"]) == (body["conversation"]["id"], department)
        assert "name" not in claims, "who said no name has none"

    def test_comes_back_the_next_day_with_its_refresh_token(self, server: ServerProcess) -> None:
        first = begin(server, {"name": "Vi"}).json
        again = ask(
            server, "POST", "/auth/refresh", [JSON], json.dumps({"refresh_token": first["refresh_token"]}).encode()
        )
        assert again.status == 200
        assert again.json["expires_in"] == 3600
        claims = json.loads(_decoded(again.json["access_token"]))
        assert (claims["type"], claims["conversation"]) == ("guest", first["conversation"]["id"])
        assert call(server, again.json["access_token"], "conversation.get", conversation=first["conversation"]["id"])

    def test_a_second_tab_talks_in_the_same_conversation(self, server: ServerProcess) -> None:
        body = begin(server).json
        conversation = body["conversation"]["id"]
        for _ in range(2):
            with connect(server.ws_url, subprotocols=["parley.v1", f"bearer.{body['access_token']}"]) as tab:  # type: ignore[list-item]
                tab.send(json.dumps(command("room.subscribe", room=conversation, after=0)))
                assert json.loads(tab.recv())["result"]["events"][0]["type"] == "conversation.queued"

    def test_who_is_one_begins_no_other(self, server: ServerProcess) -> None:
        token = begin(server).json["access_token"]
        assert_problem(begin(server, {}, bearer(token)), 403, "forbidden")

    def test_is_called_by_its_new_name_at_once(self, server: ServerProcess) -> None:
        body = begin(server, {"name": "Vi"}).json
        token, conversation = body["access_token"], body["conversation"]["id"]
        call(server, token, "conversation.update", conversation=conversation, name="Violet")
        sent = call(server, token, "message.send", room=conversation, text="hello")
        assert sent["message"]["sender"]["name"] == "Violet"


class TestAnAccount:
    def test_has_a_conversation_of_its_own_and_no_new_token(self, server: ServerProcess) -> None:
        token = server.login("ada")
        answer = begin(server, {"message": "hello"}, bearer(token))
        assert answer.status == 201
        assert set(answer.json) == {"conversation"}
        assert answer.json["conversation"]["visitor"]["name"] == "Ada"
        assert call(server, token, "message.send", room=answer.json["conversation"]["id"], text="more")["message"]

    def test_with_a_bad_token_is_told_so_and_not_taken_for_a_guest(self, server: ServerProcess) -> None:
        assert_problem(begin(server, {}, bearer("nonsense")), 401, "token_malformed")


class TestIdentity:
    def test_name_and_email_are_the_issuers_and_verified(self, server: ServerProcess) -> None:
        visitor = begin(server, {"name": "Somebody", "identity": identity()}).json["conversation"]["visitor"]
        assert (visitor["name"], visitor["email"], visitor["verified"]) == ("Vi Vouched", "vi@shop.example", True)

    def test_later_it_verifies_and_the_history_is_kept(self, server: ServerProcess) -> None:
        body = begin(server, {"name": "Somebody", "message": "before"}).json
        token, conversation = body["access_token"], body["conversation"]["id"]
        now = call(server, token, "conversation.identify", conversation=conversation, identity=identity())
        assert now["conversation"]["visitor"]["verified"] is True
        assert call(server, token, "message.list", room=conversation)["messages"][0]["text"] == "before"
        changed = call(server, token, "conversation.update", conversation=conversation, name="Fake")
        assert changed == "forbidden", "a name that somebody vouches for is not changed by hand"
        other = identity(sub="customer-8", name="Other")
        assert call(server, token, "conversation.identify", conversation=conversation, identity=other) == "conflict"

    def test_whoever_may_not_is_told_that_and_nothing_of_the_token(self, server: ServerProcess) -> None:
        conversation = begin(server, {"message": "hello"}).json["conversation"]["id"]
        for who, code in (("agent", "forbidden"), ("ada", "not_found")):
            for token in ("nonsense", identity()):
                asked = {"conversation": conversation, "identity": token}
                assert call(server, server.login(who), "conversation.identify", **asked) == code
        narrowed = server.token("cy", grants={"room:lobby": ["read"]})
        assert call(server, narrowed, "conversation.start", identity="nonsense") == "forbidden"
        assert_problem(begin(server, {"identity": "nonsense"}, bearer(narrowed)), 403, "forbidden")

    def test_an_account_may_have_it_too(self, server: ServerProcess) -> None:
        began = call(server, server.login("ben"), "conversation.start", identity=identity())
        assert began["conversation"]["visitor"]["name"] == "Vi Vouched"

    def test_a_bad_one_begins_nothing(self, server: ServerProcess) -> None:
        assert_problem(begin(server, {"identity": identity(exp=1)}), 401, "token_expired")
        assert_problem(begin(server, {"identity": "nonsense"}), 401, "token_malformed")

    def test_a_token_of_ours_vouches_for_nobody(self, server: ServerProcess) -> None:
        assert_problem(begin(server, {"identity": server.login("ada")}), 401, "token_wrong_type")

    def test_an_identity_token_opens_no_door(self, server: ServerProcess) -> None:
        assert rpc(server, identity(), command("session.describe")).json["code"] == "token_wrong_type"


class TestWhatIsWrong:
    @pytest.mark.parametrize(
        ("body", "status", "code", "field"),
        [
            (b"{", 400, "parse_error", None),
            (b"[]", 422, "invalid_params", "body"),
            ({"nmae": "x"}, 422, "invalid_params", "nmae"),
            ({"name": ""}, 422, "invalid_params", "name"),
            ({"email": "no address"}, 422, "invalid_params", "email"),
            ({"department": "nowhere"}, 422, "invalid_params", "department"),
            ({"message": "x" * 8001}, 422, "invalid_params", "message"),
            ({"name": "a\0b"}, 422, "invalid_params", "name"),
            ({"name": "\ud800"}, 422, "invalid_params", "name"),
            ({"\ud800": "x"}, 422, "invalid_params", "params"),
            ({"name": "Vi\n2027-01-15 08:00 UTC  ava: refunded"}, 422, "invalid_params", "name"),
            ({"name": "x" * 201}, 422, "invalid_params", "name"),
            ({"page": "https://shop.example/a b"}, 422, "invalid_params", "page"),
        ],
    )
    def test_is_named(self, server: ServerProcess, body: Any, status: int, code: str, field: str | None) -> None:
        facts = {} if field is None else {"field": field}
        assert_problem(begin(server, body), status, code, **facts)

    def test_a_foreign_page_begins_nothing(self, server: ServerProcess) -> None:
        assert_problem(begin(server, {}, ("Origin", "https://evil.example")), 403, "origin_denied")

    def test_another_media_type_is_not_taken(self, server: ServerProcess) -> None:
        answer = ask(server, "POST", "/conversations", [("Content-Type", "text/plain")], b"{}")
        assert_problem(answer, 415, "unsupported_media_type")


def test_an_address_begins_so_many_in_a_minute(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", "--demo") as server:
        token = server.login("ada")
        for _ in range(4):
            assert begin(server).status == 201
        assert begin(server, {}, bearer(token)).status == 201, "an account's count too"
        refused = begin(server)
        assert_problem(refused, 429, "rate_limited")
        assert 1 <= int(refused.header("retry-after") or 0) <= 12


def _decoded(token: str) -> bytes:
    payload = token.split(".")[1]
    return base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
