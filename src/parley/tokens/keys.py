"""Keys that sign and keys that verify: making them, reading them from PEM and JWK, finding the one that a token names.

Reads no file and asks no server: whoever holds a text hands it in.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509 import load_pem_x509_certificate
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from parley.tokens.algorithms import ALGORITHMS, OWN_ALGORITHMS, algorithms_for, canonical_algorithm

Jwk = Mapping[str, Any]

# Only these members of a JWK are the public key (RFC 7638 §3.2); all else that a JWK carries is dropped on reading.
_PUBLIC_MEMBERS: Final = {"EC": ("crv", "x", "y"), "OKP": ("crv", "x"), "RSA": ("n", "e"), "oct": ("k",)}
_PRIVATE_MEMBERS: Final = {"EC": ("d",), "OKP": ("d",), "RSA": ("d", "p", "q", "dp", "dq", "qi"), "oct": ()}
_JOSE_KEYS: Final[Mapping[str, Any]] = {"EC": ECKey, "OKP": OKPKey, "RSA": RSAKey, "oct": OctKey}
_KID_CHARS_MAX: Final = 1024
# The order in which a key without a word about it is taken to sign.
_SIGNS_WITH: Final = ("ES256", "EdDSA", "RS256", "HS256")


class KeyUnusable(ValueError):
    """A text is no key, or a key that may not be used here; the message says why and never quotes it."""


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key, or a shared secret, with the algorithms that it is pinned to.

    `algorithms` has one name, unless the key is a JWK without `alg`: then it has all of its family, never of another.
    `kid` is None only for a key that serves whatever a token names (KeySet.find).
    """

    kid: str | None
    algorithms: frozenset[str]
    _key: Any = field(repr=False, hash=False)
    _jose_key: Any = field(repr=False, compare=False)

    @classmethod
    def from_jwk(cls, jwk: str | Jwk, *, algorithm: str | None = None) -> Self:
        """Read a JWK, the public half of a private one included; `algorithm` pins one that has no `alg`.

        Raises: KeyUnusable: no such key type, `use` or `key_ops` that do not allow verifying, an `alg` of another kind,
        RSA under 2048 bits, HMAC secrets shorter than their hash.
        Source: RFC 7517 §4, RFC 7518 §6, RFC 8037 §2.
        """
        members = _members(jwk)
        _require_operation(members, "verify")
        jose_key = _read_jwk(members, private=False)
        return cls._pinned(jose_key, members.get("kid"), members.get("alg"), algorithm)

    @classmethod
    def from_pem(cls, pem: str, *, algorithm: str | None = None, kid: str | None = None) -> Self:
        """Read a public key or a certificate in PEM; `kid` is its RFC 7638 thumbprint unless given.

        Raises: KeyUnusable.
        """
        try:
            public: object
            if "CERTIFICATE" in pem:
                public = load_pem_x509_certificate(pem.encode()).public_key()
            else:
                public = serialization.load_pem_public_key(pem.encode())
        except (ValueError, UnsupportedAlgorithm):
            raise KeyUnusable("this is no public key in PEM") from None
        jose_key = _jose_key_of(public)
        return cls._pinned(jose_key, kid or jose_key.thumbprint(), None, algorithm)

    @classmethod
    def from_secret(cls, secret: str | bytes, *, algorithm: str = "HS256", kid: str | None = None) -> Self:
        """A shared secret (text counts as UTF-8). Without `kid` it serves whatever `kid` a token names, if it is alone.

        Raises: KeyUnusable for under 32 bytes, or for what is really a public key.
        """
        return cls._pinned(_read_secret(secret), kid, None, algorithm)

    @classmethod
    def _pinned(cls, jose_key: Any, kid: object, alg: object, algorithm: str | None) -> Self:
        if not (kid is None or (isinstance(kid, str) and len(kid) <= _KID_CHARS_MAX)):
            raise KeyUnusable("its kid is no short string")
        if not (alg is None or isinstance(alg, str)):
            raise KeyUnusable("its alg is no string")
        public = jose_key.public_key
        algorithms = algorithms_for(public)
        if not algorithms:
            raise KeyUnusable("it is too small, or of a kind that signs no tokens")
        for name in (alg, algorithm):
            if name is not None:
                algorithms &= {canonical_algorithm(name)}
        if not algorithms:
            raise KeyUnusable(f"it may not be used with {algorithm or alg}")
        return cls(kid, algorithms, public, jose_key)

    def verifies(self, algorithm: str, signing_input: bytes, signature: bytes) -> bool:
        """Say whether `signature` is right; asking for an algorithm that the key is not pinned to is a bug."""
        assert algorithm in self.algorithms
        return ALGORITHMS[algorithm].verify(self._key, signing_input, signature)

    @property
    def is_secret(self) -> bool:
        """True for a shared secret, which may never be published."""
        return isinstance(self._key, bytes)

    def to_jwk(self) -> dict[str, Any]:
        """The public JWK, with `use`, and with `alg` and `kid` where there is one.

        Raises: ValueError for a shared secret.
        """
        if self.is_secret:
            raise ValueError("a shared secret has no public JWK")
        named = {"kid": self.kid} if self.kid is not None else {}
        pinned = {"alg": next(iter(self.algorithms))} if len(self.algorithms) == 1 else {}
        return {**_members_of(self._jose_key, private=False), "use": "sig", **pinned, **named}


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key, or a shared secret, that signs with one algorithm; `kid` is its RFC 7638 thumbprint."""

    kid: str
    algorithm: str
    verifying_key: VerifyingKey
    _key: Any = field(repr=False, compare=False)
    _jose_key: Any = field(repr=False, compare=False)

    @classmethod
    def generate(cls, algorithm: str = "ES256") -> Self:
        """Make a new key for ES256, EdDSA (Ed25519), RS256 or HS256.

        Raises: KeyUnusable for any other algorithm.
        """
        match canonical_algorithm(algorithm):
            case "ES256":
                return cls._pinned(ECKey.generate_key("P-256"), "ES256")
            case "EdDSA":
                return cls._pinned(OKPKey.generate_key("Ed25519"), "EdDSA")
            case "RS256":
                return cls._pinned(RSAKey.generate_key(2048), "RS256")
            case "HS256":
                return cls._pinned(OctKey.generate_key(256), "HS256")
            case _:
                raise KeyUnusable(f"no keys are made for {algorithm}")

    @classmethod
    def from_pem(cls, pem: str, *, algorithm: str | None = None) -> Self:
        """Read an unencrypted private key in PEM.

        Raises: KeyUnusable.
        """
        try:
            private = serialization.load_pem_private_key(pem.encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise KeyUnusable("this is no unencrypted private key in PEM") from None
        return cls._pinned(_jose_key_of(private), algorithm)

    @classmethod
    def from_jwk(cls, jwk: str | Jwk) -> Self:
        """Read a private JWK; `use` and `key_ops` must allow signing. Its own `kid`, where it has one, stays.

        Raises: KeyUnusable.
        """
        members = _members(jwk)
        _require_operation(members, "sign")
        kid, alg = members.get("kid"), members.get("alg")
        if not (alg is None or isinstance(alg, str)):
            raise KeyUnusable("its alg is no string")
        return cls._pinned(_read_jwk(members, private=True), alg, kid)

    @classmethod
    def from_secret(cls, secret: str | bytes) -> Self:
        """A shared secret for HS256: at least 32 bytes (text counts as UTF-8).

        Raises: KeyUnusable.
        """
        return cls._pinned(_read_secret(secret), "HS256")

    @classmethod
    def _pinned(cls, jose_key: Any, algorithm: str | None, kid: object = None) -> Self:
        possible = algorithms_for(jose_key.public_key) & OWN_ALGORITHMS
        if algorithm is None:
            algorithm = next((name for name in _SIGNS_WITH if name in possible), "any algorithm we sign with")
        algorithm = canonical_algorithm(algorithm)
        if algorithm not in possible:
            raise KeyUnusable(f"it is too small, or of a kind that does not sign with {algorithm}")
        verifying_key = VerifyingKey._pinned(
            jose_key, jose_key.thumbprint() if kid is None else kid, algorithm, algorithm
        )
        assert verifying_key.kid is not None
        return cls(verifying_key.kid, algorithm, verifying_key, jose_key.private_key, jose_key)

    def sign(self, signing_input: bytes) -> bytes:
        """The signature in the form that a JWS has it."""
        return ALGORITHMS[self.algorithm].sign(self._key, signing_input)

    def to_pem(self) -> str:
        """The private key, PKCS #8 in PEM, unencrypted: for a file that only its owner reads.

        Raises: ValueError for a shared secret; `to_jwk` writes that.
        """
        if self.verifying_key.is_secret:
            raise ValueError("a shared secret has no PEM")
        pem: bytes = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return pem.decode("ascii")

    def to_jwk(self) -> dict[str, Any]:
        """The private JWK: for a file that only its owner reads."""
        return {**_members_of(self._jose_key, private=True), "use": "sig", "alg": self.algorithm, "kid": self.kid}


class KeySet:
    """Some verifying keys, never changed: replace the set to rotate.

    Of two keys with one `kid` the first counts. `unusable` says of a JWKS why keys of it were left out.
    """

    __slots__ = ("_by_kid", "_keys", "_without_kid", "unusable")

    def __init__(
        self,
        keys: Iterable[VerifyingKey | SigningKey] = (),
        *,
        only_key_serves: bool = False,
        unusable: tuple[str, ...] = (),
    ) -> None:
        """`only_key_serves`: a set of one key checks tokens without `kid` too."""
        self._keys = tuple(key.verifying_key if isinstance(key, SigningKey) else key for key in keys)
        self._by_kid = {key.kid: key for key in reversed(self._keys) if key.kid is not None}
        only = self._keys[0] if len(self._keys) == 1 else None
        self._without_kid = only if only is not None and (only_key_serves or only.kid is None) else None
        self.unusable = unusable

    @classmethod
    def from_jwks(cls, jwks: str | Jwk, *, algorithm: str | None = None, only_key_serves: bool = False) -> Self:
        """Read a JWK set, leaving out the keys that cannot be used here; `algorithm` pins those without `alg`.

        Raises: KeyUnusable if it is no JWK set at all.
        Source: RFC 7517 §5.
        """
        listed = _members(jwks).get("keys")
        if not isinstance(listed, list):
            raise KeyUnusable("this is no JWK set: it has no list of keys")
        keys, unusable = [], []
        for place, jwk in enumerate(listed):
            try:
                keys.append(VerifyingKey.from_jwk(jwk, algorithm=algorithm))
            except KeyUnusable as reason:
                unusable.append(f"key {place}: {reason}")
        return cls(keys, only_key_serves=only_key_serves, unusable=tuple(unusable))

    def find(self, kid: str | None) -> VerifyingKey | None:
        """The key for a token that names `kid`, or names none.

        A key without a `kid` of its own serves any token, if it is the only one; without `kid` in the token there is
        nothing else to find, but for the only key of a set made with `only_key_serves`.
        """
        if kid is None:
            return self._without_kid
        key = self._by_kid.get(kid)
        if key is None and self._without_kid is not None and self._without_kid.kid is None:
            return self._without_kid
        return key

    def __contains__(self, kid: object) -> bool:
        """Say whether a key of the set has exactly this `kid`."""
        return kid in self._by_kid

    def __iter__(self) -> Iterator[VerifyingKey]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeySet) and (self._keys, self._without_kid) == (other._keys, other._without_kid)

    def __hash__(self) -> int:
        return hash(self._keys)

    def __repr__(self) -> str:
        return f"KeySet({', '.join(str(key.kid) for key in self._keys)})"

    def to_jwks(self) -> dict[str, list[dict[str, Any]]]:
        """The set as others may see it: RFC 7517 §5, public keys only, so `{"keys": []}` with HS256."""
        return {"keys": [key.to_jwk() for key in self._keys if not key.is_secret]}


def _members(jwk: object) -> Mapping[str, Any]:
    if isinstance(jwk, str):
        try:
            jwk = json.loads(jwk)
        except (ValueError, RecursionError):
            raise KeyUnusable("this is not JSON") from None
    if not isinstance(jwk, Mapping):
        raise KeyUnusable("this is no JSON object")
    return jwk


def _require_operation(members: Jwk, operation: str) -> None:
    """RFC 7517 §4.2, §4.3: where a JWK says what it is for, that must be what we are about to do."""
    if members.get("use", "sig") != "sig":
        raise KeyUnusable("its use is not sig")
    operations = members.get("key_ops", [operation])
    if not isinstance(operations, list) or operation not in operations:
        raise KeyUnusable(f"its key_ops do not have {operation}")


def _read_jwk(members: Jwk, *, private: bool) -> Any:
    kty = members.get("kty")
    if not isinstance(kty, str) or kty not in _JOSE_KEYS:
        raise KeyUnusable("its kty is none we know")
    wanted = _PUBLIC_MEMBERS[kty] + (_PRIVATE_MEMBERS[kty] if private else ())
    material = {"kty": kty} | {name: members[name] for name in wanted if name in members}
    if private and kty != "oct" and "d" not in material:
        raise KeyUnusable("it is a public key")
    try:
        return _JOSE_KEYS[kty].import_key(material)
    # joserfc passes on whatever its parts raise on odd values; none of it means anything but "not a key".
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, IndexError, UnsupportedAlgorithm):
        raise KeyUnusable("its members make no key") from None


def _read_secret(secret: str | bytes) -> Any:
    octets = secret.encode("utf-8") if isinstance(secret, str) else secret
    if not algorithms_for(octets):
        raise KeyUnusable("a secret has at least 32 bytes")
    try:
        # Refuses what parses as a public key: RFC 8725 §2.1, a public key used as an HMAC secret.
        return OctKey.import_key(octets)
    except ValueError:
        raise KeyUnusable("this is a public key, not a secret") from None


def _jose_key_of(key: object) -> Any:
    match key:
        case ec.EllipticCurvePrivateKey() | ec.EllipticCurvePublicKey():
            kind: Any = ECKey
        case ed25519.Ed25519PrivateKey() | ed25519.Ed25519PublicKey():
            kind = OKPKey
        case rsa.RSAPrivateKey() | rsa.RSAPublicKey():
            kind = RSAKey
        case _:
            raise KeyUnusable("it is of a kind that signs no tokens")
    try:
        jose_key = kind.import_key(key)
        jose_key.thumbprint()
    except (JoseError, ValueError, KeyError):
        raise KeyUnusable("it is of a curve that signs no tokens") from None
    return jose_key


def _members_of(jose_key: Any, *, private: bool) -> dict[str, Any]:
    members: Mapping[str, Any] = jose_key.dict_value
    kty = members["kty"]
    wanted = _PUBLIC_MEMBERS[kty] + (_PRIVATE_MEMBERS[kty] if private else ())
    return {"kty": kty} | {name: members[name] for name in wanted if name in members}
