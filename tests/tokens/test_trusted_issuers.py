"""`tokens/trusted_issuers.py`: tokens as Keycloak, Auth0, Firebase and a PHP back end issue them."""

from __future__ import annotations

from typing import Any

import pytest

from parley.tokens import AccessClaims, KeySet, TokenRefused, TrustedIssuer, Verifier, VerifyingKey
from tests.tokens.forge import KEY, NOW, OTHER_KEY, OTHER_PRIVATE, RSA_KEY, SECRET, private_of, token

RSA_JWK = {**RSA_KEY.verifying_key.to_jwk(), "kid": "rsa-1"}
RSA_PRIVATE = private_of(RSA_KEY)


def read(issuer: TrustedIssuer, head: dict[str, Any], payload: dict[str, Any], key: Any = RSA_PRIVATE) -> AccessClaims:
    return Verifier(KeySet([KEY]), trusted_issuers=[issuer]).verify(token(head, payload, key), NOW)


def code_of(issuer: TrustedIssuer, head: dict[str, Any], payload: dict[str, Any], key: Any = RSA_PRIVATE) -> str:
    with pytest.raises(TokenRefused) as refusal:
        read(issuer, head, payload, key)
    return refusal.value.code


def acme(**settings: Any) -> TrustedIssuer:
    return TrustedIssuer("acme", "https://acme.example", "chat", keys=KeySet([OTHER_KEY]), **settings)


def acme_claims(**changes: Any) -> dict[str, Any]:
    return {"iss": "https://acme.example", "aud": "chat", "sub": "u1", "iat": NOW, "exp": NOW + 60, **changes}


ACME_HEAD = {"alg": "ES256", "kid": OTHER_KEY.kid, "typ": "JWT"}


def test_a_token_of_keycloak() -> None:
    keycloak = TrustedIssuer(
        "kc",
        "https://sso.example/realms/acme",
        "account",
        keys=KeySet.from_jwks({"keys": [RSA_JWK, {**RSA_JWK, "kid": "enc-1", "use": "enc", "alg": "RSA-OAEP"}]}),
        algorithms=("RS256",),
        roles_claim="realm_access.roles",
        allowed_roles=("member", "agent"),
    )
    payload = {
        "exp": NOW + 300,
        "iat": NOW,
        "auth_time": NOW - 100,
        "jti": "onrtac:0a8f8f0c-4d7e-4b5e-9f5e-9d6c1e1b1f11",
        "iss": "https://sso.example/realms/acme",
        "aud": ["broker", "account"],
        "sub": "f:550e8400:ada",
        "typ": "Bearer",
        "azp": "web",
        "sid": "6f2b9a54-8e6f-4c3a-8a53-2f1f0d8a2b11",
        "realm_access": {"roles": ["offline_access", "agent", "admin"]},
        "resource_access": {"account": {"roles": ["manage-account"]}},
        "name": "Ada Lovelace",
        "email": "ada@acme.example",
    }
    claims = read(keycloak, {"alg": "RS256", "typ": "JWT", "kid": "rsa-1"}, payload)
    assert (claims.sub, claims.name, claims.type) == ("kc:f:550e8400:ada", "Ada Lovelace", "account")
    assert claims.roles == ("agent",)
    assert claims.sid == "6f2b9a54-8e6f-4c3a-8a53-2f1f0d8a2b11"
    # Keycloak's jti has a colon since version 26, which no id here may have.
    assert len(claims.jti) == 32


def test_a_token_of_auth0_whose_claims_are_named_by_urls() -> None:
    auth0 = TrustedIssuer(
        "acme",
        "https://acme.eu.auth0.com/",
        "https://chat.example/api",
        keys=KeySet.from_jwks({"keys": [RSA_JWK]}),
        roles_claim="https://chat.example/roles",
        allowed_roles=("member", "admin"),
        default_roles=("member",),
    )
    payload = {
        "iss": "https://acme.eu.auth0.com/",
        "sub": "auth0|5f7c8ec7c33c6c004bbafe82",
        "aud": ["https://chat.example/api", "https://acme.eu.auth0.com/userinfo"],
        "iat": NOW,
        "exp": NOW + 86400,
        "azp": "my_client_id",
        "scope": "openid profile",
        "https://chat.example/roles": ["admin"],
    }
    head = {"alg": "RS256", "typ": "at+jwt", "kid": "rsa-1"}
    claims = read(auth0, head, payload)
    assert (claims.sub, claims.name) == ("acme:auth0|5f7c8ec7c33c6c004bbafe82", "auth0|5f7c8ec7c33c6c004bbafe82")
    assert claims.roles == ("admin",)
    del payload["https://chat.example/roles"]
    assert read(auth0, head, payload).roles == ("member",)


def test_a_token_of_firebase() -> None:
    firebase = TrustedIssuer(
        "fb",
        "https://securetoken.google.com/my-project",
        "my-project",
        keys=KeySet.from_jwks({"keys": [RSA_JWK]}),
        default_roles=("member",),
    )
    payload = {
        "iss": "https://securetoken.google.com/my-project",
        "aud": "my-project",
        "auth_time": NOW - 5,
        "user_id": "Xq1",
        "sub": "Xq1",
        "iat": NOW - 5,
        "exp": NOW + 3595,
        "email": "ada@acme.example",
        "email_verified": True,
        "firebase": {"identities": {"email": ["ada@acme.example"]}, "sign_in_provider": "password"},
    }
    claims = read(firebase, {"alg": "RS256", "kid": "rsa-1", "typ": "JWT"}, payload)
    assert (claims.sub, claims.roles) == ("fb:Xq1", ("member",))


def test_a_token_of_a_php_back_end_with_a_shared_secret_and_no_kid() -> None:
    php = TrustedIssuer(
        "shop",
        "https://shop.example",
        "chat",
        keys=KeySet([VerifyingKey.from_secret(SECRET)]),
        type="service",
        default_roles=("agent",),
    )
    payload = {"iss": "https://shop.example", "aud": "chat", "sub": "42", "iat": NOW, "exp": NOW + 60}
    for head in ({"typ": "JWT", "alg": "HS256"}, {"alg": "HS256"}, {"alg": "HS256", "kid": "whatever"}):
        claims = read(php, head, payload, SECRET.encode())
        assert (claims.sub, claims.type, claims.roles) == ("shop:42", "service", ("agent",))
    assert code_of(php, {"alg": "HS256"}, payload, b"another secret that is 32 bytes.") == "token_bad_signature"
    assert code_of(php, {"alg": "RS256", "kid": "rsa-1"}, payload) == "token_unsupported_algorithm"


def test_a_shared_secret_with_a_default_kid_wants_that_kid_or_none() -> None:
    php = TrustedIssuer(
        "shop",
        "https://shop.example",
        "chat",
        keys=KeySet([VerifyingKey.from_secret(SECRET, kid="v1")]),
        default_kid="v1",
    )
    payload = {"iss": "https://shop.example", "aud": "chat", "sub": "42", "iat": NOW, "exp": NOW + 60}
    assert read(php, {"alg": "HS256", "kid": "v1"}, payload, SECRET.encode()).sub == "shop:42"
    assert read(php, {"alg": "HS256"}, payload, SECRET.encode()).sub == "shop:42"
    assert code_of(php, {"alg": "HS256", "kid": "v2"}, payload, SECRET.encode()) == "token_unknown_key"


def test_a_default_kid_serves_tokens_of_a_jwks_that_name_none() -> None:
    issuer = acme(default_kid=OTHER_KEY.kid)
    head = {"alg": "ES256", "typ": "JWT"}
    assert read(issuer, head, acme_claims(), OTHER_PRIVATE).sub == "acme:u1"
    assert code_of(acme(), head, acme_claims(), OTHER_PRIVATE) == "token_unknown_key"


def test_type_and_roles_never_come_from_claims_of_those_names() -> None:
    issuer = acme(default_roles=("member",), allowed_roles=("admin",))
    payload = acme_claims(type="service", roles=["admin"], conversation="c-1", department=7)
    claims = read(issuer, ACME_HEAD, payload, OTHER_PRIVATE)
    assert (claims.type, claims.roles, claims.conversation, claims.department) == ("account", ("member",), None, None)
    # Nor are they looked at: what the issuer means by them is its own affair.
    odd = acme_claims(type={"x": 1}, roles="admin")
    assert read(issuer, ACME_HEAD, odd, OTHER_PRIVATE).roles == ("member",)
    # Unless the settings say so.
    named = acme(roles_claim="roles", allowed_roles=("admin",))
    assert read(named, ACME_HEAD, acme_claims(roles=["admin", "root"]), OTHER_PRIVATE).roles == ("admin",)
    assert read(named, ACME_HEAD, acme_claims(roles="admin"), OTHER_PRIVATE).roles == ("admin",)
    assert code_of(named, ACME_HEAD, acme_claims(roles={"admin": True}), OTHER_PRIVATE) == "token_malformed"
    assert code_of(named, ACME_HEAD, acme_claims(roles=[1]), OTHER_PRIVATE) == "token_malformed"


def test_a_path_to_roles_that_leads_nowhere_gives_the_default() -> None:
    issuer = acme(roles_claim="a.b.roles", allowed_roles=("admin",), default_roles=("member",))
    for payload in (acme_claims(), acme_claims(a=1), acme_claims(a={"b": []}), acme_claims(a={"b": {"roles": []}})):
        assert read(issuer, ACME_HEAD, payload, OTHER_PRIVATE).roles == ("member",)
    deep = acme_claims(a={"b": {"roles": ["admin"]}})
    assert read(issuer, ACME_HEAD, deep, OTHER_PRIVATE).roles == ("admin",)


def test_a_missing_jti_is_a_hash_of_the_token_and_a_missing_sid_one_of_the_sign_in() -> None:
    first = read(acme(), ACME_HEAD, acme_claims(), OTHER_PRIVATE)
    again = read(acme(), ACME_HEAD, acme_claims(exp=NOW + 90), OTHER_PRIVATE)
    later = read(acme(), ACME_HEAD, acme_claims(iat=NOW + 1), OTHER_PRIVATE)
    other = read(acme(), ACME_HEAD, acme_claims(sub="u2"), OTHER_PRIVATE)
    assert len({first.jti, again.jti, later.jti, other.jti}) == 4
    assert first.sid == again.sid
    assert len({first.sid, later.sid, other.sid}) == 3
    given = read(acme(), ACME_HEAD, acme_claims(jti="j-1", sid="s-1"), OTHER_PRIVATE)
    assert (given.jti, given.sid) == ("j-1", "s-1")


def test_grants_narrow_an_external_token_too() -> None:
    claims = read(acme(), ACME_HEAD, acme_claims(grants={"room:a": ["read"]}), OTHER_PRIVATE)
    assert claims.grants is not None
    assert claims.grants.allows("read", "room:a")
    assert code_of(acme(), ACME_HEAD, acme_claims(grants=["x"]), OTHER_PRIVATE) == "token_malformed"


def test_a_subject_that_is_too_long_with_its_prefix_is_malformed() -> None:
    assert len(read(acme(), ACME_HEAD, acme_claims(sub="a" * 315), OTHER_PRIVATE).sub) == 320
    assert code_of(acme(), ACME_HEAD, acme_claims(sub="a" * 316), OTHER_PRIVATE) == "token_malformed"


def test_the_types_that_are_accepted_are_a_setting() -> None:
    only = acme(typ=("acme+jwt",))
    assert read(only, {**ACME_HEAD, "typ": "application/ACME+JWT"}, acme_claims(), OTHER_PRIVATE).sub == "acme:u1"
    assert code_of(only, ACME_HEAD, acme_claims(), OTHER_PRIVATE) == "token_wrong_type"
    assert code_of(only, {"alg": "ES256", "kid": OTHER_KEY.kid}, acme_claims(), OTHER_PRIVATE) == "token_wrong_type"


def test_an_email_that_the_issuer_denies_is_none() -> None:
    verifier = Verifier(KeySet([KEY]), trusted_issuers=[acme(use="identity")])
    for verified, email in ((True, "a@b.example"), (None, "a@b.example"), (False, None), ("false", None)):
        payload = acme_claims(email="a@b.example", email_verified=verified)
        assert verifier.verify_identity(token(ACME_HEAD, payload, OTHER_PRIVATE), NOW).email == email


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("name", "guest"),
        ("name", ""),
        ("name", "Acme"),
        ("name", "a" * 17),
        ("name", "a\n"),
        ("issuer", ""),
        ("audience", ""),
        ("algorithms", ("none",)),
        ("algorithms", ()),
        ("use", "refresh"),
        ("type", "guest"),
        ("allowed_roles", ("root",)),
        ("default_roles", ("root",)),
    ],
)
def test_a_setting_that_is_wrong_is_named(setting: str, value: Any) -> None:
    settings = {"name": "acme", "issuer": "https://acme.example", "audience": "chat", setting: value}
    with pytest.raises(ValueError, match=f"^{setting}:"):
        TrustedIssuer(**settings)
