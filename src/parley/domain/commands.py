"""The registry: every command that a client may send, as one row of data.

Dispatch, policy, the docs, GraphQL and the audit log read these rows. What a command does is in the file of its noun.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from parley.domain import (
    accounts,
    agents,
    audit,
    beginnings,
    blocks,
    claims,
    closings,
    conversation_rooms,
    departments,
    members,
    messages,
    presence,
    receipts,
    replay,
    replies,
    revocation,
    rooms,
    sessions,
    streams,
    transcripts,
    visitors,
)
from parley.domain.params import Params

rooms.KINDS.update(conversation_rooms.KEPT)

#: write: decided by the store's writer · read: decided on a reading connection · live: a read that admits, then done by
#: the node (typing, presence) · connection: about the connection itself, so it needs one.
Kind = Literal["write", "read", "live", "connection"]
Action = Literal["read", "send", "manage", "listen", "publish"]
Names = Literal["room", "message", "conversation", "stream", "subject"]


@dataclass(frozen=True, slots=True)
class Command:
    """One row. `names` says which parameter names what the command is about, `action` which grant it takes.

    `who`: all · account (type account or service) · agent (and admins, where its noun does not say otherwise) · admin.
    `visitor`: also a guest, in its own conversation.
    `makes`: what it names need not exist: it makes it.
    `repeatable`: sending it twice does no more than sending it once.
    `rate`: how often: messages · beginnings of conversations · case: what a guest does to its conversation, of which
    every agent hears in the queue.
    """

    name: str
    params: type[Params]
    decide: Callable[..., Any] | None
    kind: Kind
    who: Literal["all", "account", "agent", "admin"]
    names: Names | None = None
    action: Action | None = None
    visitor: bool = False
    makes: bool = False
    repeatable: bool = True
    rate: Literal["message", "conversation", "case"] | None = None


def _about(
    name: str,
    params: type[Params],
    decide: Callable[..., Any],
    kind: Kind,
    who: Literal["all", "agent"],
    action: Action,
    *,
    visitor: bool = False,
) -> Command:
    """A command about one conversation: a grant for its room is a grant for it."""
    rate: Literal["case"] | None = "case" if visitor and kind == "write" else None
    return Command(name, params, decide, kind, who, "conversation", action, visitor=visitor, rate=rate)


_ROWS: Final = (
    Command("session.authenticate", sessions.Authenticate, None, "connection", "all", visitor=True),
    Command("session.refresh", sessions.Renew, None, "connection", "all", visitor=True),
    Command("session.describe", sessions.Describe, None, "connection", "all", visitor=True),
    Command("session.list", sessions.List, sessions.list_sessions, "live", "all", visitor=True),
    Command("session.revoke", revocation.Revoke, revocation.revoke, "write", "all", visitor=True),
    Command(
        "room.create", rooms.Create, rooms.create, "write", "account", "room", "manage", makes=True, repeatable=False
    ),
    Command("room.list", rooms.List, rooms.list_rooms, "read", "account"),
    Command("room.get", rooms.Get, rooms.get, "read", "all", "room", "read", visitor=True),
    Command("room.update", rooms.Update, rooms.update, "write", "account", "room", "manage"),
    Command("room.join", members.Join, members.join, "write", "account", "room", "manage"),
    Command("room.leave", members.Leave, members.leave, "write", "account", "room", "manage"),
    Command("room.invite", members.Invite, members.invite, "write", "account", "room", "manage"),
    Command("room.remove", members.Remove, members.remove, "write", "account", "room", "manage"),
    Command("room.set_role", members.SetRole, members.set_role, "write", "account", "room", "manage"),
    Command("room.members", members.Members, members.members, "read", "all", "room", "read", visitor=True),
    Command("room.archive", rooms.Archive, rooms.archive, "write", "account", "room", "manage"),
    Command("room.subscribe", replay.Subscribe, replay.subscribe, "connection", "all", "room", "read", visitor=True),
    Command(
        "room.unsubscribe", replay.Unsubscribe, replay.unsubscribe, "connection", "all", "room", "read", visitor=True
    ),
    Command("event.list", replay.EventList, replay.list_events, "read", "all", "room", "read", visitor=True),
    Command(
        "message.send",
        messages.Send,
        messages.send,
        "write",
        "all",
        "room",
        "send",
        visitor=True,
        repeatable=False,
        rate="message",
    ),
    Command(
        "message.edit", messages.Edit, messages.edit, "write", "all", "message", "send", visitor=True, rate="message"
    ),
    Command("message.delete", messages.Delete, messages.delete, "write", "account", "message", "manage", visitor=True),
    Command("message.get", messages.Get, messages.get, "read", "all", "message", "read", visitor=True),
    Command("message.list", messages.List, messages.list_messages, "read", "all", "room", "read", visitor=True),
    Command("receipt.mark", receipts.Mark, receipts.mark, "write", "all", "room", "send", visitor=True),
    Command("receipt.list", receipts.List, receipts.list_receipts, "read", "all", "room", "read", visitor=True),
    Command("typing.set", presence.TypingSet, presence.admit_typing, "live", "all", "room", "send", visitor=True),
    Command("presence.list", presence.PresenceList, presence.admit_list, "live", "all", "room", "read", visitor=True),
    Command(
        "conversation.start",
        beginnings.Start,
        beginnings.start,
        "write",
        "account",
        repeatable=False,
        rate="conversation",
    ),
    Command("conversation.list", transcripts.List, transcripts.list_conversations, "read", "agent"),
    _about("conversation.get", transcripts.Get, transcripts.get, "read", "all", "read", visitor=True),
    _about("conversation.claim", claims.Claim, claims.claim, "write", "agent", "manage"),
    _about("conversation.assign", claims.Assign, claims.assign, "write", "agent", "manage"),
    _about("conversation.transfer", claims.Transfer, claims.transfer, "write", "agent", "manage"),
    _about("conversation.close", closings.Close, closings.close, "write", "all", "manage", visitor=True),
    _about("conversation.reopen", closings.Reopen, closings.reopen, "write", "agent", "manage"),
    _about("conversation.rate", closings.Rate, closings.rate, "write", "all", "send", visitor=True),
    _about("conversation.update", visitors.Update, visitors.update, "write", "all", "send", visitor=True),
    _about("conversation.identify", visitors.Identify, visitors.identify, "write", "all", "send", visitor=True),
    _about("conversation.export", transcripts.Export, transcripts.export, "read", "all", "read", visitor=True),
    _about("conversation.block", blocks.Block, blocks.block, "write", "agent", "manage"),
    _about("conversation.unblock", blocks.Unblock, blocks.unblock, "write", "agent", "manage"),
    Command("visitor.export", visitors.Export, visitors.export, "read", "admin", "subject"),
    Command("visitor.erase", visitors.Erase, visitors.erase, "write", "admin", "subject"),
    Command("department.list", departments.List, departments.list_departments, "read", "agent"),
    Command("department.create", departments.Create, departments.create, "write", "admin", repeatable=False),
    Command("department.update", departments.Update, departments.update, "write", "admin"),
    Command("reply.list", replies.List, replies.list_replies, "read", "agent"),
    Command("reply.create", replies.Create, replies.create, "write", "admin", repeatable=False),
    Command("reply.update", replies.Update, replies.update, "write", "admin"),
    Command("reply.delete", replies.Delete, replies.delete, "write", "admin", repeatable=False),
    Command("agent.set_status", agents.SetStatus, agents.set_status, "write", "agent"),
    Command("agent.list", agents.List, agents.list_agents, "read", "agent"),
    Command("account.create", accounts.Create, accounts.create, "write", "admin", repeatable=False),
    Command("account.list", accounts.List, accounts.list_accounts, "read", "admin"),
    Command("account.set_roles", accounts.SetRoles, accounts.set_roles, "write", "admin"),
    Command("account.disable", accounts.Disable, accounts.disable, "write", "admin"),
    Command("account.set_password", accounts.SetPassword, accounts.set_password, "write", "account"),
    Command(
        "stream.create",
        streams.Create,
        streams.create,
        "write",
        "account",
        "stream",
        "manage",
        makes=True,
        repeatable=False,
    ),
    Command("stream.list", streams.List, streams.list_streams, "read", "account"),
    Command("stream.get", streams.Get, streams.get, "read", "account", "stream", "listen"),
    Command("stream.stop", streams.Stop, streams.stop, "write", "account", "stream", "manage"),
    Command("stream.delete", streams.Delete, streams.delete, "write", "account", "stream", "manage", repeatable=False),
    Command(
        "stream.set_publishers", streams.SetPublishers, streams.set_publishers, "write", "account", "stream", "manage"
    ),
    Command("audit.list", audit.List, audit.list_entries, "read", "admin"),
)

#: Every command by its name.
COMMANDS: Final[Mapping[str, Command]] = {row.name: row for row in _ROWS}
