"""GraphQL documents: parsed, bounded, validated and kept, so that what a client sends again costs a look.

Nothing of a document that is refused here was carried out. Texts of others that the library puts into its messages are
taken out again: they may hold a credential. What an operation comes to is `graphql_operations.py`.
"""

import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, Final

from graphql import (
    ArgumentNode,
    DocumentNode,
    GraphQLError,
    Node,
    OperationDefinitionNode,
    VariableNode,
    parse,
    validate,
)

from parley.dialects.error_codes import error_data
from parley.dialects.graphql_bounds import TOKENS_MAX, check_document, check_text
from parley.dialects.graphql_schema import schema
from parley.domain.errors import Refusal

#: Of the documents that are kept, in characters of their texts; what is made of one takes some hundred times as much.
KEPT_CHARS_MAX: Final = 262_144
KEPT_MAX: Final = 512
ERRORS_MAX: Final = 5

_VALUE = re.compile(
    r"(cannot represent [^:]*|Expected [^:]*?),?(?: but encountered error .*| found| Found)?: .*", re.DOTALL
)
_TOKEN = re.compile(r"((?:found|Unexpected) (?:String|BlockString|Name|Int|Float|Comment)) .*", re.DOTALL)
_QUOTED = re.compile(r"(Unterminated|Invalid|Unexpected|Cannot parse)([^:'\"]*)[:'\"].*", re.DOTALL)
_ARGUMENT = re.compile(r"Unknown argument '(\w+)' on field|Argument '[\w.]*\((\w+):\)'")
_WRONG_VALUE = re.compile(r"cannot represent|^Expected |^Variable '\$")
_UNKNOWN_FIELD = re.compile(r"Cannot query field '\w+' on type '(?:Query|Mutation|Subscription)'")


class Refused(Exception):
    """An operation of which nothing was carried out: `errors` as GraphQL's answer has them.

    Source: GraphQL §7.1.6, request errors.
    """

    def __init__(self, errors: Sequence[dict[str, Any]]) -> None:
        super().__init__(errors[0]["extensions"]["code"])
        self.errors = errors


def error_of(refusal: Refusal, **where: Any) -> dict[str, Any]:
    """A refusal as an error of GraphQL; `where` is its `locations` and `path`, as far as there are any."""
    return {"message": refusal.message, **where, "extensions": error_data(refusal)}


class Document:
    """One document that may be carried out. `compiled` is whoever uses it to keep what does not change with variables.

    `is_fixed`: no directive is in it, so that its fields are the same whatever the variables.
    """

    __slots__ = ("ast", "compiled", "is_fixed", "operations")

    def __init__(self, ast: DocumentNode, *, is_fixed: bool) -> None:
        self.ast = ast
        self.is_fixed = is_fixed
        self.operations = [d for d in ast.definitions if isinstance(d, OperationDefinitionNode)]
        self.compiled: dict[str | None, Any] = {}

    def operation(self, name: str | None) -> OperationDefinitionNode:
        """Raises: Refused for a name that it has not, and for none where it has several."""
        named = [one for one in self.operations if name is None or (one.name is not None and one.name.value == name)]
        if len(named) == 1:
            return named[0]
        told = (
            "Name the operation: the document has several." if name is None else "The document has no such operation."
        )
        raise Refused([error_of(Refusal("invalid_request", told if self.operations else "There is no operation."))])


class Documents:
    """The cache: those used last, within a number of documents and of characters. Refusals are kept too."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Document | Refused] = OrderedDict()
        self._chars = 0

    def get(self, source: str) -> Document:
        """Raises: Refused."""
        found = self._kept.get(source)
        if found is None:
            found = _read(source)
            self._keep(source, found)
        else:
            self._kept.move_to_end(source)
        if isinstance(found, Refused):
            raise found.with_traceback(None)
        return found

    def __len__(self) -> int:
        return len(self._kept)

    def _keep(self, source: str, found: Document | Refused) -> None:
        if len(source) > KEPT_CHARS_MAX // 4:
            return
        self._kept[source] = found
        self._chars += len(source)
        while self._chars > KEPT_CHARS_MAX or len(self._kept) > KEPT_MAX:
            gone, _ = self._kept.popitem(last=False)
            self._chars -= len(gone)


def _read(source: str) -> Document | Refused:
    try:
        check_text(source)
        ast = parse(source, max_tokens=TOKENS_MAX)
        check_document(ast)
    except GraphQLError as wrong:
        if "tokens" in wrong.message:
            return Refused(
                [error_of(Refusal("too_large", f"A document has at most {TOKENS_MAX} tokens.", bound="size"))]
            )
        return Refused([_told(wrong, "parse_error")])
    except Refusal as refusal:
        return Refused([error_of(refusal)])
    if errors := validate(schema(), ast, max_errors=ERRORS_MAX):
        return Refused([told_of(error, ast) for error in errors[:ERRORS_MAX]])
    return Document(ast, is_fixed="@" not in source)


# --- what the library found wrong ------------------------------------------------------------------------------------


def told_of(error: GraphQLError, ast: DocumentNode) -> dict[str, Any]:
    """An error of validation or of the variables, in our terms: its code, and the argument that it is about."""
    if (named := _ARGUMENT.search(error.message)) is not None:
        return _told(error, "invalid_params", field=named[1] or named[2])
    if _WRONG_VALUE.search(error.message) is not None:
        field = next((name for node in error.nodes or () if (name := _argument_with(ast, node))), None)
        return _told(error, "invalid_params", **({} if field is None else {"field": field}))
    return _told(error, "unknown_command" if _UNKNOWN_FIELD.match(error.message) else "invalid_request")


def _told(error: GraphQLError, code: str, **facts: Any) -> dict[str, Any]:
    where = {"locations": [{"line": at.line, "column": at.column} for at in error.locations or ()]}
    said = _QUOTED.sub(r"\1\2", _TOKEN.sub(r"\1", error.message)) if code == "parse_error" else error.message
    said = _VALUE.sub(r"\1", said).rstrip(" .,:")
    said += "" if said.endswith("?") else "."
    return error_of(Refusal(code, said, **facts), **{name: at for name, at in where.items() if at})


def _argument_with(ast: DocumentNode, wrong: Node) -> str | None:
    """The name of the argument whose value is this node, or this variable's."""
    variable = getattr(wrong, "variable", wrong)
    name = variable.name.value if isinstance(variable, VariableNode) else None
    for node in _nodes(ast):
        if isinstance(node, ArgumentNode):
            for value in _nodes(node.value):
                if value is wrong or (
                    name is not None and isinstance(value, VariableNode) and value.name.value == name
                ):
                    return node.name.value
    return name


def _nodes(root: Node) -> Iterator[Node]:
    """A node and all within it. What is walked has been bounded."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        for key in node.keys:
            inner = getattr(node, key, None)
            if isinstance(inner, Node):
                waiting.append(inner)
            elif isinstance(inner, list | tuple):
                waiting.extend(one for one in inner if isinstance(one, Node))
