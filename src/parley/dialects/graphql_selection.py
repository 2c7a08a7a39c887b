"""What a selection takes out of a result: compiled once, then carried out for each value.

GraphQL's execution without what nothing here needs: no field has a resolver, none below the root can fail, and no type
is abstract. What is left is a walk, some forty times as fast as the library's executor; a test holds the two equal.

Source: GraphQL, September 2025, §6.3 (collecting fields, `@skip` and `@include`), §4 (introspection).
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final, NamedTuple

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLIncludeDirective,
    GraphQLObjectType,
    GraphQLSkipDirective,
    InlineFragmentNode,
    SchemaMetaFieldDef,
    SelectionSetNode,
    TypeMetaFieldDef,
    get_directive_values,
    get_named_type,
    get_nullable_type,
    introspection_from_schema,
    is_list_type,
)
from graphql.execution import VariableValues
from msgspec import UNSET

from parley.dialects.graphql_schema import MEMBER, schema


class Part(NamedTuple):
    """One member of the answer. A constant (`__typename`), a leaf, or a selection of its own."""

    key: str
    member: str
    otherwise: Any
    parts: "Parts | None"
    is_list: bool
    is_constant: bool


Parts = tuple[Part, ...]


def take(parts: Parts, value: Any) -> dict[str, Any]:
    """What these parts take out of one object: a struct, or an object as JSON has it."""
    taken: dict[str, Any] = {}
    is_dict = type(value) is dict
    for key, member, otherwise, inner, is_list, is_constant in parts:
        if is_constant:
            taken[key] = otherwise
            continue
        found = value.get(member) if is_dict else getattr(value, member, None)
        if found is None or found is UNSET:
            taken[key] = otherwise
        elif inner is None:
            taken[key] = found
        elif is_list:
            taken[key] = [take(inner, one) for one in found]
        else:
            taken[key] = take(inner, found)
    return taken


class Reading:
    """One operation's document and variables: finds the fields of selections, and compiles them."""

    def __init__(self, document: DocumentNode, variables: VariableValues) -> None:
        self._fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
        self._variables = variables

    def fields(self, parent: GraphQLObjectType, *selections: SelectionSetNode) -> dict[str, list[FieldNode]]:
        """The fields that are asked for, by the key of their answer, in order."""
        found: dict[str, list[FieldNode]] = {}
        opened: set[str] = set()
        for selection in selections:
            for node in self._nodes(parent, selection, opened):
                found.setdefault(node.alias.value if node.alias else node.name.value, []).append(node)
        return found

    def parts(self, kind: GraphQLObjectType, nodes: list[FieldNode]) -> Parts:
        """What the selections of these fields, which are of the type `kind`, take out of it."""
        asked = self.fields(kind, *(node.selection_set for node in nodes if node.selection_set))
        return tuple(self._part(kind, key, nodes) for key, nodes in asked.items())

    def inner(self, field: GraphQLField, nodes: list[FieldNode]) -> Parts | None:
        """As `parts`, for a field; None for one that is a leaf."""
        kind = get_named_type(field.type)
        return self.parts(kind, nodes) if isinstance(kind, GraphQLObjectType) else None

    def _part(self, kind: GraphQLObjectType, key: str, nodes: list[FieldNode]) -> Part:
        name = nodes[0].name.value
        if name == "__typename":
            return Part(key, name, kind.name, None, False, True)
        field = kind.fields[name]
        # The only one that is there without being in every struct: what is no tombstone is not deleted.
        otherwise = False if name == "deleted" else None
        is_list = is_list_type(get_nullable_type(field.type))
        return Part(key, field.extensions.get(MEMBER, name), otherwise, self.inner(field, nodes), is_list, False)

    def _nodes(self, parent: GraphQLObjectType, selection: SelectionSetNode, opened: set[str]) -> Iterator[FieldNode]:
        for node in selection.selections:
            if node.directives and not self._is_included(node):
                continue
            if isinstance(node, FieldNode):
                yield node
            elif isinstance(node, InlineFragmentNode):
                if node.type_condition is None or node.type_condition.name.value == parent.name:
                    yield from self._nodes(parent, node.selection_set, opened)
            elif isinstance(node, FragmentSpreadNode) and (name := node.name.value) not in opened:
                opened.add(name)
                fragment = self._fragments[name]
                if fragment.type_condition.name.value == parent.name:
                    yield from self._nodes(parent, fragment.selection_set, opened)

    def _is_included(self, node: Any) -> bool:
        skip = get_directive_values(GraphQLSkipDirective, node, self._variables)
        if skip is not None and skip["if"]:
            return False
        include = get_directive_values(GraphQLIncludeDirective, node, self._variables)
        return include is None or bool(include["if"])


# --- the schema itself, as a value ------------------------------------------------------------------------------------

#: The fields about the schema, of the Query type alone.
META_FIELDS: Final = {"__schema": SchemaMetaFieldDef, "__type": TypeMetaFieldDef}


def schema_value() -> Mapping[str, Any]:
    """What `__schema` answers. Types refer to each other, so it has no end: only a selection can be taken out."""
    return _introspected()[0]


def type_value(name: str) -> Any:
    """What `__type(name:)` answers: None for a name that no type has."""
    return _introspected()[1].get(name)


@cache
def _introspected() -> tuple[dict[str, Any], dict[str, Any]]:
    """The schema as the library tells it, once, with each reference to a type replaced by that type."""
    told: Any = introspection_from_schema(schema(), directive_is_repeatable=True, input_value_deprecation=True)
    whole = told["__schema"]
    types = {kind["name"]: kind for kind in whole["types"]}

    def join(value: Any) -> Any:
        for name, inner in list(value.items()) if isinstance(value, dict) else ():
            if name in ("type", "ofType", "queryType", "mutationType", "subscriptionType") and inner:
                value[name] = types.get(inner["name"]) or join(inner)
            elif isinstance(inner, list):
                for one in inner:
                    join(one)
        return value

    for directive in whole["directives"]:
        directive.setdefault("isDeprecated", False)
    return join(whole), types
