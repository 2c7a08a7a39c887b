"""A compact JWS: its strict reading, its signing, and the one function that checks a signature.

Knows no claims: any payload will do (RFC 7515). `verifier` adds what makes it an access token.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any, Final

from parley.tokens.algorithms import ALGORITHMS, canonical_algorithm
from parley.tokens.errors import TokenRefused
from parley.tokens.keys import KeySet, SigningKey, VerifyingKey

JWS_BYTES_MAX: Final = 8192

# The empty signature is let through here, so that `alg: none` is refused for what it is.
_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)\.([A-Za-z0-9_-]*)")
_URLSAFE_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_STANDARD_TO_URLSAFE = bytes.maketrans(b"+/", b"-_")
# RFC 4648 §3.5: the bits of the last character that carry nothing must be zero; otherwise one token has many spellings.
_LAST_CHARACTERS = {2: frozenset(b"AQgw"), 3: frozenset(b"AEIMQUYcgkosw048")}
_PADDING = {0: b"", 2: b"==", 3: b"="}


@dataclass(frozen=True, slots=True)
class Jws:
    """A token taken apart, nothing of it verified. `algorithm` is its `alg` in the spelling of ALGORITHMS."""

    header: dict[str, Any] = field(repr=False)
    algorithm: str
    kid: str | None
    payload: bytes = field(repr=False)
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @property
    def media_type(self) -> str:
        """The header's `typ`, comparable: lower case, without `application/`; "" where there is none.

        Source: RFC 7515 §4.1.9.
        """
        typ: str = self.header.get("typ", "")
        return comparable_media_type(typ)

    def naming(self, kid: str | None) -> Jws:
        """The same token as if its header named `kid`."""
        return self if kid == self.kid else replace(self, kid=kid)


def comparable_media_type(typ: str) -> str:
    """RFC 7515 §4.1.9: media types compare without regard to case, and `application/` may be left out."""
    return typ.lower().removeprefix("application/")


def parse_jws(token: str) -> Jws:
    """Take a compact JWS apart, strictly: at most 8 KiB, base64url without padding, no duplicate members, no `crit`.

    Raises: TokenRefused (`token_malformed`).
    Source: RFC 7515 §5.2 steps 1 to 6, §4.1.11; RFC 4648 §3.5, §5.
    """
    # Every character that passes the pattern is one byte, so characters count as bytes.
    if len(token) > JWS_BYTES_MAX or (match := _COMPACT.fullmatch(token)) is None:
        raise TokenRefused("token_malformed")
    encoded = token.encode("ascii")
    payload_at, signature_at = match.start(2), match.start(3)
    header = parse_json_object(_base64url_decode(encoded[: payload_at - 1]))
    algorithm, kid = header.get("alg"), header.get("kid")
    if (
        not isinstance(algorithm, str)
        or not (kid is None or isinstance(kid, str))
        or not isinstance(header.get("typ", ""), str)
        or "crit" in header
        or (kid is None and "kid" in header)
    ):
        raise TokenRefused("token_malformed")
    return Jws(
        header,
        canonical_algorithm(algorithm),
        kid,
        _base64url_decode(encoded[payload_at : signature_at - 1]),
        encoded[: signature_at - 1],
        _base64url_decode(encoded[signature_at:]),
    )


def check_signature(token: str | Jws, keys: KeySet, *, algorithms: Collection[str] = ALGORITHMS) -> VerifyingKey:
    """Check one compact JWS, or one taken apart, against `keys` and return the key that signed it.

    The key is the one that `kid` names (KeySet.find says what happens without one), and it alone says which algorithm
    is right; the token's `alg` must agree. `jwk`, `jku`, `x5u` and `x5c` of the header are never looked at.

    Raises: TokenRefused, in this order: `token_malformed`, `token_unsupported_algorithm` (not in `algorithms`),
    `token_unknown_key`, `token_unsupported_algorithm` (not the key's), `token_bad_signature`.
    Source: RFC 7515 §5.2; RFC 8725 §3.1, §3.2.
    """
    jws = parse_jws(token) if isinstance(token, str) else token
    if jws.algorithm not in algorithms:
        raise TokenRefused("token_unsupported_algorithm", algorithm=jws.algorithm, kid=jws.kid)
    key = keys.find(jws.kid)
    if key is None:
        raise TokenRefused("token_unknown_key", kid=jws.kid)
    if jws.algorithm not in key.algorithms:
        raise TokenRefused("token_unsupported_algorithm", algorithm=jws.algorithm, kid=jws.kid)
    if not key.verifies(jws.algorithm, jws.signing_input, jws.signature):
        raise TokenRefused("token_bad_signature", kid=jws.kid)
    return key


def sign_jws(payload: dict[str, Any], key: SigningKey, *, typ: str) -> str:
    """Sign `payload` as a compact JWS with `typ`, `alg` and `kid` in its header."""
    header = _json_bytes({"typ": typ, "alg": key.algorithm, "kid": key.kid})
    signing_input = _base64url_encode(header) + b"." + _base64url_encode(_json_bytes(payload))
    return (signing_input + b"." + _base64url_encode(key.sign(signing_input))).decode("ascii")


def parse_json_object(text: bytes) -> dict[str, Any]:
    """Read one JSON object of a token.

    Strict where RFC 8259 leaves room: a member named twice is refused, for two readers would see two different tokens
    (RFC 7515 §4, RFC 7519 §4), and so are NaN, Infinity and what is not UTF-8.

    Raises: TokenRefused (`token_malformed`).
    """
    try:
        value = _decoder.decode(text.decode("utf-8"))
    # RecursionError: 8 KiB of brackets nest deeper than the interpreter's stack.
    except (ValueError, RecursionError):
        raise TokenRefused("token_malformed") from None
    if not isinstance(value, dict):
        raise TokenRefused("token_malformed")
    return value


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is named twice")
    return members


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_object_without_duplicates, parse_constant=_refuse_constant)


def _json_bytes(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")


def _base64url_decode(text: bytes) -> bytes:
    """Decode what `_COMPACT` has let through, so that only its length and its last bits are left to check."""
    remainder = len(text) % 4
    if remainder and (remainder == 1 or text[-1] not in _LAST_CHARACTERS[remainder]):
        raise TokenRefused("token_malformed")
    return binascii.a2b_base64(text.translate(_URLSAFE_TO_STANDARD) + _PADDING[remainder])


def _base64url_encode(value: bytes) -> bytes:
    return binascii.b2a_base64(value, newline=False).rstrip(b"=").translate(_STANDARD_TO_URLSAFE)
