"""Canned replies: texts that agents call up by a shortcut. Holds `reply.*`.

Whoever uses one sends its text as their own message; nothing here is sent.
"""

from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from parley.domain import audit
from parley.domain.cursors import from_cursor, page
from parley.domain.errors import Refusal
from parley.domain.ids import Id
from parley.domain.messages import checked_text
from parley.domain.params import Limit, Params
from parley.domain.ports import Acting, Decision, Row, Transaction

Shortcut = Annotated[str, Meta(pattern=r"^[^\s/]{1,40}\Z")]


class Reply(Row):
    """`shortcut` is unique."""

    KEY: ClassVar = ("id",)
    id: str
    shortcut: str
    text: str


class ReplyView(Struct):
    id: str
    shortcut: str
    text: str


class List(Params):
    after: str | None = None
    limit: Limit = 200


class Create(Params):
    shortcut: Shortcut
    text: str


class Update(Params):
    reply: Id
    shortcut: Shortcut | None = None
    text: str | None = None


class Delete(Params):
    reply: Id


def list_replies(tx: Transaction, p: List, who: Acting) -> Decision:
    rows = tx.replies_page(from_cursor(p.after), p.limit + 1)
    shown, following = page(rows, p.limit, key=lambda row: row.id)
    return Decision({"replies": [_view(row) for row in shown], "next": following})


def create(tx: Transaction, p: Create, who: Acting) -> Decision:
    text = checked_text(p.text, who)
    _require_free(tx, p.shortcut)
    reply = Reply(id=who.new_id(), shortcut=p.shortcut, text=text)
    tx.add(reply)
    audit.record(tx, who, "reply.create", reply.id, shortcut=p.shortcut)
    return Decision({"reply": _view(reply)})


def update(tx: Transaction, p: Update, who: Acting) -> Decision:
    reply = _existing(tx, p.reply)
    text = reply.text if p.text is None else checked_text(p.text, who)
    shortcut = p.shortcut or reply.shortcut
    if (shortcut, text) == (reply.shortcut, reply.text):
        return Decision({"reply": _view(reply)})
    if shortcut != reply.shortcut:
        _require_free(tx, shortcut)
    reply.shortcut, reply.text = shortcut, text
    tx.save(reply)
    audit.record(tx, who, "reply.update", reply.id, shortcut=shortcut)
    return Decision({"reply": _view(reply)})


def delete(tx: Transaction, p: Delete, who: Acting) -> Decision:
    reply = _existing(tx, p.reply)
    tx.remove(reply)
    audit.record(tx, who, "reply.delete", reply.id, shortcut=reply.shortcut)
    return Decision({})


def _existing(tx: Transaction, reply_id: str) -> Reply:
    reply = tx.get(Reply, reply_id)
    if reply is None:
        raise Refusal("not_found", "There is no reply of this id.")
    return reply


def _require_free(tx: Transaction, shortcut: str) -> None:
    if tx.reply_by_shortcut(shortcut) is not None:
        raise Refusal("conflict", "A reply of this shortcut exists.")


def _view(row: Reply) -> ReplyView:
    return ReplyView(row.id, row.shortcut, row.text)
