"""Issues access tokens: claims in, a signed compact JWS out.

Keeps no sessions and draws no ids: `jti`, `sid` and the time are arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from parley.tokens.claims import (
    ACTIONS,
    ID_CHARS_MAX,
    OWN_CLAIMS,
    ROLES,
    SUBJECT_CHARS_MAX,
    TYPES,
    Grants,
    require_forms,
)
from parley.tokens.errors import TokenRefused
from parley.tokens.jws import JWS_BYTES_MAX, sign_jws
from parley.tokens.keys import SigningKey

ACCESS_TOKEN_TYPE = "at+jwt"  # noqa: S105 (RFC 9068's name for a type, no secret)


_ID_FORM = f"an id: 1 to {ID_CHARS_MAX} characters of A-Z, a-z, 0-9 and . _ ~ -"
#: What a claim should be, for whoever issues one that no verifier would take; any other is a text.
_FORMS: Final = {
    "sub": f"1 to {SUBJECT_CHARS_MAX} printable ASCII characters without space",
    "type": " or ".join(TYPES),
    "roles": f"a list of {', '.join(ROLES)}",
    "grants": 'like {"room:launch": ["read", "send"], "room:team-*": ["read"]}, with ' + ", ".join(ACTIONS),
    **dict.fromkeys(("jti", "sid", "conversation"), _ID_FORM),
    **dict.fromkeys(("iat", "exp", "auth_time"), "a number of Unix seconds"),
}


class Issuer:
    """Signs access tokens with one key under one `iss` and `aud`; make another to change the key."""

    def __init__(self, key: SigningKey, *, issuer: str = "parley", audience: str = "parley") -> None:
        self.key = key
        self.issuer = issuer
        self.audience = audience

    def issue(
        self,
        *,
        sub: str,
        type: str,
        roles: Iterable[str],
        sid: str,
        jti: str,
        now_s: float,
        ttl_s: float,
        name: str | None = None,
        conversation: str | None = None,
        department: str | None = None,
        grants: Grants | Mapping[str, Iterable[str]] | None = None,
        auth_time: float | None = None,
    ) -> str:
        """Return an access token that is valid from `now_s` (Unix seconds) for `ttl_s` seconds.

        `jti` must be new for each token and `sid` the same for one sign-in. `auth_time` is the time of the sign-in,
        kept to the millisecond: with it, revoking a subject tells sign-ins of the same second apart.

        Raises: ValueError, naming the claim, for what a verifier would refuse: a wrong form, a guest without
        `conversation`, a token over 8 KiB.
        Source: RFC 9068 §2.
        """
        issued_s = int(now_s)
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": sub,
            "iat": issued_s,
            "exp": _whole(issued_s + ttl_s),
            "jti": jti,
            "sid": sid,
            "type": type,
            "roles": list(roles),
        }
        optional = {
            "name": name,
            "conversation": conversation,
            "department": department,
            "grants": _grants_claim(grants),
            "auth_time": None if auth_time is None else _whole(round(auth_time, 3)),
        }
        claims |= {claim: value for claim, value in optional.items() if value is not None}
        if type == "guest" and conversation is None:
            raise ValueError("a guest's token needs a conversation")
        if type != "guest" and (conversation, department) != (None, None):
            raise ValueError("only a guest's token has a conversation or a department")
        try:
            require_forms(claims, OWN_CLAIMS)
        except TokenRefused as refusal:
            claim = refusal.claim or ""
            raise ValueError(f"{claim} should be {_FORMS.get(claim, 'a text')}") from None
        token = sign_jws(claims, self.key, typ=ACCESS_TOKEN_TYPE)
        if len(token) > JWS_BYTES_MAX:
            raise ValueError(f"the token has over {JWS_BYTES_MAX} bytes: fewer grants, a shorter name")
        return token

    def __repr__(self) -> str:
        return f"Issuer({self.issuer!r}, kid={self.key.kid!r})"


def _grants_claim(grants: Grants | Mapping[str, Iterable[str]] | None) -> dict[str, list[str]] | None:
    if grants is None:
        return None
    if isinstance(grants, Grants):
        return grants.to_claim()
    return {resource: list(actions) for resource, actions in grants.items()}


def _whole(seconds: float) -> float:
    """Whole seconds as a whole number: some readers of JWT know no fractions."""
    return int(seconds) if float(seconds).is_integer() else seconds
