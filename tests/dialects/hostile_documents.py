"""Documents that mean harm: what each is called, the request, and the codes that may answer it."""

import json
from typing import Any

from graphql import get_introspection_query


def _query(document: str, **variables: Any) -> dict[str, Any]:
    return {"query": document, "variables": variables} if variables else {"query": document}


def _nested(field: str, times: int, leaf: str) -> str:
    return f"{field}{{" * times + leaf + "}" * times


_AROUND = "fragment {0} on Query{{{1}}} "
_DOUBLING = "".join(_AROUND.format(f"f{i}", f"...f{i + 1} ...f{i + 1} a{i}:__typename") for i in range(30))
_FOREVER = '"' + "A" * 100_000 + '"'

#: name -> (request, or the bytes of one; codes that may refuse it)
HOSTILE: dict[str, tuple[Any, set[str]]] = {
    "brackets without end": (_query("{a" * 10_000), {"invalid_request", "too_large"}),
    "selections that are too deep": (_query("{" + _nested("room", 40, "id") + "}"), {"invalid_request"}),
    "lists that are too deep": (
        _query('mutation{sendMessage(room:"x",text:"x",data:' + "[" * 5_000 + "]" * 5_000 + "){duplicate}}"),
        {"invalid_request"},
    ),
    "inline fragments that are too deep": (
        _query("{" + _nested("...on Query", 2_000, "__typename") + "}"),
        {"invalid_request"},
    ),
    "a type of lists without end": (
        _query("query($a:" + "[" * 3_000 + "Int" + "]" * 3_000 + "){__typename}"),
        {"invalid_request"},
    ),
    "a thousand fields": (_query("{" + "session{subject}" * 1_000 + "}"), {"invalid_request", "too_large"}),
    "a thousand aliases": (
        _query("{" + " ".join(f"a{i}:session{{subject}}" for i in range(1_000)) + "}"),
        {"invalid_request", "too_large"},
    ),
    "a hundred mutations under aliases": (
        _query("mutation{" + " ".join(f'a{i}:joinRoom(room:"r{i}"){{room}}' for i in range(100)) + "}"),
        {"invalid_request"},
    ),
    "twenty names for one long text": (
        _query('{messages(room:"lobby",limit:200){messages{' + " ".join(f"a{i}:text" for i in range(29)) + "}}}"),
        {"invalid_request"},
    ),
    "every page at once": (
        _query(
            "{"
            + " ".join(
                f'p{i}:events(room:"lobby",after:0){{events{{data message{{text data sender{{name}} at}}}}}}'
                for i in range(20)
            )
            + "}"
        ),
        {"invalid_request"},
    ),
    "fragments that double": (
        _query("{...f0} " + _DOUBLING + "fragment f30 on Query{__typename}"),
        {"invalid_request"},
    ),
    "fragments in a cycle": (
        _query("{...a} fragment a on Query{...b} fragment b on Query{...a}"),
        {"invalid_request"},
    ),
    "a fragment that includes itself, unused": (
        _query("{__typename} fragment a on Query{session{subject} ...a}"),
        {"invalid_request"},
    ),
    "a chain of fragments": (
        _query("{...f0} " + "".join(_AROUND.format(f"f{i}", f"...f{i + 1}") for i in range(500))),
        {"invalid_request", "too_large"},
    ),
    "five hundred operations": (
        {**_query(" ".join(f"query q{i}{{__typename}}" for i in range(500))), "operationName": "q1"},
        {"invalid_request", "too_large"},
    ),
    "fields that conflict with each other": (
        _query("{" + " ".join(f"x:a{i}(b:{i})" for i in range(900)) + "}"),
        {"invalid_request", "too_large"},
    ),
    "the schema in the schema in the schema": (
        _query("{__schema{types{fields{type{fields{type{fields{type{name}}}}}}}}}"),
        {"invalid_request"},
    ),
    "the whole schema ten times": (
        _query(
            "query{"
            + " ".join(f"s{i}:__schema{{types{{...t}}}}" for i in range(10))
            + "} fragment t on __Type{name fields{name args{name type{...r}} type{...r}}}"
            + " fragment r on __Type{kind name ofType{kind name ofType{kind name}}}"
        ),
        {"invalid_request"},
    ),
    "a chain of references": (
        _query('{__type(name:"Query"){' + _nested("ofType", 30, "name") + "}}"),
        {"invalid_request"},
    ),
    "directives without end": (
        _query("{__typename" + "@include(if:true)" * 700 + "}"),
        {"invalid_request", "too_large"},
    ),
    "variables without end": (
        _query("query(" + " ".join(f"$v{i}:Int" for i in range(1_200)) + "){__typename}"),
        {"invalid_request", "too_large"},
    ),
    "a name of 100,000 characters": (_query("{" + "a" * 100_000 + "}"), {"too_large"}),
    "a name of 30,000 characters": (_query("{" + "a" * 30_000 + "}"), {"invalid_request"}),
    "a variable that is called something very long": (
        _query("query($" + "a" * 20_000 + ":Int){__typename}"),
        {"invalid_request"},
    ),
    "a text of 100,000 characters as a room": (
        b'{"query":"query($id:ID!){room(id:$id){id}}","variables":{"id":' + _FOREVER.encode() + b"}}",
        {"invalid_params"},
    ),
    "variables of the wrong kind": (
        {"query": "query($id:ID!){room(id:$id){id}}", "variables": {"id": {"id": [["x"]]}}},
        {"invalid_params"},
    ),
    "variables that are a list": ({"query": "{__typename}", "variables": [1, 2]}, {"invalid_request"}),
    "variables nested without end": (
        b'{"query":"{__typename}","variables":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001,
        {"invalid_request"},
    ),
    "a number without end": (
        b'{"query":"query($n:Int){messages(room:\\"lobby\\",limit:$n){complete}}","variables":{"n":'
        + b"9" * 50_000
        + b"}}",
        {"invalid_params", "parse_error", "invalid_request"},
    ),
    "a number that no double holds": (
        b'{"query":"query($d:JSON){__typename}","variables":{"d":{"a":1e999}}}',
        {"invalid_params"},
    ),
    "a lone surrogate": (
        b'{"query":"query($id:ID!){room(id:$id){id}}","variables":{"id":"\\ud800"}}',
        {"invalid_params"},
    ),
    "a batch of a thousand": ([_query("{__typename}")] * 1_000, {"invalid_request"}),
    "a batch of one": ([_query("{__typename}")], {"invalid_request"}),
    "a document of blanks": (_query(" " * 100_000), {"too_large"}),
    "quotes that are all escaped": (_query('"\\' * 16_000), {"parse_error"}),
    "a block text that never ends": (_query('{a(b:"""' + '"\\"' * 10_000), {"parse_error"}),
    "comments without end": (_query("#" * 1_000 + "\n" + "#x\n" * 9_000), {"too_large", "parse_error"}),
    "the whole schema, in a fragment, twice": (
        _query(
            get_introspection_query().replace(
                "__schema {", "__schema { ...S } again: __schema { ...S } } fragment S on __Schema {", 1
            )
        ),
        {"invalid_request", "parse_error"},
    ),
}


def request_bytes(request: Any) -> bytes:
    return request if isinstance(request, bytes) else json.dumps(request).encode()
