"""The signature algorithms of JWS that we know: which keys each may use, how it signs and verifies.

Chooses none: `keys` pins a key to its algorithms, `jws` asks for one by name. `none` is not here to be asked for.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

RSA_BITS_MIN: Final = 2048
# A verification's cost grows with the modulus; nobody who signs tokens uses more.
RSA_BITS_MAX: Final = 8192
HS256_BYTES_MIN: Final = 32


class _Verify(Protocol):
    def __call__(self, key: Any, signing_input: bytes, signature: bytes, /) -> bool: ...


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One algorithm; `sign` wants the private key, `verify` the public one (both are the secret for HMAC)."""

    name: str
    sign: Callable[[Any, bytes], bytes]
    verify: _Verify


def _ecdsa(name: str, hash_algorithm: hashes.HashAlgorithm, size: int) -> Algorithm:
    """RFC 7518 §3.4: R and S as big-endian integers of `size` bytes each, never DER."""
    scheme = ec.ECDSA(hash_algorithm)

    def sign(key: ec.EllipticCurvePrivateKey, signing_input: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(signing_input, scheme))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    def verify(key: ec.EllipticCurvePublicKey, signing_input: bytes, signature: bytes) -> bool:
        if len(signature) != 2 * size:
            return False
        r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
        try:
            key.verify(encode_dss_signature(r, s), signing_input, scheme)
        except InvalidSignature:
            return False
        return True

    return Algorithm(name, sign, verify)


def _rsa(name: str, scheme: padding.AsymmetricPadding, hash_algorithm: hashes.HashAlgorithm) -> Algorithm:
    def sign(key: rsa.RSAPrivateKey, signing_input: bytes) -> bytes:
        return key.sign(signing_input, scheme, hash_algorithm)

    def verify(key: rsa.RSAPublicKey, signing_input: bytes, signature: bytes) -> bool:
        try:
            key.verify(signature, signing_input, scheme, hash_algorithm)
        except InvalidSignature:
            return False
        return True

    return Algorithm(name, sign, verify)


def _pss(name: str, hash_algorithm: hashes.HashAlgorithm) -> Algorithm:
    """RFC 7518 §3.5: the salt is exactly as long as the hash."""
    return _rsa(name, padding.PSS(padding.MGF1(hash_algorithm), hash_algorithm.digest_size), hash_algorithm)


def _hmac(name: str, digest: str) -> Algorithm:
    def sign(secret: bytes, signing_input: bytes) -> bytes:
        return hmac.digest(secret, signing_input, digest)

    def verify(secret: bytes, signing_input: bytes, signature: bytes) -> bool:
        return hmac.compare_digest(hmac.digest(secret, signing_input, digest), signature)

    return Algorithm(name, sign, verify)


def _eddsa() -> Algorithm:
    def sign(key: ed25519.Ed25519PrivateKey, signing_input: bytes) -> bytes:
        return key.sign(signing_input)

    def verify(key: ed25519.Ed25519PublicKey, signing_input: bytes, signature: bytes) -> bool:
        try:
            key.verify(signature, signing_input)
        except InvalidSignature:
            return False
        return True

    return Algorithm("EdDSA", sign, verify)


_SHA256, _SHA384, _SHA512 = hashes.SHA256(), hashes.SHA384(), hashes.SHA512()

ALGORITHMS: Final = MappingProxyType(
    {
        algorithm.name: algorithm
        for algorithm in (
            _ecdsa("ES256", _SHA256, 32),
            _ecdsa("ES384", _SHA384, 48),
            _ecdsa("ES512", _SHA512, 66),
            _eddsa(),
            _rsa("RS256", padding.PKCS1v15(), _SHA256),
            _rsa("RS384", padding.PKCS1v15(), _SHA384),
            _rsa("RS512", padding.PKCS1v15(), _SHA512),
            _pss("PS256", _SHA256),
            _pss("PS384", _SHA384),
            _pss("PS512", _SHA512),
            _hmac("HS256", "sha256"),
            _hmac("HS384", "sha384"),
            _hmac("HS512", "sha512"),
        )
    }
)

# What we sign with, and so all that a token under one of our own keys may say.
OWN_ALGORITHMS: Final = frozenset({"ES256", "EdDSA", "RS256", "HS256"})
ASYMMETRIC_ALGORITHMS: Final = frozenset(name for name in ALGORITHMS if not name.startswith("HS"))
_RSA_ALGORITHMS: Final = frozenset(name for name in ALGORITHMS if name.startswith(("RS", "PS")))
_EC_ALGORITHMS: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
# RFC 7518 §3.2: a secret is at least as long as the hash.
_SECRET_BYTES_MIN: Final = {"HS256": HS256_BYTES_MIN, "HS384": 48, "HS512": 64}

# RFC 9864 renames EdDSA for Ed25519; others know only the old name, so that is ours. "ES521" is how one key in Project
# Wycheproof spells the only algorithm that its curve has.
_OTHER_SPELLINGS: Final = {"Ed25519": "EdDSA", "ES521": "ES512"}


def canonical_algorithm(name: str) -> str:
    """The spelling under which ALGORITHMS lists `name`; a name that it does not list stays as it is."""
    return _OTHER_SPELLINGS.get(name, name)


def algorithms_for(key: object) -> frozenset[str]:
    """All algorithms that a public key or a secret is fit for; empty for a key that is too small or of another kind."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        name = _EC_ALGORITHMS.get(key.curve.name)
        return frozenset({name} if name else ())
    if isinstance(key, ed25519.Ed25519PublicKey):
        return frozenset({"EdDSA"})
    if isinstance(key, rsa.RSAPublicKey):
        return _RSA_ALGORITHMS if RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX else frozenset()
    if isinstance(key, bytes):
        return frozenset(name for name, size in _SECRET_BYTES_MIN.items() if len(key) >= size)
    return frozenset()
