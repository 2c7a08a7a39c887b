"""The first schema: accounts and sessions, rooms and their logs, the audit log, changes."""

from alembic import op
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKeyConstraint,
    PrimaryKeyConstraint,
    UniqueConstraint,
    text,
)

from parley.store.columns import COUNTER, TEXT, XID, transaction_id

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        Column("id", TEXT, nullable=False),
        Column("username", TEXT),
        Column("username_key", TEXT),
        Column("name", TEXT, nullable=False),
        Column("password_hash", TEXT),
        Column("roles", TEXT, nullable=False),
        Column("disabled", Boolean, nullable=False),
        Column("created_at_ms", BigInteger, nullable=False),
        PrimaryKeyConstraint("id", name="pk_accounts"),
        UniqueConstraint("username_key", name="uq_accounts_username_key"),
    )
    op.create_index(
        "ix_accounts_agents",
        "accounts",
        ["id"],
        sqlite_where=text("""roles LIKE '%"agent"%'"""),
        postgresql_where=text("""roles LIKE '%"agent"%'"""),
    )
    op.create_table(
        "audit_entries",
        Column("id", TEXT, nullable=False),
        Column("at_ms", BigInteger, nullable=False),
        Column("actor", TEXT, nullable=False),
        Column("action", TEXT, nullable=False),
        Column("target", TEXT, nullable=False),
        Column("detail", TEXT, nullable=False),
        PrimaryKeyConstraint("id", name="pk_audit_entries"),
    )
    op.create_index("ix_audit_entries_action_id", "audit_entries", ["action", "id"])
    op.create_index("ix_audit_entries_actor_id", "audit_entries", ["actor", "id"])
    op.create_index("ix_audit_entries_target_id", "audit_entries", ["target", "id"])
    op.create_table(
        "changes",
        Column("id", COUNTER, autoincrement=True, nullable=False),
        Column("kind", TEXT, nullable=False),
        Column("target", TEXT, nullable=False),
        Column("at_ms", BigInteger, nullable=False),
        Column("detail", TEXT, nullable=False),
        Column("xid", XID, server_default=transaction_id(), nullable=False),
        PrimaryKeyConstraint("id", name="pk_changes"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_changes_xid", "changes", ["xid"])
    op.create_table(
        "meta",
        Column("key", TEXT, nullable=False),
        Column("value", TEXT, nullable=False),
        PrimaryKeyConstraint("key", name="pk_meta"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "revocations",
        Column("target", TEXT, nullable=False),
        Column("at_ms", BigInteger, nullable=False),
        Column("before_ms", BigInteger, nullable=False),
        Column("until_ms", BigInteger, nullable=False),
        Column("reason", TEXT, nullable=False),
        PrimaryKeyConstraint("target", name="pk_revocations"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tickets",
        Column("digest", TEXT, nullable=False),
        Column("claims", TEXT, nullable=False),
        Column("expires_at_ms", BigInteger, nullable=False),
        Column("stream", TEXT),
        PrimaryKeyConstraint("digest", name="pk_tickets"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rooms",
        Column("id", TEXT, nullable=False),
        Column("kind", TEXT, nullable=False),
        Column("title", TEXT),
        Column("visibility", TEXT, nullable=False),
        Column("archived", Boolean, nullable=False),
        Column("seq", BigInteger, nullable=False),
        Column("created_at_ms", BigInteger, nullable=False),
        PrimaryKeyConstraint("id", name="pk_rooms"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_rooms_listed",
        "rooms",
        ["visibility", "id"],
        sqlite_where=text("kind = 'room'"),
        postgresql_where=text("kind = 'room'"),
    )
    op.create_table(
        "sessions",
        Column("id", TEXT, nullable=False),
        Column("subject", TEXT, nullable=False),
        Column("type", TEXT, nullable=False),
        Column("generation", BigInteger, nullable=False),
        Column("created_at_ms", BigInteger, nullable=False),
        Column("last_used_at_ms", BigInteger, nullable=False),
        Column("expires_at_ms", BigInteger, nullable=False),
        Column("user_agent", TEXT),
        Column("address", TEXT),
        Column("conversation", TEXT),
        PrimaryKeyConstraint("id", name="pk_sessions"),
    )
    op.create_index("ix_sessions_subject_id", "sessions", ["subject", "id"])
    op.create_table(
        "bans",
        Column("room", TEXT, nullable=False),
        Column("subject", TEXT, nullable=False),
        Column("at_ms", BigInteger, nullable=False),
        Column("by", TEXT, nullable=False),
        Column("reason", TEXT),
        ForeignKeyConstraint(["room"], ["rooms.id"], name="fk_bans_room"),
        PrimaryKeyConstraint("room", "subject", name="pk_bans"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "events",
        Column("room", TEXT, nullable=False),
        Column("seq", BigInteger, autoincrement=False, nullable=False),
        Column("type", TEXT, nullable=False),
        Column("at_ms", BigInteger, nullable=False),
        Column("actor", TEXT, nullable=False),
        Column("actor_name", TEXT, nullable=False),
        Column("actor_type", TEXT, nullable=False),
        Column("message", TEXT),
        Column("data", TEXT),
        PrimaryKeyConstraint("room", "seq", name="pk_events"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "members",
        Column("room", TEXT, nullable=False),
        Column("subject", TEXT, nullable=False),
        Column("name", TEXT, nullable=False),
        Column("role", TEXT, nullable=False),
        Column("joined_at_ms", BigInteger, nullable=False),
        ForeignKeyConstraint(["room"], ["rooms.id"], name="fk_members_room"),
        PrimaryKeyConstraint("room", "subject", name="pk_members"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_members_subject_room", "members", ["subject", "room"])
    op.create_table(
        "messages",
        Column("id", TEXT, nullable=False),
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
        PrimaryKeyConstraint("id", name="pk_messages"),
    )
    op.create_index(
        "ux_messages_client_id",
        "messages",
        ["room", "sender", "client_id"],
        unique=True,
        sqlite_where=text("client_id IS NOT NULL"),
        postgresql_where=text("client_id IS NOT NULL"),
    )
    op.create_table(
        "receipts",
        Column("room", TEXT, nullable=False),
        Column("subject", TEXT, nullable=False),
        Column("seq", BigInteger, nullable=False),
        Column("at_ms", BigInteger, nullable=False),
        ForeignKeyConstraint(["room"], ["rooms.id"], name="fk_receipts_room"),
        PrimaryKeyConstraint("room", "subject", name="pk_receipts"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "departments",
        Column("id", TEXT, nullable=False),
        Column("name", TEXT, nullable=False),
        Column("name_key", TEXT, nullable=False),
        Column("hours", TEXT, nullable=False),
        PrimaryKeyConstraint("id", name="pk_departments"),
        UniqueConstraint("name_key", name="uq_departments_name_key"),
    )
    op.create_table(
        "replies",
        Column("id", TEXT, nullable=False),
        Column("shortcut", TEXT, nullable=False),
        Column("text", TEXT, nullable=False),
        PrimaryKeyConstraint("id", name="pk_replies"),
        UniqueConstraint("shortcut", name="uq_replies_shortcut"),
    )
    op.create_table(
        "agents",
        Column("subject", TEXT, nullable=False),
        Column("name", TEXT, nullable=False),
        Column("capacity", BigInteger),
        Column("away_at_ms", BigInteger),
        Column("seen_at_ms", BigInteger, nullable=False),
        PrimaryKeyConstraint("subject", name="pk_agents"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "conversations",
        Column("id", TEXT, nullable=False),
        Column("status", TEXT, nullable=False),
        Column("department", TEXT),
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
        ForeignKeyConstraint(["id"], ["rooms.id"], name="fk_conversations_id"),
        ForeignKeyConstraint(["department"], ["departments.id"], name="fk_conversations_department"),
        PrimaryKeyConstraint("id", name="pk_conversations"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_conversations_status_queued_at_ms_id", "conversations", ["status", "queued_at_ms", "id"])
    op.create_index("ix_conversations_assignee_status", "conversations", ["assignee", "status"])
    op.create_index("ix_conversations_visitor", "conversations", ["visitor"])
    op.create_table(
        "visitors",
        Column("conversation", TEXT, nullable=False),
        Column("subject", TEXT, nullable=False),
        Column("name", TEXT),
        Column("email", TEXT),
        Column("page", TEXT),
        Column("verified", Boolean, nullable=False),
        Column("identity", TEXT),
        Column("comment", TEXT),
        ForeignKeyConstraint(["conversation"], ["conversations.id"], name="fk_visitors_conversation"),
        PrimaryKeyConstraint("conversation", name="pk_visitors"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_visitors_identity", "visitors", ["identity"])
    op.create_table(
        "streams",
        Column("id", TEXT, nullable=False),
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
        PrimaryKeyConstraint("id", name="pk_streams"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "nodes",
        Column("id", TEXT, nullable=False),
        Column("address", TEXT, nullable=False),
        Column("keyring", TEXT, nullable=False),
        Column("vouched_at_ms", BigInteger, nullable=False),
        Column("seen_at_ms", BigInteger, nullable=False),
        PrimaryKeyConstraint("id", name="pk_nodes"),
        sqlite_with_rowid=False,
    )
