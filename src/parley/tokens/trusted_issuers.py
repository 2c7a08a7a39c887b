"""An issuer that we trust beside ourselves: its settings, and how its claims become ours.

Does not fetch its keys: whoever does hands them in as a KeySet, and again when they change (`dataclasses.replace`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from parley.tokens.algorithms import ALGORITHMS, ASYMMETRIC_ALGORITHMS, canonical_algorithm
from parley.tokens.claims import (
    LEEWAY_S,
    REGISTERED_CLAIMS,
    ROLES,
    AccessClaims,
    Grants,
    audience_of,
    is_id,
    is_subject,
    is_text,
    require_forms,
)
from parley.tokens.errors import TokenRefused
from parley.tokens.jws import comparable_media_type
from parley.tokens.keys import KeySet

_NAME = re.compile(r"[a-z0-9-]{1,16}")
_DERIVED_ID_BYTES: Final = 24
_NAME_CHARS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class IdentityClaims:
    """What an external issuer says about a person, without letting them in: `sub` is `<issuer's name>:<its sub>`.

    `email` is None where the issuer gives none, or says itself that it is not verified.
    """

    iss: str
    sub: str
    name: str
    email: str | None


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """One external issuer. `keys` are all that may sign under its `issuer` (`iss`).

    `algorithms` None means every asymmetric one, or those of `keys` where they are a shared secret. `typ` lists the
    header types accepted, "" for none. `use: identity` makes a token good for `Verifier.verify_identity` alone.
    Roles are what `roles_claim` (dots go inwards) gives of `allowed_roles`; where that is nothing, `default_roles`.

    Raises: ValueError that names the setting.
    """

    name: str
    issuer: str
    audience: str
    keys: KeySet = field(default_factory=KeySet)
    algorithms: tuple[str, ...] | None = None
    use: Literal["access", "identity"] = "access"
    typ: tuple[str, ...] = ("at+jwt", "JWT", "")
    default_kid: str | None = None
    roles_claim: str | None = None
    allowed_roles: tuple[str, ...] = ()
    default_roles: tuple[str, ...] = ()
    type: Literal["account", "service"] = "account"

    def __post_init__(self) -> None:
        if _NAME.fullmatch(self.name) is None or self.name == "guest":
            raise ValueError("name: 1 to 16 characters of a-z, 0-9 and -, and not guest")
        if not self.issuer:
            raise ValueError("issuer: empty")
        if not self.audience:
            raise ValueError("audience: empty")
        unknown = [name for name in self.algorithms or () if canonical_algorithm(name) not in ALGORITHMS]
        if unknown or self.algorithms == ():
            raise ValueError(f"algorithms: {', '.join(unknown) or 'empty'}; there are {', '.join(ALGORITHMS)}")
        if self.use not in ("access", "identity"):
            raise ValueError("use: access or identity")
        if self.type not in ("account", "service"):
            raise ValueError("type: account or service")
        for setting, roles in (("allowed_roles", self.allowed_roles), ("default_roles", self.default_roles)):
            if any(role not in ROLES for role in roles):
                raise ValueError(f"{setting}: there are {', '.join(ROLES)}")

    @property
    def accepted_algorithms(self) -> frozenset[str]:
        """What the header's `alg` may be, whichever key it names."""
        if self.algorithms is not None:
            return frozenset(canonical_algorithm(name) for name in self.algorithms)
        secrets = [key.algorithms for key in self.keys if key.is_secret]
        return frozenset().union(*secrets) if secrets else ASYMMETRIC_ALGORITHMS

    @property
    def media_types(self) -> frozenset[str]:
        """What Jws.media_type may be."""
        return frozenset(comparable_media_type(typ) for typ in self.typ)

    def require_forms(self, claims: Mapping[str, Any]) -> None:
        """Raise unless the claims that we read have their JSON types; all other claims are the issuer's own affair.

        Raises: TokenRefused (`token_malformed`) with `claim`.
        """
        require_forms(claims, REGISTERED_CLAIMS)
        if "sub" in claims and not is_subject(self.subject_of(claims)):
            raise TokenRefused("token_malformed", claim="sub")
        self.roles_of(claims)

    def subject_of(self, claims: Mapping[str, Any]) -> str:
        """The subject here of whoever the issuer calls `sub`."""
        return f"{self.name}:{claims['sub']}"

    def roles_of(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        """The roles that these claims give here.

        Raises: TokenRefused (`token_malformed`) if `roles_claim` is there and neither a string nor a list of strings.
        """
        if self.roles_claim is None:
            return self.default_roles
        listed = _reach(claims, self.roles_claim)
        if isinstance(listed, str):
            listed = [listed]
        if listed is None:
            return self.default_roles
        if not isinstance(listed, list) or not all(isinstance(role, str) for role in listed):
            raise TokenRefused("token_malformed", claim=self.roles_claim)
        return tuple(role for role in self.allowed_roles if role in listed) or self.default_roles

    def access_claims(self, claims: Mapping[str, Any], token: str) -> AccessClaims:
        """The issuer's claims as ours, once `require_forms` has passed them and the required ones are there.

        A `jti` that is no id here becomes a hash of the token, as a missing one does; a `sid` likewise one of itself.
        `grants` counts from anyone, because it only narrows.
        """
        grants = claims.get("grants")
        jti, sid = claims.get("jti"), claims.get("sid")
        session = [claims["iss"], claims["sub"], claims["iat"]] if sid is None else [claims["iss"], sid]
        return AccessClaims(
            iss=claims["iss"],
            aud=audience_of(claims),
            sub=self.subject_of(claims),
            iat=claims["iat"],
            exp=claims["exp"],
            jti=str(jti) if is_id(jti) else _derived_id(token),
            sid=str(sid) if is_id(sid) else _derived_id(json.dumps(session)),
            type=self.type,
            roles=self.roles_of(claims),
            name=_name_of(claims),
            grants=None if grants is None else Grants.parse(grants),
            nbf=claims.get("nbf"),
            exp_leeway_s=LEEWAY_S,
            sid_is_made_up=sid is None,
        )

    def identity_claims(self, claims: Mapping[str, Any]) -> IdentityClaims:
        """Name and email of the person, as the issuer vouches for them."""
        email = claims.get("email")
        # Some issuers write the word, not the truth value.
        is_denied = claims.get("email_verified") in (False, "false")
        return IdentityClaims(
            iss=claims["iss"],
            sub=self.subject_of(claims),
            name=_name_of(claims),
            email=email if is_text(email) and not is_denied else None,
        )


def _name_of(claims: Mapping[str, Any]) -> str:
    """What others see: bounded, without NUL, which no database takes; the issuer's subject where that is nothing."""
    name: str = claims.get("name", "")
    return name.replace("\0", "")[:_NAME_CHARS_MAX] or claims["sub"]


def _reach(claims: Mapping[str, Any], path: str) -> Any:
    """The value at `path`, None where there is none. A claim of that very name goes first: Auth0's names are URLs."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for step in path.split("."):
        if not isinstance(value, Mapping) or step not in value:
            return None
        value = value[step]
    return value


def _derived_id(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()[:_DERIVED_ID_BYTES]
    return base64.urlsafe_b64encode(digest).decode("ascii")
