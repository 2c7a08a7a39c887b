"""From a GraphQL operation to commands, and from their results to its answer.

Each field of the operation is one command, with its own refusal; all of them are handed out together, in their order,
and take effect in that order, as a batch does. The answer is one, once the last of them is there. A field that was
refused is null, or makes all of `data` null where it may not be. Questions about the schema ask no command.

How an operation came, and where its answer goes, is `graphql_http.py` and `graphql_transport_ws.py`.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from graphql import (
    FieldNode,
    GraphQLError,
    GraphQLField,
    OperationDefinitionNode,
    get_argument_values,
    get_nullable_type,
    get_variable_values,
    is_list_type,
    is_non_null_type,
)
from msgspec import Struct

from parley.dialects.graphql_documents import ERRORS_MAX, Document, Documents, Refused, error_of, told_of
from parley.dialects.graphql_schema import ROOTS, Root, schema
from parley.dialects.graphql_selection import META_FIELDS, Parts, Reading, schema_value, take, type_value
from parley.dialects.parameters import DEPTH_MAX, bad_string, depth, is_utf8, load, read_params
from parley.domain.errors import Refusal, invalid_params
from parley.domain.events import Event
from parley.domain.params import Params

#: How msgspec says that no double holds a number.
_OUT_OF_RANGE: Final = "Number out of range"
_RANGE: Final = "Numbers go from -2^53 to 2^53."

_encode: Final[Callable[[Any], bytes]] = msgspec.json.Encoder().encode


class Asked(Struct, rename="camel"):
    """What a client sends: the parameters of a GraphQL request."""

    query: str
    operation_name: str | None = None
    variables: dict[str, Any] | None = None
    extensions: dict[str, Any] | None = None


_asked: Final = msgspec.json.Decoder(Asked)


def asked_in(data: bytes) -> Asked:
    """Raises: Refusal (`parse_error`, `invalid_request`, `invalid_params`)."""
    if not is_utf8(data):
        raise Refusal("parse_error")
    if depth(data) > DEPTH_MAX:
        raise Refusal(
            "invalid_request", f"Nesting goes {DEPTH_MAX} levels deep at most.", bound="nesting", max=DEPTH_MAX
        )
    try:
        return _asked.decode(data)
    except msgspec.ValidationError as wrong:
        if str(wrong).startswith(_OUT_OF_RANGE) and (field := _huge_variable(load(data))) is not None:
            raise invalid_params(field, _RANGE) from None
        raise Refusal("invalid_request", f"This is no GraphQL request: {_shown(wrong)}") from None
    except msgspec.DecodeError:
        pass
    try:
        value = load(data)  # a lone surrogate is no broken JSON
    except ValueError:
        raise Refusal("parse_error") from None
    raise bad_string(value.get("variables") if isinstance(value, dict) else value) or invalid_params(
        "query", "A document has no lone surrogate."
    )


def _huge_variable(request: Any) -> str | None:
    """The variable that a number is in that no double holds."""
    variables = request.get("variables") if isinstance(request, dict) else None
    if not isinstance(variables, dict):
        return None
    return next((name[:64] for name, value in variables.items() if _has_huge(value)), None)


def _has_huge(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_huge, value.values()))
    if isinstance(value, list):
        return any(map(_has_huge, value))
    return isinstance(value, int | float) and not -(2**53) <= value <= 2**53


def _shown(wrong: Exception) -> str:
    # What msgspec says names types and members, never values.
    return str(wrong).replace("`$.", "`").replace("`$`", "the request") + "."


class Call:
    """One field of an operation: a command with its parameters, or why it is refused."""

    __slots__ = ("field", "key", "params", "parts", "refusal", "root", "where")

    def __init__(self, key: str, root: Root, field: GraphQLField, parts: Parts | None, node: FieldNode) -> None:
        self.key = key
        self.root = root
        self.field = field
        self.parts = parts
        self.params: Params | None = None
        self.refusal: Refusal | None = None
        self.where = _where(node)

    def value(self, result: Any) -> Any:
        """What the field answers, from its command's result."""
        if self.root.is_empty:
            return True
        value = result[self.root.member] if self.root.member is not None else result
        if self.root.name == "events":
            value = {**result, "events": [told(event, result["epoch"]) for event in result["events"]]}
        if value is None or self.parts is None:
            return value
        if is_list_type(get_nullable_type(self.field.type)):
            return [take(self.parts, one) for one in value]
        return take(self.parts, value)


class Operation:
    """One operation, ready. Hand out its `calls`, in their order; then `answer` with what each came to."""

    __slots__ = ("calls", "kind", "members")

    def __init__(self, kind: str, members: dict[str, Any], calls: list[Call]) -> None:
        self.kind = kind
        #: What is known already, by its key; None in the place of a call.
        self.members = members
        self.calls = calls

    def answer(self, outcomes: Sequence[Any]) -> bytes:
        """The answer; `outcomes` has the result or the Refusal of each call."""
        data: dict[str, Any] | None = dict(self.members)
        errors = []
        for call, outcome in zip(self.calls, outcomes, strict=True):
            if isinstance(outcome, Refusal):
                errors.append(error_of(_renamed(outcome, call.root), locations=[call.where], path=[call.key]))
                if is_non_null_type(call.field.type):
                    data = None
            elif data is not None:
                data[call.key] = call.value(outcome)
        return _encode({"data": data, "errors": errors} if errors else {"data": data})

    def told(self, value: Any) -> bytes:
        """What a subscription tells, of an event, a signal or a notice."""
        (call,) = self.calls
        assert call.parts is not None
        return _encode({"data": {call.key: take(call.parts, value)}})

    @property
    def shape(self) -> tuple[str, str, Parts | None]:
        """What a subscription tells, whatever it tells it of: those with the same shape tell the same."""
        (call,) = self.calls
        return call.root.name, call.key, call.parts


def told(event: Event, epoch: str) -> dict[str, Any]:
    """An event as GraphQL has it."""
    return {
        "room": event.room,
        "epoch": epoch,
        "seq": event.seq,
        "type": event.type,
        "at": event.at,
        "actor": event.actor,
        "message": event.data.get("message"),
        "data": event.data,
    }


def refused(errors: Sequence[dict[str, Any]]) -> bytes:
    """The answer to an operation of which nothing was carried out."""
    return _encode({"errors": errors})


def prepare(documents: Documents, asked: Asked) -> Operation:
    """The operation that was asked for. Raises: Refused."""
    document = documents.get(asked.query)
    definition = document.operation(asked.operation_name)
    variables = get_variable_values(
        schema(), definition.variable_definitions or (), asked.variables or {}, max_errors=ERRORS_MAX
    )
    if isinstance(variables, list):
        raise Refused([told_of(error, document.ast) for error in variables[:ERRORS_MAX]])
    reading = Reading(document.ast, variables)
    members: dict[str, Any] = {}
    calls: list[Call] = []
    for key, node, field, parts in _fields(document, definition, reading):
        members[key] = None
        name = node.name.value
        if field is None:
            members[key] = definition.operation.value.capitalize()
        elif name in META_FIELDS:
            assert parts is not None
            value = schema_value() if name == "__schema" else type_value(_name_argument(field, node, variables))
            members[key] = None if value is None else take(parts, value)
        else:
            root = ROOTS[definition.operation.value, name]
            call = Call(key, root, field, parts, node)
            try:
                call.params = _params(root, field, node, variables)
            except Refusal as refusal:
                call.refusal = refusal
            calls.append(call)
    return Operation(definition.operation.value, members, calls)


_Fields = list[tuple[str, FieldNode, GraphQLField | None, Parts | None]]


def _fields(document: Document, definition: OperationDefinitionNode, reading: Reading) -> _Fields:
    """The fields of an operation, compiled: key, first node, definition (None for `__typename`), and what is taken."""
    name = definition.name.value if definition.name is not None else None
    kept: _Fields | None = document.compiled.get(name)
    if kept is not None:
        return kept
    kind = schema().get_root_type(definition.operation)
    assert kind is not None
    found: _Fields = []
    for key, nodes in reading.fields(kind, definition.selection_set).items():
        asked = nodes[0].name.value
        field = META_FIELDS.get(asked) or kind.fields.get(asked)
        found.append((key, nodes[0], field, reading.inner(field, nodes) if field is not None else None))
    if document.is_fixed:
        document.compiled[name] = found
    return found


def _name_argument(field: GraphQLField, node: FieldNode, variables: Any) -> str:
    name: str = get_argument_values(field, node, variables)["name"]
    return name


def _params(root: Root, field: GraphQLField, node: FieldNode, variables: Any) -> Params | None:
    """The parameters of a field's command; None for a field that has no command. Raises: Refusal."""
    if root.row is None:
        return None
    try:
        arguments = get_argument_values(field, node, variables)
    except GraphQLError:
        raise Refusal("invalid_params", "An argument is missing or of the wrong form.") from None
    given = {root.parameters[name]: value for name, value in arguments.items() if value is not None}
    for name, value in given.items():
        # `1e999` in a document is infinite here, and would be null in JSON.
        if isinstance(value, dict | list | float) and _has_huge(value):
            raise invalid_params(name, _RANGE)
    return read_params(root.row.name, _encode(given))


def _renamed(refusal: Refusal, root: Root) -> Refusal:
    """The same, where it names a parameter, with the argument's name."""
    field = refusal.facts.get("field")
    argument = next((name for name, parameter in root.parameters.items() if parameter == field), None)
    if argument is None or argument == field:
        return refusal
    return Refusal(refusal.code, refusal.message, **{**refusal.facts, "field": argument})


def _where(node: FieldNode) -> dict[str, int]:
    location = node.loc
    assert location is not None
    at = location.source.get_location(location.start)
    return {"line": at.line, "column": at.column}
