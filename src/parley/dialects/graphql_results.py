"""What each command answers, as GraphQL has it: the members of its result, and the domain's structs behind the types.

A command that is not here answers `JSON`; a test asks that each is. Makes no type: that is `graphql_schema.py`.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from parley.domain import (
    accounts,
    agents,
    audit,
    conversations,
    departments,
    messages,
    receipts,
    replies,
    rooms,
    sessions,
    streams,
    transcripts,
)
from parley.domain.principal import Person

#: The members of each command's result, as GraphQL types. A command that is not here answers `JSON`.
RESULTS: Final[Mapping[str, Mapping[str, str]]] = {
    "session.list": {"sessions": "[ListedSession!]!", "next": "String"},
    "session.revoke": {"revoked": "Int!"},
    "room.create": {"room": "Room!"},
    "room.list": {"rooms": "[Room!]!", "next": "String"},
    "room.get": {"room": "Room"},
    "room.update": {"room": "Room!"},
    "room.join": {"member": "Member!"},
    "room.leave": {"member": "Member!"},
    "room.invite": {"member": "Member!"},
    "room.remove": {},
    "room.set_role": {"member": "Member!"},
    "room.members": {"members": "[Member!]!", "next": "String"},
    "room.archive": {"room": "Room!"},
    "event.list": {"events": "[Event!]!", "complete": "Boolean!", "epoch": "String!", "reset": "Boolean!"},
    "message.send": {"message": "Message!", "duplicate": "Boolean!"},
    "message.edit": {"message": "Message!"},
    "message.delete": {"message": "Message!"},
    "message.get": {"message": "Message"},
    "message.list": {"messages": "[Message!]!", "complete": "Boolean!"},
    "receipt.mark": {},
    "receipt.list": {"receipts": "[Receipt!]!"},
    "typing.set": {},
    "presence.list": {"present": "[Present!]!", "count": "Int"},
    "conversation.start": {"conversation": "Conversation!"},
    "conversation.list": {"conversations": "[ListedConversation!]!", "next": "String"},
    "conversation.get": {"conversation": "Conversation"},
    **{
        f"conversation.{verb}": {"conversation": "Conversation!"}
        for verb in (
            "claim",
            "assign",
            "transfer",
            "close",
            "reopen",
            "rate",
            "update",
            "identify",
            "block",
            "unblock",
        )
    },
    "conversation.send_link": {},
    "conversation.export": {"transcript": "JSON!"},
    "visitor.export": {"data": "JSON!"},
    "visitor.erase": {},
    "department.list": {"departments": "[Department!]!", "next": "String"},
    "department.create": {"department": "Department!"},
    "department.update": {"department": "Department!"},
    "reply.list": {"replies": "[Reply!]!", "next": "String"},
    "reply.create": {"reply": "Reply!"},
    "reply.update": {"reply": "Reply!"},
    "reply.delete": {},
    "agent.set_status": {"agent": "Agent!"},
    "agent.list": {"agents": "[Agent!]!"},
    "account.create": {"account": "Account!"},
    "account.list": {"accounts": "[Account!]!", "next": "String"},
    "account.set_roles": {"account": "Account!"},
    "account.disable": {"account": "Account!"},
    "account.set_password": {},
    "stream.create": {"stream": "Stream!"},
    "stream.list": {"streams": "[Stream!]!", "next": "String"},
    "stream.get": {"stream": "Stream"},
    "stream.stop": {"stream": "Stream!"},
    "stream.delete": {},
    "stream.set_publishers": {"stream": "Stream!"},
    "audit.list": {"entries": "[AuditEntry!]!", "next": "String"},
}
#: Results that are one thing without a name.
WHOLE: Final = {"session.describe": "Session!", "session.refresh": "Session!"}
#: The domain's structs behind an object type; a field that only some of them have may be null.
VIEWS: Final[Mapping[str, tuple[type[Struct], ...]]] = {
    "Room": (rooms.RoomView,),
    "Member": (rooms.MemberView,),
    "Message": (messages.MessageView, messages.Tombstone),
    "Person": (Person,),
    "Session": (sessions.SessionView,),
    "ListedSession": (sessions.ListedSession,),
    "Account": (accounts.AccountView,),
    "AuditEntry": (audit.AuditEntryView,),
    "Receipt": (receipts.ReceiptView,),
    "Conversation": (conversations.ConversationView,),
    "ListedConversation": (transcripts.ListedConversation,),
    "Visitor": (conversations.VisitorView,),
    "Department": (departments.DepartmentView,),
    "Reply": (replies.ReplyView,),
    "Agent": (agents.AgentView,),
    "Stream": (streams.StreamView,),
}
NAMES: Final = {view: name for name, views in VIEWS.items() for view in views}
#: Object types that are no struct, or not as it is.
SHAPES: Final[Mapping[str, Mapping[str, str]]] = {
    "Present": {"subject": "String!", "name": "String!"},
    "Event": {
        "room": "ID!",
        "epoch": "String!",
        "seq": "Int!",
        "type": "String!",
        "at": "String!",
        "actor": "Person!",
        "message": "Message",
        "data": "JSON!",
    },
    "Signal": {"room": "ID!", "type": "String!", "at": "String!", "data": "JSON!"},
    "SessionNotice": {
        "type": "String!",
        "expires_at": "String",
        "roles": "[String!]",
        "code": "Int",
        "reason": "String",
        "reconnect": "Boolean",
    },
}
IDS: Final = frozenset({"id", "room", "reply_to", "session", "connection", "department"})
