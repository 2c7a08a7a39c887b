"""Commands and their parameters, as the native dialect and Socket.IO read them: strictly, and said for people."""

import json
from typing import Any

import msgspec
import pytest

from parley.dialects import parameters
from parley.domain.commands import COMMANDS
from parley.domain.messages import Send
from tests.dialects.native_calls import answer, answers, call, error, native, receive, wrong_field


@pytest.mark.parametrize("method", ["", "message", "message.Send", "nobody.knows", "message.send ", "rpc.x", "\0", "é"])
def test_a_method_that_nobody_has_is_an_unknown_command(method: str) -> None:
    assert error(call(method)) == ("unknown_command", 1)


def test_a_method_with_a_lone_surrogate_or_such_a_parameter_is_unknown_all_the_same() -> None:
    assert error(call("nobody.knows", {"a": "\ud800"})) == ("unknown_command", 1)


@pytest.mark.parametrize("positional", [[], ["lobby", "hello"], [{"room": "lobby", "text": "hello"}]])
def test_parameters_by_position_are_refused(positional: list[Any]) -> None:
    assert wrong_field(positional) == "params"


@pytest.mark.parametrize("params", ["lobby", 1, True, None])
def test_parameters_that_are_no_object_are_refused(params: Any) -> None:
    told = answer({**call("room.get"), "params": params})
    assert told["error"]["data"] == {"code": "invalid_params", "status": 422, "field": "params"}


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"room": "a"}, "text"),
        ({"text": "a"}, "room"),
        ({}, "room"),
        ({"room": "a", "text": "b", "extra": 1}, "extra"),
        ({"room": "a", "text": "b", "Text": "c"}, "Text"),
        ({"room": "a", "text": "b", "": 1}, ""),
        ({"room": "a", "text": "b", "x`y": 1}, "x`y"),
        ({"room": "a", "text": "b", "ключ": 1}, "ключ"),
        ({"room": "a", "text": "b", "x" * 100_000: 1}, "x" * 64),
        ({"room": "a b", "text": "b"}, "room"),
        ({"room": "a" * 65, "text": "b"}, "room"),
        ({"room": "a\n", "text": "b"}, "room"),
        ({"room": 1, "text": "b"}, "room"),
        ({"room": None, "text": "b"}, "room"),
        ({"room": "a", "text": ["b"]}, "text"),
        ({"room": "a", "text": "b", "client_id": ""}, "client_id"),
        ({"room": "a", "text": "b", "client_id": "c" * 65}, "client_id"),
        ({"room": "a", "text": "b", "data": []}, "data"),
        ({"room": "a", "text": "b", "data": "c"}, "data"),
    ],
)
def test_a_wrong_parameter_is_named(params: Any, field: str) -> None:
    assert wrong_field(params) == field


def test_a_wrong_member_of_a_list_is_named_by_the_list() -> None:
    params = {"username": "ada", "password": "x", "roles": ["member", "emperor"]}
    assert wrong_field(params, "account.create") == "roles"


@pytest.mark.parametrize("value", ["hunter2", "x" * 100_000, "a' - at `$.room`", ""])
def test_a_value_that_is_none_of_the_few_is_refused_without_telling_it(value: str) -> None:
    told = answer(call("conversation.export", {"conversation": "c-1", "format": value}))["error"]
    assert told["message"] == "There is no such value."
    assert told["data"] == {"code": "invalid_params", "status": 422, "field": "format"}


OUT_OF_RANGE = ["9007199254740993", "-1", "1.5", "1e3", "1e400", "-1e400", "18446744073709551616", "1" * 5000, "1e99"]


@pytest.mark.parametrize(
    ("method", "field", "others"),
    [
        ("receipt.mark", "seq", '"room":"a",'),
        ("event.list", "after", '"room":"a",'),
        ("event.list", "limit", '"room":"a","after":0,'),
        ("message.list", "before", '"room":"a",'),
        ("message.list", "after", '"room":"a",'),
        ("message.list", "limit", '"room":"a",'),
        ("room.subscribe", "after", '"room":"a",'),
        ("room.list", "limit", ""),
        ("room.members", "limit", '"room":"a",'),
        ("account.list", "limit", ""),
        ("audit.list", "limit", ""),
    ],
)
def test_a_number_out_of_its_range_is_refused_by_name(method: str, field: str, others: str) -> None:
    for number in OUT_OF_RANGE:
        message = f'{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{others}"{field}":{number}}}}}'
        assert answer(message.encode())["error"]["data"] == {"code": "invalid_params", "status": 422, "field": field}


def test_two_to_the_53rd_is_a_seq_still() -> None:
    assert answer(call("room.subscribe", {"room": "a", "after": 2**53}))["result"] == "done"


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1" * 5000])
def test_a_number_in_data_that_no_double_holds_is_refused_by_name(number: str) -> None:
    message = b'{"jsonrpc":"2.0","id":1,"method":"message.send","params":{"room":"a","text":"b","data":{"a":[%b]}}}'
    told = answer(message % number.encode())
    assert told["error"]["data"] == {"code": "invalid_params", "status": 422, "field": "data"}


#: Every parameter of every command that is or holds a string.
STRINGS = [
    (row.name, field)
    for row in COMMANDS.values()
    for field, kind in row.params.__annotations__.items()
    if "str" in str(kind) or "Id" in str(kind) or "dict" in str(kind) or "Literal" in str(kind)
]


BAD_STRINGS = ["\0", "a\0b", "\ud800", "\udfff", "a\udc00\ud800b"]


@pytest.mark.parametrize(("method", "field"), STRINGS)
def test_no_string_of_any_command_has_a_nul_or_a_lone_surrogate(method: str, field: str) -> None:
    for bad in BAD_STRINGS:
        assert wrong_field({field: bad}, method) == field
        assert wrong_field({field: {"deep": [{"inside": bad}]}}, method) == field
        assert wrong_field({field: {"deep": [{bad: 1}]}}, method) == field


@pytest.mark.parametrize("bad", ["\0", "\ud800"])
def test_a_parameter_of_such_a_name_is_refused_too(bad: str) -> None:
    assert wrong_field({"room": "a", "text": "b", bad: 1}) == "params"
    assert wrong_field([bad]) == "params"


@pytest.mark.parametrize("harmless", ["\\u0000", "\\\\u0000", "\\ud800", "u0000", "\\\0".replace("\0", "u0000")])
def test_an_escaped_backslash_before_u0000_is_no_nul(harmless: str) -> None:
    (request,) = receive(call(params={"room": "a", "text": harmless, "data": {"a": harmless}}))
    assert request.params == Send(room="a", text=harmless, data={"a": harmless})


def test_an_id_with_a_lone_surrogate_gets_an_answer_that_is_json() -> None:
    (told,) = answers(rb'{"jsonrpc":"2.0","id":"\ud800","method":"session.describe"}')
    assert json.loads(told)["error"]["data"]["code"] == "invalid_request"
    assert told.isascii()


UNICODE = [
    "ÄÖÜß",
    "日本語",
    "👩‍👩‍👧‍👦",
    "🏳️‍🌈",
    "עברית ‏",
    "é",
    "\u200b\u2028\u2029\ufeff",
    "\U0010ffff",
    "\x7f\x80",
    '"\\/\b\f\n\r\t',
]


@pytest.mark.parametrize("told", UNICODE)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_text_of_every_kind_comes_in_and_goes_out_unchanged(told: str, ascii_only: bool) -> None:
    message = json.dumps(call(params={"room": "a", "text": told}), ensure_ascii=ascii_only).encode()
    (request,) = native.receive(message)
    assert isinstance(request.params, Send)
    assert request.params.text == told
    back = native.result(request, {"text": told})
    assert back is not None
    assert json.loads(back)["result"] == {"text": told}


def patterns(node: Any) -> set[str]:
    """The pattern of every text in a type, as msgspec has it."""
    info = msgspec.inspect
    match node:
        case info.StrType():
            return {node.pattern} if node.pattern else set()
        case info.UnionType():
            return set().union(*map(patterns, node.types))
        case info.ListType():
            return patterns(node.item_type)
        case info.StructType():
            return set().union(*(patterns(field.type) for field in node.fields))
    return set()


def test_whatever_form_a_text_should_have_is_said_in_words() -> None:
    wanted = set().union(*(patterns(msgspec.inspect.type_info(row.params)) for row in COMMANDS.values()))
    assert len(wanted) > 8
    assert {f"Expected `str` matching regex {pattern!r}" for pattern in wanted} <= set(parameters._FORMS)
    told = answer(call("room.get", {"room": "a b"}))["error"]
    assert told["message"] == "An id is 1 to 64 of the characters A-Z, a-z, 0-9, `.`, `_`, `~` and `-`."
    assert told["data"]["field"] == "room"
