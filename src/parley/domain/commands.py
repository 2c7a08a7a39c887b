"""The registry: every command that a client may send, as one row of data.

Dispatch, policy, the docs, GraphQL and the audit log read these rows. What a command does is in the file of its noun.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from parley.domain import accounts, audit, messages, presence, receipts, replay, revocation, rooms, sessions
from parley.domain.params import Params

#: write: decided by the store's writer · read: decided on a reading connection · live: a read that admits, then done by
#: the node (typing, presence) · connection: about the connection itself, so it needs one.
Kind = Literal["write", "read", "live", "connection"]
Action = Literal["read", "send", "manage", "listen", "publish"]
Names = Literal["room", "message", "conversation", "stream"]


@dataclass(frozen=True, slots=True)
class Command:
    """One row. `names` says which parameter names what the command is about, `action` which grant it takes.

    `who`: all · account (type account or service) · agent · admin. `visitor`: also a guest, in its own conversation.
    `repeatable`: sending it twice does no more than sending it once.
    """

    name: str
    params: type[Params]
    decide: Callable[..., Any] | None
    kind: Kind
    who: Literal["all", "account", "agent", "admin"]
    names: Names | None = None
    action: Action | None = None
    visitor: bool = False
    repeatable: bool = True
    rate: Literal["message"] | None = None


_ROWS: Final = (
    Command("session.authenticate", sessions.Authenticate, None, "connection", "all", visitor=True),
    Command("session.refresh", sessions.Renew, None, "connection", "all", visitor=True),
    Command("session.describe", sessions.Describe, None, "connection", "all", visitor=True),
    Command("session.list", sessions.List, sessions.list_sessions, "live", "all", visitor=True),
    Command("session.revoke", revocation.Revoke, revocation.revoke, "write", "all", visitor=True),
    Command("room.create", rooms.Create, rooms.create, "write", "account", repeatable=False),
    Command("room.list", rooms.List, rooms.list_rooms, "read", "account"),
    Command("room.get", rooms.Get, rooms.get, "read", "all", "room", "read", visitor=True),
    Command("room.update", rooms.Update, rooms.update, "write", "account", "room", "manage"),
    Command("room.join", rooms.Join, rooms.join, "write", "account", "room", "manage"),
    Command("room.leave", rooms.Leave, rooms.leave, "write", "account", "room", "manage"),
    Command("room.invite", rooms.Invite, rooms.invite, "write", "account", "room", "manage"),
    Command("room.remove", rooms.Remove, rooms.remove, "write", "account", "room", "manage"),
    Command("room.set_role", rooms.SetRole, rooms.set_role, "write", "account", "room", "manage"),
    Command("room.members", rooms.Members, rooms.members, "read", "all", "room", "read", visitor=True),
    Command("room.archive", rooms.Archive, rooms.archive, "write", "account", "room", "manage"),
    Command("room.subscribe", replay.Subscribe, replay.subscribe, "connection", "all", "room", "read", visitor=True),
    Command("room.unsubscribe", replay.Unsubscribe, None, "connection", "all", "room", "read", visitor=True),
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
    Command("message.delete", messages.Delete, messages.delete, "write", "account", "message", "manage"),
    Command("message.get", messages.Get, messages.get, "read", "all", "message", "read", visitor=True),
    Command("message.list", messages.List, messages.list_messages, "read", "all", "room", "read", visitor=True),
    Command("receipt.mark", receipts.Mark, receipts.mark, "write", "all", "room", "send", visitor=True),
    Command("receipt.list", receipts.List, receipts.list_receipts, "read", "all", "room", "read", visitor=True),
    Command("typing.set", presence.TypingSet, presence.admit_typing, "live", "all", "room", "send", visitor=True),
    Command("presence.list", presence.PresenceList, presence.admit_list, "live", "all", "room", "read", visitor=True),
    Command("account.create", accounts.Create, accounts.create, "write", "admin", repeatable=False),
    Command("account.list", accounts.List, accounts.list_accounts, "read", "admin"),
    Command("account.set_roles", accounts.SetRoles, accounts.set_roles, "write", "admin"),
    Command("account.disable", accounts.Disable, accounts.disable, "write", "admin"),
    Command("account.set_password", accounts.SetPassword, accounts.set_password, "write", "account"),
    Command("audit.list", audit.List, audit.list_entries, "read", "admin"),
)

#: Every command by its name.
COMMANDS: Final[Mapping[str, Command]] = {row.name: row for row in _ROWS}
