"""What a GraphQL document may be before anything of it is looked at: sizes, depth, breadth, aliases, cost.

Walks the document as it was parsed, before validation, whose rules compare fields with each other. Of the schema it
asks only which fields are lists; a field that nobody has counts as one value.

    | bound       | counted                                                                                   |
    |-------------|-------------------------------------------------------------------------------------------|
    | size        | bytes of UTF-8, before parsing; tokens, while parsing                                     |
    | names       | characters of each name                                                                   |
    | nesting     | of brackets, before parsing                                                               |
    | definitions | operations and fragments; a fragment that includes itself is refused                      |
    | depth       | fields within fields, fragments opened                                                    |
    | breadth     | fields of one selection, fragments opened                                                 |
    | aliases     | fields under another name, in one operation, fragments opened                             |
    | cost        | values that may be answered: what is in a list counts as often as the list may be long; a |
    |             | value that is asked for again under another name counts for ten                           |
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLObjectType,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SchemaMetaFieldDef,
    SelectionSetNode,
    TokenKind,
    TypeMetaFieldDef,
    get_named_type,
    get_nullable_type,
    is_list_type,
    is_object_type,
)

from parley.dialects.graphql_schema import schema
from parley.domain.errors import Refusal

DOCUMENT_BYTES_MAX: Final = 32_768
TOKENS_MAX: Final = 2_000
NAME_CHARS_MAX: Final = 100
NESTING_MAX: Final = 48
DEFINITIONS_MAX: Final = 40
#: The introspection query of every tool goes 15 deep.
DEPTH_MAX: Final = 16
BREADTH_MAX: Final = 60
ALIASES_MAX: Final = 30
#: Ten pages of 200 messages with all that they have; the introspection query of every tool costs half of it.
COST_MAX: Final = 50_000
#: What a value costs that is asked for again under another name.
AGAIN: Final = 10

#: How long a list may be that no `limit` bounds, by the name of its field; any other may have 200.
_LONGEST: Final[Mapping[str, int]] = {
    "present": 100,
    "roles": 4,
    "events": 1000,
    # of the schema itself
    "types": 30,
    "fields": 8,
    "args": 2,
    "inputFields": 2,
    "enumValues": 4,
    "directives": 5,
    "locations": 5,
    "interfaces": 1,
    "possibleTypes": 1,
}
_PAGE_MAX: Final = 200
# Comments and strings hold no brackets that count; an unclosed one is left to the parser, and taken as far as it goes:
# if it had to be closed, each of its quotes would be a beginning that is tried and given up.
_PARTS: Final = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*(?:""")?|"(?:[^"\\\n]|\\.)*"?|#[^\n\r]*|[{(\[]|[})\]]', re.DOTALL
)


def check_text(source: str) -> None:
    """Raises: Refusal for a document that is not to be parsed."""
    if len(source) > DOCUMENT_BYTES_MAX or len(source.encode("utf-8", "surrogatepass")) > DOCUMENT_BYTES_MAX:
        raise Refusal("too_large", f"A document has at most {DOCUMENT_BYTES_MAX} bytes.", bound="size")
    now = 0
    for part in _PARTS.finditer(source):
        first = source[part.start()]
        if first in "{([":
            now += 1
            if now > NESTING_MAX:
                raise _beyond("nesting", NESTING_MAX)
        elif first in "})]":
            now -= 1


def check_document(document: DocumentNode) -> None:
    """Raises: Refusal for a document that is not to be validated."""
    token = document.loc.start_token if document.loc else None
    while token is not None:
        if token.kind is TokenKind.NAME and len(token.value or "") > NAME_CHARS_MAX:
            raise _beyond("names", NAME_CHARS_MAX)
        token = token.next
    if len(document.definitions) > DEFINITIONS_MAX:
        raise _beyond("definitions", DEFINITIONS_MAX)
    walk = _Walk({d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)})
    for definition in document.definitions:
        # Each fragment by itself too: one that nothing opens is still validated.
        if isinstance(definition, OperationDefinitionNode):
            walk.measure(definition.selection_set, schema().get_root_type(definition.operation))
        elif isinstance(definition, FragmentDefinitionNode):
            walk.fragment(definition.name.value)


class _Size:
    """What one selection comes to, fragments opened."""

    __slots__ = ("aliases", "cost", "depth", "fields", "names")

    def __init__(self) -> None:
        self.depth = 0
        self.fields = 0
        self.aliases = 0
        self.cost = 0
        self.names: dict[str, int] = {}


class _Walk:
    """Measures selections; each fragment once, however often it is spread. Raises: Refusal at the first bound."""

    def __init__(self, fragments: Mapping[str, FragmentDefinitionNode]) -> None:
        self._fragments = fragments
        self._measured: dict[str, _Size | None] = {}

    def measure(self, selections: SelectionSetNode, parent: Any) -> _Size:
        """`parent` is the object type, or None where nobody knows it."""
        size = _Size()
        for node in selections.selections:
            if isinstance(node, FieldNode):
                self._add_field(size, node, parent)
            elif isinstance(node, InlineFragmentNode):
                kind = _object_type(node.type_condition.name.value) if node.type_condition else parent
                _join(size, self.measure(node.selection_set, kind))
            elif isinstance(node, FragmentSpreadNode) and (found := self.fragment(node.name.value)) is not None:
                _join(size, found)
        return size

    def fragment(self, name: str) -> _Size | None:
        """None for one that is not there, which validation tells."""
        if name in self._measured:
            found = self._measured[name]
            if found is None:
                raise Refusal("invalid_request", f"The fragment `{name}` includes itself.", bound="fragments")
            return found
        definition = self._fragments.get(name)
        if definition is None:
            return None
        self._measured[name] = None  # being measured
        kind = _object_type(definition.type_condition.name.value)
        found = self._measured[name] = self.measure(definition.selection_set, kind)
        return found

    def _add_field(self, size: _Size, node: FieldNode, parent: Any) -> None:
        name = node.name.value
        field = _field_of(parent, name)
        kind = get_named_type(field.type) if field is not None else None
        inner = self.measure(node.selection_set, kind if is_object_type(kind) else None) if node.selection_set else None
        size.fields += 1
        size.aliases += (node.alias is not None and node.alias.value != name) + (inner.aliases if inner else 0)
        size.depth = max(size.depth, 1 + (inner.depth if inner else 0))
        size.cost += 1 + _times(inner.cost, node, name, field) if inner else AGAIN if name in size.names else 1
        size.names[name] = size.names.get(name, 0) + 1
        _require_within(size)


def _join(size: _Size, other: _Size) -> None:
    size.depth = max(size.depth, other.depth)
    size.fields += other.fields
    size.aliases += other.aliases
    size.cost += other.cost
    for name, count in other.names.items():
        if name in size.names:
            size.cost += (AGAIN - 1) * count
        size.names[name] = size.names.get(name, 0) + count
    _require_within(size)


def _object_type(name: str) -> GraphQLObjectType | None:
    kind = schema().get_type(name)
    return kind if isinstance(kind, GraphQLObjectType) else None


def _field_of(parent: Any, name: str) -> GraphQLField | None:
    if parent is not None and parent is schema().query_type and name in ("__schema", "__type"):
        return SchemaMetaFieldDef if name == "__schema" else TypeMetaFieldDef
    return parent.fields.get(name) if parent is not None else None


def _times(cost: int, node: FieldNode, name: str, field: GraphQLField | None) -> int:
    """What a field's own selection costs in all."""
    if field is None:
        return cost
    if is_list_type(get_nullable_type(field.type)):
        return cost * _LONGEST.get(name, _PAGE_MAX)
    if "limit" not in field.args:
        return cost
    # The list inside the page counts as the longest that there is: take back what is not asked for.
    most = _LONGEST.get(name, _PAGE_MAX)
    asked: Any = next((argument.value for argument in node.arguments or () if argument.name.value == "limit"), None)
    default = field.args["limit"].default
    limit = most
    if isinstance(asked, IntValueNode):
        limit = int(asked.value) if len(asked.value) < 6 else most
    elif asked is None and default is not None:
        limit = default.value
    return -(-cost * max(1, min(limit, most)) // most)


def _require_within(size: _Size) -> None:
    if size.fields > BREADTH_MAX:
        raise _beyond("breadth", BREADTH_MAX)
    if size.depth > DEPTH_MAX:
        raise _beyond("depth", DEPTH_MAX)
    if size.aliases > ALIASES_MAX:
        raise _beyond("aliases", ALIASES_MAX)
    if size.cost > COST_MAX:
        raise _beyond("cost", COST_MAX)


def _beyond(bound: str, most: int) -> Refusal:
    return Refusal("invalid_request", f"The {bound} of a document may be {most} at most.", bound=bound, max=most)
