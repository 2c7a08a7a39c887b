"""`tokens/keys.py`: what is a key, what it may be used for, and which one a token finds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa, x25519

from parley.tokens import ALGORITHMS, KeySet, KeyUnusable, SigningKey, VerifyingKey
from tests.tokens.forge import KEY, OTHER_KEY, RSA_KEY, SECRET

# joserfc warns of small keys, and then we refuse them.
pytestmark = pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")

OWN = ("ES256", "EdDSA", "RS256", "HS256")


def public_pem(key: SigningKey) -> str:
    private = serialization.load_pem_private_key(key.to_pem().encode(), None)
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return private.public_key().public_bytes(encoding, form).decode()


def private_pem(private: Any) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    written: bytes = private.private_bytes(encoding, form, serialization.NoEncryption())
    return written.decode()


@pytest.mark.parametrize("algorithm", OWN)
def test_a_key_that_is_written_and_read_again_is_the_same_key(algorithm: str) -> None:
    key = RSA_KEY if algorithm == "RS256" else SigningKey.generate(algorithm)
    again = SigningKey.from_jwk(json.dumps(key.to_jwk()))
    assert (again.kid, again.algorithm) == (key.kid, algorithm)
    assert key.verifying_key.verifies(algorithm, b"text", again.sign(b"text"))
    assert not key.verifying_key.verifies(algorithm, b"other text", again.sign(b"text"))
    if algorithm != "HS256":
        from_pem = SigningKey.from_pem(key.to_pem())
        assert (from_pem.kid, from_pem.algorithm) == (key.kid, algorithm)
        assert VerifyingKey.from_pem(public_pem(key), algorithm=algorithm) == key.verifying_key
        assert VerifyingKey.from_jwk(key.verifying_key.to_jwk()) == key.verifying_key


def test_the_kid_is_the_thumbprint_of_rfc_7638() -> None:
    # RFC 7638 §3.1, the one example that the standard has.
    jwk = {
        "kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiF"
        "V4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHz"
        "u6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJz"
        "KnqDKgw",
        "e": "AQAB",
    }
    pem = _public_pem_of(VerifyingKey.from_jwk(jwk))
    assert VerifyingKey.from_pem(pem).kid == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def _public_pem_of(key: VerifyingKey) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    written: bytes = key._key.public_bytes(encoding, form)
    return written.decode()


def test_no_repr_of_a_key_shows_it() -> None:
    secret = SigningKey.from_secret(SECRET)
    for text in (repr(secret), repr(secret.verifying_key), repr(KeySet([secret])), repr(KEY), str(KEY)):
        assert SECRET not in text
        assert secret.to_jwk()["k"] not in text
        assert KEY.to_jwk()["d"] not in text


def test_the_published_set_has_public_keys_only() -> None:
    published = KeySet([KEY, RSA_KEY, SigningKey.from_secret(SECRET)]).to_jwks()["keys"]
    assert [jwk["kid"] for jwk in published] == [KEY.kid, RSA_KEY.kid]
    assert {"kty", "crv", "x", "y", "use", "alg", "kid"} == set(published[0])
    assert {"kty", "n", "e", "use", "alg", "kid"} == set(published[1])
    assert KeySet([SigningKey.from_secret(SECRET)]).to_jwks() == {"keys": []}


def test_a_private_jwk_that_is_read_as_public_publishes_no_private_member() -> None:
    key = VerifyingKey.from_jwk(KEY.to_jwk())
    assert "d" not in key.to_jwk()
    from_set = KeySet.from_jwks({"keys": [RSA_KEY.to_jwk()]}).to_jwks()["keys"][0]
    assert not {"d", "p", "q", "dp", "dq", "qi"} & set(from_set)


def changed(**changes: Any) -> dict[str, Any]:
    jwk = {"kty": "EC"} | {k: v for k, v in KEY.verifying_key.to_jwk().items() if k not in ("use", "alg", "kid")}
    return {name: value for name, value in {**jwk, **changes}.items() if value is not None}


SMALL_RSA = rsa.generate_private_key(65537, 1024)

UNUSABLE: dict[str, Any] = {
    "no object": [],
    "no JSON": "{",
    "no kty": changed(kty=None),
    "a kty that is a list": changed(kty=["EC"]),
    "a kty that nobody knows": changed(kty="AKP"),
    "use enc": changed(use="enc"),
    "use null": {**changed(), "use": None},
    "key_ops without verify": changed(key_ops=["encrypt"]),
    "key_ops that are a string": changed(key_ops="verify"),
    "empty key_ops": changed(key_ops=[]),
    "an alg of another kind of key": changed(alg="RS256"),
    "an alg of another curve": changed(alg="ES384"),
    "an alg that nobody knows": changed(alg="ES256K"),
    "alg none": changed(alg="none"),
    "an alg that is a number": changed(alg=256),
    "a kid that is a number": changed(kid=1),
    "a kid without end": changed(kid="k" * 2000),
    "no x": changed(x=None),
    "an x that is a number": changed(x=1),
    "a point that is not on the curve": changed(x=OTHER_KEY.verifying_key.to_jwk()["x"]),
    "another curve's name": changed(crv="P-384"),
    "secp256k1": changed(crv="secp256k1"),
    "x25519, which signs nothing": {"kty": "OKP", "crv": "X25519", "x": "A" * 43},
    "RSA without n": {"kty": "RSA", "e": "AQAB"},
    "RSA of 1024 bits": {"kty": "RSA", "e": "AQAB", "n": "____" * 42 + "_w"},
    "RSA of 16384 bits": {"kty": "RSA", "e": "AQAB", "n": "_" * 2731},
    "a secret of 31 bytes": {"kty": "oct", "k": "A" * 42},
    "a secret for HS512 of 32 bytes": {"kty": "oct", "k": "A" * 43, "alg": "HS512"},
    "an empty secret": {"kty": "oct", "k": ""},
    "a secret that is padded": {"kty": "oct", "k": "A" * 43 + "="},
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_jwk_that_may_not_be_used_is_refused(name: str) -> None:
    with pytest.raises(KeyUnusable):
        VerifyingKey.from_jwk(UNUSABLE[name])


def test_a_jwk_that_says_what_we_do_with_it_is_accepted() -> None:
    for jwk in (changed(), changed(use="sig"), changed(key_ops=["verify", "sign"]), changed(alg="ES256")):
        assert VerifyingKey.from_jwk(jwk).algorithms == {"ES256"}


def test_one_key_that_cannot_be_used_does_not_spoil_a_set() -> None:
    keys = KeySet.from_jwks(json.dumps({"keys": [*UNUSABLE.values(), KEY.verifying_key.to_jwk()]}))
    assert [key.kid for key in keys] == [KEY.kid]
    assert len(keys.unusable) == len(UNUSABLE)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"keys": {}}', "null", "[" * 100_000])
def test_what_is_no_jwk_set_is_refused_whole(text: str) -> None:
    with pytest.raises(KeyUnusable):
        KeySet.from_jwks(text)


NO_SIGNERS = {
    "RSA of 1024 bits": SMALL_RSA,
    "secp256k1": ec.generate_private_key(ec.SECP256K1()),
    "P-384": ec.generate_private_key(ec.SECP384R1()),
    "Ed448": ed448.Ed448PrivateKey.generate(),
    "X25519": x25519.X25519PrivateKey.generate(),
}


@pytest.mark.parametrize("private", NO_SIGNERS.values(), ids=NO_SIGNERS)
def test_a_private_key_that_we_do_not_sign_with_is_refused(private: Any) -> None:
    with pytest.raises(KeyUnusable):
        SigningKey.from_pem(private_pem(private))


def test_a_public_key_in_pem_of_1024_bits_is_refused() -> None:
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    with pytest.raises(KeyUnusable):
        VerifyingKey.from_pem(SMALL_RSA.public_key().public_bytes(encoding, form).decode())


@pytest.mark.parametrize("text", ["", "hello", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_text_that_is_no_pem_is_refused(text: str) -> None:
    with pytest.raises(KeyUnusable):
        SigningKey.from_pem(text)
    with pytest.raises(KeyUnusable):
        VerifyingKey.from_pem(text)


def test_a_key_signs_only_with_its_own_algorithm() -> None:
    with pytest.raises(KeyUnusable):
        SigningKey.from_pem(KEY.to_pem(), algorithm="RS256")
    with pytest.raises(KeyUnusable):
        SigningKey.from_pem(RSA_KEY.to_pem(), algorithm="PS256")
    with pytest.raises(KeyUnusable):
        SigningKey.generate("none")
    with pytest.raises(KeyUnusable):
        SigningKey.from_jwk(KEY.verifying_key.to_jwk())
    with pytest.raises(KeyUnusable):
        SigningKey.from_jwk({**KEY.to_jwk(), "key_ops": ["verify"]})


def test_a_secret_has_32_bytes_of_utf_8_at_least_and_is_no_public_key() -> None:
    assert SigningKey.from_secret("é" * 16).algorithm == "HS256"
    with pytest.raises(KeyUnusable):
        SigningKey.from_secret("a" * 31)
    with pytest.raises(KeyUnusable):
        VerifyingKey.from_secret("a" * 31)
    with pytest.raises(KeyUnusable):
        VerifyingKey.from_secret("a" * 47, algorithm="HS384")
    with pytest.raises(KeyUnusable):
        SigningKey.from_secret(public_pem(KEY))


def test_ed25519_is_written_eddsa_and_read_under_both_names() -> None:
    key = SigningKey.generate("Ed25519")
    assert key.algorithm == "EdDSA"
    assert key.verifying_key.to_jwk()["alg"] == "EdDSA"
    assert VerifyingKey.from_jwk({**key.verifying_key.to_jwk(), "alg": "Ed25519"}).algorithms == {"EdDSA"}


def test_a_key_without_alg_has_its_family_and_no_other() -> None:
    rsa_jwk = {k: v for k, v in RSA_KEY.verifying_key.to_jwk().items() if k in ("kty", "n", "e")}
    assert VerifyingKey.from_jwk(rsa_jwk).algorithms == {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
    assert VerifyingKey.from_jwk(rsa_jwk, algorithm="PS256").algorithms == {"PS256"}
    assert VerifyingKey.from_jwk({"kty": "oct", "k": "A" * 86}).algorithms == {"HS256", "HS384", "HS512"}
    assert VerifyingKey.from_jwk({"kty": "oct", "k": "A" * 43}).algorithms == {"HS256"}
    assert "none" not in ALGORITHMS


class TestFindingAKey:
    """Contract 1: the key that `kid` names; or the only one."""

    one = VerifyingKey.from_jwk(changed(kid="one"))
    two = VerifyingKey.from_jwk({**OTHER_KEY.verifying_key.to_jwk(), "kid": "two"})
    unnamed = VerifyingKey.from_jwk(changed())

    def test_a_kid_finds_its_key_and_another_finds_none(self) -> None:
        keys = KeySet([self.one, self.two])
        assert keys.find("two") is self.two
        assert keys.find("three") is None
        assert keys.find(None) is None
        assert "two" in keys
        assert "three" not in keys

    def test_without_a_kid_the_only_key_serves_where_the_set_says_so(self) -> None:
        assert KeySet([self.one]).find(None) is None
        assert KeySet([self.one], only_key_serves=True).find(None) is self.one
        assert KeySet([self.one], only_key_serves=True).find("two") is None
        assert KeySet([self.one, self.two], only_key_serves=True).find(None) is None

    def test_a_key_without_a_kid_serves_any_token_while_it_is_alone(self) -> None:
        assert KeySet([self.unnamed]).find("whatever") is self.unnamed
        assert KeySet([self.unnamed]).find(None) is self.unnamed
        assert KeySet([self.unnamed, self.two]).find("whatever") is None
        assert KeySet([self.unnamed, self.two]).find(None) is None

    def test_of_two_keys_with_one_kid_the_first_counts(self) -> None:
        twin = VerifyingKey.from_jwk({**OTHER_KEY.verifying_key.to_jwk(), "kid": "one"})
        assert KeySet([self.one, twin]).find("one") is self.one

    def test_sets_of_the_same_keys_are_equal(self) -> None:
        again = KeySet([VerifyingKey.from_jwk(changed(kid="one")), self.two])
        assert again == KeySet([self.one, self.two])
        assert hash(again) == hash(KeySet([self.one, self.two]))
        assert again != KeySet([self.two, self.one])
