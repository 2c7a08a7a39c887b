"""Engine.IO 4 in strings: packets, payloads, and the table of a session, walked every way."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.dialects import engineio
from parley.dialects.dialect import Ended
from parley.dialects.engineio import Effect, Input, Packet, State, decode, decode_payload, encode_payload, step

HTTP = (State.POLLING, State.PROBING, State.PROBED)


def assert_broken(call: Any, *args: Any) -> None:
    with pytest.raises(Ended) as ended:
        call(*args)
    assert (ended.value.code, ended.value.reason) == (4400, "bad_request")


class TestPackets:
    """Protocol: "An Engine.IO packet consists of: a packet type, an optional packet payload"."""

    @pytest.mark.parametrize("kind", range(7))
    def test_each_type_is_a_digit_before_its_text(self, kind: int) -> None:
        assert decode(b"%d" % kind) == Packet(kind, b"")
        assert decode(b"%d" % kind + "héllo".encode()) == Packet(kind, "héllo".encode())

    @pytest.mark.parametrize("text", [b"", b"7", b"9x", b"abc", b" 4", b"-1", b"\xc3\xa9", b"b", b"\x1e4"])
    def test_anything_else_is_broken(self, text: bytes) -> None:
        assert_broken(decode, text)


class TestPayloads:
    """Protocol: "Multiple packets might be concatenated in a single payload", separated by U+001E."""

    def test_the_example_of_the_protocol_is_read(self) -> None:
        assert decode_payload(b"4hello\x1e2\x1e4world") == [Packet(4, b"hello"), Packet(2, b""), Packet(4, b"world")]

    def test_binary_is_base64_behind_a_b(self) -> None:
        assert decode_payload(b"4hello\x1ebAQIDBA==") == [Packet(4, b"hello"), Packet(4, b"\1\2\3\4", True)]
        assert engineio.binary_record(b"\1\2\3\4") == b"bAQIDBA=="
        assert engineio.record_bytes(b"bAQIDBA==") == b"\1\2\3\4"
        assert engineio.record_bytes(b"4b") is None

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"\x1e",
            b"4a\x1e",
            b"\x1e4a",
            b"4a\x1e\x1e4b",
            b"4a\x1eabc",
            b"bAQID*A==",
            b"bAQIDBA==\n",
            b"b=",
            b"4\xff",
            b"4\xed\xa0\x80",
        ],
        ids=repr,
    )
    def test_a_payload_with_one_broken_packet_is_broken_whole(self, body: bytes) -> None:
        assert_broken(decode_payload, body)

    def test_a_payload_has_so_many_packets_and_no_more(self) -> None:
        assert len(decode_payload(b"\x1e".join([b"4"] * engineio.PAYLOAD_PACKETS_MAX))) == 4096
        assert_broken(decode_payload, b"\x1e".join([b"4"] * (engineio.PAYLOAD_PACKETS_MAX + 1)))

    @given(st.lists(st.text(st.characters(exclude_characters="\x1e", codec="utf-8")) | st.binary(), min_size=1))
    def test_what_is_written_is_read_as_it_was(self, messages: list[str | bytes]) -> None:
        records = [engineio.binary_record(m) if isinstance(m, bytes) else b"4" + m.encode() for m in messages]
        read = decode_payload(encode_payload(records))
        assert [p.data if p.is_binary else p.data.decode() for p in read] == messages

    @given(st.binary(max_size=200))
    def test_no_bytes_end_otherwise_than_allowed(self, body: bytes) -> None:
        with suppress(Ended):
            assert all(0 <= packet.kind <= 6 for packet in decode_payload(body))


def test_the_open_packet_has_what_a_client_goes_by_in_milliseconds() -> None:
    packet = engineio.open_packet(
        "lv_VI97HAXpY6yYWAAAC",
        upgrades=["websocket"],
        ping_interval_s=25,
        ping_timeout_s=0.2,
        payload_bytes_max=1_000_000,
    )
    assert packet[:1] == b"0"
    assert json.loads(packet[1:]) == {
        "sid": "lv_VI97HAXpY6yYWAAAC",
        "upgrades": ["websocket"],
        "pingInterval": 25000,
        "pingTimeout": 200,
        "maxPayload": 1000000,
    }


class TestTheTable:
    @pytest.mark.parametrize("state", State)
    @pytest.mark.parametrize("what", Input)
    def test_every_step_is_known_and_a_refusal_changes_nothing(self, state: State, what: Input) -> None:
        after, effect = step(state, what)
        assert isinstance(after, State)
        if effect is Effect.REFUSE:
            assert after is state

    @pytest.mark.parametrize("what", Input)
    def test_nothing_begins_again_once_it_is_over(self, what: Input) -> None:
        assert step(State.OVER, what) == (State.OVER, Effect.REFUSE)

    @pytest.mark.parametrize("state", HTTP)
    @pytest.mark.parametrize("what", [Input.SECOND_POLL, Input.SECOND_POST])
    def test_a_second_request_of_a_kind_is_refused_and_ends_the_session(self, state: State, what: Input) -> None:
        """Protocol: "the server MUST return an HTTP 400 error status and close the session"."""
        assert step(state, what) == (State.OVER, Effect.REFUSE_AND_END)

    def test_an_upgrade_is_a_probe_and_its_end(self) -> None:
        state, effects = State.POLLING, []
        for what in (Input.SOCKET, Input.PROBE, Input.UPGRADE):
            state, effect = step(state, what)
            effects.append(effect)
        assert (state, effects) == (State.WEBSOCKET, [Effect.TRY, Effect.PROBE, Effect.SWITCH])

    @pytest.mark.parametrize("state", [State.PROBING, State.PROBED, State.WEBSOCKET])
    def test_a_session_has_one_websocket(self, state: State) -> None:
        """Protocol: "A client MUST NOT open more than one WebSocket connection per session"."""
        assert step(state, Input.SOCKET) == (state, Effect.REFUSE)

    @pytest.mark.parametrize("what", [Input.UPGRADE, Input.LOST_CANDIDATE])
    def test_an_upgrade_that_fails_leaves_the_session_as_it_was(self, what: Input) -> None:
        assert step(State.PROBING, what) == (State.POLLING, Effect.DROP)

    def test_http_is_over_after_the_upgrade(self) -> None:
        assert step(State.WEBSOCKET, Input.POLL) == (State.WEBSOCKET, Effect.REFUSE)
        assert step(State.WEBSOCKET, Input.POST) == (State.WEBSOCKET, Effect.REFUSE)

    @given(st.lists(st.sampled_from(Input)))
    def test_however_it_is_walked_it_is_over_once_and_for_good(self, walk: list[Input]) -> None:
        state, ends = State.POLLING, 0
        for what in walk:
            after, _ = step(state, what)
            ends += after is State.OVER and state is not State.OVER
            state = after
        assert ends == (state is State.OVER)


def test_whatever_ends_a_session_by_itself_has_a_code_to_close_its_socket_with() -> None:
    ends = (Effect.NOOP, Effect.END, Effect.REFUSE_AND_END)
    ending = {what for row in engineio.TRANSITIONS.values() for what, (_, effect) in row.items() if effect in ends}
    assert ending == {*engineio.CLOSED_WITH, Input.LEAVE}
