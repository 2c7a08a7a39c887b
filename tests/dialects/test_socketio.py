"""Socket.IO 5 in strings: every example of the protocol, the session's table, and what a command is answered."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.dialects import socketio
from parley.dialects.dialect import Ended, Request
from parley.dialects.parameters import DEPTH_MAX
from parley.dialects.socketio import ACK, CONNECT, CONNECT_ERROR, DISCONNECT, EVENT, Assembly, SocketIo, decode
from parley.domain.errors import Refusal
from parley.domain.events import Event, Signal
from parley.domain.messages import Send
from parley.domain.principal import Person
from parley.domain.sessions import SessionView

SESSION = SessionView("ada", "account", "Ada", ["member"], "s1", "c1", "2026-01-01T00:00:00.000Z", "…")

HOLE = {"_placeholder": True, "num": 0}


def assert_broken(call: Any, *args: Any) -> None:
    with pytest.raises(Ended) as ended:
        call(*args)
    assert (ended.value.code, ended.value.reason) == (4400, "bad_request")


def joined() -> SocketIo:
    codec = SocketIo()
    (connect,) = codec.receive(b"0")
    assert codec.result(connect, SESSION) == b'40{"sid":"c1"}'
    return codec


def emitted(text: str) -> Request:
    (request,) = joined().receive(text.encode())
    return request


def told(text: str) -> Any:
    """What the ack of an event carries, where every command has the result `"done"`."""
    codec = joined()
    (request,) = codec.receive(text.encode())
    answer = codec.refused(request, request.refusal) if request.refusal else codec.result(request, "done")
    assert answer is not None
    assert answer.startswith(b"437[")
    (said,) = json.loads(answer[3:])
    return said


def error(text: str) -> dict[str, Any]:
    said = told(text)["error"]
    assert set(said) == {"code", "status", "message", "data"}
    assert said["data"]["code"] == said["code"]
    return dict(said)


# --- Packets ----------------------------------------------------------------------------------------------------------


class TestTheExamplesOfTheProtocol:
    @pytest.mark.parametrize(
        ("text", "kind", "namespace", "packet_id", "payload", "due"),
        [
            (b"0", CONNECT, b"/", b"", None, 0),
            (b'0/admin,{"sid":"oSO0OpakMV_3jnilAAAA"}', CONNECT, b"/admin", b"", {"sid": "oSO0OpakMV_3jnilAAAA"}, 0),
            (b"0/admin,", CONNECT, b"/admin", b"", None, 0),
            (b"0/admin", CONNECT, b"/admin", b"", None, 0),
            (b'4{"message":"Not authorized"}', CONNECT_ERROR, b"/", b"", {"message": "Not authorized"}, 0),
            (b'2["foo"]', EVENT, b"/", b"", ["foo"], 0),
            (b'2/admin,["bar"]', EVENT, b"/admin", b"", ["bar"], 0),
            (b'51-["baz",{"_placeholder":true,"num":0}]', EVENT, b"/", b"", ["baz", HOLE], 1),
            (b'52-/admin,["baz"]', EVENT, b"/admin", b"", ["baz"], 2),
            (b'212["foo"]', EVENT, b"/", b"12", ["foo"], 0),
            (b'3/admin,13["bar"]', ACK, b"/admin", b"13", ["bar"], 0),
            (b'61-15["bar",{"_placeholder":true,"num":0}]', ACK, b"/", b"15", ["bar", HOLE], 1),
            (b"1", DISCONNECT, b"/", b"", None, 0),
            (b"1/admin,", DISCONNECT, b"/admin", b"", None, 0),
        ],
        ids=str,
    )  # fmt: skip
    def test_it_is_read(
        self, text: bytes, kind: int, namespace: bytes, packet_id: bytes, payload: Any, due: int
    ) -> None:
        packet, attachments = decode(text)
        assert (packet.kind, packet.namespace, packet.id, attachments) == (kind, namespace, packet_id, due)
        read = [json.loads(bytes(arg)) for arg in packet.args] if kind in (EVENT, ACK) else packet.auth
        assert read == payload

    def test_they_are_written(self) -> None:
        assert socketio.encode(EVENT, b'["foo"]', packet_id=b"12") == b'212["foo"]'
        assert socketio.encode(DISCONNECT, namespace=b"/admin") == b"1/admin,"
        assert socketio.encode(ACK, b"[]", attachments=1, packet_id=b"15") == b"61-15[]"
        assert socketio.encode(EVENT, b"[]", attachments=2, namespace=b"/admin") == b"52-/admin,[]"


class TestWhatIsNoPacket:
    @pytest.mark.parametrize(
        "text",
        [
            "", "7", "9[]", "abc", "[]", '"2"',  # no type
            "2", "2[]", "2{}", "2null", '2"x"', "2[", '2["x"', "2[true]", "2[null]", "2[{}]", "2[[]]",  # no event
            '2["connect"]', '2["disconnect"]', '2["connect_error"]', '2["disconnecting"]',
            '2["newListener"]', '2["removeListener"]', '2["con\\u006eect"]',  # reserved, however it is spelled
            '2abc["x"]', '2-1["x"]', '21.5["x"]', '2 ["x"]x', '2["x"]["y"]', "2[NaN]", '2["x",NaN]', '2["x",Infinity]',
            '2' + "1" * 17 + '["x"]',  # an id that is no number in JavaScript
            '5["x"]', '5-["x"]', '5a-["x"]', '5-1-["x"]', '51["x"]', '511-["x"]', '5999999999-["x"]',
            '5' + "9" * 5000 + '-["x"]',  # huge counts
            "3[]", '3{}', "31", "31{}", '31"x"', '61["x"]',  # no ack
            "0[]", '0"token"', "0null", "01", "0{", "0/admin,[]", "1{}", "1[]", "11", "4[]", "41",
            '2["x",' + "[" * 40,  # too deep, and never closed
        ],
        ids=lambda text: text[:30],
    )  # fmt: skip
    def test_it_is_broken(self, text: str) -> None:
        assert_broken(decode, text.encode())

    @given(st.text(st.sampled_from('0123456/,-[]{}":_ax\\u"')) | st.text())
    def test_no_text_ends_otherwise_than_allowed(self, text: str) -> None:
        with suppress(Ended):
            decode(text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").encode())


class TestAttachments:
    def test_they_make_a_packet_whole_in_their_order(self) -> None:
        assembly = Assembly()
        assert assembly.text(b'52-7["x"]') is None
        assert assembly.binary(b"one") is None
        packet = assembly.binary(b"two")
        assert packet is not None
        assert (packet.id, packet.attachments) == (b"7", [b"one", b"two"])
        assert assembly.text(b'2["next"]') is not None

    def test_text_where_one_was_due_is_broken(self) -> None:
        assembly = Assembly()
        assembly.text(b'51-["x"]')
        assert_broken(assembly.text, b'2["y"]')

    def test_one_that_nothing_waits_for_is_broken(self) -> None:
        assert_broken(Assembly().binary, b"x")

    def test_their_number_and_their_bytes_have_a_limit(self) -> None:
        assert Assembly().text(b'510-["x"]') is None
        assert_broken(Assembly().text, b'511-["x"]')
        assembly = Assembly(10)
        assembly.text(b'53-["x"]')
        assembly.binary(b"12345")
        assembly.binary(b"67890")
        assert_broken(assembly.binary, b"1")

    def test_an_event_that_is_called_binary_and_has_none_is_an_event(self) -> None:
        packet = Assembly().text(b'50-["x"]')
        assert packet is not None
        assert packet.kind == EVENT


# --- The session ------------------------------------------------------------------------------------------------------


class TestTheTable:
    """The rows of the table in the module's docstring."""

    def test_connect_signs_in_and_brings_what_it_brings(self) -> None:
        (request,) = SocketIo().receive(b'0{"token":"t"}')
        assert request.greeting == {"token": "t"}
        (request,) = SocketIo().receive(b"0")
        assert request.greeting == {}

    def test_a_refused_connect_is_a_connect_error_with_code_and_status(self) -> None:
        codec = SocketIo()
        (request,) = codec.receive(b"0")
        refused = codec.refused(request, Refusal("token_expired"))
        assert refused == b'44{"message":"token_expired","data":{"code":"token_expired","status":401}}'
        assert codec.notice("session.closing", {}) is None
        assert codec.goodbye(4401) is None

    @pytest.mark.parametrize("text", ['2["x"]', '21["session.describe"]', "1", "31[]", '4{"message":"x"}', "1/a,"])
    def test_before_connect_all_else_is_broken(self, text: str) -> None:
        assert_broken(SocketIo().receive, text.encode())

    @pytest.mark.parametrize("text", ["0", '0{"token":"t"}', '4{"message":"x"}', '2/a,["x"]', "1/a,", "3/a,1[]"])
    def test_after_it_what_is_out_of_place_is_broken(self, text: str) -> None:
        assert_broken(joined().receive, text.encode())

    def test_a_binary_event_before_connect_is_broken_once_it_is_whole(self) -> None:
        codec = SocketIo()
        assert codec.receive(b'51-["x"]') == []
        assert_broken(codec.receive_binary, b"x")

    def test_an_ack_is_ignored_for_nothing_of_ours_asks_for_one(self) -> None:
        codec = joined()
        assert codec.receive(b"31[]") == []
        assert codec.receive(b"61-1[]") == []
        assert codec.receive_binary(b"x") == []

    @pytest.mark.parametrize("codec", [SocketIo(), joined()], ids=["before", "after"])
    def test_another_namespace_is_invalid_and_nothing_comes_of_it(self, codec: SocketIo) -> None:
        (request,) = codec.receive(b'0/random,{"token":"t"}')
        assert request.is_aside
        assert request.refusal is not None
        assert codec.refused(request, request.refusal) == b'44/random,{"message":"Invalid namespace"}'

    def test_disconnect_ends_it_without_a_fault(self) -> None:
        with pytest.raises(Ended) as ended:
            joined().receive(b"1")
        assert ended.value.code == 1000

    @pytest.mark.parametrize(
        ("code", "said"), [(4400, b"41"), (4401, b"41"), (4403, b"41"), (4409, b"41"), (1012, None), (4420, None)]
    )
    def test_it_takes_leave_only_of_those_who_must_not_come_back_by_themselves(
        self, code: int, said: bytes | None
    ) -> None:
        assert joined().goodbye(code) == said


class TestCommands:
    def test_an_event_is_a_command_and_its_argument_the_parameters(self) -> None:
        request = emitted('27["message.send",{"room":"den","text":"héllo"}]')
        assert request.method == "message.send"
        assert request.params == Send(room="den", text="héllo")
        assert told('27["message.send",{"room":"den","text":"hi"}]') == {"result": "done"}

    def test_without_an_id_nothing_is_answered(self) -> None:
        codec = joined()
        for text in (b'2["session.describe"]', b'2["session.describe",{"x":1}]', b'2["nothing"]'):
            (request,) = codec.receive(text)
            assert codec.result(request, "done") is None
            assert codec.refused(request, Refusal("not_found")) is None

    def test_without_an_argument_there_are_no_parameters(self) -> None:
        assert told('27["session.describe"]') == {"result": "done"}

    @pytest.mark.parametrize("name", ['"nothing"', '"__proto__"', "1", "-1.5", '"\\ud800"', '""', '"event"'])
    def test_a_name_that_is_no_command_is_unknown(self, name: str) -> None:
        assert error(f"27[{name}]")["code"] == "unknown_command"

    @pytest.mark.parametrize(
        ("args", "field"),
        [
            ("1", "params"),
            ("null", "params"),
            ('"x"', "params"),
            ('[{"room":"den"}]', "params"),
            ("{},{}", "params"),
            ("{}", "room"),
            ('{"room":"den","text":"x","more":1}', "more"),
            ('{"room":"den","text":1}', "text"),
            ('{"room":"den","text":"a\\u0000b"}', "text"),
            ('{"room":"den","text":"\\ud800"}', "text"),
            ('{"room":"den","text":"x","data":{"n":1e999}}', "data"),
        ],
    )
    def test_wrong_parameters_are_refused_with_their_field(self, args: str, field: str) -> None:
        refused = error(f'27["message.send",{args}]')
        assert (refused["code"], refused["status"], refused["data"]["field"]) == ("invalid_params", 422, field)

    def test_a_name_spelled_with_escapes_is_the_same_name(self) -> None:
        assert told('27["session\\u002edescribe"]') == {"result": "done"}

    def test_nesting_too_deep_is_refused_and_the_connection_lives(self) -> None:
        deep = "[" * DEPTH_MAX + "]" * DEPTH_MAX
        assert error(f'27["message.send",{{"room":"den","data":{deep}}}]')["code"] == "invalid_request"

    @pytest.mark.parametrize(
        ("args", "field"),
        [
            ('{"room":"den","text":"x","data":{"picture":{"_placeholder":true,"num":0}}}', "data"),
            ('{"room":"den","text":{"_placeholder":true,"num":0}}', "text"),
            ('{"_placeholder":true,"num":0}', "params"),
            ('{"room":"den","text":"x"}', "params"),
        ],
    )
    def test_an_attachment_is_refused_with_its_field(self, args: str, field: str) -> None:
        codec = joined()
        assert codec.receive(f'51-7["message.send",{args}]'.encode()) == []
        (request,) = codec.receive_binary(b"\0")
        assert request.refusal is not None
        answer = codec.refused(request, request.refusal)
        assert answer is not None
        (said,) = json.loads(answer[3:])
        assert (said["error"]["code"], said["error"]["data"]["field"]) == ("invalid_params", field)


class TestWhatTheServerSays:
    def test_events_signals_and_notices_are_events_with_one_object(self) -> None:
        event = Event("den", 1, "message.deleted", "2026-01-01T00:00:00.000Z", Person("ada", "Ada", "account"), {})
        signal = Signal("den", "typing.changed", "2026-01-01T00:00:00.000Z", {"started": [], "stopped": []})
        codec = joined()
        for packet, name in (
            (codec.event(event), "event"),
            (codec.signal(signal), "signal"),
            (codec.notice("session.changed", {"roles": []}), "session.changed"),
        ):
            assert packet is not None
            assert packet.startswith(b"42")
            said, body = json.loads(packet[2:])
            assert said == name
            assert isinstance(body, dict)
