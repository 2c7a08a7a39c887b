"""`tokens/bearer.py`: every carrier, on and off, and what is said first when more than one thing is wrong."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from parley.tokens import Credential, Presented, TokenRefused, find_credential
from parley.tokens.bearer import (
    CARRIERS,
    CONVERSATION_START,
    DEFAULT_CARRIERS,
    GRAPHQL_SOCKET,
    NATIVE_SOCKET,
    PLAIN,
    SOCKETIO_POLLING,
    SOCKETIO_UPGRADE,
    STREAM_AUDIO,
    STREAM_LISTEN_SOCKET,
    STREAM_SOCKET,
    Endpoint,
    bearer_token,
    challenge,
    credential_in_authenticate,
    credential_in_connection_init,
    credential_in_socketio_auth,
)

ALL = frozenset(CARRIERS)
Headers = list[tuple[str, str]]


def header(token: str) -> tuple[str, str]:
    return ("Authorization", f"Bearer {token}")


def offering(*subprotocols: str) -> tuple[str, str]:
    return ("Sec-WebSocket-Protocol", ", ".join(subprotocols))


def found(headers: Headers, query: str = "", endpoint: Endpoint = NATIVE_SOCKET, on: frozenset[str] = ALL) -> Presented:
    return find_credential(headers, query=query, endpoint=endpoint, carriers=on)


def code_of(headers: Headers, query: str = "", endpoint: Endpoint = NATIVE_SOCKET, on: frozenset[str] = ALL) -> str:
    with pytest.raises(TokenRefused) as refusal:
        found(headers, query, endpoint, on)
    return refusal.value.code


def carried(presented: Presented) -> tuple[str, str, str] | None:
    credential = presented.credential
    return None if credential is None else (credential.kind, credential.secret, credential.carrier)


WAYS: dict[str, tuple[Headers, str]] = {
    "header": ([header("t")], ""),
    "subprotocol": ([offering("parley.v1", "bearer.t")], ""),
    "ticket": ([], "ticket=t"),
    "token_header": ([("token", "t")], ""),
    "query": ([], "token=t"),
}


@pytest.mark.parametrize("carrier", WAYS)
def test_each_carrier_brings_its_credential_to_an_upgrade_where_it_is_on(carrier: str) -> None:
    headers, query = WAYS[carrier]
    kind = "ticket" if carrier == "ticket" else "token"
    assert carried(found(headers, query, on=frozenset({carrier}))) == (kind, "t", carrier)


@pytest.mark.parametrize("carrier", WAYS)
def test_a_carrier_that_is_off_is_refused_by_name(carrier: str) -> None:
    headers, query = WAYS[carrier]
    with pytest.raises(TokenRefused) as refusal:
        found(headers, query, on=ALL - {carrier})
    assert (refusal.value.code, refusal.value.carrier) == ("carrier_disabled", carrier)


def test_the_two_legacy_carriers_are_off_by_default() -> None:
    assert {"header", "subprotocol", "ticket", "message"} == DEFAULT_CARRIERS


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(WAYS, 2)))
def test_two_different_credentials_are_ambiguous_even_where_one_carrier_is_off(first: str, second: str) -> None:
    headers, query = WAYS[first]
    other_headers, other_query = WAYS[second]
    others = [
        (name, value.replace("bearer.t", "bearer.u").replace("Bearer t", "Bearer u")) for name, value in other_headers
    ]
    others = [(name, "u" if name == "token" else value) for name, value in others]
    both = "&".join(part for part in (query, other_query.replace("=t", "=u")) if part)
    assert code_of(headers + others, both) == "ambiguous_credentials"
    assert code_of(headers + others, both, on=ALL - {first}) == "ambiguous_credentials"
    assert code_of(headers + others, both, on=frozenset()) == "ambiguous_credentials"


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations([way for way in WAYS if way != "ticket"], 2)))
def test_the_same_token_twice_is_one_and_comes_by_the_first_carrier(first: str, second: str) -> None:
    headers, query = WAYS[first][0] + WAYS[second][0], WAYS[first][1] + WAYS[second][1]
    assert carried(found(headers, query)) == ("token", "t", first)
    assert code_of(headers, query, on=ALL - {second}) == "carrier_disabled"
    assert code_of(headers, query, on=ALL - {first}) == "carrier_disabled"


def test_a_ticket_is_never_the_same_as_a_token() -> None:
    assert code_of([header("t")], "ticket=t") == "ambiguous_credentials"


def test_one_carrier_with_two_credentials_is_ambiguous_and_with_one_twice_is_not() -> None:
    assert code_of([header("t"), header("u")]) == "ambiguous_credentials"
    assert carried(found([header("t"), header("t")])) == ("token", "t", "header")
    assert code_of([offering("parley.v1", "bearer.t", "bearer.u")]) == "ambiguous_credentials"
    assert code_of([], "ticket=t&ticket=u") == "ambiguous_credentials"
    assert carried(found([], "ticket=t&ticket=t")) == ("ticket", "t", "ticket")


@pytest.mark.parametrize("value", ["Basic dXNlcjpwYXNz", "Digest x", "Bearerx y", "", "Negotiate"])
def test_an_authorization_of_another_scheme_is_none(value: str) -> None:
    assert carried(found([("Authorization", value)])) is None
    assert carried(found([("Authorization", value), header("t")])) == ("token", "t", "header")
    assert code_of([("Authorization", value)], endpoint=PLAIN) == "token_missing"


def test_a_scheme_and_a_header_name_ignore_case_and_a_subprotocol_does_not() -> None:
    assert carried(found([("AUTHORIZATION", "bEARER  t ")])) == ("token", "t", "header")
    assert carried(found([("sec-websocket-protocol", "parley.v1,bearer.t")])) == ("token", "t", "subprotocol")
    assert carried(found([offering("parley.v1", "Bearer.t")])) is None
    assert bearer_token("Bearer") == ""


def test_an_empty_credential_is_one_that_is_there_and_bad() -> None:
    assert carried(found([("Authorization", "Bearer")])) == ("token", "", "header")
    assert carried(found([], "token=")) == ("token", "", "query")
    assert code_of([], "token=", on=DEFAULT_CARRIERS) == "carrier_disabled"


class TestTheSubprotocol:
    """Contract 1: the server selects the real one and never echoes the token."""

    def test_the_first_offered_that_is_spoken_is_selected(self) -> None:
        assert found([offering("bearer.t", "parley.v9", "parley.v1")]).subprotocol == "parley.v1"
        two = Endpoint(NATIVE_SOCKET.carriers, ("a", "b"))
        assert found([offering("b", "a")], endpoint=two).subprotocol == "b"

    def test_offers_in_several_headers_are_one_list(self) -> None:
        presented = found([offering("bearer.t"), offering("parley.v1")])
        assert (presented.subprotocol, carried(presented)) == ("parley.v1", ("token", "t", "subprotocol"))

    def test_without_an_offer_none_is_selected(self) -> None:
        assert found([]).subprotocol is None
        assert found([("Sec-WebSocket-Protocol", " , ")]).subprotocol is None

    @pytest.mark.parametrize("offer", [["parley.v2"], ["bearer.t"], ["bearer.t", "x"], ["graphql-transport-ws"]])
    def test_without_a_real_one_among_the_offers_it_is_unsupported(self, offer: list[str]) -> None:
        assert code_of([offering(*offer)]) == "unsupported_subprotocol"

    def test_graphql_needs_its_own(self) -> None:
        assert code_of([], endpoint=GRAPHQL_SOCKET) == "unsupported_subprotocol"
        assert code_of([offering("graphql-ws")], endpoint=GRAPHQL_SOCKET) == "unsupported_subprotocol"
        assert found([offering("graphql-transport-ws")], endpoint=GRAPHQL_SOCKET).subprotocol == "graphql-transport-ws"

    def test_on_socketio_none_is_looked_at(self) -> None:
        presented = found([offering("bearer.t")], endpoint=SOCKETIO_UPGRADE)
        assert (presented.subprotocol, presented.credential) == (None, None)


def test_what_is_checked_first_is_reported() -> None:
    everything_wrong = [offering("bearer.t"), header("u")]
    assert code_of(everything_wrong, on=frozenset()) == "unsupported_subprotocol"
    ambiguous = [offering("parley.v1", "bearer.t"), header("u")]
    assert code_of(ambiguous, on=frozenset()) == "ambiguous_credentials"
    assert code_of([header("u")], on=frozenset()) == "carrier_disabled"
    assert code_of([], on=frozenset()) == "token_missing"


def test_a_first_message_may_bring_the_token_unless_that_carrier_is_off() -> None:
    for endpoint in (NATIVE_SOCKET, STREAM_SOCKET, SOCKETIO_UPGRADE, SOCKETIO_POLLING):
        assert found([], endpoint=endpoint).credential is None
        assert code_of([], endpoint=endpoint, on=ALL - {"message"}) == "token_missing"
    assert code_of([], endpoint=PLAIN) == "token_missing"
    for endpoint in (STREAM_AUDIO, STREAM_LISTEN_SOCKET):
        assert found([], endpoint=endpoint, on=ALL - {"message"}).credential is None


def test_a_carrier_is_not_looked_at_where_it_has_no_place() -> None:
    everything = [("token", "a"), offering("bearer.b")]
    assert code_of(everything, "token=c&ticket=d", endpoint=PLAIN) == "token_missing"
    assert carried(found(everything, "token=c&ticket=d", endpoint=STREAM_AUDIO)) == ("ticket", "d", "ticket")
    assert carried(found(everything, "token=c", endpoint=SOCKETIO_POLLING)) == ("token", "c", "query")


def test_a_conversation_may_be_started_without_a_credential() -> None:
    assert find_credential([], endpoint=CONVERSATION_START).credential is None


def test_a_pages_credential_is_refused_on_an_accepted_socket_and_any_other_by_http() -> None:
    by_http = {way: found(*WAYS[way]).refused_by_http for way in WAYS}
    assert by_http == {"header": True, "subprotocol": False, "ticket": False, "token_header": True, "query": True}
    assert found([], "ticket=t", endpoint=SOCKETIO_UPGRADE).refused_by_http
    assert found([], "ticket=t", endpoint=STREAM_AUDIO).refused_by_http


def test_no_repr_shows_a_credential() -> None:
    presented = found([header("very-secret")])
    assert "very-secret" not in repr(presented)
    assert "very-secret" not in repr(presented.credential)
    with pytest.raises(TokenRefused) as refusal:
        found([header("very-secret"), header("other-secret")])
    assert "secret" not in repr(refusal.value) + str(refusal.value)


class TestMessages:
    """Contract 1, carrier `message`."""

    def test_session_authenticate_brings_a_token(self) -> None:
        credential = credential_in_authenticate({"token": "t"})
        assert credential is not None
        assert (credential.kind, credential.secret, credential.carrier) == ("token", "t", "message")

    @pytest.mark.parametrize("params", [None, {}, [], "t", {"token": None}, {"Token": "t"}])
    def test_without_a_token_there_is_none(self, params: Any) -> None:
        assert credential_in_authenticate(params) is None
        assert credential_in_socketio_auth(params) is None
        assert credential_in_connection_init(params) is None

    @pytest.mark.parametrize("token", [1, True, ["t"], {"t": 1}])
    def test_a_token_that_is_no_string_is_malformed(self, token: Any) -> None:
        for read in (credential_in_authenticate, credential_in_socketio_auth, credential_in_connection_init):
            with pytest.raises(TokenRefused, match="token_malformed"):
                read({"token": token})
        with pytest.raises(TokenRefused, match="token_malformed"):
            credential_in_connection_init({"authorization": token})

    def test_with_the_carrier_off_it_is_refused_by_name(self) -> None:
        for read in (credential_in_authenticate, credential_in_socketio_auth, credential_in_connection_init):
            with pytest.raises(TokenRefused, match="carrier_disabled"):
                read({"token": "t"}, ALL - {"message"})
            assert read({}, ALL - {"message"}) is None

    @pytest.mark.parametrize(
        "payload",
        [
            {"authorization": "Bearer t"},
            {"Authorization": "bearer t"},
            {"token": "t"},
            {"token": "t", "authorization": "Bearer t"},
            {"token": "t", "authorization": "Basic x", "locale": "de"},
        ],
    )
    def test_connection_init_brings_a_token_in_two_ways(self, payload: dict[str, str]) -> None:
        credential = credential_in_connection_init(payload)
        assert credential is not None
        assert credential.secret == "t"

    def test_two_different_tokens_in_connection_init_are_ambiguous(self) -> None:
        with pytest.raises(TokenRefused, match="ambiguous_credentials"):
            credential_in_connection_init({"token": "t", "authorization": "Bearer u"})

    def test_a_message_beside_a_handshake_says_the_same_or_is_ambiguous(self) -> None:
        handshake = Credential("token", "t", "header")
        for read in (credential_in_socketio_auth, credential_in_connection_init):
            assert read({}, beside=handshake) is handshake
            assert read({"token": "t"}, beside=handshake) is handshake
            with pytest.raises(TokenRefused, match="ambiguous_credentials"):
                read({"token": "u"}, beside=handshake)
            with pytest.raises(TokenRefused, match="ambiguous_credentials"):
                read({"token": "t"}, beside=Credential("ticket", "t", "ticket"))
            with pytest.raises(TokenRefused, match="ambiguous_credentials"):
                read({"token": "u"}, frozenset(), beside=handshake)


def test_a_challenge_names_the_error_only_where_a_credential_came() -> None:
    assert challenge(TokenRefused("token_missing")) == 'Bearer realm="parley"'
    assert challenge(TokenRefused("token_expired"), realm="x") == (
        'Bearer realm="x", error="invalid_token", error_description="token_expired"'
    )
