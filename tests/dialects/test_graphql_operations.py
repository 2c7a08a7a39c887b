"""Operations: into commands, and their results into answers. The walk of `graphql_selection` equals graphql-core's."""

import json
import re
from typing import Any

import pytest
from graphql import GraphQLObjectType, execute_sync, get_introspection_query, get_named_type, parse, validate
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from parley.dialects.graphql_documents import Documents, Refused
from parley.dialects.graphql_operations import Asked, Operation, asked_in, prepare, refused, told
from parley.dialects.graphql_schema import MEMBER, schema
from parley.domain.commands import COMMANDS
from parley.domain.errors import Refusal
from parley.domain.events import Event
from parley.domain.messages import MessageView, Send, Tombstone
from parley.domain.principal import Person
from parley.domain.replay import Subscribe
from parley.domain.rooms import RoomView
from parley.domain.sessions import SessionView

ADA = Person("ada", "Ada", "account")
MESSAGE = MessageView("m1", "den", 5, "hello", ADA, "2026-11-22T09:30:00.000Z", data=Raw(b'{"a":[1]}'))
TOMBSTONE = Tombstone("m2", "den", 6, ADA, "2026-11-22T09:30:01.000Z", True, "2026-11-22T09:31:00.000Z", ADA)
ROOM = RoomView("den", "room", None, "public", False, "e1", 6, "owner", "2026-11-22T09:00:00.000Z")
SESSION = SessionView(
    "ada", "account", "Ada", ["member"], "s1", None, "2026-11-22T10:00:00.000Z", "2026-11-22T09:00:00.000Z"
)
EVENT = Event("den", 5, "message.created", "2026-11-22T09:30:00.000Z", ADA, {"message": MESSAGE})
JOINED = Event(
    "den", 1, "member.joined", "2026-11-22T09:00:00.000Z", ADA, {"member": {"room": "den", "subject": "ada"}}
)

documents = Documents()


def operation(document: str, called: str | None = None, /, **variables: Any) -> Operation:
    return prepare(documents, Asked(document, called, variables))


def answer(document: str, *outcomes: Any, **variables: Any) -> Any:
    made = operation(document, **variables)
    left = iter(outcomes)
    return json.loads(made.answer([call.refusal or next(left) for call in made.calls]))


def errors(document: str, **variables: Any) -> list[Any]:
    with pytest.raises(Refused) as refusal:
        operation(document, **variables)
    told: list[Any] = json.loads(refused(refusal.value.errors))["errors"]
    return told


def code(document: str, **variables: Any) -> tuple[str, int, str | None]:
    extensions = errors(document, **variables)[0]["extensions"]
    return extensions["code"], extensions["status"], extensions.get("field")


class TestIntoCommands:
    def test_a_field_is_a_command_with_its_parameters_in_our_spelling(self) -> None:
        (call,) = operation(
            'mutation($t:String!){sendMessage(room:"den",text:$t,clientId:"c",replyTo:"m0",data:{a:[1]}){duplicate}}',
            t="hello",
        ).calls
        assert call.root.row is COMMANDS["message.send"]
        assert call.params == Send("den", "hello", "c", "m0", {"a": [1]})

    def test_null_is_the_same_as_left_out(self) -> None:
        (call,) = operation('query($n:Int){messages(room:"den",after:null,limit:$n){complete}}', n=None).calls
        assert call.params == COMMANDS["message.list"].params(room="den")

    def test_several_fields_are_several_commands_in_their_order(self) -> None:
        calls = operation(
            'mutation{b:joinRoom(room:"b"){role} leaveRoom(room:"a"){role} c:joinRoom(room:"c"){role}}'
        ).calls
        assert [(call.key, call.root.name) for call in calls] == [
            ("b", "joinRoom"),
            ("leaveRoom", "leaveRoom"),
            ("c", "joinRoom"),
        ]

    def test_what_directives_leave_out_is_no_command(self) -> None:
        document = (
            "query($yes:Boolean!){session @skip(if:$yes){subject} rooms @include(if:$yes){next} "
            "...@include(if:false){accounts{next}}}"
        )
        assert [call.key for call in operation(document, yes=True).calls] == ["rooms"]
        assert [call.key for call in operation(document, yes=False).calls] == ["session"]

    def test_a_subscription_has_one_command_and_tells_of_its_events(self) -> None:
        made = operation('subscription($a:Int){e:roomEvents(room:"den",after:$a){seq epoch message{text}}}', a=4)
        assert made.calls[0].params == Subscribe("den", 4)
        assert json.loads(made.told(told(EVENT, "e1"))) == {
            "data": {"e": {"seq": 5, "epoch": "e1", "message": {"text": "hello"}}}
        }
        assert json.loads(made.told(told(JOINED, "e1"))) == {"data": {"e": {"seq": 1, "epoch": "e1", "message": None}}}

    def test_subscriptions_with_the_same_shape_tell_the_same_whatever_their_variables(self) -> None:
        document = 'subscription($a:Int){roomEvents(room:"den",after:$a){seq}}'
        assert operation(document, a=1).shape == operation(document, a=2).shape
        assert operation(document, a=1).shape == operation('subscription{ roomEvents(room: "other") { seq } }').shape
        assert operation(document, a=1).shape != operation(document.replace("{seq}", "{seq at}"), a=1).shape
        assert operation(document, a=1).shape != operation(document.replace("{roomE", "{e:roomE"), a=1).shape
        signals = 'subscription{roomSignals(room:"den"){at}}'
        assert operation(signals).shape != operation('subscription{roomEvents(room:"den"){at}}').shape


class TestRefusedBeforeAnythingRuns:
    @pytest.mark.parametrize(
        ("document", "expected"),
        [
            ("{", ("parse_error", 400, None)),
            ("", ("parse_error", 400, None)),
            ("query A{__typename} query B{__typename}", ("invalid_request", 400, None)),
            ("fragment a on Query{__typename}", ("invalid_request", 400, None)),
            ("{nobody}", ("unknown_command", 404, None)),
            ("{session{nobody}}", ("invalid_request", 400, None)),
            ("{session}", ("invalid_request", 400, None)),
            ('mutation{sendMessage(room:"den"){duplicate}}', ("invalid_params", 422, "text")),
            ('mutation{sendMessage(room:"den",text:5){duplicate}}', ("invalid_params", 422, "text")),
            ('mutation{sendMessage(room:"den",text:"x",colour:1){duplicate}}', ("invalid_params", 422, "colour")),
            ("query($t:Int){room(id:$t){id}}", ("invalid_params", 422, "id")),
            ('{messages(room:"den",after:3000000000){complete}}', ("invalid_params", 422, "after")),
            ('{rooms(limit:"x"){next}}', ("invalid_params", 422, "limit")),
            ('subscription{roomEvents(room:"a"){seq} roomSignals(room:"a"){at}}', ("invalid_request", 400, None)),
            ("subscription{__typename}", ("invalid_request", 400, None)),
        ],
    )
    def test_with_its_code(self, document: str, expected: Any) -> None:
        assert code(document) == expected

    @pytest.mark.parametrize("number", ["1e999", "-1e400"])
    def test_a_number_that_no_double_holds_is_refused_by_name_and_is_not_null(self, number: str) -> None:
        document = f'mutation{{sendMessage(room:"den",text:"x",data:{{a:[{number}]}}){{duplicate}}}}'
        (call,) = operation(document).calls
        assert call.refusal is not None
        assert (call.refusal.code, call.refusal.facts["field"]) == ("invalid_params", "data")
        with pytest.raises(Refusal) as refusal:
            asked_in(b'{"query":"{__typename}","variables":{"c":1,"d":{"a":[%b]}}}' % number.encode())
        assert (refusal.value.code, refusal.value.facts["field"]) == ("invalid_params", "d")

    def test_a_variable_that_is_missing_or_wrong_names_the_argument(self) -> None:
        document = 'mutation($what:String!){sendMessage(room:"den",text:$what){duplicate}}'
        assert code(document) == ("invalid_params", 422, "text")
        assert code(document, what=5) == ("invalid_params", 422, "text")
        assert code(document, what=None) == ("invalid_params", 422, "text")

    def test_an_operation_that_is_not_there(self) -> None:
        with pytest.raises(Refused):
            operation("query A{__typename}", "B")
        assert operation("query A{__typename} query B{session{name}}", "B").calls[0].key == "session"

    @pytest.mark.parametrize(
        ("document", "variables"),
        [
            (
                'mutation($t:Int!){sendMessage(room:"a",text:"b"){duplicate} markReceipt(room:"a",seq:$t)}',
                {"t": "eyJ0.SECRET.x"},
            ),
            ("mutation($t:[String!]!){revokeSession(reason:$t)}", {"t": {"a": "eyJ0.SECRET.x"}}),
            ('mutation{markReceipt(room:"a",seq:"eyJ0.SECRET.x")}', {}),
            ('mutation{refreshSession(token:"eyJ0.SECRET.x" "SECRET"){name}}', {}),
            ('mutation{refreshSession(token:"SECRET){name}}', {}),
            ("mutation{refreshSession(token:eyJ0.SECRET.x){name}}", {}),
            ('mutation{refreshSession(token:{token:"SECRET"}){name}}', {}),
            ('mutation{refreshSession(token:["SECRET", 1]){name}}', {}),
            ('mutation($t:Boolean!){setTyping(room:"a",active:$t)}', {"t": "SECRET"}),
            ('query($t:Int="SECRET"){rooms(limit:$t){next}}', {}),
            ('query($t:Int=5){rooms(limit:$t){next}} "SECRET"', {}),
            ('{room(id:"\\uSECRET"){id}}', {}),
        ],
    )
    def test_no_answer_repeats_a_value_that_came(self, document: str, variables: dict[str, Any]) -> None:
        assert "SECRET" not in json.dumps(errors(document, **variables))

    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            (b"", "parse_error"),
            (b"{", "parse_error"),
            (b'{"query":"\xff"}', "parse_error"),
            (b'{"query":"{a}","variables":{"a":NaN}}', "parse_error"),
            (b"[]", "invalid_request"),
            (b"7", "invalid_request"),
            (b"{}", "invalid_request"),
            (b'{"query":7}', "invalid_request"),
            (b'{"query":"{a}","operationName":7}', "invalid_request"),
            (b'{"query":"{a}","variables":"{}"}', "invalid_request"),
            (b'{"query":"{a}","variables":[]}', "invalid_request"),
            (b'{"query":"{a}","extensions":7}', "invalid_request"),
            (b'{"query":"\\ud800"}', "invalid_params"),
            (b'{"query":"{a}","variables":{"a":"\\ud800"}}', "invalid_params"),
            (b'{"query":"{a}","variables":' + b"[" * 40 + b"]" * 40 + b"}", "invalid_request"),
        ],
    )
    def test_what_is_no_request(self, data: bytes, expected: str) -> None:
        with pytest.raises(Refusal) as refusal:
            asked_in(data)
        assert refusal.value.code == expected

    def test_a_request_may_have_null_where_it_has_nothing_and_what_nobody_knows(self) -> None:
        data = b'{"query":"{a}","operationName":null,"variables":null,"extensions":null,"id":7}'
        assert asked_in(data) == Asked("{a}")


class TestAnswers:
    def test_one_member_is_that_member_nothing_is_true_and_pages_are_pages(self) -> None:
        assert answer("mutation{createRoom{id title role}}", {"room": ROOM}) == {
            "data": {"createRoom": {"id": "den", "title": None, "role": "owner"}}
        }
        assert answer('mutation{markReceipt(room:"den",seq:1)}', {}) == {"data": {"markReceipt": True}}
        assert answer('mutation{revokeSession(session:"s")}', {"revoked": 2}) == {"data": {"revokeSession": 2}}
        assert answer("{rooms{rooms{id} next}}", {"rooms": [ROOM], "next": None}) == {
            "data": {"rooms": {"rooms": [{"id": "den"}], "next": None}}
        }
        assert answer("{session{name expiresAt connection}}", SESSION) == {
            "data": {"session": {"name": "Ada", "expiresAt": "2026-11-22T10:00:00.000Z", "connection": None}}
        }
        assert answer('{receipts(room:"den"){seq}}', {"receipts": [{"seq": 3}, {"seq": 4}]}) == {
            "data": {"receipts": [{"seq": 3}, {"seq": 4}]}
        }

    def test_a_tombstone_has_no_text_and_says_that_it_is_one(self) -> None:
        asked = '{messages(room:"den"){messages{id text deleted data deletedBy{name} reason}}}'
        assert answer(asked, {"messages": [MESSAGE, TOMBSTONE], "complete": True})["data"]["messages"]["messages"] == [
            {"id": "m1", "text": "hello", "deleted": False, "data": {"a": [1]}, "deletedBy": None, "reason": None},
            {"id": "m2", "text": None, "deleted": True, "data": None, "deletedBy": {"name": "Ada"}, "reason": None},
        ]

    def test_events_of_a_page_have_its_epoch(self) -> None:
        page = {"events": [EVENT, JOINED], "complete": True, "epoch": "e1", "reset": False}
        asked = '{events(room:"den",after:0){events{seq epoch message{id} data} epoch}}'
        (first, second) = answer(asked, page)["data"]["events"]["events"]
        assert (first["epoch"], first["message"]) == ("e1", {"id": "m1"})
        assert (second["message"], second["data"]) == (None, {"member": {"room": "den", "subject": "ada"}})

    def test_a_refused_field_that_may_be_null_is_null_and_the_others_are_answered(self) -> None:
        refusal = Refusal("not_found")
        said = answer('{room(id:"x"){id} session{name}}', refusal, SESSION)
        assert said["data"] == {"room": None, "session": {"name": "Ada"}}
        (error,) = said["errors"]
        assert error["path"] == ["room"]
        assert error["locations"] == [{"line": 1, "column": 2}]
        assert error["extensions"] == {"code": "not_found", "status": 404}

    def test_a_refused_field_that_may_not_be_null_leaves_no_data(self) -> None:
        refusal = Refusal("rate_limited", retry_after=1.5)
        said = answer('mutation{a:markReceipt(room:"x",seq:1) b:markReceipt(room:"x",seq:2)}', {}, refusal)
        assert said["data"] is None
        assert [(error["path"], error["extensions"]["retry_after"]) for error in said["errors"]] == [(["b"], 1.5)]

    def test_a_wrong_parameter_is_named_as_the_argument_is(self) -> None:
        said = answer(
            'mutation($c:String){sendMessage(room:"a b",text:"x"){duplicate} '
            'm:sendMessage(room:"a",text:"x",clientId:$c){duplicate}}',
            c="x" * 65,
        )
        assert [error["extensions"]["field"] for error in said["errors"]] == ["room", "clientId"]
        assert answer('{message(id:"a b"){id}}')["errors"][0]["extensions"]["field"] == "id"

    def test_a_nul_in_a_variable_is_refused_as_everywhere(self) -> None:
        said = answer('mutation($t:String!){sendMessage(room:"a",text:$t){duplicate}}', t="a\0b")
        assert said["errors"][0]["extensions"] == {"code": "invalid_params", "status": 422, "field": "text"}


# --- the walk equals the library's executor ---------------------------------------------------------------------------


def _found(source: Any, info: Any, **_: Any) -> Any:
    """As graphql-core's default resolver, in our spelling."""
    if info.path.prev is None:
        return source[info.field_name]
    field = info.parent_type.fields[info.field_name]
    member = field.extensions.get(MEMBER, info.field_name)
    value = source.get(member) if isinstance(source, dict) else getattr(source, member, None)
    if value is UNSET or value is None:
        return False if member == "deleted" else None
    return json.loads(bytes(value)) if isinstance(value, Raw) else value


def _selections(kind: Any, depth: int) -> st.SearchStrategy[str]:
    names = st.sampled_from([*kind.fields, "__typename"])

    @st.composite
    def one(draw: Any) -> str:
        name = draw(names)
        alias = draw(st.sampled_from(["", "", "x:", f"{name}2:"])) if depth else ""
        directive = draw(st.sampled_from(["", "", "", " @skip(if:$no)", " @include(if:$no)", " @include(if:true)"]))
        inner_kind = get_named_type(kind.fields[name].type) if name != "__typename" else None
        inner = ""
        if isinstance(inner_kind, GraphQLObjectType):
            if depth == 0:
                return "__typename"
            inner = "{" + draw(_selections(inner_kind, depth - 1)) + "}"
        said = f"{alias}{name}{directive}{inner}"
        around = draw(
            st.sampled_from(["{0}", "{0}", "{0}", "...on {1}{{{0}}}", "...{{{0}}}", "...@skip(if:$no){{{0}}}"])
        )
        return around.format(said, kind.name)

    return st.lists(one(), min_size=1, max_size=5).map(" ".join)


_PAGE = {"messages": [MESSAGE, TOMBSTONE, MESSAGE], "complete": True}


@settings(max_examples=80, deadline=None)
@given(st.data(), st.booleans())
def test_what_a_selection_takes_is_what_graphql_core_would_answer(data: Any, no: bool) -> None:
    page = get_named_type(schema().query_type.fields["messages"].type)
    selection = data.draw(_selections(page, 3))
    document = f'query($no:Boolean!){{messages(room:"den"){{{selection}}} __typename @skip(if:$no)}}'
    ast = parse(document)
    if validate(schema(), ast):
        return  # the same key for two fields
    theirs = execute_sync(schema(), ast, {"messages": _PAGE}, variable_values={"no": no}, field_resolver=_found)
    assert theirs.errors is None
    assert answer(document, _PAGE, no=no) == {"data": theirs.data}
    assert list(answer(document, _PAGE, no=no)["data"]) == list(theirs.data)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_what_is_said_of_the_schema_is_what_graphql_core_would_say(data: Any) -> None:
    meta = schema().type_map["__Schema"]
    selection = data.draw(_selections(meta, 4)).replace("$no", "false")
    document = f"{{__schema{{{selection}}}}}"
    ast = parse(document)
    if validate(schema(), ast):
        return
    try:
        ours = answer(document)
    except Refused:
        return  # too much of it
    assert ours == {"data": execute_sync(schema(), ast).data}


@pytest.mark.parametrize("name", ["Query", "Message", "JSON", "String", "__Type", "__TypeKind", "Nobody"])
def test_a_type_by_its_name_is_what_graphql_core_would_say(name: str) -> None:
    fragments = re.sub(r"^.*?(?=fragment)", "", get_introspection_query(specified_by_url=True), flags=re.DOTALL)
    document = "query($name:String!){__type(name:$name){...FullType isOneOf}}" + fragments
    theirs = execute_sync(schema(), parse(document), variable_values={"name": name}).data
    assert answer(document, name=name) == {"data": theirs}
