"""The schema: every command is in it, under its name, in words; and it is what is committed."""

from pathlib import Path

import pytest
from graphql import GraphQLObjectType, is_non_null_type, validate_schema

from parley.dialects import graphql_results, graphql_schema
from parley.dialects.graphql_schema import ROOTS, schema, sdl
from parley.domain.commands import COMMANDS

COMMITTED = Path(__file__).resolve().parents[2] / "docs" / "protocol" / "schema.graphql"
#: Commands about a connection, which GraphQL has in a form of its own.
ELSEWHERE = {"session.authenticate", "room.subscribe", "room.unsubscribe"}

#: CONTRACT section 4: kind, name -> the field as SDL has it
CONTRACT = {
    ("query", "session"): "session: Session!",
    ("query", "rooms"): "rooms(mine: Boolean = false, after: String, limit: Int = 50): RoomPage!",
    ("query", "room"): "room(id: ID!): Room",
    ("query", "messages"): "messages(room: ID!, before: Int, after: Int, limit: Int = 50): MessagePage!",
    ("mutation", "editMessage"): "editMessage(message: ID!, text: String!): Message!",
    ("mutation", "deleteMessage"): "deleteMessage(message: ID!, reason: String): Message!",
    ("mutation", "refreshSession"): "refreshSession(token: String!): Session!",
    ("mutation", "joinRoom"): "joinRoom(room: ID!): Member!",
    ("mutation", "leaveRoom"): "leaveRoom(room: ID!): Member!",
    (
        "mutation",
        "removeRoom",
    ): "removeRoom(room: ID!, subject: String!, ban: Boolean = false, reason: String): Boolean!",
    ("mutation", "markReceipt"): "markReceipt(room: ID!, seq: Int!): Boolean!",
    ("subscription", "roomEvents"): "roomEvents(room: ID!, after: Int, epoch: String): Event!",
    ("subscription", "roomSignals"): "roomSignals(room: ID!): Signal!",
    ("subscription", "sessionNotices"): "sessionNotices: SessionNotice!",
}


def test_the_committed_schema_is_the_codes() -> None:
    assert COMMITTED.read_text() == sdl(), "run tools/protocol-tables"


def test_it_is_a_schema_that_graphql_finds_nothing_wrong_with() -> None:
    assert validate_schema(schema()) == []


def field_sdl(kind: str, name: str) -> str:
    root = {
        "query": schema().query_type,
        "mutation": schema().mutation_type,
        "subscription": schema().subscription_type,
    }
    parent = root[kind]
    assert parent is not None
    field = parent.fields[name]
    arguments = []
    for argument, form in field.args.items():
        default = "" if form.default is None else f" = {str(form.default.value).lower()}"
        arguments.append(f"{argument}: {form.type}{default}")
    return f"{name}{'(' + ', '.join(arguments) + ')' if arguments else ''}: {field.type}"


@pytest.mark.parametrize(("kind", "name"), CONTRACT)
def test_what_the_contract_names_is_as_it_says(kind: str, name: str) -> None:
    assert field_sdl(kind, name) == CONTRACT[kind, name]


def test_sending_a_message_has_what_the_contract_says_and_data_beside_it() -> None:
    told = field_sdl("mutation", "sendMessage")
    assert told.startswith("sendMessage(room: ID!, text: String!, clientId: String, replyTo: ID")
    assert told.endswith("): SendMessageResult!")
    result = schema().get_type("SendMessageResult")
    assert isinstance(result, GraphQLObjectType)
    assert list(result.fields) == ["message", "duplicate"]


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ELSEWHERE])
def test_every_command_is_a_field_once_with_all_its_parameters(name: str) -> None:
    (root,) = [root for root in ROOTS.values() if root.row is COMMANDS[name]]
    assert sorted(root.parameters.values()) == sorted(COMMANDS[name].params.__struct_fields__)


def spelled(name: str) -> str:
    """CONTRACT section 4: `noun.verb` is `verbNoun`; one thing goes by its noun, a list by the plural."""
    noun, verb = name.split(".")
    if verb in ("get", "describe"):
        return noun
    if verb == "list":
        return {"reply": "replies"}.get(noun, f"{noun}s")
    if verb in ("members", "deliveries"):
        return verb
    first, *rest = [*verb.split("_"), noun]
    return first + "".join(word.capitalize() for word in rest)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ELSEWHERE])
def test_every_command_is_spelled_as_the_contract_has_it(name: str) -> None:
    (root,) = [root for root in ROOTS.values() if root.row is COMMANDS[name]]
    assert root.name == spelled(name)
    members = graphql_results.RESULTS.get(name)
    told = field_sdl(root.kind, root.name).rpartition(": ")[2]
    if name in graphql_results.WHOLE:
        assert told == "Session!"
    elif members == {}:
        assert told == "Boolean!", "{} is true"
    elif members is not None and len(members) == 1:
        assert told == next(iter(members.values())), "one member is that member"
    else:
        assert told.endswith(("Page!", "Result!"))


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ELSEWHERE])
def test_every_command_says_what_it_answers(name: str) -> None:
    said = {*graphql_results.RESULTS, *graphql_results.WHOLE}
    assert name in said, f"say in graphql_results.py what `{name}` answers"


def test_every_type_field_and_argument_is_described_in_words_of_its_own() -> None:
    missing = []
    for name, kind in schema().type_map.items():
        if name.startswith("__"):
            continue
        if not kind.description:
            missing.append(name)
        if not isinstance(kind, GraphQLObjectType):
            continue
        for field_name, field in kind.fields.items():
            if not field.description or field.description == f"Its `{field_name}`.":
                missing.append(f"{name}.{field_name}")
            missing += [
                f"{field_name}({argument}:)"
                for argument, form in field.args.items()
                if not form.description or form.description.startswith(f"The `{argument}`.")
            ]
    missing += [root.name for root in ROOTS.values() if root.row and f"`{root.row.name}`" in (_described(root) or "")]
    assert missing == [], "say it in graphql_descriptions.py"


def _described(root: graphql_schema.Root) -> str | None:
    kind = schema().get_type(root.kind.capitalize())
    assert isinstance(kind, GraphQLObjectType)
    return kind.fields[root.name].description


def test_a_tombstone_has_no_text_and_no_data_and_every_message_says_whether_it_is_one() -> None:
    message = schema().get_type("Message")
    assert isinstance(message, GraphQLObjectType)
    required = {name for name, field in message.fields.items() if is_non_null_type(field.type)}
    assert required == {"id", "room", "seq", "sender", "at", "deleted"}
