"""The claims of an access token: their JSON types, which are required, and what grants allow.

Checks no signature, no clock and no issuer: `verifier` does, in the order of TOKEN_CODES.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Self

from parley.tokens.errors import TokenRefused

ROLES: Final = ("guest", "member", "agent", "admin")
TYPES: Final = ("account", "guest", "service")
ACTIONS: Final = ("read", "send", "manage", "listen", "publish")
SUBJECT_CHARS_MAX: Final = 320
ID_CHARS_MAX: Final = 64
LEEWAY_S: Final = 5
# Beyond this a double, and so a JSON reader in JavaScript, no longer tells two whole numbers apart.
NUMBER_MAX: Final = 2**53

_SUBJECT = re.compile(rf"[!-~]{{1,{SUBJECT_CHARS_MAX}}}")
_ID = re.compile(rf"[A-Za-z0-9._~-]{{1,{ID_CHARS_MAX}}}")
_RESOURCE = re.compile(
    rf"(?:room|stream):(?:[A-Za-z0-9._~-]{{1,{ID_CHARS_MAX}}}|[A-Za-z0-9._~-]{{0,{ID_CHARS_MAX}}}\*)"
)


class Grants:
    """What a narrowed token may do: `{"room:launch": ["read", "send"], "room:team-*": ["read"]}`.

    Grants only narrow: what is granted here must be allowed by the roles too.
    """

    __slots__ = ("_exact", "_prefixes")

    def __init__(self, exact: Mapping[str, frozenset[str]], prefixes: tuple[tuple[str, frozenset[str]], ...]) -> None:
        self._exact = MappingProxyType(dict(exact))
        self._prefixes = prefixes

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read the claim `grants`.

        Raises: TokenRefused (`token_malformed`) for any other form: `*` anywhere but at the end, other kinds of
        resource than `room:` and `stream:`, other actions than ACTIONS.
        """
        if not isinstance(value, Mapping):
            raise TokenRefused("token_malformed", claim="grants")
        exact: dict[str, frozenset[str]] = {}
        prefixes: list[tuple[str, frozenset[str]]] = []
        for resource, actions in value.items():
            if (
                not isinstance(resource, str)
                or _RESOURCE.fullmatch(resource) is None
                or not isinstance(actions, list | tuple | set | frozenset)
                or any(action not in ACTIONS for action in actions)
            ):
                raise TokenRefused("token_malformed", claim="grants")
            if resource.endswith("*"):
                prefixes.append((resource[:-1], frozenset(actions)))
            else:
                exact[resource] = frozenset(actions)
        return cls(exact, tuple(prefixes))

    def allows(self, action: str, resource: str) -> bool:
        """Say whether `action` on `resource` (`room:<id>`, `stream:<id>`) is granted."""
        return action in self._exact.get(resource, ()) or any(
            action in actions and resource.startswith(prefix) for prefix, actions in self._prefixes
        )

    def to_claim(self) -> dict[str, list[str]]:
        """The claim that `parse` reads back as equal."""
        granted = [*self._exact.items(), *((prefix + "*", actions) for prefix, actions in self._prefixes)]
        return {resource: [action for action in ACTIONS if action in actions] for resource, actions in granted}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grants) and self.to_claim() == other.to_claim()

    def __hash__(self) -> int:
        return hash((frozenset(self._exact.items()), frozenset(self._prefixes)))

    def __repr__(self) -> str:
        return f"Grants({self.to_claim()})"


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """What a verified access token says, in one shape whoever issued it.

    `iat`, `exp` and `auth_time` are Unix seconds. `sub` is the subject here, `<issuer's name>:<its sub>` for an
    external issuer. `auth_time`, when known, is the moment of the sign-in to the millisecond; refreshing keeps it.
    `conversation` and `department` are a guest's only; `grants` is None where the token is not narrowed. `exp_leeway_s`
    is 0 for our own tokens, 5 for an external issuer's, whose clock is not ours. `sid_is_made_up`: the token has none;
    this one was made of it, and only what was issued in the same second has it too.
    """

    iss: str
    aud: tuple[str, ...]
    sub: str
    iat: float
    exp: float
    jti: str
    sid: str
    type: str
    roles: tuple[str, ...]
    name: str | None = None
    conversation: str | None = None
    department: str | None = None
    grants: Grants | None = None
    auth_time: float | None = None
    nbf: float | None = None
    exp_leeway_s: float = 0
    sid_is_made_up: bool = False

    @property
    def display_name(self) -> str:
        """`name`, or the subject where the token has none."""
        return self.name if self.name is not None else self.sub


def require_usable(claims: AccessClaims, now_s: float) -> None:
    """Raise unless these claims may be used at `now_s` (Unix seconds).

    Raises: TokenRefused (`token_not_yet_valid`, `token_expired`) with `off_by_s`.
    Source: RFC 7519 §4.1.4 to §4.1.6; leeway 0 s on our own `exp`, 5 s on `nbf`, `iat` and others' `exp`.
    """
    begins_s = claims.iat if claims.nbf is None else max(claims.iat, claims.nbf)
    if now_s < begins_s - LEEWAY_S:
        raise TokenRefused("token_not_yet_valid", off_by_s=begins_s - now_s)
    # "On or after" exp a token must not be accepted.
    if now_s >= claims.exp + claims.exp_leeway_s:
        raise TokenRefused("token_expired", off_by_s=now_s - claims.exp)


def require_same_bearer(current: AccessClaims, renewed: AccessClaims) -> None:
    """Raise unless `renewed` may take the place of `current` on a live connection.

    Raises: TokenRefused (`subject_mismatch`) with the claim that differs.
    """
    for claim in ("iss", "sub", "type", "conversation"):
        if getattr(current, claim) != getattr(renewed, claim):
            raise TokenRefused("subject_mismatch", claim=claim)


def is_subject(value: object) -> bool:
    """1 to 320 printable ASCII characters without space."""
    return isinstance(value, str) and _SUBJECT.fullmatch(value) is not None


def is_id(value: object) -> bool:
    """An id: 1 to 64 characters of `[A-Za-z0-9._~-]`."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def is_text(value: object) -> bool:
    """A string that has UTF-8: JSON's escapes can spell lone surrogates, which no later reader could write down."""
    if not isinstance(value, str):
        return False
    if value.isascii():
        return True
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def is_numeric_date(value: object) -> bool:
    """RFC 7519 §2 NumericDate: a JSON number, fractions allowed; infinity, `1e999` as JSON, is none."""
    return type(value) in (int, float) and -NUMBER_MAX <= value <= NUMBER_MAX  # type: ignore[operator]


def is_audience(value: object) -> bool:
    """RFC 7519 §4.1.3: one string, or a list of them."""
    return is_text(value) or (isinstance(value, list) and all(is_text(one) for one in value))


def _is_type(value: object) -> bool:
    return value in TYPES


def _are_roles(value: object) -> bool:
    return isinstance(value, list) and all(role in ROLES for role in value)


def _are_grants(value: object) -> bool:
    Grants.parse(value)
    return True


REGISTERED_CLAIMS: Final[Mapping[str, Callable[[object], bool]]] = MappingProxyType(
    {
        "iss": is_text,
        "aud": is_audience,
        "sub": is_subject,
        "iat": is_numeric_date,
        "exp": is_numeric_date,
        "nbf": is_numeric_date,
        "jti": is_text,
        "sid": is_text,
        "name": is_text,
        "grants": _are_grants,
    }
)
OWN_CLAIMS: Final[Mapping[str, Callable[[object], bool]]] = MappingProxyType(
    {
        **REGISTERED_CLAIMS,
        "jti": is_id,
        "sid": is_id,
        "type": _is_type,
        "roles": _are_roles,
        "conversation": is_id,
        "department": is_text,
        "auth_time": is_numeric_date,
    }
)
OWN_REQUIRED: Final = ("iss", "aud", "sub", "iat", "exp", "jti", "sid", "type", "roles")
EXTERNAL_REQUIRED: Final = ("iss", "aud", "sub", "iat", "exp")


def require_forms(claims: Mapping[str, Any], forms: Mapping[str, Callable[[object], bool]]) -> None:
    """Raise unless every claim of `forms` that is there has its form; null is of no form.

    Raises: TokenRefused (`token_malformed`) with `claim`.
    """
    for claim, has_form in forms.items():
        if claim in claims and not has_form(claims[claim]):
            raise TokenRefused("token_malformed", claim=claim)


def require_claims(claims: Mapping[str, Any], required: tuple[str, ...]) -> None:
    """Raise unless all `required` claims are there.

    Raises: TokenRefused (`token_claim_missing`) with the first `claim` that is missing.
    """
    for claim in required:
        if claim not in claims:
            raise TokenRefused("token_claim_missing", claim=claim)


def own_claims(claims: Mapping[str, Any]) -> AccessClaims:
    """The claims of a token of ours, once `require_forms` and `require_claims` have passed them."""
    is_guest = claims["type"] == "guest"
    grants = claims.get("grants")
    return AccessClaims(
        iss=claims["iss"],
        aud=audience_of(claims),
        sub=claims["sub"],
        iat=claims["iat"],
        exp=claims["exp"],
        jti=claims["jti"],
        sid=claims["sid"],
        type=claims["type"],
        roles=tuple(claims["roles"]),
        name=claims.get("name"),
        # A conversation confines its bearer, which only a guest may be.
        conversation=claims.get("conversation") if is_guest else None,
        department=claims.get("department") if is_guest else None,
        grants=None if grants is None else Grants.parse(grants),
        auth_time=claims.get("auth_time"),
        nbf=claims.get("nbf"),
    )


def audience_of(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """`aud` as a tuple, whether the token has one string or a list."""
    audience = claims["aud"]
    return (audience,) if isinstance(audience, str) else tuple(audience)
