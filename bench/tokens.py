"""What checking a token costs: in full, once it was seen, and beside the bare signature check, PyJWT and joserfc.

ES256, one thread, CPU time. Each run checks the same few hundred tokens, no two alike, by each way in turn. The rows are
as the servers': `scenario`, `server` (here the way), `run`, and the measure.
"""

import base64
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import ECKey

from parley.tokens import Issuer, KeySet, RevocationSet, SigningKey, Verifier

TOKENS = 500
#: A seen token costs so little that one pass over them would measure the clock.
PASSES_SEEN = 10
FIELD = "cpu_us_per_verification"
SCENARIO = "token_es256"

WAYS = {
    "bare": "the bare signature check (cryptography)",
    "in-full": "Parley, in full",
    "pyjwt": "PyJWT",
    "joserfc": "joserfc",
    "seen-before": "Parley, seen before",
}


class Work:
    """The tokens, and each way to check them all once: `passes` says how often that is."""

    def __init__(self) -> None:
        self._key = SigningKey.generate("ES256")
        issuer = Issuer(self._key)
        self._now_s = time.time()
        self._tokens = [
            issuer.issue(
                sub=f"ada-{number}",
                type="account",
                roles=["member", "agent"],
                sid=f"session-{number}",
                jti=f"token-{number}",
                name="Ada Lovelace",
                auth_time=self._now_s,
                now_s=self._now_s,
                ttl_s=900,
            )
            for number in range(TOKENS)
        ]
        jwk = self._key.verifying_key.to_jwk()
        self._public = jwt.PyJWK(jwk).key
        self._joserfc = ECKey.import_key(jwk)
        self._signed = [_taken_apart(token) for token in self._tokens]
        self._seen = self._verifier()
        self._verify_all(self._seen)

    def ways(self) -> dict[str, tuple[Callable[[], None], int]]:
        fresh = self._verifier
        return {
            "bare": (self._bare, 1),
            "in-full": (lambda: self._verify_all(fresh()), 1),
            "pyjwt": (self._pyjwt, 1),
            "joserfc": (self._joserfc_all, 1),
            "seen-before": (self._verify_seen, PASSES_SEEN),
        }

    def _verifier(self) -> Verifier:
        revocations = RevocationSet()
        # A revoked session there is always: an empty set would be cheaper than any real one.
        revocations.revoke_session("another", until_s=self._now_s + 900)
        return Verifier(KeySet([self._key]), revocations=revocations)

    def _verify_all(self, verifier: Verifier) -> None:
        verify, now_s = verifier.verify, self._now_s
        for token in self._tokens:
            verify(token, now_s)

    def _verify_seen(self) -> None:
        for _ in range(PASSES_SEEN):
            self._verify_all(self._seen)

    def _bare(self) -> None:
        verify, scheme = self._public.verify, ec.ECDSA(hashes.SHA256())
        for signature, signed in self._signed:
            verify(signature, signed, scheme)

    def _pyjwt(self) -> None:
        for token in self._tokens:
            jwt.decode(token, self._public, algorithms=["ES256"], audience="parley", issuer="parley")

    def _joserfc_all(self) -> None:
        registry = joserfc_jwt.JWTClaimsRegistry(
            now=int(self._now_s), iss={"essential": True, "value": "parley"}, aud={"essential": True, "value": "parley"}
        )
        for token in self._tokens:
            registry.validate(joserfc_jwt.decode(token, self._joserfc, algorithms=["ES256"]).claims)


def _taken_apart(token: str) -> tuple[bytes, bytes]:
    """Signature in DER, and what it signs: all that the bare check is not asked to do."""
    signed, _, signature = token.rpartition(".")
    octets = base64.urlsafe_b64decode(signature + "==")
    return encode_dss_signature(int.from_bytes(octets[:32], "big"), int.from_bytes(octets[32:], "big")), signed.encode()


def rows(runs: int) -> Iterator[dict[str, Any]]:
    ways = Work().ways()
    for check, _ in ways.values():
        check()  # warm
    for run in range(runs):
        order = list(itertools.islice(itertools.cycle(ways), run % len(ways), run % len(ways) + len(ways)))
        for way in order:  # nobody is always the first
            check, passes = ways[way]
            begun = time.thread_time()
            check()
            spent_us = (time.thread_time() - begun) * 1e6
            yield {"scenario": SCENARIO, "server": way, "run": run, FIELD: spent_us / (TOKENS * passes)}
