"""GraphQL over HTTP without HTTP: which media type an answer has, and what a query string asks."""

import json
from urllib.parse import urlencode

import pytest

from parley.dialects.graphql_http import HTML, JSON, RESPONSE, asked_by_get, media_type, status_of_refused
from parley.dialects.graphql_operations import Asked
from parley.domain.errors import Refusal

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ([], JSON),
        (["*/*"], JSON),
        (["application/*"], JSON),
        ([JSON], JSON),
        ([RESPONSE], RESPONSE),
        (["Application/GraphQL-Response+JSON; charset=utf-8"], RESPONSE),
        ([f"{RESPONSE}, {JSON}"], RESPONSE),
        ([JSON, RESPONSE], RESPONSE),
        ([f"{RESPONSE};q=0.9, {JSON}"], JSON),
        ([f"{RESPONSE};q=0.5, {JSON};q=0.4, */*;q=0.1"], RESPONSE),
        ([f"{RESPONSE};q=0"], JSON),
        ([f"{RESPONSE};q=nonsense, {JSON};q=0.1"], JSON),
        ([BROWSER], JSON),
        (["image/png"], JSON),
        (["," * 100_000], JSON),
    ],
)
def test_the_media_type_of_an_answer_is_what_the_client_asks_for_by_name(accept: list[str], expected: str) -> None:
    assert media_type(accept) == expected


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ([BROWSER], HTML),
        (["text/html"], HTML),
        ([f"text/html, {JSON}"], JSON),
        ([f"text/html;q=0.5, {RESPONSE}"], RESPONSE),
        (["*/*"], JSON),
        ([], JSON),
    ],
)
def test_the_page_is_for_whoever_asks_for_html_first(accept: list[str], expected: str) -> None:
    assert media_type(accept, with_page=True) == expected


def test_what_was_not_carried_out_is_400_only_where_the_client_knows_the_newer_media_type() -> None:
    assert status_of_refused(RESPONSE) == 400
    assert status_of_refused(JSON) == 200


def test_a_query_string_asks_as_a_body_does() -> None:
    query = "query A($id: ID!) { room(id: $id) { id } }"
    asked = {"query": query, "operationName": "A", "variables": json.dumps({"id": "dén"}), "extensions": "{}"}
    assert asked_by_get(urlencode(asked)) == Asked(query, "A", {"id": "dén"}, {})
    assert asked_by_get(urlencode({"query": "{a}", "operationName": "", "variables": "", "v": "1"})) == Asked("{a}")


@pytest.mark.parametrize(
    ("query_string", "expected"),
    [
        ("", "invalid_request"),
        ("variables={}", "invalid_request"),
        ("query={a}&query={b}", "invalid_request"),
        ("query=%ff", "invalid_request"),
        ("&".join(f"p{i}=1" for i in range(50)), "invalid_request"),
        ("query={a}&variables=[]", "invalid_request"),
        ("query={a}&variables={", "parse_error"),
        ("query={a}&variables={},%22query%22:%22{b}%22", "parse_error"),
        ("query={a}&variables={%22a%22:%22%5Cud800%22}", "invalid_params"),
    ],
)
def test_a_query_string_that_asks_nothing(query_string: str, expected: str) -> None:
    with pytest.raises(Refusal) as refusal:
        asked_by_get(query_string)
    assert refusal.value.code == expected
