"""Hostile documents are refused before anything of them runs, in little time; what tools and clients send is not."""

import json
import time
import tracemalloc
from typing import Any

import pytest
from graphql import get_introspection_query

from parley.dialects.graphql_bounds import ALIASES_MAX, BREADTH_MAX, COST_MAX, DEPTH_MAX, DOCUMENT_BYTES_MAX
from parley.dialects.graphql_documents import KEPT_CHARS_MAX, KEPT_MAX, Documents, Refused
from parley.dialects.graphql_operations import Asked, asked_in, prepare
from parley.domain.errors import Refusal
from tests.dialects.hostile_documents import HOSTILE, request_bytes

#: Of processor time, which a busy machine does not stretch. What is not bounded takes minutes.
CPU_S_MAX = 1.0
MEMORY_MAX = 64 * 1024 * 1024


def refused_with(request: bytes) -> tuple[str, dict[str, Any]]:
    try:
        operation = prepare(Documents(), asked_in(request))
    except Refusal as refusal:
        return refusal.code, {"message": refusal.message}
    except Refused as refused:
        return refused.errors[0]["extensions"]["code"], refused.errors[0]
    refusals = [call.refusal for call in operation.calls]
    assert refusals, "it would have run"
    assert all(refusals), "some of it would have run"
    assert refusals[0] is not None
    return refusals[0].code, {"message": refusals[0].message}


def asked(document: str, **variables: Any) -> Asked:
    return Asked(document, variables=variables)


def code_of(document: str) -> tuple[str, Any]:
    with pytest.raises(Refused) as refused:
        Documents().get(document)
    extensions = refused.value.errors[0]["extensions"]
    return extensions["code"], extensions.get("bound")


class TestHostile:
    @pytest.mark.parametrize("name", HOSTILE)
    def test_it_is_refused_by_code_in_bounded_time_and_without_an_echo(self, name: str) -> None:
        request, codes = HOSTILE[name]
        begun = time.process_time()
        code, error = refused_with(request_bytes(request))
        assert time.process_time() - begun < CPU_S_MAX
        assert code in codes
        assert len(json.dumps(error)) < 1_000

    def test_all_of_them_together_take_bounded_memory(self) -> None:
        requests = [request_bytes(request) for request, _ in HOSTILE.values()]
        refused_with(requests[0])  # what is made once is made
        tracemalloc.start()
        try:
            for request in requests:
                refused_with(request)
            assert tracemalloc.get_traced_memory()[1] < MEMORY_MAX
        finally:
            tracemalloc.stop()

    def test_there_are_twenty_five_at_least(self) -> None:
        assert len(HOSTILE) >= 25


class TestEachBoundIsWhereItSays:
    def test_depth(self) -> None:
        chain = "ofType{" * (DEPTH_MAX - 2) + "name" + "}" * (DEPTH_MAX - 2)
        Documents().get(f'{{__type(name:"Query"){{{chain}}}}}')
        deeper = "ofType{" * (DEPTH_MAX - 1) + "name" + "}" * (DEPTH_MAX - 1)
        assert code_of(f'{{__type(name:"Query"){{{deeper}}}}}') == ("invalid_request", "depth")
        in_pieces = f'{{...a}} fragment a on Query{{__type(name:"Query"){{...b}}}} fragment b on __Type{{{deeper}}}'
        assert code_of(in_pieces) == ("invalid_request", "depth")

    def test_aliases(self) -> None:
        Documents().get("{{{}}}".format(" ".join(f"a{i}:__typename" for i in range(ALIASES_MAX))))
        too_many = "{{{}}}".format(" ".join(f"a{i}:__typename" for i in range(ALIASES_MAX + 1)))
        assert code_of(too_many) == ("invalid_request", "aliases")

    def test_breadth(self) -> None:
        Documents().get("{%s}" % ("__typename " * BREADTH_MAX))
        assert code_of("{%s}" % ("__typename " * (BREADTH_MAX + 1))) == ("invalid_request", "breadth")

    def test_cost_counts_what_a_page_may_hold(self) -> None:
        def page(i: int, limit: int) -> str:
            return f'p{i}:messages(room:"x",limit:{limit}){{messages{{id text}}}}'

        Documents().get("{{{}}}".format(" ".join(page(i, 200) for i in range(25))))
        wide = "messages{id room seq text at clientId replyTo data editedAt deleted sender{subject name type}}"
        pages = "{{{}}}".format(" ".join(f'p{i}:messages(room:"x",limit:200){{{wide}}}' for i in range(25)))
        assert code_of(pages) == ("invalid_request", "cost")
        Documents().get(pages.replace("limit:200", "limit:5"))
        by_variable = "query($n:Int)" + pages.replace("limit:200", "limit:$n")
        assert code_of(by_variable) == ("invalid_request", "cost")
        assert COST_MAX == 50_000

    def test_size(self) -> None:
        assert code_of(" " * DOCUMENT_BYTES_MAX + "{__typename}") == ("too_large", "size")
        assert code_of("é" * (DOCUMENT_BYTES_MAX // 2) + "{__typename}") == ("too_large", "size")
        Documents().get(" " * (DOCUMENT_BYTES_MAX - 20) + "{__typename}")

    def test_brackets_in_texts_and_comments_do_not_count(self) -> None:
        document = 'mutation{{sendMessage(room:"x",text:"{}"){{duplicate}}}} # {}'.format("{" * 200, "[" * 200)
        Documents().get(document)
        block = 'mutation{sendMessage(room:"x",text:"""%s\\""" "" """){duplicate}}' % ("(" * 200)
        Documents().get(block)


class TestWhatIsNotHostile:
    @pytest.mark.parametrize("described", [True, False])
    def test_the_introspection_query_of_every_tool_is_answered(self, described: bool) -> None:
        query = get_introspection_query(
            descriptions=described,
            specified_by_url=described,
            directive_is_repeatable=described,
            schema_description=described,
            input_value_deprecation=described,
        )
        assert prepare(Documents(), Asked(query)).members["__schema"]["queryType"]["name"] == "Query"

    def test_twenty_five_mutations_at_once_are_answered(self) -> None:
        several = " ".join(f'a{i}:joinRoom(room:"r{i}"){{room}}' for i in range(25))
        assert len(prepare(Documents(), asked(f"mutation{{{several}}}")).calls) == 25


class TestTheCache:
    def test_a_document_is_read_once(self) -> None:
        documents = Documents()
        assert documents.get("{__typename}") is documents.get("{__typename}")

    def test_a_refusal_is_kept_too_and_raised_each_time(self) -> None:
        documents = Documents()
        for _ in range(2):
            with pytest.raises(Refused):
                documents.get("{nobody}")
        assert len(documents) == 1

    def test_it_holds_so_many_documents_and_lets_the_one_go_that_was_used_longest_ago(self) -> None:
        documents = Documents()
        first = documents.get("{a0:__typename}")
        second = documents.get("{a1:__typename}")
        for i in range(2, KEPT_MAX):
            documents.get(f"{{a{i}:__typename}}")
        assert documents.get("{a0:__typename}") is first
        documents.get("{one:__typename}")
        assert len(documents) == KEPT_MAX
        assert documents.get("{a0:__typename}") is first
        assert documents.get("{a1:__typename}") is not second

    def test_it_holds_so_many_characters(self) -> None:
        documents = Documents()
        for i in range(40):
            documents.get(f"{{a{i}:__typename}}" + " " * 20_000)
        assert len(documents) == KEPT_CHARS_MAX // 20_020
