"""Makes tokens by hand, good and bad, with `cryptography` alone: a second witness beside the code under test.

Nothing here goes through `parley.tokens` but the reading of a key's `kid`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from parley.tokens import SigningKey

NOW = 1_800_000_000

KEY = SigningKey.generate("ES256")
OTHER_KEY = SigningKey.generate("ES256")
RSA_KEY = SigningKey.generate("RS256")
SECRET = "a secret of the tests that is long enough: 32 bytes and more"


def private_of(key: SigningKey) -> Any:
    return serialization.load_pem_private_key(key.to_pem().encode(), None)


PRIVATE = private_of(KEY)
OTHER_PRIVATE = private_of(OTHER_KEY)


def b64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def header(**changes: Any) -> dict[str, Any]:
    """The header of a good token of KEY; a member that is changed to None is left out."""
    return _changed({"typ": "at+jwt", "alg": "ES256", "kid": KEY.kid}, changes)


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a good token at NOW; a member that is changed to None is left out."""
    good = {
        "iss": "parley",
        "aud": "parley",
        "sub": "ada",
        "iat": NOW - 10,
        "exp": NOW + 890,
        "jti": "token-1",
        "sid": "session-1",
        "type": "account",
        "roles": ["member"],
    }
    return _changed(good, changes)


def token(
    head: dict[str, Any] | bytes | None = None, payload: dict[str, Any] | bytes | None = None, key: Any = PRIVATE
) -> str:
    """A compact JWS of exactly these two parts, signed with `key`: a private key, a secret, None for no signature."""
    first = header() if head is None else head
    second = claims() if payload is None else payload
    parts = (first if isinstance(first, bytes) else dump(first), second if isinstance(second, bytes) else dump(second))
    signing_input = ".".join(b64(part) for part in parts)
    return f"{signing_input}.{b64(signature(signing_input.encode(), key))}"


def resigned(signing_input: str, key: Any = PRIVATE) -> str:
    """A token over a signing input that no encoder would write."""
    return f"{signing_input}.{b64(signature(signing_input.encode(), key))}"


def signature(signing_input: bytes, key: Any) -> bytes:
    if key is None:
        return b""
    if isinstance(key, bytes):
        return hmac.new(key, signing_input, hashlib.sha256).digest()
    if isinstance(key, ec.EllipticCurvePrivateKey):
        r, s = decode_dss_signature(key.sign(signing_input, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(signing_input, padding.PKCS1v15(), hashes.SHA256())
    made: bytes = key.sign(signing_input)
    return made


def dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _changed(good: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**good, **changes}.items() if value is not None}
