"""`tokens/tickets.py`: once, within 30 seconds, for one stream twice, and never more than there is room for."""

from __future__ import annotations

import itertools

import pytest

from parley.tokens import KeySet, TicketsFull, TicketStore, TokenRefused, Verifier
from tests.tokens.forge import KEY, NOW, claims, token

ADA = Verifier(KeySet([KEY])).verify(token(), NOW)


def store(tickets_max: int = 100) -> TicketStore:
    counter = itertools.count()
    return TicketStore(lambda size: next(counter).to_bytes(size, "big"), tickets_max=tickets_max)


def refused(tickets: TicketStore, ticket: str, now_s: float, stream: str | None = None) -> bool:
    with pytest.raises(TokenRefused) as refusal:
        tickets.redeem(ticket, now_s, stream=stream)
    assert len(ticket) < 43 or ticket not in repr(refusal.value) + str(refusal.value)
    return refusal.value.code == "ticket_invalid"


def test_a_ticket_is_good_once() -> None:
    tickets = store()
    ticket = tickets.mint(ADA, NOW)
    assert tickets.redeem(ticket, NOW + 1) is ADA
    assert refused(tickets, ticket, NOW + 1)


def test_a_ticket_is_over_after_thirty_seconds() -> None:
    tickets = store()
    first, second = tickets.mint(ADA, NOW), tickets.mint(ADA, NOW)
    assert tickets.redeem(first, NOW + 29.9) is ADA
    assert refused(tickets, second, NOW + 30)


def test_a_ticket_has_256_bits_and_fits_a_url() -> None:
    asked: list[int] = []

    def token_bytes(size: int) -> bytes:
        asked.append(size)
        return b"\xff" * size

    ticket = TicketStore(token_bytes).mint(ADA, NOW)
    assert asked == [32]
    assert ticket == "_" * 42 + "8"


@pytest.mark.parametrize("made_up", ["", "x", "é", "\ud800", "A" * 43, "A" * 100_000])
def test_a_ticket_that_nobody_minted_is_refused(made_up: str) -> None:
    tickets = TicketStore(lambda size: b"\x01" * size)
    tickets.mint(ADA, NOW)
    assert refused(tickets, made_up, NOW)
    assert len(tickets) == 1


def test_a_stream_binds_a_ticket_and_is_served_again_until_its_time_is_over() -> None:
    tickets = store()
    ticket = tickets.mint(ADA, NOW)
    assert tickets.redeem(ticket, NOW, stream="radio") is ADA
    assert tickets.redeem(ticket, NOW + 29, stream="radio") is ADA
    assert refused(tickets, ticket, NOW + 29, stream="other")
    assert refused(tickets, ticket, NOW + 29)
    assert refused(tickets, ticket, NOW + 30, stream="radio")


def test_a_ticket_dies_with_the_token_that_minted_it() -> None:
    brief = Verifier(KeySet([KEY])).verify(token(payload=claims(exp=NOW + 10)), NOW)
    tickets = store()
    assert refused(tickets, tickets.mint(brief, NOW), NOW + 10)


def test_a_full_store_takes_no_more_until_the_oldest_are_over() -> None:
    tickets = store(tickets_max=2)
    tickets.mint(ADA, NOW)
    kept = tickets.mint(ADA, NOW + 10)
    with pytest.raises(TicketsFull):
        tickets.mint(ADA, NOW + 29)
    later = tickets.mint(ADA, NOW + 30)
    assert len(tickets) == 2
    assert tickets.redeem(kept, NOW + 31) is ADA
    assert tickets.redeem(later, NOW + 31) is ADA
