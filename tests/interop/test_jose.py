"""Two witnesses more: what we sign is verified by npm's `jose` and by PyJWT, and what they sign by us."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

import jwt
import pytest

from parley.tokens import Issuer, KeySet, SigningKey, TokenRefused, TrustedIssuer, Verifier
from tests.npm import need, node_modules
from tests.tokens.forge import private_of

ALGORITHMS = ["ES256", "EdDSA", "RS256", "HS256"]
CLAIMS: dict[str, Any] = {
    "iss": "parley",
    "aud": "parley",
    "sub": "ada",
    "jti": "t1",
    "sid": "s1",
    "type": "account",
    "roles": ["member", "agent"],
    "name": "Ada Löw 🌍",
}

#: Reads one order, {"verify": token} or {"sign": claims}, with the key as a JWK and the header; prints what came of it.
PROGRAM = """
import { importJWK, jwtVerify, SignJWT } from "jose";
let input = "";
for await (const chunk of process.stdin) input += chunk;
const { jwk, header, verify, sign } = JSON.parse(input);
const key = await importJWK(jwk, header.alg);
try {
  const done = verify
    ? await jwtVerify(verify, key, { issuer: "parley", audience: "parley", typ: "at+jwt", algorithms: [header.alg] })
    : await new SignJWT(sign).setProtectedHeader(header).sign(key);
  console.log(JSON.stringify(done));
} catch (error) {
  console.log(JSON.stringify({ refused: error.code }));
}
"""


def jose(jwk: dict[str, Any], algorithm: str, **order: Any) -> Any:
    order |= {"jwk": jwk, "header": {"alg": algorithm, "typ": "at+jwt", "kid": jwk["kid"]}}
    ran = subprocess.run(
        [need("node", "npm's jose runs on it"), "--input-type=module", "--eval", PROGRAM],
        input=json.dumps(order),
        cwd=node_modules().parent,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def issue(key: SigningKey) -> str:
    given = {name: value for name, value in CLAIMS.items() if name not in ("iss", "aud")}
    return Issuer(key).issue(**given, now_s=time.time(), ttl_s=900)


def signed_now() -> dict[str, Any]:
    return CLAIMS | {"iat": int(time.time()), "exp": int(time.time()) + 900}


def public_jwk(key: SigningKey) -> dict[str, Any]:
    return key.to_jwk() if key.verifying_key.is_secret else key.verifying_key.to_jwk()


def pyjwt_key(key: SigningKey) -> Any:
    return jwt.PyJWK(key.to_jwk()).key if key.verifying_key.is_secret else private_of(key)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_npm_jose_verifies_what_we_sign(algorithm: str) -> None:
    key = SigningKey.generate(algorithm)
    done = jose(public_jwk(key), algorithm, verify=issue(key))
    assert {name: done["payload"][name] for name in CLAIMS} == CLAIMS
    assert done["protectedHeader"] == {"typ": "at+jwt", "alg": algorithm, "kid": key.kid}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_npm_jose_refuses_what_was_signed_by_another_key(algorithm: str) -> None:
    """So that the test above is one."""
    key, other = SigningKey.generate(algorithm), SigningKey.generate(algorithm)
    refused = jose(public_jwk(other), algorithm, verify=issue(key))
    assert refused == {"refused": "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_we_verify_what_npm_jose_signs(algorithm: str) -> None:
    key = SigningKey.generate(algorithm)
    token = jose(key.to_jwk(), algorithm, sign=signed_now())
    claims = Verifier(KeySet([key])).verify(token, time.time())
    assert (claims.sub, claims.roles, claims.name) == ("ada", ("member", "agent"), CLAIMS["name"])
    body, _, signature = token.rpartition(".")
    changed = f"{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    with pytest.raises(TokenRefused, match="token_bad_signature"):
        Verifier(KeySet([key])).verify(changed, time.time())


def test_we_verify_the_newer_name_of_ed25519_and_an_external_issuer_of_npm_jose() -> None:
    key = SigningKey.generate("EdDSA")
    token = jose(key.to_jwk() | {"alg": "Ed25519"}, "Ed25519", sign=signed_now() | {"iss": "https://id.example.org"})
    trusted = TrustedIssuer("site", "https://id.example.org", "parley", keys=KeySet([key]))
    assert Verifier(KeySet(), trusted_issuers=[trusted]).verify(token, time.time()).sub == "site:ada"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_pyjwt_verifies_what_we_sign_and_we_what_it_signs(algorithm: str) -> None:
    key = SigningKey.generate(algorithm)
    theirs = jwt.PyJWK(public_jwk(key), algorithm).key
    assert jwt.decode(issue(key), theirs, algorithms=[algorithm], audience="parley", issuer="parley")["sub"] == "ada"
    signed = jwt.encode(signed_now(), pyjwt_key(key), algorithm, headers={"typ": "at+jwt", "kid": key.kid})
    assert Verifier(KeySet([key])).verify(signed, time.time()).name == CLAIMS["name"]
