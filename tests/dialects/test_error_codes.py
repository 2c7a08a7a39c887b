"""The table of refusals: no empty cell, and the same as the contract's."""

import pytest

from parley.dialects.error_codes import HTTP_ONLY, JSON_RPC, error_data
from parley.domain.errors import REFUSALS, Refusal

TOKEN_CODES = [
    "token_missing",
    "token_malformed",
    "token_unsupported_algorithm",
    "token_unknown_key",
    "token_bad_signature",
    "token_wrong_type",
    "token_claim_missing",
    "token_wrong_issuer",
    "token_wrong_audience",
    "token_not_yet_valid",
    "token_expired",
    "token_revoked",
]

#: CONTRACT section 5: code -> (status, JSON-RPC code; None where only HTTP says it)
CONTRACT: dict[str, tuple[int, int | None]] = {
    "parse_error": (400, -32700),
    "invalid_request": (400, -32600),
    "unknown_command": (404, -32601),
    "invalid_params": (422, -32602),
    **dict.fromkeys(TOKEN_CODES, (401, -32001)),
    **dict.fromkeys(
        ["subject_mismatch", "invalid_credentials", "invalid_grant", "ticket_invalid", "carrier_disabled"],
        (401, -32001),
    ),
    "ambiguous_credentials": (400, None),
    "unsupported_subprotocol": (400, None),
    "stopped": (403, None),
    "method_not_allowed": (405, None),
    "stalled": (408, None),
    "upgrade_required": (426, None),
    "head_too_large": (431, None),
    **dict.fromkeys(["forbidden", "banned", "origin_denied", "challenge_required"], (403, -32003)),
    "not_found": (404, -32004),
    **dict.fromkeys(["conflict", "already_claimed", "already_live", "archived"], (409, -32009)),
    "too_large": (413, -32013),
    "unsupported_media_type": (415, -32013),
    "not_ogg_opus": (415, -32013),
    "rate_limited": (429, -32029),
    "limit_exceeded": (429, -32029),
    "internal": (500, -32603),
    "unavailable": (503, -32053),
    "overloaded": (503, -32053),
    "not_live": (503, -32053),
}
#: Named in the contract as the reason of a close, so that it needs a name here too.
CLOSE_REASONS = {"authentication_timeout"}


@pytest.mark.parametrize("code", REFUSALS)
def test_every_refusal_has_its_cell_or_is_said_over_http_only(code: str) -> None:
    assert (code in JSON_RPC) != (code in HTTP_ONLY)


def test_the_table_of_refusals_is_the_contracts() -> None:
    ours = {code: (status, JSON_RPC.get(code)) for code, (status, _) in REFUSALS.items() if code not in CLOSE_REASONS}
    assert ours == CONTRACT


def test_nothing_is_said_over_http_only_that_is_no_refusal() -> None:
    assert set(REFUSALS) >= HTTP_ONLY


def test_an_errors_data_has_its_code_its_status_and_its_facts() -> None:
    assert error_data(Refusal("rate_limited", retry_after=0.5)) == {
        "code": "rate_limited",
        "status": 429,
        "retry_after": 0.5,
    }
