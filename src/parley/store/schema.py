"""The tables: one for each `Row` of the domain, column for field, and two of the store's own.

The same on both engines but for spelling. How rows move is `rows.py`; how the schema came to be is `migrations/`.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    MetaData,
    Table,
    text,
)

from parley.domain.accounts import Account
from parley.domain.agents import Agent
from parley.domain.audit import AuditEntry
from parley.domain.conversations import Conversation, Visitor
from parley.domain.departments import Department
from parley.domain.log import Entry
from parley.domain.messages import Message
from parley.domain.nodes import NodeRow
from parley.domain.ports import Row
from parley.domain.receipts import Receipt
from parley.domain.replies import Reply
from parley.domain.revocation import Revocation
from parley.domain.rooms import Ban, Member, Room
from parley.domain.sessions import Session
from parley.domain.streams import Stream
from parley.domain.tickets import Ticket
from parley.store.columns import COUNTER, TEXT, XID, transaction_id

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


#: Which rows of `accounts` are of agents, in words that the index and the query share: else it is not used.
AGENTS: Final = """roles LIKE '%"agent"%'"""


def _room() -> Column[str]:
    return Column("room", TEXT, ForeignKey("rooms.id"), primary_key=True, nullable=False)


accounts = Table(
    "accounts",
    metadata,
    Column("id", TEXT, primary_key=True),
    Column("username", TEXT),
    Column("username_key", TEXT, unique=True),
    Column("name", TEXT, nullable=False),
    Column("password_hash", TEXT),
    Column("roles", TEXT, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    # Agents are few, and accounts may be many: everybody whom another issuer vouched for once has one.
    Index(
        "ix_accounts_agents",
        "id",
        sqlite_where=text(AGENTS),
        postgresql_where=text(AGENTS),
    ),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", TEXT, primary_key=True),
    Column("subject", TEXT, nullable=False),
    Column("type", TEXT, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("last_used_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    Column("user_agent", TEXT),
    Column("address", TEXT),
    Column("conversation", TEXT),
    Index(None, "subject", "id"),
)

tickets = Table(
    "tickets",
    metadata,
    Column("digest", TEXT, primary_key=True),
    Column("claims", TEXT, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    Column("stream", TEXT),
    sqlite_with_rowid=False,
)

revocations = Table(
    "revocations",
    metadata,
    Column("target", TEXT, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("before_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    Column("reason", TEXT, nullable=False),
    sqlite_with_rowid=False,
)

rooms = Table(
    "rooms",
    metadata,
    Column("id", TEXT, primary_key=True),
    Column("kind", TEXT, nullable=False),
    Column("title", TEXT),
    Column("visibility", TEXT, nullable=False),
    Column("archived", Boolean, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    # Those that `room.list` shows, which a helpdesk's are not.
    Index(
        "ix_rooms_listed",
        "visibility",
        "id",
        sqlite_where=text("kind = 'room'"),
        postgresql_where=text("kind = 'room'"),
    ),
    sqlite_with_rowid=False,
)

members = Table(
    "members",
    metadata,
    _room(),
    Column("subject", TEXT, primary_key=True),
    Column("name", TEXT, nullable=False),
    Column("role", TEXT, nullable=False),
    Column("joined_at_ms", BigInteger, nullable=False),
    Index(None, "subject", "room"),
    sqlite_with_rowid=False,
)

bans = Table(
    "bans",
    metadata,
    _room(),
    Column("subject", TEXT, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("by", TEXT, nullable=False),
    Column("reason", TEXT),
    sqlite_with_rowid=False,
)

# A message and its entry are written from the room's own row, so neither asks again whether there is one: a foreign key
# would make SQLite keep a journal of every INSERT of many rows, at twice its cost.
messages = Table(
    "messages",
    metadata,
    Column("id", TEXT, primary_key=True),
    Column("room", TEXT, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("text", TEXT),
    Column("sender", TEXT, nullable=False),
    Column("sender_name", TEXT, nullable=False),
    Column("sender_type", TEXT, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("client_id", TEXT),
    Column("reply_to", TEXT),
    Column("data", TEXT),
    Column("edited_at_ms", BigInteger),
    Column("deleted_at_ms", BigInteger),
    Column("deleted_by", TEXT),
    Column("deleted_by_name", TEXT),
    Column("deleted_by_type", TEXT),
    Column("deleted_reason", TEXT),
    # A message sent twice is stored once: this is what holds when two writers race.
    Index(
        "ux_messages_client_id",
        "room",
        "sender",
        "client_id",
        unique=True,
        sqlite_where=text("client_id IS NOT NULL"),
        postgresql_where=text("client_id IS NOT NULL"),
    ),
)

events = Table(
    "events",
    metadata,
    Column("room", TEXT, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("type", TEXT, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor", TEXT, nullable=False),
    Column("actor_name", TEXT, nullable=False),
    Column("actor_type", TEXT, nullable=False),
    Column("message", TEXT),
    Column("data", TEXT),
    sqlite_with_rowid=False,
)

receipts = Table(
    "receipts",
    metadata,
    _room(),
    Column("subject", TEXT, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

departments = Table(
    "departments",
    metadata,
    Column("id", TEXT, primary_key=True),
    Column("name", TEXT, nullable=False),
    Column("name_key", TEXT, unique=True, nullable=False),
    Column("hours", TEXT, nullable=False),
)

replies = Table(
    "replies",
    metadata,
    Column("id", TEXT, primary_key=True),
    Column("shortcut", TEXT, unique=True, nullable=False),
    Column("text", TEXT, nullable=False),
)

agents = Table(
    "agents",
    metadata,
    Column("subject", TEXT, primary_key=True),
    Column("name", TEXT, nullable=False),
    Column("capacity", BigInteger),
    Column("away_at_ms", BigInteger),
    Column("seen_at_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

conversations = Table(
    "conversations",
    metadata,
    Column("id", TEXT, ForeignKey("rooms.id"), primary_key=True),
    Column("status", TEXT, nullable=False),
    Column("department", TEXT, ForeignKey("departments.id")),
    Column("visitor", TEXT, nullable=False),
    Column("assignee", TEXT),
    Column("assignee_name", TEXT),
    Column("rating", BigInteger),
    Column("blocked", Boolean, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("queued_at_ms", BigInteger, nullable=False),
    Column("assigned_at_ms", BigInteger),
    Column("closed_at_ms", BigInteger),
    Column("last_message", TEXT),
    Index(None, "status", "queued_at_ms", "id"),
    Index(None, "assignee", "status"),
    Index(None, "visitor"),
    sqlite_with_rowid=False,
)

visitors = Table(
    "visitors",
    metadata,
    Column("conversation", TEXT, ForeignKey("conversations.id"), primary_key=True),
    Column("subject", TEXT, nullable=False),
    Column("name", TEXT),
    Column("email", TEXT),
    Column("page", TEXT),
    Column("verified", Boolean, nullable=False),
    Column("identity", TEXT),
    Column("comment", TEXT),
    Index(None, "identity"),
    sqlite_with_rowid=False,
)

streams = Table(
    "streams",
    metadata,
    Column("id", TEXT, primary_key=True),
    Column("title", TEXT),
    Column("visibility", TEXT, nullable=False),
    Column("owner", TEXT, nullable=False),
    Column("publishers", TEXT, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("session", TEXT),
    Column("subject", TEXT),
    Column("name", TEXT),
    Column("subject_type", TEXT),
    Column("held", Boolean, nullable=False),
    Column("live_at_ms", BigInteger, nullable=False),
    Column("seen_at_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

nodes = Table(
    "nodes",
    metadata,
    Column("id", TEXT, primary_key=True),
    Column("address", TEXT, nullable=False),
    Column("keyring", TEXT, nullable=False),
    Column("vouched_at_ms", BigInteger, nullable=False),
    Column("seen_at_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("id", TEXT, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor", TEXT, nullable=False),
    Column("action", TEXT, nullable=False),
    Column("target", TEXT, nullable=False),
    Column("detail", TEXT, nullable=False),
    Index(None, "actor", "id"),
    Index(None, "target", "id"),
    Index(None, "action", "id"),
)

#: What the nodes must follow outside of every room. On PostgreSQL `xid` is the transaction that wrote the row, by which
#: the poll finds rows in the order of their commits; SQLite has one writer: its ids are that order, and `xid` is 0.
changes = Table(
    "changes",
    metadata,
    Column("id", COUNTER, primary_key=True, autoincrement=True),
    Column("kind", TEXT, nullable=False),
    Column("target", TEXT, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("detail", TEXT, nullable=False),
    Column("xid", XID, server_default=transaction_id(), nullable=False, index=True),
    sqlite_autoincrement=True,
)

#: Facts of the store itself: `epoch`.
meta = Table(
    "meta",
    metadata,
    Column("key", TEXT, primary_key=True),
    Column("value", TEXT, nullable=False),
    sqlite_with_rowid=False,
)

#: Every kind of row and its table, parents before children: writes go in this order, removals in reverse.
TABLES: Final[dict[type[Row], Table]] = {
    Account: accounts,
    Session: sessions,
    Ticket: tickets,
    Revocation: revocations,
    Room: rooms,
    Member: members,
    Ban: bans,
    Message: messages,
    Entry: events,
    Receipt: receipts,
    Department: departments,
    Reply: replies,
    Agent: agents,
    Conversation: conversations,
    Visitor: visitors,
    Stream: streams,
    NodeRow: nodes,
    AuditEntry: audit_entries,
}
