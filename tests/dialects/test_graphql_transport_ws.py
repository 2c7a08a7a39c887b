"""The codec of `graphql-transport-ws`: its table walked, its words, and that no bytes at all make it fail.

The sentences above the classes are the protocol's (PROTOCOL.md of graphql-ws).
"""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from parley.dialects.dialect import Ended, Request
from parley.dialects.graphql_documents import Documents
from parley.dialects.graphql_transport_ws import (
    ID_CHARS_MAX,
    STEPS,
    GraphqlTransportWs,
    Living,
    Stage,
    Step,
    Violation,
    closed_with,
    session_notice,
)
from parley.domain.errors import Refusal

INIT = {"type": "connection_init"}
QUERY = "{session{name}}"
SENDING = 'mutation{sendMessage(room:"den",text:"x"){duplicate}}'
EVENTS = 'subscription{roomEvents(room:"den"){seq}}'
KINDS = ["connection_init", "subscribe", "complete", "ping", "pong", "next", "error", "connection_ack", "start", ""]


def text(message: Any) -> bytes:
    return message if isinstance(message, bytes) else json.dumps(message).encode()


def subscribe(document: str = QUERY, id: Any = "1", **payload: Any) -> dict[str, Any]:
    return {"id": id, "type": "subscribe", "payload": {"query": document, **payload}}


def codec(stage: Stage = Stage.JOINED) -> GraphqlTransportWs:
    made = GraphqlTransportWs(Documents())
    if stage is not Stage.APART:
        (asked,) = made.receive(text(INIT))
        if stage is Stage.JOINED:
            assert made.result(asked, None) == b'{"type":"connection_ack"}'
    return made


def closed(made: GraphqlTransportWs, message: Any) -> tuple[int, str]:
    """How the socket is closed for a message; to every other dialect it is `bad_request`."""
    with pytest.raises(Violation) as violation:
        made.receive(text(message))
    assert (violation.value.code, violation.value.reason) == (4400, "bad_request")
    return violation.value.own_code, violation.value.own_reason


def said(message: bytes | None) -> Any:
    assert message is not None
    return json.loads(message)


def only(requests: list[Request]) -> Request:
    (request,) = requests
    return request


class TestTheTable:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("stage", Stage)
    def test_each_message_at_each_stage(self, stage: Stage, kind: str) -> None:
        made = codec(stage)
        message = {**subscribe(), "type": kind} if kind in ("subscribe", "complete") else {"type": kind}
        match STEPS.get((stage, kind)):
            case Step.SIGN_IN:
                assert only(made.receive(text(message))).greeting == {}
            case Step.BEGIN:
                assert only(made.receive(text(message))).method == "session"
            case Step.PONG:
                ping = only(made.receive(text(message)))
                assert ping.is_aside
                assert said(made.refused(ping, Refusal("not_found"))) == {"type": "pong"}
            case Step.END | Step.IGNORE:
                assert made.receive(text(message)) == []
            case Step.TOO_MANY:
                assert closed(made, message) == (4429, "Too many initialisation requests")
            case Step.UNAUTHORIZED:
                assert closed(made, message) == (4401, "Unauthorized")
            case None:
                assert closed(made, message) == (4400, "Invalid message")

    def test_it_has_a_row_for_each_stage_and_each_message_of_a_client(self) -> None:
        assert set(STEPS) == {(stage, kind) for stage in Stage for kind in KINDS[:5]}


class TestConnectionInit:
    """Indicates that the client wants to establish a connection within the existing socket."""

    def test_its_payload_is_what_brings_the_token(self) -> None:
        request = only(codec(Stage.APART).receive(text({**INIT, "payload": {"token": "t", "x": [1]}})))
        assert request.greeting == {"token": "t", "x": [1]}

    @pytest.mark.parametrize("payload", [None, {}])
    def test_it_may_bring_none(self, payload: Any) -> None:
        assert only(codec(Stage.APART).receive(text({**INIT, "payload": payload}))).greeting == {}

    @pytest.mark.parametrize("payload", [[], "token", 7, True])
    def test_a_payload_that_is_no_object_is_no_message(self, payload: Any) -> None:
        assert closed(codec(Stage.APART), {**INIT, "payload": payload}) == (4400, "Invalid message")

    def test_nothing_but_pongs_is_said_before_it_is_answered(self) -> None:
        assert codec(Stage.ASKED).notice("ping", {}) is None
        assert said(codec().notice("ping", {})) == {"type": "ping"}


class TestSubscribe:
    """Requests an operation specified in the message payload."""

    def test_a_query_is_answered_by_one_next_then_complete_and_its_id_is_free(self) -> None:
        made = codec()
        request = only(made.receive(text(subscribe(SENDING))))
        assert request.row is not None
        assert request.row.name == "message.send"
        told = said(made.result(request, {"message": None, "duplicate": True}))
        assert told == {"id": "1", "type": "next", "payload": {"data": {"sendMessage": {"duplicate": True}}}}
        assert said(made.complete(request.batch)) == {"id": "1", "type": "complete"}
        assert made.complete(request.batch) is None
        made.receive(text(subscribe()))

    def test_several_calls_are_answered_once_the_last_is_over(self) -> None:
        made = codec()
        document = 'mutation{a:markReceipt(room:"a",seq:1) b:markReceipt(room:"b",seq:1)}'
        first, second = made.receive(text(subscribe(document)))
        assert made.result(second, {}) is None
        assert made.complete(second.batch) is None
        told = said(made.refused(first, Refusal("forbidden")))
        assert told["payload"]["data"] is None
        assert told["payload"]["errors"][0]["path"] == ["a"]
        assert said(made.complete(first.batch))["type"] == "complete"

    def test_an_operation_that_asks_no_command_is_answered_as_it_is(self) -> None:
        made = codec()
        living: Living = only(made.receive(text(subscribe("{__typename}")))).batch
        assert said(made.answer(living))["payload"] == {"data": {"__typename": "Query"}}
        assert said(made.complete(living))["type"] == "complete"

    @pytest.mark.parametrize("document", ["{", "{nobody}", "query A{__typename} query B{__typename}"])
    def test_what_cannot_be_carried_out_is_answered_by_error_alone(self, document: str) -> None:
        made = codec()
        living: Living = only(made.receive(text(subscribe(document)))).batch
        told = said(made.answer(living))
        assert (told["type"], told["id"]) == ("error", "1")
        assert told["payload"][0]["extensions"]["status"] >= 400
        assert made.answer(living) is None
        assert made.complete(living) is None
        made.receive(text(subscribe()))

    def test_a_subscription_that_is_refused_ends_with_error_alone(self) -> None:
        made = codec()
        request = only(made.receive(text(subscribe(EVENTS))))
        told = said(made.refused(request, Refusal("not_found")))
        assert told["payload"] == [
            {
                "message": Refusal("not_found").message,
                "locations": [{"line": 1, "column": 14}],
                "path": ["roomEvents"],
                "extensions": {"code": "not_found", "status": 404},
            }
        ]
        assert made.complete(request.batch) is None

    def test_an_id_that_lives_ends_the_connection(self) -> None:
        made = codec()
        made.receive(text(subscribe(EVENTS, "abc")))
        assert closed(made, subscribe(QUERY, "abc")) == (4409, "Subscriber for abc already exists")

    @pytest.mark.parametrize(
        "message",
        [
            {"type": "subscribe", "payload": {"query": QUERY}},
            subscribe(id=""),
            subscribe(id=7),
            subscribe(id=None),
            subscribe(id="x" * (ID_CHARS_MAX + 1)),
            {"type": "subscribe", "id": "1"},
            {"type": "subscribe", "id": "1", "payload": None},
            {"type": "subscribe", "id": "1", "payload": QUERY},
            {"type": "subscribe", "id": "1", "payload": {}},
            subscribe(7),  # type: ignore[arg-type]
            subscribe(variables="{}"),
            subscribe(operationName=7),
        ],
    )
    def test_one_without_what_it_needs_is_no_message(self, message: Any) -> None:
        assert closed(codec(), message) == (4400, "Invalid message")

    def test_a_lone_surrogate_is_refused_and_the_connection_goes_on(self) -> None:
        made = codec()
        begun = subscribe("query($i:ID!){room(id:$i){id}}", variables={"i": "\ud800"})
        living: Living = only(made.receive(text(begun))).batch
        assert living.errors[0]["extensions"] == {"code": "invalid_params", "status": 422, "field": "i"}
        living = only(made.receive(b'{"id":"2","type":"subscribe","payload":{"query":"{\\ud800}"}}')).batch
        assert living.errors[0]["extensions"]["field"] == "query"

    def test_nesting_that_is_too_deep_is_refused_and_the_connection_goes_on(self) -> None:
        deep = json.loads("[" * 40 + "]" * 40)
        living: Living = only(codec().receive(text(subscribe(variables={"a": deep})))).batch
        assert living.errors[0]["extensions"]["code"] == "invalid_request"


class TestComplete:
    """Indicates that the client stops listening and wants to complete the subscription."""

    def test_it_ends_the_operation_and_its_id_is_free(self) -> None:
        made = codec()
        begun: Living = only(made.receive(text(subscribe(EVENTS)))).batch
        ended = only(made.receive(text({"type": "complete", "id": "1"})))
        assert (ended.method, ended.batch) == ("complete", begun)
        made.forget(begun)
        assert made.error(begun, []) is None
        made.receive(text(subscribe(EVENTS)))

    def test_what_a_query_comes_to_after_it_is_not_told(self) -> None:
        made = codec()
        request = only(made.receive(text(subscribe())))
        made.forget(request.batch)
        assert made.refused(request, Refusal("not_found")) is None
        assert made.complete(request.batch) is None

    def test_one_that_is_not_there_is_nothing(self) -> None:
        assert codec().receive(text({"type": "complete", "id": "1"})) == []


class TestWhatIsNoMessage:
    """Receiving a message of a type or format which is not specified in this document will result in an immediate
    socket closure with the event `4400: <error-message>`."""

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"{",
            b"[]",
            b"7",
            b'"ping"',
            b"{}",
            b'{"type":7}',
            b'{"type":"PING"}',
            b'{"type":"ping"}x',
            b"\xff",
            b"[" * 99_999,
        ],
    )
    @pytest.mark.parametrize("stage", Stage)
    def test_it_ends_the_connection(self, stage: Stage, data: bytes) -> None:
        assert closed(codec(stage), data) == (4400, "Invalid message")

    def test_neither_is_a_binary_message(self) -> None:
        with pytest.raises(Violation) as violation:
            codec().receive_binary(b"{}")
        assert violation.value.own_code == 4400

    @given(
        st.binary(max_size=60)
        | st.from_regex(rb'\{"type":"(subscribe|complete|ping)","id":"?[a-z0-9]{0,3}"?,?"?payload"?:?.{0,20}\}')
    )
    @example(b'{"":"","id":"\x80"')
    def test_no_bytes_make_it_fail_in_another_way(self, data: bytes) -> None:
        for stage in Stage:
            made = codec(stage)
            try:
                requests = made.receive(data)
            except Ended:
                continue
            assert all(request.greeting is not None or request.is_aside or request.batch for request in requests)


@pytest.mark.parametrize(
    ("native", "here"),
    [
        ((1012, "restarting"), (1012, "restarting")),
        ((1012, "lifetime"), (1012, "lifetime")),
        ((1013, "overloaded"), (1013, "overloaded")),
        ((4400, "bad_request"), (4400, "bad_request")),
        ((4401, "token_expired"), (4403, "token_expired")),
        ((4401, "token_bad_signature"), (4401, "token_bad_signature")),
        ((4401, "token_revoked"), (4401, "token_revoked")),
        ((4401, "ambiguous_credentials"), (4400, "ambiguous_credentials")),
        ((4403, "revoked"), (4401, "revoked")),
        ((4403, "forbidden"), (4401, "forbidden")),
        ((4403, "enough of this"), (4401, "enough of this")),
        ((4408, "authentication_timeout"), (4408, "Connection initialisation timeout")),
        ((4409, "replaced"), (4409, "replaced")),
        ((4420, "slow_consumer"), (4420, "slow_consumer")),
        ((4429, "rate_limited"), (1013, "rate_limited")),
        ((4429, "limit_exceeded"), (1013, "limit_exceeded")),
    ],
)
def test_close_codes_are_those_that_its_clients_act_on(native: tuple[int, str], here: tuple[int, str]) -> None:
    """CONTRACT, "Close codes": the column of a GraphQL socket."""
    assert closed_with(*native) == here


def test_the_news_of_a_session_are_those_that_the_schema_has() -> None:
    assert session_notice("session.expiring", {"expires_at": "x"}) == {"type": "expiring", "expires_at": "x"}
    document = "subscription{sessionNotices{type expiresAt roles code reason reconnect}}"
    living: Living = only(codec().receive(text(subscribe(document)))).batch
    assert living.operation is not None
    closing = {"code": 4403, "reason": "revoked", "reconnect": False}
    told = json.loads(living.operation.told(session_notice("session.closing", closing)))
    assert told["data"]["sessionNotices"] == {"type": "closing", "expiresAt": None, "roles": None, **closing}
