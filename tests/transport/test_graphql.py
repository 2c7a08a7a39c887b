"""CONTRACT sections 2 and 4, GraphQL by HTTP over a real socket: who is let in, what is answered, in which form."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from parley.dialects.graphql_schema import sdl
from tests.serving import ServerProcess
from tests.transport.asking import JSON, Answer, ask, assert_problem, bearer, command, rpc

RESPONSE = "application/graphql-response+json"
NEWER = ("Accept", RESPONSE)
BROWSER = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")


def post(server: ServerProcess, token: str, body: Any, *headers: tuple[str, str]) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ask(server, "POST", "/graphql", [bearer(token), JSON, *headers], data)


def graphql(server: ServerProcess, token: str, query: str, **variables: Any) -> Any:
    answer = post(server, token, {"query": query, "variables": variables})
    assert answer.status == 200
    assert answer.header("content-type") == "application/json; charset=utf-8"
    assert answer.header("cache-control") == "no-store"
    return answer.json


def get(server: ServerProcess, *headers: tuple[str, str], **parameters: str) -> Answer:
    return ask(server, "GET", f"/graphql?{urlencode(parameters)}", headers)


def code_of(said: Any) -> str:
    (error,) = said["errors"]
    assert error["extensions"]["status"] >= 400
    code: str = error["extensions"]["code"]
    return code


@pytest.fixture
def room(at_home: ServerProcess, ada: str) -> str:
    made = graphql(at_home, ada, 'mutation{createRoom(title:"Den"){id}}')
    name: str = made["data"]["createRoom"]["id"]
    return name


class TestCredentials:
    """Behind the same credentials as `/rpc`: problem+json before anything else."""

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_without_one_it_is_token_missing_and_with_a_bad_one_its_code(
        self, at_home: ServerProcess, method: str
    ) -> None:
        body = b'{"query":"{__typename}"}' if method == "POST" else None
        path = "/graphql?query={__typename}"
        missing = ask(at_home, method, path, [JSON], body)
        assert_problem(missing, 401, "token_missing")
        assert missing.header("www-authenticate") == 'Bearer realm="parley"'
        assert_problem(ask(at_home, method, path, [JSON, bearer("x")], body), 401, "token_malformed")

    def test_a_foreign_page_may_not_post(self, at_home: ServerProcess, ada: str) -> None:
        evil = ("Origin", "https://evil.example")
        assert_problem(post(at_home, ada, {"query": "{__typename}"}, evil), 403, "origin_denied")

    def test_a_carrier_that_is_off_is_refused_by_name(self, on_the_web: ServerProcess) -> None:
        token = on_the_web.token("ada")
        answer = ask(on_the_web, "POST", "/graphql", [bearer(token), JSON], b'{"query":"{session{subject}}"}')
        assert answer.json == {"data": {"session": {"subject": "ada"}}}


class TestForm:
    @pytest.mark.parametrize("media_type", ["text/plain", "application/graphql", "application/x-www-form-urlencoded"])
    def test_another_media_type_is_415(self, at_home: ServerProcess, ada: str, media_type: str) -> None:
        answer = ask(at_home, "POST", "/graphql", [bearer(ada), ("Content-Type", media_type)], b'{"query":"{a}"}')
        assert_problem(answer, 415, "unsupported_media_type")

    def test_a_body_that_is_too_large_is_413(self, at_home: ServerProcess, ada: str) -> None:
        assert_problem(post(at_home, ada, b'{"query":"' + b" " * 140_000 + b'"}'), 413, "too_large")

    @pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
    def test_other_methods_are_405(self, at_home: ServerProcess, ada: str, method: str) -> None:
        answer = ask(at_home, method, "/graphql", [bearer(ada)])
        assert_problem(answer, 405, "method_not_allowed")
        assert answer.header("allow") == "GET, POST, HEAD, OPTIONS"

    @pytest.mark.parametrize(
        ("body", "code"),
        [(b"", "parse_error"), (b"{", "parse_error"), (b"[]", "invalid_request"), (b"{}", "invalid_request")],
    )
    def test_what_is_no_request_is_400_whatever_is_accepted(
        self, at_home: ServerProcess, ada: str, body: bytes, code: str
    ) -> None:
        for headers in ([], [NEWER]):
            answer = post(at_home, ada, body, *headers)
            assert answer.status == 400
            assert code_of(answer.json) == code
            assert "data" not in answer.json

    def test_what_is_not_carried_out_is_200_or_400_as_the_client_reads_it(
        self, at_home: ServerProcess, ada: str
    ) -> None:
        for query in ("{", "{nobody}", "query A{__typename} query B{__typename}"):
            older, newer = post(at_home, ada, {"query": query}), post(at_home, ada, {"query": query}, NEWER)
            assert (older.status, older.header("content-type")) == (200, "application/json; charset=utf-8")
            assert (newer.status, newer.header("content-type")) == (400, f"{RESPONSE}; charset=utf-8")
            assert older.json == newer.json
            assert "data" not in older.json

    def test_a_refused_command_is_200_for_it_was_carried_out(self, at_home: ServerProcess, ada: str) -> None:
        answer = post(at_home, ada, {"query": 'mutation{joinRoom(room:"nowhere"){room}}'}, NEWER)
        assert answer.status == 200
        assert answer.json["data"] is None
        assert code_of(answer.json) == "not_found"
        assert answer.header("vary") is not None
        assert "Accept" in (answer.header("vary") or "")


class TestGet:
    def test_a_query_is_answered(self, at_home: ServerProcess, ada: str) -> None:
        query = "query A($id: ID!) { room(id: $id) { id kind } }"
        answer = get(at_home, bearer(ada), query=query, operationName="A", variables='{"id":"lobby"}')
        assert answer.status == 200
        assert answer.json == {"data": {"room": {"id": "lobby", "kind": "room"}}}

    def test_a_mutation_is_405_and_does_nothing(self, at_home: ServerProcess, ada: str) -> None:
        answer = get(at_home, bearer(ada), query='mutation{createRoom(room:"by-get"){id}}')
        assert_problem(answer, 405, "method_not_allowed")
        assert answer.header("allow") == "POST"
        assert code_of(graphql(at_home, ada, '{room(id:"by-get"){id}}')) == "not_found"

    def test_without_a_query_it_is_no_request(self, at_home: ServerProcess, ada: str) -> None:
        assert get(at_home, bearer(ada)).status == 400

    def test_a_browser_gets_the_page_without_a_credential(self, at_home: ServerProcess) -> None:
        answer = get(at_home, BROWSER)
        assert answer.status == 200
        assert (answer.header("content-type") or "").startswith("text/html")
        assert "Accept" in (answer.header("vary") or "")
        assert "default-src 'none'" in (answer.header("content-security-policy") or "")

    def test_the_schema_as_text_is_for_everybody(self, at_home: ServerProcess) -> None:
        answer = ask(at_home, "GET", "/graphql/schema.graphql")
        assert answer.status == 200
        assert answer.header("content-type") == "text/plain; charset=utf-8"
        assert answer.body.decode() == sdl()
        again = ask(at_home, "GET", "/graphql/schema.graphql", [("If-None-Match", answer.header("etag") or "")])
        assert (again.status, again.body) == (304, b"")


class TestCommands:
    def test_a_message_sent_by_graphql_is_the_same_by_rpc(self, at_home: ServerProcess, ada: str, room: str) -> None:
        sent = graphql(
            at_home,
            ada,
            'mutation($r:ID!){sendMessage(room:$r,text:"hello",clientId:"c1",data:{n:[1,null]}){'
            "message{id seq text data clientId sender{subject name type} at deleted} duplicate}}",
            r=room,
        )["data"]["sendMessage"]
        assert sent["duplicate"] is False
        message = sent["message"]
        listed = rpc(at_home, ada, command("message.list", room=room)).json["result"]["messages"]
        assert [(m["id"], m["seq"], m["text"], m["data"], m["sender"], m["at"]) for m in listed] == [
            (message["id"], message["seq"], "hello", {"n": [1, None]}, message["sender"], message["at"])
        ]
        again = graphql(
            at_home,
            ada,
            'mutation($r:ID!){sendMessage(room:$r,text:"other",clientId:"c1"){message{id} duplicate}}',
            r=room,
        )
        assert again["data"]["sendMessage"] == {"message": {"id": message["id"]}, "duplicate": True}

    def test_the_fields_of_one_mutation_take_effect_in_their_order(
        self, at_home: ServerProcess, ada: str, room: str
    ) -> None:
        several = " ".join(f'm{i}:sendMessage(room:$r,text:"{i}"){{message{{seq}}}}' for i in range(10))
        said = graphql(at_home, ada, f"mutation($r:ID!){{{several}}}", r=room)["data"]
        assert [said[f"m{i}"]["message"]["seq"] for i in range(10)] == list(range(2, 12))

    def test_a_read_sees_what_was_written_before(self, at_home: ServerProcess, ada: str, room: str) -> None:
        graphql(at_home, ada, 'mutation($r:ID!){sendMessage(room:$r,text:"x"){duplicate}}', r=room)
        page = graphql(at_home, ada, "query($r:ID!){messages(room:$r){messages{text} complete}}", r=room)
        assert page["data"]["messages"] == {"messages": [{"text": "x"}], "complete": True}

    def test_a_deletion_by_an_admin_that_a_plain_member_is_refused(self, at_home: ServerProcess, ada: str) -> None:
        admin, ben = at_home.login("admin"), at_home.login("ben")
        sent = graphql(at_home, ada, 'mutation{sendMessage(room:"lobby",text:"mine"){message{id}}}')
        message = sent["data"]["sendMessage"]["message"]["id"]
        delete = 'mutation($m:ID!){deleteMessage(message:$m,reason:"spam"){id text deleted deletedBy{subject} reason}}'
        assert code_of(graphql(at_home, ben, delete, m=message)) == "forbidden"
        assert code_of(graphql(at_home, ada, delete, m=message)) == "forbidden"
        gone = graphql(at_home, admin, delete, m=message)["data"]["deleteMessage"]
        assert (gone["text"], gone["deleted"], gone["reason"]) == (None, True, "spam")
        told = rpc(at_home, ben, command("message.get", message=message)).json["result"]["message"]
        assert told["deleted"] is True
        assert told["deleted_by"]["subject"] == gone["deletedBy"]["subject"]

    def test_the_session_has_no_connection_and_cannot_be_refreshed_here(self, at_home: ServerProcess, ada: str) -> None:
        session = graphql(at_home, ada, "{session{name type connection roles}}")["data"]["session"]
        assert session == {"name": "Ada", "type": "account", "connection": None, "roles": ["member"]}
        said = graphql(at_home, ada, "mutation($t:String!){refreshSession(token:$t){name}}", t=ada)
        assert code_of(said) == "unknown_command"
        assert code_of(graphql(at_home, ada, 'subscription{roomEvents(room:"lobby"){seq}}')) == "unknown_command"

    def test_lists_have_pages(self, at_home: ServerProcess, ada: str, room: str) -> None:
        first = graphql(at_home, ada, "{rooms(mine:true,limit:1){rooms{id role} next}}")["data"]["rooms"]
        assert len(first["rooms"]) == 1
        rest = graphql(
            at_home, ada, "query($a:String){rooms(mine:true,after:$a,limit:200){rooms{id} next}}", a=first["next"]
        )
        assert first["rooms"][0]["id"] not in [one["id"] for one in rest["data"]["rooms"]["rooms"]]
        assert rest["data"]["rooms"]["next"] is None
