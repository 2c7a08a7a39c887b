"""Signatures of others' making, by the function with which the server checks its own: `conformance --jws`.

Each line of standard input is `{"keys": [JWK…], "jws": "a.b.c"}`: the key by `kid`, or the only one; the algorithm is
pinned by that key, and any payload will do. For each line one is printed: `valid`, or the token code.
"""

import json
import sys

from parley.tokens import KeySet, TokenRefused, check_signature


def verdict(line: str) -> str:
    """`valid` or a token code; keys that can't be used here are no keys.

    Raises: ValueError for a line of another form.
    """
    asked = json.loads(line)
    if not isinstance(asked, dict) or not isinstance(asked.get("jws"), str):
        raise ValueError("it has no member jws")
    try:
        check_signature(asked["jws"], KeySet.from_jwks({"keys": asked.get("keys")}, only_key_serves=True))
    except TokenRefused as refusal:
        return refusal.code
    return "valid"


def main() -> None:
    for number, line in enumerate(sys.stdin, 1):
        try:
            print(verdict(line), flush=True)
        except ValueError as wrong:  # KeyUnusable is one: no list of keys at all
            sys.exit(f"line {number}: {wrong}")
