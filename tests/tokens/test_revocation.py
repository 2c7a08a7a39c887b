"""`tokens/revocation.py`: what a revocation covers, and the sign-in after it that it never touches."""

from __future__ import annotations

from typing import Any

from parley.tokens import AccessClaims, RevocationSet
from tests.tokens.forge import NOW


def claims(**changes: Any) -> AccessClaims:
    given: dict[str, Any] = {
        "iss": "parley",
        "aud": ("parley",),
        "sub": "ada",
        "iat": NOW,
        "exp": NOW + 900,
        "jti": "t1",
        "sid": "s1",
        "type": "account",
        "roles": ("member",),
    }
    return AccessClaims(**(given | changes))


def test_a_token_a_session_and_a_conversation_are_revoked_by_name_and_nothing_else_is() -> None:
    revocations = RevocationSet()
    guest = claims(sub="guest:1", type="guest", conversation="c-1", jti="t2", sid="s2")
    assert revocations.reason_for(claims()) is None
    revocations.revoke_token("t1", until_s=NOW + 900)
    assert revocations.reason_for(claims()) == "revoked"
    assert revocations.reason_for(claims(jti="t3")) is None
    revocations.revoke_session("s1", until_s=NOW + 900, reason="logout")
    assert revocations.reason_for(claims(jti="t3")) == "logout"
    assert revocations.reason_for(guest) is None
    revocations.revoke_conversation("c-1", until_s=NOW + 900, reason="blocked")
    assert revocations.reason_for(guest) == "blocked"
    revocations.lift_conversation("c-1")
    assert revocations.reason_for(guest) is None
    revocations.lift_conversation("c-1")


def test_a_token_id_is_no_session_and_no_subject() -> None:
    revocations = RevocationSet()
    revocations.revoke_token("ada", until_s=NOW + 900)
    revocations.revoke_session("t1", until_s=NOW + 900)
    revocations.revoke_subject("s1", before_s=NOW + 1, until_s=NOW + 900)
    assert revocations.reason_for(claims()) is None


def test_a_sign_in_in_the_same_second_after_a_revocation_lives_and_the_one_before_it_dies() -> None:
    revocations = RevocationSet()
    revocations.revoke_subject("ada", before_s=NOW + 0.500, until_s=NOW + 900)
    assert revocations.reason_for(claims(auth_time=NOW + 0.499)) == "revoked"
    assert revocations.reason_for(claims(auth_time=NOW + 0.500)) is None
    assert revocations.reason_for(claims(auth_time=NOW + 0.501)) is None
    # A token refreshed after the revocation is still one of the sign-in before it.
    assert revocations.reason_for(claims(iat=NOW + 60, auth_time=NOW + 0.499)) == "revoked"
    assert revocations.reason_for(claims(sub="ben", auth_time=NOW)) is None


def test_without_the_time_of_the_sign_in_the_whole_second_of_iat_counts() -> None:
    revocations = RevocationSet()
    revocations.revoke_subject("ada", before_s=NOW + 0.500, until_s=NOW + 900)
    assert revocations.reason_for(claims(iat=NOW - 1)) == "revoked"
    assert revocations.reason_for(claims(iat=NOW)) is None
    assert revocations.reason_for(claims(iat=NOW + 0.25)) == "revoked"
    revocations.revoke_subject("ada", before_s=NOW + 1, until_s=NOW + 900)
    assert revocations.reason_for(claims(iat=NOW)) == "revoked"
    assert revocations.reason_for(claims(iat=NOW + 1)) is None


def test_of_two_revocations_of_one_subject_the_later_cut_off_and_the_later_end_count() -> None:
    for order in (1, -1):
        revocations = RevocationSet()
        for before_s, until_s, reason in ((NOW + 5, NOW + 100, "new"), (NOW + 1, NOW + 200, "old"))[::order]:
            revocations.revoke_subject("ada", before_s=before_s, until_s=until_s, reason=reason)
        assert revocations.reason_for(claims(auth_time=NOW + 4.0)) == "new"
        assert revocations.forget_expired(NOW + 199) == 0
        assert revocations.forget_expired(NOW + 200) == 1


def test_entries_go_when_what_they_refuse_has_expired_anyway() -> None:
    revocations = RevocationSet()
    revocations.revoke_token("t1", until_s=NOW + 1)
    revocations.revoke_session("s1", until_s=NOW + 2)
    revocations.revoke_subject("ada", before_s=NOW, until_s=NOW + 3)
    revocations.revoke_conversation("c-1", until_s=NOW + 4)
    assert [len(revocations)] + [
        (revocations.forget_expired(NOW + second), len(revocations))[1] for second in range(5)
    ] == [4, 4, 3, 2, 1, 0]


def test_revoking_twice_keeps_the_later_end() -> None:
    revocations = RevocationSet()
    revocations.revoke_session("s1", until_s=NOW + 100)
    revocations.revoke_session("s1", until_s=NOW + 50, reason="again")
    assert revocations.forget_expired(NOW + 99) == 0
    assert revocations.reason_for(claims()) == "again"


def test_whoever_watches_hears_of_each_revocation_until_they_stop() -> None:
    revocations, heard = RevocationSet(), []
    stop = revocations.watch(lambda: heard.append(revocations.reason_for(claims())))
    revocations.revoke_session("other", until_s=NOW + 900)
    revocations.revoke_token("t1", until_s=NOW + 900, reason="stolen")
    assert heard == [None, "stolen"], "it is told after the fact, not before"
    stop()
    revocations.revoke_subject("ada", before_s=NOW + 1, until_s=NOW + 900)
    assert len(heard) == 2
