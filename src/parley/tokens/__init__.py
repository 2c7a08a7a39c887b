"""Tokens for sockets: issue, carry, verify, narrow and revoke them; usable without the rest of Parley.

    key = SigningKey.generate()                       # ES256; keep key.to_pem() in a file of mode 0600
    issuer, verifier = Issuer(key), Verifier(KeySet([key]))
    token = issuer.issue(sub="ada", type="account", roles=["member"], sid="s1", jti="t1", now_s=time.time(), ttl_s=900)
    try:
        claims = verifier.verify(token, time.time())  # AccessClaims: claims.sub == "ada"
    except TokenRefused as refusal:
        print(refusal.code)                           # "token_expired", ...: all are in TOKEN_CODES

Holds no state of a server and does no I/O: time and randomness are arguments, keys are handed in as text.
"""

from parley.tokens.algorithms import ALGORITHMS, OWN_ALGORITHMS
from parley.tokens.bearer import Credential, Endpoint, Presented, find_credential
from parley.tokens.claims import AccessClaims, Grants, require_same_bearer, require_usable
from parley.tokens.errors import TOKEN_CODES, TokenCode, TokenRefused
from parley.tokens.issuer import Issuer
from parley.tokens.jws import JWS_BYTES_MAX, Jws, check_signature, parse_jws
from parley.tokens.keys import KeySet, KeyUnusable, SigningKey, VerifyingKey
from parley.tokens.revocation import RevocationSet
from parley.tokens.tickets import TicketsFull, TicketStore
from parley.tokens.trusted_issuers import IdentityClaims, TrustedIssuer
from parley.tokens.verifier import Verifier

__all__ = [
    "ALGORITHMS",
    "JWS_BYTES_MAX",
    "OWN_ALGORITHMS",
    "TOKEN_CODES",
    "AccessClaims",
    "Credential",
    "Endpoint",
    "Grants",
    "IdentityClaims",
    "Issuer",
    "Jws",
    "KeySet",
    "KeyUnusable",
    "Presented",
    "RevocationSet",
    "SigningKey",
    "TicketStore",
    "TicketsFull",
    "TokenCode",
    "TokenRefused",
    "TrustedIssuer",
    "Verifier",
    "VerifyingKey",
    "check_signature",
    "find_credential",
    "parse_jws",
    "require_same_bearer",
    "require_usable",
]
