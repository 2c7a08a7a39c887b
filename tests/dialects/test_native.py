"""The native codec: every line of its table, and that no bytes at all make it raise.

The codec is fed whole messages; what a command does with its parameters is the domain's.
"""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.dialects.native import BATCH_MAX, DEPTH_MAX
from parley.domain.commands import COMMANDS
from parley.domain.errors import Refusal
from parley.domain.events import Event, Signal
from parley.domain.messages import Send
from parley.domain.principal import Person
from tests.dialects.native_calls import answer, answers, call, error, native, nested, receive, text

# --- Requests ---------------------------------------------------------------------------------------------------------


def test_a_command_comes_out_with_its_row_and_its_parameters() -> None:
    (request,) = receive(call(params={"room": "lobby", "text": "hello", "data": {"a": [1, None]}}))
    assert request.row is COMMANDS["message.send"]
    assert request.method == "message.send"
    assert request.params == Send(room="lobby", text="hello", data={"a": [1, None]})
    assert request.refusal is None


def test_a_result_is_answered_to_the_id_it_was_asked_with() -> None:
    assert answer(call("session.describe")) == {"jsonrpc": "2.0", "id": 1, "result": "done"}


@pytest.mark.parametrize("given_id", [b"0", b"-7", b"9007199254740992", b'""', b'"a b\\u00e9"', b"null"])
def test_an_id_comes_back_byte_for_byte(given_id: bytes) -> None:
    message = b'{"jsonrpc":"2.0","id":%b,"method":"session.describe"}' % given_id
    assert answers(message) == [b'{"jsonrpc":"2.0","id":%b,"result":"done"}' % given_id]


@pytest.mark.parametrize("given_id", [1.0, True, False, [1], {"a": 1}, 1e3])
def test_an_id_of_any_other_kind_is_an_invalid_request(given_id: Any) -> None:
    assert error(call("session.describe", id=given_id)) == ("invalid_request", None)


@pytest.mark.parametrize("given_id", [b"9007199254740993", b"12345678901234567890123", b'"a\\u0000b"', b'"\\udc00"'])
def test_an_id_that_not_every_reader_can_hold_is_an_invalid_request(given_id: bytes) -> None:
    message = b'{"jsonrpc":"2.0","id":%b,"method":"session.describe"}' % given_id
    told = json.loads(answers(message)[0])
    assert (told["error"]["data"]["code"], told["id"]) == ("invalid_request", None)


def test_a_request_without_an_id_is_never_answered() -> None:
    notification = {"jsonrpc": "2.0", "method": "typing.set", "params": {"room": "lobby", "active": True}}
    assert answers(notification) == []
    assert answers({**notification, "method": "nobody.knows"}) == []
    assert answers({**notification, "params": {"room": "lobby", "active": "yes"}}) == []
    assert answers({**notification, "params": {"room": "\0", "active": True}}) == []
    assert answers({**notification, "params": {"room": "\ud800", "active": True}}) == []


@pytest.mark.parametrize("spaces", [b" ", b"\t", b"\r\n", b" \n "])
def test_white_space_around_a_request_does_not_matter(spaces: bytes) -> None:
    assert answer(spaces + text(call("session.describe")) + spaces)["result"] == "done"
    assert answer(spaces + text([call("session.describe")]) + spaces) == [{"jsonrpc": "2.0", "id": 1, "result": "done"}]


# --- Not JSON, no request ---------------------------------------------------------------------------------------------


NOT_JSON = {
    "nothing": b"",
    "white space": b" ",
    "a word": b"hello",
    "cut short": b'{"jsonrpc":"2.0","id":1,"method":"session.desc',
    "a trailing comma": b'{"jsonrpc":"2.0","id":1,}',
    "two values": b"{} {}",
    "single quotes": b"{'id': 1}",
    "a control character in a string": b'{"jsonrpc":"2.0","id":1,"method":"a\x00b"}',
    "a control character in a parameter": b'{"jsonrpc":"2.0","id":1,"method":"room.get","params":{"room":"\n"}}',
    "an unknown escape": rb'{"jsonrpc":"2.0","id":1,"method":"room.get","params":{"room":"\q"}}',
    "half an escape": rb'{"jsonrpc":"2.0","id":1,"method":"room.get","params":{"room":"\u00"}}',
    "a leading zero": b'{"jsonrpc":"2.0","id":1,"method":"receipt.mark","params":{"room":"a","seq":01}}',
    "NaN": b'{"jsonrpc":"2.0","id":1,"method":"receipt.mark","params":{"room":"a","seq":NaN}}',
    "NaN as an id": b'{"jsonrpc":"2.0","id":NaN,"method":"session.describe"}',
    "Infinity": b'{"jsonrpc":"2.0","id":1,"method":"receipt.mark","params":{"room":"a","seq":Infinity}}',
    "minus Infinity in data": b'{"jsonrpc":"2.0","id":1,"method":"message.send","params":{"data":{"a":-Infinity}}}',
    "NaN in a batch": b'[{"jsonrpc":"2.0","id":1,"method":"session.describe"},NaN]',
    "a batch cut short": b'[{"jsonrpc":"2.0","id":1,"method":"session.describe"}',
    "a lone surrogate in a batch cut short": rb'[{"jsonrpc":"2.0","id":"\ud800"}',
    "a byte-order mark": b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"session.describe"}',
    "UTF-16": '{"jsonrpc":"2.0","id":1,"method":"session.describe"}'.encode("utf-16-le"),
    "bytes that are no UTF-8 in an id": b'{"jsonrpc":"2.0","id":"\xff","method":"session.describe"}',
    "bytes that are no UTF-8 in a parameter": b'{"jsonrpc":"2.0","id":1,"method":"room.get","params":{"room":"\xff"}}',
    "a surrogate in UTF-8": b'{"jsonrpc":"2.0","id":1,"method":"room.get","params":{"room":"\xed\xa0\x80"}}',
    "bytes that are no UTF-8 in a batch": b'["\xff"]',
    "a bracket never closed, 100,000 times": b"[" * 100_000,
    "closed by the wrong kind, 5,000 times": b"[" * 5000 + b"}" * 5000,
}


@pytest.mark.parametrize("message", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_not_json_is_a_parse_error(message: bytes) -> None:
    assert answer(message)["error"]["code"] == -32700
    assert error(message) == ("parse_error", None)


@pytest.mark.parametrize(
    ("message", "its_id"),
    [
        ("hello", None),
        (1, None),
        (None, None),
        (True, None),
        ({}, None),
        ({"id": 1}, 1),
        ({"jsonrpc": "2.0", "id": "seven"}, "seven"),
        ({"jsonrpc": "2.0", "id": 1, "method": 5}, 1),
        ({"jsonrpc": "2.0", "id": 1, "method": None}, 1),
        ({"jsonrpc": "1.0", "id": 1, "method": "session.describe"}, 1),
        ({"jsonrpc": 2.0, "id": 1, "method": "session.describe"}, 1),
        ({"id": 1, "method": "session.describe"}, 1),
        ({"method": "session.describe"}, None),
        ({"jsonrpc": "1.0", "method": "session.describe"}, None),
        ({"jsonrpc": "2.0", "result": {}}, None),
        ({"jsonrpc": "2.0", "id": [], "method": 5}, None),
    ],
)
def test_json_that_is_no_request_is_an_invalid_request_with_its_id(message: Any, its_id: Any) -> None:
    assert error(message) == ("invalid_request", its_id)


def test_nesting_goes_32_levels_deep_and_no_deeper() -> None:
    # The request and its `params` are two levels, `data` the third.
    def with_depth(depth: int) -> dict[str, Any]:
        return call(params={"room": "a", "text": "b", "data": {"a": nested(depth - 3)}})

    assert answer(with_depth(DEPTH_MAX))["result"] == "done"
    assert error(with_depth(DEPTH_MAX + 1)) == ("invalid_request", 1)


def test_a_batch_counts_as_a_level() -> None:
    deepest = call(params={"room": "a", "text": "b", "data": {"a": nested(DEPTH_MAX - 3)}})
    assert error([deepest]) == ("invalid_request", None)


@pytest.mark.parametrize("depth", [DEPTH_MAX + 1, 500, 5_000, 50_000])
@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"a":', b"}")])
def test_however_deep_it_nests_json_is_an_invalid_request(depth: int, brackets: tuple[bytes, bytes]) -> None:
    opening, closing = brackets
    assert error(opening * depth + b"1" + closing * depth) == ("invalid_request", None)


@pytest.mark.parametrize("depth", range(100, 1100, 100))
def test_however_deep_its_parameters_nest_a_request_is_refused(depth: int) -> None:
    params = b'{"data":' + b"[" * depth + b"]" * depth + b"}"
    assert error(b'{"jsonrpc":"2.0","id":1,"method":"message.send","params":%b}' % params)[0] == "invalid_request"


@pytest.mark.parametrize("inside", ["[" * 40, "{" * 40, '"[' * 40, "\\" * 41 + "[" * 40, "\\[" * 40])
def test_brackets_in_a_string_are_no_nesting(inside: str) -> None:
    (request,) = receive(call(params={"room": "a", "text": inside}))
    assert request.refusal is None
    assert isinstance(request.params, Send)
    assert request.params.text == inside


@pytest.mark.timeout(5)
def test_a_string_that_never_ends_is_walked_but_once() -> None:
    # Were it walked anew from each of its quotes, this would take the better part of an hour.
    assert error(b"[]" * 40 + rb"\"" * 60_000) == ("parse_error", None)


# --- Batches ----------------------------------------------------------------------------------------------------------


def test_an_empty_batch_is_one_invalid_request() -> None:
    assert error([]) == ("invalid_request", None)


def test_a_batch_has_a_hundred_requests_and_no_more() -> None:
    assert len(answer([call("session.describe")] * BATCH_MAX)) == BATCH_MAX
    assert error([call("session.describe")] * (BATCH_MAX + 1)) == ("invalid_request", None)


def test_a_batch_is_answered_by_one_array_once_the_last_answer_is_there() -> None:
    first, second, third = receive([call("session.describe", id=n) for n in (1, 2, 3)])
    assert native.result(third, "c") is None
    assert native.refused(first, Refusal("not_found")) is None
    told = native.result(second, "b")
    assert told is not None
    assert [member["id"] for member in json.loads(told)] == [3, 1, 2]


def test_a_mixed_batch_answers_what_is_due_an_answer() -> None:
    told = answer(
        [
            call("session.describe", id="a"),
            {"jsonrpc": "2.0", "method": "session.describe"},
            {"jsonrpc": "2.0", "method": "nobody.knows"},
            7,
            [],
            [call("session.describe")],
            call("nobody.knows", id="b"),
            call("room.get", {"room": "\ud800"}, id="c"),
            call("room.get", {}, id="d"),
        ]
    )
    assert [(member["id"], member.get("error", {}).get("data", {}).get("code")) for member in told] == [
        ("a", None),
        (None, "invalid_request"),
        (None, "invalid_request"),
        (None, "invalid_request"),
        ("b", "unknown_command"),
        ("c", "invalid_params"),
        ("d", "invalid_params"),
    ]


def test_a_batch_of_notifications_is_not_answered() -> None:
    assert answers([{"jsonrpc": "2.0", "method": "session.describe"}] * 3) == []


def test_a_lone_surrogate_in_one_member_of_a_batch_spoils_no_other() -> None:
    huge = b"1" * 5000
    message = (
        rb'[{"jsonrpc":"2.0","id":1,"method":"room.get","params":{"room":"\udc00"}},'
        b'{"jsonrpc":"2.0","id":2,"method":"receipt.mark","params":{"room":"a","seq":%b}},'
        b'{"jsonrpc":"2.0","id":3,"method":"receipt.mark","params":{"room":"a","seq":1e400}},'
        b'{"jsonrpc":"2.0","id":4,"method":"room.get","params":{"room":"a"}}]'
    ) % huge
    told = answer(message)
    assert [member.get("error", {}).get("data", {}).get("field") for member in told] == ["room", "seq", "seq", None]
    assert told[3] == {"jsonrpc": "2.0", "id": 4, "result": "done"}


# --- Out --------------------------------------------------------------------------------------------------------------


def test_a_refusal_is_told_with_its_code_its_status_and_its_facts() -> None:
    (request,) = receive(call("session.describe", id="x"))
    told = native.refused(request, Refusal("rate_limited", retry_after=0.25))
    assert told is not None
    assert json.loads(told) == {
        "jsonrpc": "2.0",
        "id": "x",
        "error": {
            "code": -32029,
            "message": Refusal("rate_limited").message,
            "data": {"code": "rate_limited", "status": 429, "retry_after": 0.25},
        },
    }


def test_events_signals_and_notices_are_notifications() -> None:
    event = Event("lobby", 7, "message.created", "now", Person("ada", "Ada", "account"), {"message": {"text": "☃"}})
    assert json.loads(native.event(event)) == {
        "jsonrpc": "2.0",
        "method": "event",
        "params": {
            "room": "lobby",
            "seq": 7,
            "type": "message.created",
            "at": "now",
            "actor": {"subject": "ada", "name": "Ada", "type": "account"},
            "data": {"message": {"text": "☃"}},
        },
    }
    signal = Signal("lobby", "typing.changed", "now", {"started": [], "stopped": []})
    assert json.loads(native.signal(signal)) == {
        "jsonrpc": "2.0",
        "method": "signal",
        "params": {
            "room": "lobby",
            "type": "typing.changed",
            "at": "now",
            "data": {"started": [], "stopped": []},
        },
    }
    assert json.loads(native.notice("ping", {})) == {"jsonrpc": "2.0", "method": "ping", "params": {}}


# --- Anything at all --------------------------------------------------------------------------------------------------


strings = st.text(st.characters(codec=None), max_size=8) | st.sampled_from(["\0", "\ud800", "room", "text", "2.0"])
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | strings,
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(strings, inside, max_size=4),
    max_leaves=20,
)
methods = st.sampled_from(sorted(COMMANDS)) | strings
requests = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | values,
        "id": st.integers() | strings | values,
        "method": methods | values,
        "params": st.dictionaries(st.sampled_from(["room", "text", "seq", "data", "after", "subject"]), values)
        | values,
    },
)


def check_conversation(message: bytes) -> None:
    out = answers(message)
    assert len(out) <= 1
    for one in out:
        told = json.loads(one.decode(), parse_constant=lambda name: pytest.fail(name))
        for member in told if isinstance(told, list) else [told]:
            assert member["jsonrpc"] == "2.0"
            assert isinstance(member["id"], str | int | None)
            assert ("result" in member) != ("error" in member)
            assert set(member) <= {"jsonrpc", "id", "result", "error"}
            if "error" in member:
                assert set(member["error"]) == {"code", "message", "data"}


@settings(derandomize=True, max_examples=300, deadline=None)
@given(requests | st.lists(requests | values, max_size=5) | values)
def test_whatever_json_comes_in_what_goes_out_is_json_rpc(message: Any) -> None:
    check_conversation(json.dumps(message).encode())
    if not any("\ud800" <= c <= "\udfff" for c in json.dumps(message, ensure_ascii=False)):
        check_conversation(json.dumps(message, ensure_ascii=False).encode())


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    st.binary(max_size=64)
    | st.text(st.sampled_from('[]{}",:\\u0d8NaIinfty1e.-truls \x00\xff'), max_size=64).map(str.encode)
)
def test_whatever_bytes_come_in_what_goes_out_is_json_rpc(message: bytes) -> None:
    check_conversation(message)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(requests, st.data())
def test_a_request_cut_and_pasted_is_answered_as_json_rpc(message: Any, data: st.DataObject) -> None:
    whole = json.dumps(message).encode()
    at = data.draw(st.integers(0, len(whole)))
    check_conversation(whole[:at] + data.draw(st.binary(max_size=3)) + whole[at + data.draw(st.integers(0, 2)) :])
