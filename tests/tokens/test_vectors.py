"""Other people's vectors, through the very function with which the server checks a signature."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from parley.tokens import KeySet, SigningKey, TokenRefused, check_signature
from tests.tokens.forge import b64, dump, private_of, token

VECTORS = Path(__file__).parent.parent / "vectors"
RFC_EXAMPLES = json.loads((VECTORS / "rfc" / "jws_examples.json").read_text("utf-8"))
WYCHEPROOF = json.loads((VECTORS / "wycheproof" / "json_web_signature_test.json").read_text("utf-8"))

# By tcId, what we say where Project Wycheproof says the contrary; tests/vectors/README.md has the reasons.
DIFFERENT = {
    346: "token_unsupported_algorithm",
    350: "token_unsupported_algorithm",
    367: "valid",
    370: "valid",
    372: "token_malformed",
    373: "token_malformed",
}


def verdict(keys: list[dict[str, Any]], jws: str) -> str:
    try:
        check_signature(jws, KeySet.from_jwks({"keys": keys}, only_key_serves=True))
    except TokenRefused as refusal:
        return refusal.code
    return "valid"


@pytest.mark.parametrize("example", RFC_EXAMPLES, ids=lambda example: example["source"])
def test_an_example_of_an_rfc_is_valid_and_with_one_bit_changed_is_not(example: dict[str, Any]) -> None:
    assert verdict(example["keys"], example["jws"]) == "valid"
    signing_input, _, signature = example["jws"].rpartition(".")
    changed = ("A" if signature[0] != "A" else "B") + signature[1:]
    assert verdict(example["keys"], f"{signing_input}.{changed}") == "token_bad_signature"


@pytest.mark.parametrize("group", WYCHEPROOF["testGroups"], ids=lambda group: group["comment"])
def test_project_wycheproof_is_met_but_for_its_own_faults(group: dict[str, Any]) -> None:
    key = group.get("public") or group["private"]
    for test in group["tests"]:
        got = verdict([key], test["jws"])
        if test["tcId"] in DIFFERENT:
            assert got == DIFFERENT[test["tcId"]], test["tcId"]
        else:
            assert (got == "valid") is (test["result"] == "valid"), (test["tcId"], test["comment"], got)


def test_all_of_project_wycheproof_is_there() -> None:
    tests = [test for group in WYCHEPROOF["testGroups"] for test in group["tests"]]
    assert len(tests) == WYCHEPROOF["numberOfTests"] == 401
    assert sum(test["result"] == "valid" for test in tests) == 46
    # The vector that the file has three times, twice as invalid.
    same = [test["jws"] for test in tests if test["tcId"] in (357, 367, 370)]
    assert len(same) == 3
    assert len(set(same)) == 1


def test_a_jws_of_any_payload_has_8_kib_at_most() -> None:
    key = SigningKey.generate()
    for size, expected in ((8192, "valid"), (8193, "token_malformed")):
        head = {"alg": "ES256", "kid": key.kid}
        room = size - len(f"{b64(dump(head))}..{'A' * 86}")
        # Of n characters that base64 can have; a blank more in the header makes up for a length that it cannot.
        octets = room * 3 // 4
        jws = token(dump(head), b"x" * octets, private_of(key))
        if len(jws) != size:
            jws = token(dump(head) + b" ", b"x" * (octets - 1), private_of(key))
        assert len(jws) == size
        assert verdict([key.verifying_key.to_jwk()], jws) == expected
