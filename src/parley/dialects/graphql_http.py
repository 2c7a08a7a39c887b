"""GraphQL over HTTP: what a request asks, which media type its answer has, and which status goes with it.

    | what came                                                   | application/json | graphql-response+json |
    |-------------------------------------------------------------|------------------|-----------------------|
    | no GraphQL request: not JSON, no `query`, a wrong member    | 400              | 400                   |
    | an operation of which nothing is carried out                | 200              | 400                   |
    | an operation whose fields were carried out, or each refused | 200              | 200                   |
    | a mutation by `GET`                                         | 405              | 405                   |

Reads no socket and carries out nothing. Source: GraphQL over HTTP, working draft, §5 and §6.
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from parley.dialects.graphql_operations import Asked, asked_in
from parley.dialects.parameters import load
from parley.domain.errors import Refusal

JSON: Final = "application/json"
RESPONSE: Final = "application/graphql-response+json"
HTML: Final = "text/html"
#: Of a query string: what GraphQL has, and what a ticket or a tool may add.
PARAMETERS_MAX: Final = 20
_PARAMETERS: Final = ("query", "operationName", "variables", "extensions")


def asked_by_get(query_string: str) -> Asked:
    """What the parameters of a `GET` ask. Raises: Refusal (`invalid_request`, `parse_error`, `invalid_params`)."""
    try:
        pairs = parse_qsl(query_string, keep_blank_values=True, errors="strict", max_num_fields=PARAMETERS_MAX)
    except ValueError:
        raise Refusal("invalid_request", "The query string is not one in UTF-8.") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found and name in _PARAMETERS:
            raise Refusal("invalid_request", f"`{name}` comes once.")
        found[name] = value
    if "query" not in found:
        raise Refusal("invalid_request", "This is no GraphQL request: it has no `query`.")
    asked = {"query": msgspec.json.encode(found["query"])}
    if found.get("operationName"):
        asked["operationName"] = msgspec.json.encode(found["operationName"])
    for name in ("variables", "extensions"):
        if found.get(name):
            asked[name] = _whole(name, found[name].encode())
    return asked_in(b"{%b}" % b",".join(b'"%b":%b' % (name.encode(), raw) for name, raw in asked.items()))


def _whole(name: str, raw: bytes) -> bytes:
    """The same, if it is one JSON value and no more. Raises: Refusal."""
    try:
        load(raw)
    except (ValueError, RecursionError):
        raise Refusal("parse_error", f"`{name}` is not JSON.") from None
    return raw


def media_type(accept: Sequence[str], *, with_page: bool = False) -> str:
    """The media type of the answer, from the lines of `Accept`; `with_page`: a page may be one.

    Where none of ours is accepted the header is disregarded (RFC 9110 §12.4.1): a client that asks for something else
    can still read why it does not get it.
    """
    weights = _weights(accept)
    best, weight = JSON, weights.get(JSON, 0.0)
    # The one that is named; a star means the older one, which everybody reads.
    for candidate in (RESPONSE, HTML) if with_page else (RESPONSE,):
        if weights.get(candidate, 0.0) > weight or (
            candidate == RESPONSE and weights.get(candidate, 0.0) == weight > 0
        ):
            best, weight = candidate, weights[candidate]
    return best


def status_of_refused(kind: str) -> int:
    """The status of an answer to an operation of which nothing was carried out."""
    return 400 if kind == RESPONSE else 200


def _weights(accept: Sequence[str]) -> dict[str, float]:
    """What `Accept` names, by media range without parameters; a star stands for itself."""
    weights: dict[str, float] = {}
    for one in ",".join(accept)[:4096].split(","):
        essence, *parameters = (part.strip().lower() for part in one.split(";"))
        weight = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                try:
                    weight = min(1.0, max(0.0, float(value)))
                except ValueError:
                    weight = 0.0
        weights[essence] = max(weight, weights.get(essence, 0.0))
    return weights
