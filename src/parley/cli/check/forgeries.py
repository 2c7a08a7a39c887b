"""Forged tokens: what RFC 8725 warns of, made without any key of the server's.

Each is named by the trick. Nothing here is a token that a right server accepts.
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cryptography.hazmat.primitives import serialization

from parley.tokens import KeyUnusable, SigningKey, VerifyingKey

_RSA_OR_EC: Final = ("RSA", "EC", "OKP")


def encoded(part: Mapping[str, Any] | bytes) -> str:
    octets = part if isinstance(part, bytes) else json.dumps(part, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a JWT; two empty objects for anything else."""
    read: list[dict[str, Any]] = []
    for part in token.split(".")[:2]:
        try:
            value = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        except (ValueError, RecursionError):
            value = {}
        read.append(value if isinstance(value, dict) else {})
    return (read[0], read[1]) if len(read) == 2 else ({}, {})


def expiry_of(token: str) -> float | None:
    """The claim `exp`, Unix seconds."""
    exp = parts(token)[1].get("exp")
    return float(exp) if isinstance(exp, int | float) and not isinstance(exp, bool) else None


def likeness(sample: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims like those of a good token, still valid for an hour, with more roles than it had."""
    header, claims = parts(sample) if sample is not None else ({}, {})
    now = int(time.time())
    header = {"typ": "at+jwt", "alg": "ES256", "kid": "check", **header}
    made = {"iss": "parley", "aud": "parley", "sub": "check", "sid": "check", "jti": "check", "type": "account"}
    return header, {**made, **claims, "roles": ["admin"], "iat": now, "exp": now + 3600}


def forged(sample: str | None, jwks: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Pairs of a trick's name and a token. `sample` is a good token, if there is one; `jwks` the published keys."""
    header, claims = likeness(sample)
    for spelling in ("none", "None"):
        yield f"alg {spelling}", f"{encoded({**header, 'alg': spelling})}.{encoded(claims)}."
    signature = sample.split(".")[2] if sample is not None and sample.count(".") == 2 else encoded(b"\1" * 64)
    yield "changed claims", f"{encoded(header)}.{encoded(claims)}.{signature}"
    yield "no signature", f"{encoded(header)}.{encoded(claims)}."
    own = SigningKey.generate("ES256")
    named = {**header, "alg": "ES256"}
    yield "a key of one's own", _signed(named, claims, own)
    yield "a key in the header (jwk)", _signed({**named, "jwk": own.verifying_key.to_jwk()}, claims, own)
    elsewhere = {"jku": "https://evil.example/jwks.json", "x5u": "https://evil.example/x.pem"}
    yield "keys elsewhere (jku, x5u)", _signed({**named, **elsewhere}, claims, own)
    yield "an empty secret", _with_secret({**header, "alg": "HS256"}, claims, b"")
    yield "the secret 'secret'", _with_secret({**header, "alg": "HS256"}, claims, b"secret")
    for jwk, secret in _public_as_secret(jwks):
        yield "HS256 with a public key", _with_secret({**header, "alg": "HS256", "kid": jwk.get("kid")}, claims, secret)


def _signed(header: Mapping[str, Any], claims: Mapping[str, Any], key: SigningKey) -> str:
    signing_input = f"{encoded(header)}.{encoded(claims)}"
    return f"{signing_input}.{encoded(key.sign(signing_input.encode()))}"


def _with_secret(header: Mapping[str, Any], claims: Mapping[str, Any], secret: bytes) -> str:
    signing_input = f"{encoded(header)}.{encoded(claims)}"
    return f"{signing_input}.{encoded(hmac.digest(secret, signing_input.encode(), hashlib.sha256))}"


def _public_as_secret(jwks: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], bytes]]:
    """Each published key in the forms in which a server may hold it, and by mistake use it as a secret."""
    for jwk in jwks.get("keys", [])[:4]:
        if not isinstance(jwk, dict) or jwk.get("kty") not in _RSA_OR_EC:
            continue
        try:
            public = VerifyingKey.from_jwk({name: jwk[name] for name in jwk if name not in ("use", "key_ops")})._key
        except KeyUnusable:
            continue
        info = serialization.PublicFormat.SubjectPublicKeyInfo
        pem: bytes = public.public_bytes(serialization.Encoding.PEM, info)
        yield jwk, pem
        yield jwk, pem.rstrip(b"\n")
        yield jwk, json.dumps(jwk, separators=(",", ":")).encode()
