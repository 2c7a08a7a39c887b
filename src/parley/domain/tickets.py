"""Tickets: opaque stand-ins for an access token, for a place where a URL is all there is.

One use, within seconds. On a stream the first use binds it to that stream, which it then opens until its time is over:
media elements ask twice. The store keeps a digest only, so the database alone gives none away.
Nothing here is on the wire: `service/tickets.py` makes and reads them.
"""

from typing import ClassVar

from parley.domain.errors import Refusal
from parley.domain.params import Params
from parley.domain.ports import Acting, Decision, Row, Transaction


class Ticket(Row):
    """`digest` is the SHA-256 of the ticket in hex, `claims` those of its token as JSON text."""

    KEY: ClassVar = ("digest",)
    digest: str
    claims: str
    expires_at_ms: int
    stream: str | None = None


class Mint(Params):
    digest: str
    claims: str
    expires_at_ms: int


class Redeem(Params):
    """`stream` names the stream that is opened with it, if it is one."""

    digest: str
    stream: str | None = None


def mint(tx: Transaction, p: Mint, who: Acting) -> Decision:
    tx.add(Ticket(digest=p.digest, claims=p.claims, expires_at_ms=p.expires_at_ms))
    return Decision(None)


def redeem(tx: Transaction, p: Redeem, who: Acting) -> Decision:
    """The claims of the token that minted it, as JSON text. Raises: Refusal (`ticket_invalid`)."""
    ticket = tx.get(Ticket, p.digest)
    if ticket is None or ticket.expires_at_ms <= who.now_ms:
        raise Refusal("ticket_invalid")
    if p.stream is None:
        if ticket.stream is not None:
            raise Refusal("ticket_invalid")
        tx.remove(ticket)
    elif ticket.stream is None:
        ticket.stream = p.stream
        tx.save(ticket)
    elif ticket.stream != p.stream:
        raise Refusal("ticket_invalid")
    return Decision(ticket.claims)
