"""Refusals: what is kept of each, what never is, and how little is left of a flood."""

import json
from typing import Any

import pytest

from parley.domain.errors import Refusal
from parley.service.admission import refusal_of
from parley.service.refusals import ADDRESS_BURST, NODE_BURST, Refusals
from parley.tokens import Issuer, SigningKey, TokenRefused

KEY = SigningKey.generate()
TOKEN = Issuer(KEY).issue(
    sub="ada", type="account", roles=["member"], sid="s1", jti="j1", now_s=1_800_000_000, ttl_s=60, name="Ada"
)


class Kept:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.records: list[dict[str, Any]] = []
        self.refusals = Refusals(self.records.append, clock_ms=lambda: 1_800_000_000_000, clock_s=lambda: self.now_s)

    def note(self, refusal: Refusal, token: str | None = None, address: str = "192.0.2.1") -> str | None:
        return self.refusals.note(refusal, place="/ws", address=address, carrier="subprotocol", token=token)


@pytest.fixture
def kept() -> Kept:
    return Kept()


def test_a_record_says_what_the_token_claims_and_why_it_was_refused(kept: Kept) -> None:
    incident = kept.note(refusal_of(TokenRefused("token_expired", off_by_s=3.5)), TOKEN)
    (record,) = kept.records
    assert record == {
        "incident": incident,
        "at_ms": 1_800_000_000_000,
        "code": "token_expired",
        "place": "/ws",
        "address": "192.0.2.1",
        "carrier": "subprotocol",
        "facts": {"off_by_s": 3.5},
        "header": {"alg": "ES256", "typ": "at+jwt", "kid": KEY.kid},
        "claims": {
            "iss": "parley",
            "sub": "ada",
            "aud": "parley",
            "iat": 1_800_000_000,
            "exp": 1_800_000_060,
            "jti": "j1",
            "sid": "s1",
            "type": "account",
            "roles": ["member"],
        },
    }


@pytest.mark.parametrize(
    "token",
    [TOKEN, TOKEN[:-3], TOKEN[5:], f"Bearer {TOKEN}", f'"{TOKEN}"', TOKEN + "=" * 4, "s1.3." + "A" * 43, "x" * 9000],
)
def test_no_part_of_a_token_is_kept_or_logged(kept: Kept, token: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert kept.note(Refusal("token_malformed"), token)
    text = json.dumps(kept.records) + caplog.text + repr([vars(record) for record in caplog.records])
    for part in token.replace('"', " ").replace(".", " ").split():
        if len(part) > 10:
            assert part not in text


def test_a_token_in_the_place_of_a_name_is_not_kept(kept: Kept) -> None:
    key = SigningKey.from_jwk({**KEY.to_jwk(), "kid": TOKEN})
    odd = Issuer(key).issue(sub=TOKEN[:300], type="account", roles=[], sid="s", jti="j", now_s=1_800_000_000, ttl_s=60)
    kept.note(refusal_of(TokenRefused("token_unknown_key", kid=TOKEN, issuer=TOKEN)), odd)
    assert TOKEN.split(".")[1] not in json.dumps(kept.records)
    assert TOKEN.split(".")[0] not in json.dumps(kept.records)


def test_what_can_be_no_jwt_is_said_to_be_what_it_is(kept: Kept) -> None:
    kept.note(Refusal("token_malformed"), "a.b")
    assert kept.records[0]["instead"] == "it has 2 parts between its dots, and a JWT has three"


def test_an_origin_that_is_denied_is_kept_with_its_name(kept: Kept) -> None:
    kept.note(Refusal("origin_denied", origin="https://evil.example"))
    assert kept.records[0]["facts"] == {"origin": "https://evil.example"}


def test_what_is_no_credentials_affair_is_no_incident(kept: Kept) -> None:
    assert kept.note(Refusal("overloaded")) is None
    assert kept.note(Refusal("unavailable")) is None
    assert kept.records == []


def test_the_answer_may_name_the_incident(kept: Kept) -> None:
    noted = kept.refusals.noted(Refusal("token_missing"), place="/rpc", address="192.0.2.1")
    assert noted.facts == {"incident": kept.records[0]["incident"]}
    assert (noted.code, noted.status) == ("token_missing", 401)


def test_a_flood_from_one_address_leaves_few_records_and_a_count(kept: Kept, caplog: pytest.LogCaptureFixture) -> None:
    refusal = Refusal("token_malformed")
    for _ in range(1000):
        kept.note(refusal, "x")
    assert len(kept.records) == ADDRESS_BURST
    assert kept.note(refusal, "x", address="192.0.2.2")  # others have theirs
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1
    kept.now_s += 60
    for _ in range(100):
        kept.note(refusal, "x")
    assert len(kept.records) < 2 * ADDRESS_BURST + 15
    assert "990 have no incident" in caplog.text or "989 have no incident" in caplog.text


def test_a_flood_from_everywhere_leaves_few_records(kept: Kept) -> None:
    for number in range(5000):
        kept.note(Refusal("token_malformed"), "x", address=f"192.0.2.{number}")
    assert len(kept.records) == NODE_BURST
