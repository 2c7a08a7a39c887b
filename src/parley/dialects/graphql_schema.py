"""The GraphQL schema, made from the registry: a query or mutation for each command, three subscriptions, the views.

A command `noun.verb` is the field `verbNoun`; those that read are queries, lists go by the plural noun and one thing by
the noun. Its parameters are the arguments in camelCase. A result of one member is that member, `{}` is `true`, others
are a `…Page` or a `…Result`. Texts with few values are `String`, as on every dialect, and say which in words: what a
wrong one is refused with is the command's own `invalid_params`.

What the commands answer is `graphql_results.py`. Holds no resolver: `graphql_operations.py` turns an operation into
commands and their results into its answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from graphql import (
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLDefaultInput,
    GraphQLField,
    GraphQLID,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLString,
    print_schema,
)
from msgspec import Struct

from parley.dialects import graphql_descriptions as words
from parley.dialects.graphql_results import IDS, NAMES, RESULTS, SHAPES, VIEWS, WHOLE
from parley.domain.commands import COMMANDS, Command

#: Under this key of a field's `extensions` is the member of the domain's struct that it tells.
MEMBER: Final = "member"

Kind = Literal["query", "mutation", "subscription"]


@dataclass(frozen=True, slots=True)
class Root:
    """One field of Query, Mutation or Subscription. `row` is None for `sessionNotices`, which asks for nothing.

    `parameters` has the command's parameter for each argument. `member` is the one member of the command's result that
    the field is, None where it is the whole result; `is_empty` says that the result is `{}` and the field `true`.
    """

    name: str
    kind: Kind
    row: Command | None
    parameters: Mapping[str, str] = field(default_factory=dict)
    member: str | None = None
    is_empty: bool = False


#: Commands about a connection that GraphQL has in a form of its own.
_ELSEWHERE: Final = frozenset({"session.authenticate", "room.subscribe", "room.unsubscribe"})

# --- names -----------------------------------------------------------------------------------------------------------


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def _pascal(name: str) -> str:
    return "".join(map(str.capitalize, name.split("_")))


def _plural(noun: str) -> str:
    return noun[:-1] + "ies" if noun.endswith("y") else noun + "s"


def _field_name(row: Command) -> str:
    noun, verb = row.name.split(".")
    match verb:
        case "get" | "describe":
            return camel(noun)
        case "list":
            return _plural(camel(noun))
        case "members" | "deliveries":  # a list that hangs on another noun
            return verb
    return camel(verb) + _pascal(noun)


def _is_query(row: Command) -> bool:
    verb = row.name.partition(".")[2]
    return row.kind == "read" or verb in ("list", "describe")


# --- types -----------------------------------------------------------------------------------------------------------


JSON: Final = GraphQLScalarType("JSON", description=words.TYPES["JSON"])
_SCALARS: Final[Mapping[str, Any]] = {
    "ID": GraphQLID,
    "String": GraphQLString,
    "Int": GraphQLInt,
    "Boolean": GraphQLBoolean,
    "JSON": JSON,
}


class _Types:
    """The object types, each made when it is first asked for."""

    def __init__(self) -> None:
        self._made: dict[str, GraphQLObjectType] = {}

    def read(self, said: str) -> Any:
        """A type from its GraphQL spelling."""
        if said.endswith("!"):
            return GraphQLNonNull(self.read(said[:-1]))
        if said.startswith("["):
            return GraphQLList(self.read(said[1:-1]))
        return _SCALARS.get(said) or self._object(said)

    def _object(self, name: str) -> GraphQLObjectType:
        if name not in self._made:
            self._made[name] = self.object(name, SHAPES.get(name) or _fields_of(VIEWS[name]))
        return self._made[name]

    def object(self, name: str, members: Mapping[str, str], description: str | None = None) -> GraphQLObjectType:
        """An object type with these members, in the domain's spelling."""

        def fields() -> dict[str, GraphQLField]:
            return {camel(member): self._field(name, member, kind) for member, kind in members.items()}

        return GraphQLObjectType(name, fields, description=description or words.TYPES.get(name))

    def _field(self, type_name: str, member: str, kind: str) -> GraphQLField:
        said = _said_of(type_name, camel(member))
        return GraphQLField(self.read(kind), description=said, extensions={MEMBER: member})


def _said_of(type_name: str, field_name: str) -> str:
    return words.FIELDS.get(f"{type_name}.{field_name}") or words.FIELDS.get(field_name) or f"Its `{field_name}`."


def _fields_of(views: tuple[type[Struct], ...]) -> dict[str, str]:
    """The fields that these structs have, as GraphQL types: in any of them, and required where all have it."""
    found: dict[str, str] = {}
    hints = [get_type_hints(view) for view in views]
    for name in dict.fromkeys(name for view in hints for name in view):
        here = [view.get(name) for view in hints]
        said = _output(name, next(hint for hint in here if hint is not None))
        found[name] = said if None not in here or name == "deleted" else said.rstrip("!")
    return found


def _output(name: str, hint: Any) -> str:
    """A struct's annotation as a GraphQL type. What may be None or unset may be null."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        parts = {_output(name, part) for part in get_args(hint) if part not in (type(None), msgspec.UnsetType)}
        (inner,) = parts
        may_be_null = len(get_args(hint)) > 1 and not all(part in NAMES for part in get_args(hint))
        return inner.rstrip("!") if may_be_null else inner
    if origin is list:
        return f"[{_output('', get_args(hint)[0])}]!"
    if hint in NAMES:
        return NAMES[hint] + "!"
    if hint is str or origin is Literal:
        return "ID!" if name in IDS else "String!"
    return {int: "Int!", bool: "Boolean!"}.get(hint, "JSON!")


# --- arguments -------------------------------------------------------------------------------------------------------


def _input(form: Any) -> Any:
    """The GraphQL type of a parameter, from its msgspec type. Limits are the command's to check."""
    info = msgspec.inspect
    match form:
        case info.UnionType():
            (inner,) = (part for part in form.types if not isinstance(part, info.NoneType))
            return _input(inner)
        case info.StrType():
            return GraphQLID if form.pattern and "._~-" in form.pattern else GraphQLString
        case info.IntType():
            return GraphQLInt
        case info.BoolType():
            return GraphQLBoolean
        case info.LiteralType():
            return GraphQLString
        case info.ListType():
            return GraphQLList(GraphQLNonNull(_input(form.item_type)))
    return JSON


def _values(form: Any) -> str:
    """What a parameter may be, in words, where that is a short list or a bound."""
    info = msgspec.inspect
    match form:
        case info.UnionType():
            return "".join(_values(part) for part in form.types)
        case info.LiteralType():
            return " One of " + ", ".join(f"`{value}`" for value in form.values) + "."
        case info.ListType():
            return _values(form.item_type)
        case info.IntType() if form.le is not None and form.le < 2**31:
            return f" At most {form.le}."
        case info.StrType() if form.max_length is not None:
            return f" At most {form.max_length} characters."
    return ""


def _parameters(row: Command) -> dict[str, msgspec.inspect.Field]:
    form = msgspec.inspect.type_info(row.params)
    assert isinstance(form, msgspec.inspect.StructType)
    return {field.encode_name: field for field in form.fields}


def _arguments(root: Root) -> dict[str, GraphQLArgument]:
    if root.row is None:
        return {}
    fields = _parameters(root.row)
    made = {}
    for argument, parameter in root.parameters.items():
        form = fields[parameter]
        kind = _input(form.type)
        said = words.ARGUMENTS.get(f"{root.name}.{argument}") or words.ARGUMENTS.get(argument, f"The `{argument}`.")
        default = None if form.required or form.default is None else GraphQLDefaultInput(form.default)
        made[argument] = GraphQLArgument(
            GraphQLNonNull(kind) if form.required else kind, default=default, description=said + _values(form.type)
        )
    return made


# --- the whole -------------------------------------------------------------------------------------------------------


def _root(row: Command) -> Root:
    noun, verb = row.name.split(".")
    parameters = {"id" if verb == "get" and name == noun else camel(name): name for name in _parameters(row)}
    members = RESULTS.get(row.name)
    return Root(
        name=_field_name(row),
        kind="query" if _is_query(row) else "mutation",
        row=row,
        parameters=parameters,
        member=next(iter(members)) if members and len(members) == 1 else None,
        is_empty=members == {},
    )


def _subscriptions() -> list[Root]:
    row = COMMANDS["room.subscribe"]
    events = {"room": "room", "after": "after", "epoch": "epoch"}
    return [
        Root("roomEvents", "subscription", row, events),
        Root("roomSignals", "subscription", row, {"room": "room"}),
        Root("sessionNotices", "subscription", None),
    ]


#: Every field of the three root types, by kind and name.
ROOTS: Final[Mapping[tuple[str, str], Root]] = {
    (root.kind, root.name): root
    for root in [*(_root(row) for row in COMMANDS.values() if row.name not in _ELSEWHERE), *_subscriptions()]
}
_TOLD_BY: Final = {"roomEvents": "Event!", "roomSignals": "Signal!", "sessionNotices": "SessionNotice!"}


def _result_type(types: _Types, root: Root) -> Any:
    if root.row is None or root.kind == "subscription":
        return types.read(_TOLD_BY[root.name])
    if root.row.name in WHOLE:
        return types.read(WHOLE[root.row.name])
    members = RESULTS.get(root.row.name)
    if members is None:
        return GraphQLNonNull(JSON)
    if root.is_empty:
        return GraphQLNonNull(GraphQLBoolean)
    if root.member is not None:
        return types.read(members[root.member])
    noun, verb = root.row.name.split(".")
    if root.kind == "mutation":
        name = root.name[0].upper() + root.name[1:] + "Result"
        return GraphQLNonNull(types.object(name, members, f"What `{root.name}` answers."))
    name = _pascal(noun if verb == "list" else verb.removesuffix("s")) + "Page"
    return GraphQLNonNull(types.object(name, members, f"One page of `{root.name}`."))


def _said_of_root(root: Root) -> str:
    if root.kind == "subscription":
        return words.SUBSCRIPTIONS[root.name]
    assert root.row is not None
    return words.COMMANDS.get(root.row.name, f"The command `{root.row.name}`.")


@cache
def schema() -> GraphQLSchema:
    """The schema, made once: it takes some 10 ms, which only whoever speaks GraphQL should pay."""
    types = _Types()

    def root_type(name: str, kind: Kind) -> GraphQLObjectType:
        fields = {
            root.name: GraphQLField(_result_type(types, root), args=_arguments(root), description=_said_of_root(root))
            for root in ROOTS.values()
            if root.kind == kind
        }
        return GraphQLObjectType(name, fields, description=words.TYPES[name])

    return GraphQLSchema(
        query=root_type("Query", "query"),
        mutation=root_type("Mutation", "mutation"),
        subscription=root_type("Subscription", "subscription"),
    )


def sdl() -> str:
    """The schema as text: what `docs/protocol/schema.graphql` holds."""
    return print_schema(schema()) + "\n"
