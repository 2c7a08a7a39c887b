"""`transport/connections.py`: whom a revocation closes."""

from typing import Any

import pytest

from parley.domain.principal import Principal
from parley.tokens import AccessClaims
from parley.transport.connections import Connections

REVOKED_AT_MS = 1_800_000_000_000


class Socket:
    """Stands for a connection: it writes down that it was closed."""

    heard_at_s = 0.0
    dialect = "native"

    def __init__(self, principal: Principal, begun_at_ms: int) -> None:
        self.principal = principal
        self.begun_at_ms = begun_at_ms
        self.closed = False

    def revoked(self, reason: str) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("signed_in", "begun_ms", "closed"),
    [
        ({"iat": 1_799_999_990.0}, -1, True),
        ({"iat": 1_799_999_990.0, "auth_time": 1_799_999_990.0}, 50, True),
        # The node had not heard of the revocation yet when this one came, with a token that says no more than `iat`.
        ({"iat": 1_799_999_990.0}, 50, True),
        ({"iat": 1_800_000_000.05, "auth_time": 1_800_000_000.05}, 60, False),
        ({"iat": 1_800_000_001.0}, 60, False),
    ],
)
def test_a_revoked_subject_loses_what_stands_on_a_sign_in_before_it(
    signed_in: dict[str, Any], begun_ms: int, closed: bool
) -> None:
    connections = Connections(total_max=0, pending_max=0, pending_per_address=0, per_subject=0, per_service=0)
    claims = AccessClaims(
        iss="parley", aud=("parley",), sub="eve", type="account", sid="s", jti="j", roles=(), exp=2e9, **signed_in
    )
    principal = Principal(
        subject="eve",
        type="account",
        name="eve",
        roles=frozenset(),
        session="s",
        token_id="j",
        issuer="parley",
        expires_at_s=2e9,
        claims=claims,
    )
    socket: Any = Socket(principal, REVOKED_AT_MS + begun_ms)
    connections.add(socket, principal)
    connections.revoked("subject:eve", before_ms=REVOKED_AT_MS, reason="revoked")
    assert socket.closed is closed
