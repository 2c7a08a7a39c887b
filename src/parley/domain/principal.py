"""Whoever acts now: what the token in force says of them.

What they may do is decided in `policy.py`, from the roles that the store holds at that moment.
"""

from typing import Final

from msgspec import Struct

from parley.tokens.claims import AccessClaims, Grants

#: A display name that comes in a token may be anything; more of it than this is not shown.
NAME_CHARS_MAX: Final = 200
ROLES: Final = ("guest", "member", "agent", "admin")


class Principal(Struct, frozen=True):
    """The bearer of one verified access token.

    `session` is the claim `sid`. `kept` says that the session is one that our store keeps, so that the stored roles
    count, not the claim's. `expires_at_s` and `issued_at_s` are the claims `exp` and `iat`, in Unix seconds.
    """

    subject: str
    type: str  # account · guest · service · nobody
    name: str
    roles: frozenset[str]
    session: str
    token_id: str
    issuer: str
    expires_at_s: float
    issued_at_s: float = 0
    kept: bool = False
    conversation: str | None = None
    department: str | None = None
    grants: Grants | None = None
    #: What the token said, for whoever must compare it with another; None for the operator.
    claims: AccessClaims | None = None

    @classmethod
    def of(cls, claims: AccessClaims, *, kept: bool = False) -> "Principal":
        """The principal that verified claims name."""
        return cls(
            subject=claims.sub,
            type=claims.type,
            # What a token says of a name may hold what no database takes.
            name=(claims.name or "").replace("\0", "")[:NAME_CHARS_MAX] or claims.sub,
            roles=frozenset(claims.roles),
            session=claims.sid,
            token_id=claims.jti,
            issuer=claims.iss,
            expires_at_s=claims.exp + claims.exp_leeway_s,
            issued_at_s=claims.iat,
            kept=kept,
            conversation=claims.conversation,
            department=claims.department,
            grants=claims.grants,
            claims=claims,
        )

    @property
    def is_guest(self) -> bool:
        return self.type == "guest"

    @property
    def is_nobody(self) -> bool:
        return self.type == "nobody"


class Person(Struct, frozen=True, gc=False):
    """Somebody as others see them: the actor of an event, the sender of a message."""

    subject: str
    name: str
    type: str


#: Acts for the operator at the command line: no token, every right.
OPERATOR: Final = Principal(
    subject="operator",
    type="service",
    name="operator",
    roles=frozenset({"admin"}),
    session="",
    token_id="",
    issuer="",
    expires_at_s=float("inf"),
)
#: Acts for whoever shows no credential, where none is needed.
NOBODY: Final = Principal(
    subject="",
    type="nobody",
    name="",
    roles=frozenset(),
    session="",
    token_id="",
    issuer="",
    expires_at_s=float("inf"),
)
