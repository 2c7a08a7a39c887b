"""Every way in which a token is bad, each refused by its exact code, and of two faults the one that comes first."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from parley.tokens import TOKEN_CODES, KeySet, RevocationSet, TokenRefused, TrustedIssuer, Verifier, VerifyingKey
from tests.tokens.forge import (
    KEY,
    NOW,
    OTHER_KEY,
    OTHER_PRIVATE,
    PRIVATE,
    RSA_KEY,
    SECRET,
    b64,
    claims,
    dump,
    header,
    private_of,
    resigned,
    token,
)

PARTNER = TrustedIssuer("acme", "https://acme.example", "chat", keys=KeySet([OTHER_KEY]))
PHP = TrustedIssuer("php", "https://php.example", "chat", keys=KeySet([VerifyingKey.from_secret(SECRET)]))
ONLY_RS = TrustedIssuer("only-rs", "https://rs.example", "chat", keys=KeySet([RSA_KEY]), algorithms=("RS256",))
IDENTITY = TrustedIssuer(
    "login", "https://login.example", "chat", keys=KeySet([VerifyingKey.from_secret(SECRET)]), use="identity"
)
NOW_FOR_EXTERNAL = {"iss": "https://acme.example", "aud": "chat", "sub": "u1", "iat": NOW, "exp": NOW + 60}


def verifier(revocations: RevocationSet | None = None) -> Verifier:
    return Verifier(KeySet([KEY, RSA_KEY]), trusted_issuers=[PARTNER, PHP, ONLY_RS, IDENTITY], revocations=revocations)


def code_of(bad_token: str, *, now_s: float = NOW) -> str:
    with pytest.raises(TokenRefused) as refusal:
        verifier().verify(bad_token, now_s)
    assert bad_token == "" or bad_token not in str(refusal.value)
    return refusal.value.code


PUBLIC_PEM = PRIVATE.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
PUBLIC_DER = PRIVATE.public_key().public_bytes(
    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
)
GOOD = token()
HEAD, PAYLOAD, SIGNATURE = GOOD.split(".")
OCTETS = base64.urlsafe_b64decode(SIGNATURE + "==")
ATTACKERS_JWK = OTHER_KEY.verifying_key.to_jwk()
SPARE_BITS = b64(dump(claims(sub="adaa")))


def external(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in {**NOW_FOR_EXTERNAL, **changes}.items() if value is not None}


def by_partner(head: dict[str, Any] | None = None, **changes: Any) -> str:
    return token(header(kid=OTHER_KEY.kid, **(head or {})), external(**changes), OTHER_PRIVATE)


def by_php(head: dict[str, Any] | None = None, **changes: Any) -> str:
    first = {"typ": "JWT", "alg": "HS256"} | (head or {})
    return token(first, external(iss="https://php.example", **changes), SECRET.encode())


def with_spare_bits(part: str) -> str:
    """The same octets in another spelling: bits of the last character that carry nothing are set."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert len(part) % 4 in (2, 3)
    return part[:-1] + alphabet[alphabet.index(part[-1]) + 1]


def not_a_multiple_of_three(payload: dict[str, Any]) -> bytes:
    written = dump(payload)
    return written if len(written) % 3 else written + b" "


BAD_TOKENS: dict[str, tuple[str, str]] = {
    # Not a compact JWS at all.
    "nothing": ("token_malformed", ""),
    "one part": ("token_malformed", HEAD),
    "two parts": ("token_malformed", f"{HEAD}.{PAYLOAD}"),
    "four parts": ("token_malformed", f"{GOOD}.AA"),
    "five parts, as a JWE has": ("token_malformed", f"{GOOD}.AA.AA"),
    "the JSON serialization": (
        "token_malformed",
        dump({"protected": HEAD, "payload": PAYLOAD, "signature": SIGNATURE}).decode(),
    ),
    "the scheme left on": ("token_malformed", f"Bearer {GOOD}"),
    "a space before": ("token_malformed", f" {GOOD}"),
    "a newline after": ("token_malformed", f"{GOOD}\n"),
    "not ASCII": ("token_malformed", f"{GOOD}é"),
    "a lone surrogate": ("token_malformed", f"{GOOD}\ud800"),
    "over 8 KiB": ("token_malformed", token(payload=claims(name="n" * 6200))),
    # Base64url that is not strict.
    "padding after the signature": ("token_malformed", f"{GOOD}=="),
    "padding after the header": (
        "token_malformed",
        resigned(f"{b64(dump(header()) + b' ' * (2 - len(dump(header())) % 3))}=.{PAYLOAD}"),
    ),
    "padding after the payload": ("token_malformed", resigned(f"{HEAD}.{PAYLOAD}=")),
    "the standard alphabet": ("token_malformed", resigned(f"{HEAD}.{b64(dump(claims()))[:-3]}+/a")),
    "a stray character in the signature": ("token_malformed", f"{HEAD}.{PAYLOAD}.{SIGNATURE[:-1]}!"),
    "a line break in the payload": ("token_malformed", resigned(f"{HEAD}.{PAYLOAD[:40]}\n{PAYLOAD[40:]}")),
    "a length that base64 cannot have": ("token_malformed", f"{HEAD}.{PAYLOAD}.{SIGNATURE[:-1]}"),
    "spare bits in the signature": ("token_malformed", f"{HEAD}.{PAYLOAD}.{with_spare_bits(SIGNATURE)}"),
    "spare bits in the payload": (
        "token_malformed",
        resigned(f"{HEAD}.{with_spare_bits(b64(not_a_multiple_of_three(claims())))}"),
    ),
    "spare bits in the header": (
        "token_malformed",
        resigned(f"{with_spare_bits(b64(not_a_multiple_of_three(header())))}.{PAYLOAD}"),
    ),
    # Headers that are no header.
    "an empty header": ("token_malformed", f".{PAYLOAD}.{SIGNATURE}"),
    "a header that is not JSON": ("token_malformed", token(b"{alg:ES256}")),
    "a header that is a list": ("token_malformed", token(b'["ES256"]')),
    "a header in Latin-1": ("token_malformed", token(dump(header())[:-1] + b',"x":"\xe9"}')),
    "a header with alg twice": ("token_malformed", token(b'{"alg":"none",' + dump(header())[1:])),
    "a header without alg": ("token_malformed", token(header(alg=None))),
    "an alg that is a number": ("token_malformed", token(header(alg=256))),
    "an alg that is a list": ("token_malformed", token(header(alg=["ES256"]))),
    "a kid that is a number": ("token_malformed", token(header(kid=7))),
    "a kid that is null": ("token_malformed", token(dump(header(kid=None))[:-1] + b',"kid":null}')),
    "a typ that is a list": ("token_malformed", token(header(typ=["at+jwt"]))),
    "crit": ("token_malformed", token(header(crit=["exp"], exp=NOW + 60))),
    "an empty crit": ("token_malformed", token(header(crit=[]))),
    "crit with an unencoded payload": ("token_malformed", token(header(crit=["b64"], b64=False))),
    # Payloads that are no claims.
    "an empty payload": ("token_malformed", resigned(f"{HEAD}.")),
    "a payload that is not JSON": ("token_malformed", token(payload=b"hello")),
    "a payload that is a string": ("token_malformed", token(payload=b'"hello"')),
    "a payload with sub twice": ("token_malformed", token(payload=b'{"sub":"admin",' + dump(claims())[1:])),
    "a member twice deep inside": ("token_malformed", token(payload=dump(claims())[:-1] + b',"x":{"a":1,"a":2}}')),
    "NaN": ("token_malformed", token(payload=dump(claims(exp=None))[:-1] + b',"exp":NaN}')),
    "NaN in a claim that nobody reads": ("token_malformed", token(payload=dump(claims())[:-1] + b',"x":NaN}')),
    "an exp of infinity": ("token_malformed", token(payload=dump(claims(exp=None))[:-1] + b',"exp":1e999}')),
    "brackets deeper than any stack": ("token_malformed", token(payload=b"[" * 5000)),
    "a payload with a byte order mark": ("token_malformed", token(payload=b"\xef\xbb\xbf" + dump(claims()))),
    # Claims of the wrong JSON type.
    "an iss that is a list": ("token_malformed", token(payload=claims(iss=["parley"]))),
    "an iss that is null": ("token_malformed", token(payload=dump(claims(iss=None))[:-1] + b',"iss":null}')),
    "an aud that is a number": ("token_malformed", token(payload=claims(aud=1))),
    "an aud with a number": ("token_malformed", token(payload=claims(aud=["parley", 1]))),
    "a sub that is a number": ("token_malformed", token(payload=claims(sub=7))),
    "an empty sub": ("token_malformed", token(payload=claims(sub=""))),
    "a sub with a space": ("token_malformed", token(payload=claims(sub="ada l"))),
    "a sub with a newline at its end": ("token_malformed", token(payload=claims(sub="ada\n"))),
    "a sub that is not ASCII": ("token_malformed", token(payload=claims(sub="adá"))),
    "a sub of 321 characters": ("token_malformed", token(payload=claims(sub="a" * 321))),
    "an exp that is a string": ("token_malformed", token(payload=claims(exp=str(NOW + 60)))),
    "an exp that is true": ("token_malformed", token(payload=claims(exp=True))),
    "an exp beyond 2^53": ("token_malformed", token(payload=claims(exp=2**60))),
    "an iat that is an object": ("token_malformed", token(payload=claims(iat={}))),
    "an nbf that is a string": ("token_malformed", token(payload=claims(nbf="now"))),
    "a jti that is a number": ("token_malformed", token(payload=claims(jti=1))),
    "a sid that is a list": ("token_malformed", token(payload=claims(sid=["s"]))),
    "a type that nobody knows": ("token_malformed", token(payload=claims(type="robot"))),
    "roles that are a string": ("token_malformed", token(payload=claims(roles="admin"))),
    "roles with a number": ("token_malformed", token(payload=claims(roles=["member", 1]))),
    "a role that nobody knows": ("token_malformed", token(payload=claims(roles=["root"]))),
    "a name that is a number": ("token_malformed", token(payload=claims(name=1))),
    "a name that is half a character": ("token_malformed", token(payload=claims(name="\ud800"))),
    "grants that are a list": ("token_malformed", token(payload=claims(grants=["room:x"]))),
    "grants with a star in the middle": ("token_malformed", token(payload=claims(grants={"room:a*b": ["read"]}))),
    "grants on something unknown": ("token_malformed", token(payload=claims(grants={"planet:x": ["read"]}))),
    "grants of an unknown action": ("token_malformed", token(payload=claims(grants={"room:x": ["dance"]}))),
    "grants of a bare string": ("token_malformed", token(payload=claims(grants={"room:x": "read"}))),
    "grants that are null": ("token_malformed", token(payload=dump(claims())[:-1] + b',"grants":null}')),
    # Algorithms: RFC 8725 §2.1, §3.1.
    "alg none without a signature": ("token_unsupported_algorithm", token(header(alg="none"), key=None)),
    "alg none with a signature": ("token_unsupported_algorithm", token(header(alg="none"))),
    "alg None": ("token_unsupported_algorithm", token(header(alg="None"), key=None)),
    "alg NONE without kid": ("token_unsupported_algorithm", token(header(alg="NONE", kid=None), key=None)),
    "an empty alg": ("token_unsupported_algorithm", token(header(alg=""))),
    "alg es256 in small letters": ("token_unsupported_algorithm", token(header(alg="es256"))),
    "HS256 with the public key as PEM": ("token_unsupported_algorithm", token(header(alg="HS256"), key=PUBLIC_PEM)),
    "HS256 with the public key as DER": ("token_unsupported_algorithm", token(header(alg="HS256"), key=PUBLIC_DER)),
    "HS256 with the key's own JWK": (
        "token_unsupported_algorithm",
        token(header(alg="HS256"), key=dump(KEY.verifying_key.to_jwk())),
    ),
    "RS256 under the kid of an ES256 key": (
        "token_unsupported_algorithm",
        token(header(alg="RS256"), key=private_of(RSA_KEY)),
    ),
    "PS256 under our RS256 key": (
        "token_unsupported_algorithm",
        token(header(alg="PS256", kid=RSA_KEY.kid), key=private_of(RSA_KEY)),
    ),
    "ES384 under our ES256 key": ("token_unsupported_algorithm", token(header(alg="ES384"))),
    "an algorithm that the issuer's settings do not list": (
        "token_unsupported_algorithm",
        token(header(alg="ES256", kid="k"), external(iss="https://rs.example")),
    ),
    # Keys: RFC 8725 §2.6, §3.10.
    "a kid that nobody has": ("token_unknown_key", token(header(kid="nobody"))),
    "no kid": ("token_unknown_key", token(header(kid=None))),
    "an empty kid": ("token_unknown_key", token(header(kid=""))),
    "a kid that is a path": ("token_unknown_key", token(header(kid="../../../../dev/null", alg="HS256"), key=b"")),
    "a kid that is SQL": ("token_unknown_key", token(header(kid="x' UNION SELECT 'key' -- "))),
    "a kid that is a command": ("token_unknown_key", token(header(kid="key.pem;id"))),
    "the kid of another issuer's key under our iss": (
        "token_unknown_key",
        token(header(kid=OTHER_KEY.kid), key=OTHER_PRIVATE),
    ),
    "an iss that nobody trusts": ("token_unknown_key", token(payload=claims(iss="https://evil.example"))),
    "an empty iss": ("token_unknown_key", token(payload=claims(iss=""))),
    "an embedded jwk in place of a kid": (
        "token_unknown_key",
        token(header(kid=None, jwk=ATTACKERS_JWK), key=OTHER_PRIVATE),
    ),
    "no kid under an issuer with a JWKS": (
        "token_unknown_key",
        token(header(kid=None), external(), OTHER_PRIVATE),
    ),
    # Signatures.
    "no signature": ("token_bad_signature", f"{HEAD}.{PAYLOAD}."),
    "half a signature": ("token_bad_signature", f"{HEAD}.{PAYLOAD}.{SIGNATURE[:44]}"),
    "a signature of zeros, the psychic one": ("token_bad_signature", f"{HEAD}.{PAYLOAD}.{b64(bytes(64))}"),
    "a signature in DER": (
        "token_bad_signature",
        f"{HEAD}.{PAYLOAD}.{b64(bytes.fromhex('3006020101020101'))}",
    ),
    "a signature with a zero between R and S": (
        "token_bad_signature",
        f"{HEAD}.{PAYLOAD}.{b64(OCTETS[:32] + bytes(1) + OCTETS[32:])}",
    ),
    "another token's signature": (
        "token_bad_signature",
        f"{HEAD}.{PAYLOAD}.{token(payload=claims(sub='ben')).split('.')[2]}",
    ),
    "another's key": ("token_bad_signature", token(key=OTHER_PRIVATE)),
    "a payload exchanged": ("token_bad_signature", f"{HEAD}.{b64(dump(claims(roles=['admin'])))}.{SIGNATURE}"),
    "an embedded jwk beside our kid": ("token_bad_signature", token(header(jwk=ATTACKERS_JWK), key=OTHER_PRIVATE)),
    "a jku": (
        "token_bad_signature",
        token(header(jku="https://evil.example/jwks.json"), key=OTHER_PRIVATE),
    ),
    "an x5u": ("token_bad_signature", token(header(x5u="https://evil.example/cert.pem"), key=OTHER_PRIVATE)),
    "an x5c": ("token_bad_signature", token(header(x5c=["MIIB"]), key=OTHER_PRIVATE)),
    "an empty secret": ("token_bad_signature", token({"alg": "HS256"}, external(iss="https://php.example"), b"")),
    "our key under a partner's kid and iss": (
        "token_bad_signature",
        token(header(kid=OTHER_KEY.kid), external(), PRIVATE),
    ),
    # Types: RFC 8725 §3.11.
    "typ JWT": ("token_wrong_type", token(header(typ="JWT"))),
    "no typ": ("token_wrong_type", token(header(typ=None))),
    "an ID token's typ": ("token_wrong_type", token(header(typ="id_token+jwt"))),
    "a logout token": ("token_wrong_type", token(header(typ="logout+jwt"))),
    "a partner's logout token": ("token_wrong_type", by_partner({"typ": "logout+jwt"})),
    "an identity token": (
        "token_wrong_type",
        token({"alg": "HS256"}, external(iss="https://login.example"), SECRET.encode()),
    ),
    # Claims that are missing.
    **{
        f"no {claim}": ("token_claim_missing", token(payload=claims(**{claim: None})))
        for claim in ("iss", "aud", "sub", "iat", "exp", "jti", "sid", "type", "roles")
    },
    "a guest without a conversation": ("token_claim_missing", token(payload=claims(type="guest", roles=["guest"]))),
    "a partner's without exp": ("token_claim_missing", by_partner(exp=None)),
    "a partner's without aud": ("token_claim_missing", by_partner(aud=None)),
    # Issuers and audiences: RFC 8725 §3.8, §3.9.
    "our kid under another trusted iss": ("token_wrong_issuer", token(payload=claims(iss="https://acme.example"))),
    "our kid under an issuer with a shared secret": (
        "token_wrong_issuer",
        token(payload=claims(iss="https://php.example")),
    ),
    "our kid under an issuer that lists only RS256": (
        "token_wrong_issuer",
        token(payload=claims(iss="https://rs.example")),
    ),
    "another audience": ("token_wrong_audience", token(payload=claims(aud="other"))),
    "a list of other audiences": ("token_wrong_audience", token(payload=claims(aud=["a", "b"]))),
    "an empty list of audiences": ("token_wrong_audience", token(payload=claims(aud=[]))),
    "an audience that only begins like ours": ("token_wrong_audience", token(payload=claims(aud="parley-admin"))),
    "a partner's for our own audience": ("token_wrong_audience", by_partner(aud="parley")),
    # Times.
    "an nbf in 6 s": ("token_not_yet_valid", token(payload=claims(nbf=NOW + 6))),
    "an iat in 6 s": ("token_not_yet_valid", token(payload=claims(iat=NOW + 6))),
    "an iat in 6 s beside an nbf of yesterday": (
        "token_not_yet_valid",
        token(payload=claims(iat=NOW + 6, nbf=NOW - 86400)),
    ),
    "expired this very second": ("token_expired", token(payload=claims(exp=NOW))),
    "expired a second ago": ("token_expired", token(payload=claims(exp=NOW - 1))),
    "expired a fraction ago": ("token_expired", token(payload=claims(exp=NOW - 0.001))),
    "expired in 1969": ("token_expired", token(payload=claims(exp=-1))),
    "a partner's that expired 5 s ago": ("token_expired", by_partner(exp=NOW - 5)),
    "a shared secret's that expired 5 s ago": ("token_expired", by_php(exp=NOW - 5)),
}


@pytest.mark.parametrize("name", BAD_TOKENS)
def test_a_bad_token_is_refused_by_its_code(name: str) -> None:
    code, bad_token = BAD_TOKENS[name]
    assert code_of(bad_token) == code


def test_the_table_of_bad_tokens_has_at_least_sixty_and_every_code_of_a_bad_token() -> None:
    assert len(BAD_TOKENS) >= 60
    codes = {code for code, _ in BAD_TOKENS.values()}
    not_of_a_token = {
        "unsupported_subprotocol",
        "ambiguous_credentials",
        "carrier_disabled",
        "token_missing",
        "ticket_invalid",
        "subject_mismatch",
    }
    assert codes == set(TOKEN_CODES) - not_of_a_token - {"token_revoked"}


def test_the_token_that_all_bad_ones_are_made_from_is_good() -> None:
    assert verifier().verify(GOOD, NOW).sub == "ada"
    assert verifier().verify(by_partner(), NOW).sub == "acme:u1"
    assert verifier().verify(by_php(), NOW).sub == "php:u1"
    assert verifier().verify(token(payload=not_a_multiple_of_three(claims())), NOW).sub == "ada"


@dataclass(frozen=True)
class Draft:
    """A token before it is signed, to lay faults into."""

    head: dict[str, Any] = field(default_factory=header)
    payload: dict[str, Any] = field(default_factory=claims)
    key: Any = PRIVATE

    def heads(self, **changes: Any) -> Draft:
        return replace(self, head=self.head | changes)

    def claims(self, **changes: Any) -> Draft:
        return replace(self, payload={k: v for k, v in (self.payload | changes).items() if v is not None})


# In the order of the contract.
FAULTS: list[tuple[str, Callable[[Draft], Draft]]] = [
    ("token_malformed", lambda draft: draft.claims(exp="soon")),
    ("token_malformed", lambda draft: draft.heads(crit=["exp"])),
    ("token_unsupported_algorithm", lambda draft: draft.heads(alg="none")),
    ("token_unknown_key", lambda draft: draft.heads(kid="nobody")),
    ("token_unsupported_algorithm", lambda draft: draft.heads(alg="RS256")),
    ("token_bad_signature", lambda draft: replace(draft, key=OTHER_PRIVATE)),
    ("token_wrong_type", lambda draft: draft.heads(typ="JWT")),
    ("token_claim_missing", lambda draft: draft.claims(jti=None)),
    ("token_wrong_issuer", lambda draft: draft.claims(iss="https://acme.example")),
    ("token_wrong_audience", lambda draft: draft.claims(aud="other")),
    ("token_not_yet_valid", lambda draft: draft.claims(nbf=NOW + 60)),
    ("token_expired", lambda draft: draft.claims(exp=NOW - 60)),
    ("token_revoked", lambda draft: draft.claims(sid="revoked")),
]


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(range(len(FAULTS)), 2)))
def test_of_two_faults_the_one_that_is_checked_first_is_reported(first: int, second: int) -> None:
    revocations = RevocationSet()
    revocations.revoke_session("revoked", until_s=NOW + 1000)
    # The earlier fault is laid in last: where both need one place, it is the one that is there.
    draft = FAULTS[first][1](FAULTS[second][1](Draft()))
    with pytest.raises(TokenRefused) as refusal:
        verifier(revocations).verify(token(draft.head, draft.payload, draft.key), NOW)
    assert refusal.value.code == FAULTS[first][0]


def test_each_fault_alone_is_reported_as_itself() -> None:
    revocations = RevocationSet()
    revocations.revoke_session("revoked", until_s=NOW + 1000)
    for code, fault in FAULTS:
        draft = fault(Draft())
        with pytest.raises(TokenRefused) as refusal:
            verifier(revocations).verify(token(draft.head, draft.payload, draft.key), NOW)
        assert refusal.value.code == code


def test_a_token_of_8_kib_is_read_and_one_byte_more_is_not() -> None:
    def of_length(wanted: int) -> str:
        name = "n" * 5000
        while len(made := token(payload=claims(name=name))) < wanted:
            name += "n"
        return made

    longest = of_length(8191)
    assert len(longest) in (8191, 8192)
    assert verifier().verify(longest, NOW).sub == "ada"
    assert code_of(of_length(8193)) == "token_malformed"


def test_a_refusal_says_when_and_under_which_key_but_never_the_token() -> None:
    bad_token = token(payload=claims(exp=NOW - 90))
    with pytest.raises(TokenRefused) as refusal:
        verifier().verify(bad_token, NOW)
    assert refusal.value.facts == {"kid": KEY.kid, "issuer": "parley", "off_by_s": 90}
    assert refusal.value.status == 401
    for part in bad_token.split("."):
        assert part not in repr(refusal.value)
        assert part not in str(refusal.value)


def test_a_refusal_cuts_what_an_attacker_wrote() -> None:
    with pytest.raises(TokenRefused) as refusal:
        verifier().verify(token(header(kid="k" * 3000)), NOW)
    assert refusal.value.kid is not None
    assert len(refusal.value.kid) <= 81


def test_an_identity_token_is_accepted_as_identity_and_ours_is_not() -> None:
    identity = token(
        {"alg": "HS256"},
        external(iss="https://login.example", name="Ada", email="ada@acme.example"),
        SECRET.encode(),
    )
    claimed = verifier().verify_identity(identity, NOW)
    assert (claimed.sub, claimed.name, claimed.email) == ("login:u1", "Ada", "ada@acme.example")
    with pytest.raises(TokenRefused, match="token_wrong_type"):
        verifier().verify_identity(GOOD, NOW)
    with pytest.raises(TokenRefused, match="token_expired"):
        verifier().verify_identity(identity, NOW + 65)
