"""`tokens/verifier.py`: leeways, the cache that outlives nothing, and keys that change under it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from parley.tokens import KeySet, RevocationSet, SigningKey, TokenRefused, TrustedIssuer, Verifier, VerifyingKey
from tests.tokens.forge import KEY, NOW, OTHER_KEY, OTHER_PRIVATE, RSA_KEY, SECRET, claims, header, private_of, token

ACME = TrustedIssuer("acme", "https://acme.example", "chat", keys=KeySet([OTHER_KEY]))


def acme_token(**changes: object) -> str:
    payload = {"iss": "https://acme.example", "aud": "chat", "sub": "u1", "iat": NOW, "exp": NOW + 60, **changes}
    return token(header(kid=OTHER_KEY.kid), payload, OTHER_PRIVATE)


def code_of(verifier: Verifier, bad_token: str, now_s: float = NOW) -> str:
    with pytest.raises(TokenRefused) as refusal:
        verifier.verify(bad_token, now_s)
    return refusal.value.code


def test_a_good_token_says_what_it_says() -> None:
    good = token(payload=claims(name="Ada Lovelace", aud=["other", "parley"], nbf=NOW - 5, unknown={"x": 1}))
    read = Verifier(KeySet([KEY])).verify(good, NOW)
    assert (read.iss, read.aud, read.sub) == ("parley", ("other", "parley"), "ada")
    assert (read.iat, read.exp, read.jti, read.sid) == (NOW - 10, NOW + 890, "token-1", "session-1")
    assert (read.type, read.roles, read.name, read.grants) == ("account", ("member",), "Ada Lovelace", None)
    assert (read.conversation, read.department) == (None, None)
    assert read.display_name == "Ada Lovelace"


def test_a_guest_is_confined_to_a_conversation_and_nobody_else_is() -> None:
    verifier = Verifier(KeySet([KEY]))
    guest = verifier.verify(
        token(payload=claims(sub="guest:1", type="guest", roles=["guest"], conversation="c-1", department="sales")), NOW
    )
    assert (guest.conversation, guest.department, guest.display_name) == ("c-1", "sales", "guest:1")
    account = verifier.verify(token(payload=claims(conversation="c-1", department="sales")), NOW)
    assert (account.conversation, account.department) == (None, None)


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt"])
def test_a_type_is_a_media_type_without_regard_to_case(typ: str) -> None:
    assert Verifier(KeySet([KEY])).verify(token(header(typ=typ)), NOW).sub == "ada"


def test_there_are_five_seconds_for_nbf_and_iat_and_none_for_our_own_exp() -> None:
    verifier = Verifier(KeySet([KEY]))
    assert verifier.verify(token(payload=claims(nbf=NOW + 5)), NOW).sub == "ada"
    assert verifier.verify(token(payload=claims(iat=NOW + 5)), NOW).sub == "ada"
    last = token(payload=claims(exp=NOW + 1))
    assert verifier.verify(last, NOW + 0.999).sub == "ada"
    assert code_of(verifier, last, NOW + 1) == "token_expired"


def test_there_are_five_seconds_for_another_issuers_exp() -> None:
    verifier = Verifier(KeySet([KEY]), trusted_issuers=[ACME])
    assert verifier.verify(acme_token(), NOW + 64.9).exp_leeway_s == 5
    assert code_of(verifier, acme_token(), NOW + 65) == "token_expired"


class TestSeenBefore:
    """A token that was verified once is cheap the next time, and no less refused."""

    def test_a_token_seen_before_costs_no_signature_check(self, monkeypatch: pytest.MonkeyPatch) -> None:
        checks: list[str] = []
        verifies = VerifyingKey.verifies

        def counted(key: VerifyingKey, algorithm: str, signing_input: bytes, signature: bytes) -> bool:
            checks.append(algorithm)
            return verifies(key, algorithm, signing_input, signature)

        monkeypatch.setattr(VerifyingKey, "verifies", counted)
        verifier = Verifier(KeySet([KEY]))
        good = token()
        assert verifier.verify(good, NOW) is verifier.verify(good, NOW + 1)
        assert checks == ["ES256"]

    def test_it_is_refused_from_the_very_moment_of_its_exp(self) -> None:
        verifier = Verifier(KeySet([KEY]))
        good = token(payload=claims(exp=NOW + 60))
        for _ in range(2):
            assert verifier.verify(good, NOW + 59.999).sub == "ada"
        for _ in range(2):
            assert code_of(verifier, good, NOW + 60) == "token_expired"

    def test_another_issuers_is_refused_when_its_leeway_is_over(self) -> None:
        verifier = Verifier(KeySet([KEY]), trusted_issuers=[ACME])
        good = acme_token()
        assert verifier.verify(good, NOW).sub == "acme:u1"
        assert verifier.verify(good, NOW + 64.999).sub == "acme:u1"
        assert code_of(verifier, good, NOW + 65) == "token_expired"

    def test_it_is_refused_when_the_clock_goes_back_before_its_nbf(self) -> None:
        verifier = Verifier(KeySet([KEY]))
        good = token(payload=claims(nbf=NOW))
        assert verifier.verify(good, NOW).sub == "ada"
        assert code_of(verifier, good, NOW - 6) == "token_not_yet_valid"
        assert verifier.verify(good, NOW).sub == "ada"

    def test_it_is_refused_once_revoked_and_passes_when_that_is_lifted(self) -> None:
        revocations = RevocationSet()
        verifier = Verifier(KeySet([KEY]), revocations=revocations)
        good = token()
        read = verifier.verify(good, NOW)
        revocations.revoke_token("token-1", until_s=NOW + 900, reason="stolen")
        with pytest.raises(TokenRefused) as refusal:
            verifier.verify(good, NOW)
        assert (refusal.value.code, refusal.value.reason) == ("token_revoked", "stolen")
        with pytest.raises(TokenRefused, match="token_revoked"):
            verifier.require_usable(read, NOW)
        revocations.forget_expired(NOW + 900)
        assert verifier.verify(good, NOW).sub == "ada"

    def test_the_whole_token_counts_so_that_no_other_signature_passes_for_it(self) -> None:
        verifier = Verifier(KeySet([KEY]))
        good = token()
        assert verifier.verify(good, NOW).sub == "ada"
        signing_input, _, signature = good.rpartition(".")
        forged = signing_input + "." + ("A" if signature[0] != "A" else "B") + signature[1:]
        assert code_of(verifier, forged) == "token_bad_signature"
        assert code_of(verifier, good + "A") == "token_bad_signature"

    def test_a_key_that_is_taken_away_takes_its_tokens_with_it(self) -> None:
        verifier = Verifier(KeySet([KEY, RSA_KEY]))
        good = token()
        other = token(header(alg="RS256", kid=RSA_KEY.kid), key=private_of(RSA_KEY))
        assert verifier.verify(good, NOW).sub == verifier.verify(other, NOW).sub == "ada"
        verifier.replace(keys=KeySet([RSA_KEY]))
        assert code_of(verifier, good) == "token_unknown_key"
        assert verifier.verify(other, NOW).sub == "ada"

    def test_another_issuers_settings_hold_from_the_moment_they_change(self) -> None:
        verifier = Verifier(KeySet([KEY]), trusted_issuers=[ACME])
        good = acme_token()
        assert verifier.verify(good, NOW).roles == ()
        verifier.replace(trusted_issuers=[replace(ACME, default_roles=("member",))])
        assert verifier.verify(good, NOW).roles == ("member",)
        verifier.replace(trusted_issuers=[replace(ACME, keys=KeySet([RSA_KEY]))])
        assert code_of(verifier, good) == "token_unknown_key"
        verifier.replace(trusted_issuers=[])
        assert code_of(verifier, good) == "token_unknown_key"

    def test_no_more_tokens_are_kept_than_it_holds_and_the_oldest_goes_first(self) -> None:
        verifier = Verifier(KeySet([KEY]), cache_entries_max=3)
        good = [token(payload=claims(jti=f"t{n}")) for n in range(5)]
        read = [verifier.verify(one, NOW) for one in good]
        assert len(verifier._trust.seen) == 3
        assert verifier.verify(good[4], NOW) is read[4]
        assert verifier.verify(good[0], NOW) is not read[0]

    def test_a_refused_token_is_not_kept(self) -> None:
        verifier = Verifier(KeySet([KEY]))
        for bad_token in (token(key=OTHER_PRIVATE), token(payload=claims(exp=NOW)), "x" * 9000):
            code_of(verifier, bad_token)
        assert len(verifier._trust.seen) == 0


def test_claims_that_were_verified_before_are_refused_when_their_time_is_over() -> None:
    verifier = Verifier(KeySet([KEY]))
    read = verifier.verify(token(), NOW)
    verifier.require_usable(read, NOW + 889)
    with pytest.raises(TokenRefused, match="token_expired"):
        verifier.require_usable(read, NOW + 890)


def test_a_set_with_one_key_still_wants_a_kid_in_a_token_of_ours() -> None:
    assert code_of(Verifier(KeySet([KEY])), token(header(kid=None))) == "token_unknown_key"


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
def test_each_of_our_algorithms_is_verified(algorithm: str) -> None:
    key = RSA_KEY if algorithm == "RS256" else SigningKey.generate(algorithm)
    good = token(header(alg=algorithm, kid=key.kid), key=private_of(key))
    assert Verifier(KeySet([key])).verify(good, NOW).sub == "ada"
    # RFC 9864's name for the same algorithm.
    if algorithm == "EdDSA":
        renamed = token(header(alg="Ed25519", kid=key.kid), key=private_of(key))
        assert Verifier(KeySet([key])).verify(renamed, NOW).sub == "ada"


def test_hs256_is_verified_with_the_secret() -> None:
    key = SigningKey.from_secret(SECRET)
    good = token(header(alg="HS256", kid=key.kid), key=SECRET.encode())
    assert Verifier(KeySet([key])).verify(good, NOW).sub == "ada"


def test_two_issuers_with_one_name_or_one_iss_or_ours_are_a_mistake() -> None:
    for twin in (replace(ACME, name="other"), replace(ACME, issuer="https://other.example")):
        with pytest.raises(ValueError, match="once only"):
            Verifier(KeySet([KEY]), trusted_issuers=[ACME, twin])
    verifier = Verifier(KeySet([KEY]), issuer="https://acme.example")
    with pytest.raises(ValueError, match="our own"):
        verifier.replace(trusted_issuers=[ACME])
    assert verifier.trusted_issuers == ()


def test_our_own_issuer_and_audience_are_settings() -> None:
    verifier = Verifier(KeySet([KEY]), issuer="https://chat.example", audience="chat")
    assert verifier.verify(token(payload=claims(iss="https://chat.example", aud="chat")), NOW).sub == "ada"
    assert code_of(verifier, token()) == "token_unknown_key"
