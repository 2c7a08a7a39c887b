"""Every refusal of a credential: its code, its HTTP status, what it means.

Does not decide anything: `verifier` and `bearer` raise what is named here, dialects say it in their own words.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Self

_FACT_CHARS_MAX = 80


@dataclass(frozen=True, slots=True)
class TokenCode:
    """One row: `status` is HTTP's, `meaning` a sentence for people that tells nothing of the token itself."""

    code: str
    status: int
    meaning: str


# In the order in which they are checked: of several faults the first row is the one that is reported.
TOKEN_CODES: Final = MappingProxyType(
    {
        row.code: row
        for row in (
            TokenCode("unsupported_subprotocol", 400, "None of the offered WebSocket subprotocols is spoken here."),
            TokenCode("ambiguous_credentials", 400, "The request carries two different credentials."),
            TokenCode("carrier_disabled", 401, "This server does not accept a credential in that place."),
            TokenCode("token_missing", 401, "A token is needed here, and none was sent."),
            TokenCode("token_malformed", 401, "This is not a well-formed token."),
            TokenCode("token_unsupported_algorithm", 401, "The token's algorithm is not one that its key may use."),
            TokenCode("token_unknown_key", 401, "The token names no key that is trusted here."),
            TokenCode("token_bad_signature", 401, "The token's signature does not match its key."),
            TokenCode("token_wrong_type", 401, "This is a token of another type than is needed here."),
            TokenCode("token_claim_missing", 401, "The token lacks a claim that is required."),
            TokenCode("token_wrong_issuer", 401, "The token's issuer is not the owner of its key."),
            TokenCode("token_wrong_audience", 401, "The token was issued for another audience."),
            TokenCode("token_not_yet_valid", 401, "The token is not valid yet."),
            TokenCode("token_expired", 401, "The token has expired."),
            TokenCode("token_revoked", 401, "The token, its session or its subject was revoked."),
            TokenCode("ticket_invalid", 401, "The ticket is unknown, used or too old."),
            TokenCode("subject_mismatch", 401, "The new token is of another issuer, subject, type or conversation."),
        )
    }
)


class TokenRefused(Exception):
    """A credential was refused: `code` is a key of TOKEN_CODES, the rest are facts about it, never the credential.

    `kid`, `algorithm`, `issuer` and `claim` are what an unverified token says: cut to 80 characters, not to be trusted.
    `off_by_s` says for how many seconds the token has been, or will be, out of its time.
    """

    def __init__(
        self,
        code: str,
        *,
        claim: str | None = None,
        kid: str | None = None,
        algorithm: str | None = None,
        issuer: str | None = None,
        carrier: str | None = None,
        reason: str | None = None,
        off_by_s: float | None = None,
    ) -> None:
        row = TOKEN_CODES[code]
        super().__init__(code)
        self.code = code
        self.status = row.status
        self.meaning = row.meaning
        self.claim = _cut(claim)
        self.kid = _cut(kid)
        self.algorithm = _cut(algorithm)
        self.issuer = _cut(issuer)
        self.carrier = carrier
        self.reason = reason
        self.off_by_s = off_by_s

    def about(self, *, kid: str | None, issuer: str | None) -> Self:
        """The same refusal, with the key and the issuer that the token names where it did not say them yet."""
        self.kid = self.kid if self.kid is not None else _cut(kid)
        self.issuer = self.issuer if self.issuer is not None else _cut(issuer)
        return self

    @property
    def facts(self) -> dict[str, str | float]:
        """What is known beside the code, for a log line or an answer's details; no member is None."""
        names = ("claim", "kid", "algorithm", "issuer", "carrier", "reason", "off_by_s")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def __str__(self) -> str:
        facts = ", ".join(f"{name}={value!r}" for name, value in self.facts.items())
        return f"{self.code}: {self.meaning}" + (f" ({facts})" if facts else "")


def _cut(fact: str | None) -> str | None:
    if fact is None or len(fact) <= _FACT_CHARS_MAX:
        return fact
    return fact[:_FACT_CHARS_MAX] + "…"
