"""`tokens/claims.py` and `tokens/issuer.py`: what is issued is what is read, and grants only narrow."""

from __future__ import annotations

import string
from dataclasses import replace
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.tokens import Grants, Issuer, KeySet, SigningKey, TokenRefused, Verifier, require_same_bearer
from tests.tokens.forge import KEY, NOW, RSA_KEY, SECRET, claims, header, private_of, token

DETERMINISTIC = settings(derandomize=True, deadline=None, max_examples=100)

ISSUER = Issuer(KEY)
VERIFIER = Verifier(KeySet([KEY]))
GOOD: dict[str, Any] = {
    "sub": "ada",
    "type": "account",
    "roles": ["member"],
    "sid": "s1",
    "jti": "t1",
    "now_s": NOW,
    "ttl_s": 900,
}

ids = st.text(string.ascii_letters + string.digits + "._~-", min_size=1, max_size=64)
subjects = st.text([chr(code) for code in range(0x21, 0x7F)], min_size=1, max_size=320)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
resources = st.builds(
    lambda kind, id_, star: f"{kind}:{id_[:63]}{star}",
    st.sampled_from(["room", "stream"]),
    ids,
    st.sampled_from(["", "*"]),
)
actions = st.lists(st.sampled_from(["read", "send", "manage", "listen", "publish"]), unique=True)
grants = st.none() | st.dictionaries(resources, actions, max_size=5)


@DETERMINISTIC
@given(
    st.fixed_dictionaries(
        {
            "sub": subjects,
            "sid": ids,
            "jti": ids,
            "type": st.sampled_from(["account", "service"]),
            "roles": st.lists(st.sampled_from(["guest", "member", "agent", "admin"]), max_size=4),
            "name": st.none() | texts,
            "grants": grants,
            "ttl_s": st.integers(1, 10**6),
            "now_s": st.floats(0, 2**40),
            "auth_time": st.none() | st.floats(0, 2**40),
        }
    )
)
def test_what_is_issued_is_what_is_read(given_claims: dict[str, Any]) -> None:
    now_s = given_claims["now_s"]
    read = VERIFIER.verify(ISSUER.issue(**given_claims), now_s)
    for claim in ("sub", "sid", "jti", "type", "name"):
        assert getattr(read, claim) == given_claims[claim]
    assert read.roles == tuple(given_claims["roles"])
    assert (read.iat, read.exp) == (int(now_s), int(now_s) + given_claims["ttl_s"])
    if given_claims["grants"] is None:
        assert read.grants is None
    else:
        assert read.grants == Grants.parse(given_claims["grants"])
    if given_claims["auth_time"] is None:
        assert read.auth_time is None
    else:
        assert read.auth_time == pytest.approx(given_claims["auth_time"], abs=0.001)


@DETERMINISTIC
@given(conversation=ids, department=st.none() | texts)
def test_a_guests_token_keeps_its_conversation(conversation: str, department: str | None) -> None:
    made = ISSUER.issue(
        **GOOD | {"sub": "guest:1", "type": "guest", "roles": ["guest"]},
        conversation=conversation,
        department=department,
    )
    read = VERIFIER.verify(made, NOW)
    assert (read.conversation, read.department) == (conversation, department)


@DETERMINISTIC
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_grants_of_any_other_form_are_malformed(value: Any) -> None:
    with pytest.raises(TokenRefused) as refusal:
        Grants.parse(value)
    assert (refusal.value.code, refusal.value.claim) == ("token_malformed", "grants")


@DETERMINISTIC
@given(st.dictionaries(st.text(max_size=10), st.lists(st.text(max_size=8)) | st.text() | st.none(), min_size=1))
def test_grants_are_read_as_written_or_refused(value: dict[str, Any]) -> None:
    try:
        parsed = Grants.parse(value)
    except TokenRefused:
        return
    assert {resource: set(granted) for resource, granted in parsed.to_claim().items()} == {
        resource: set(granted) for resource, granted in value.items()
    }


def test_grants_allow_what_they_say_and_nothing_else() -> None:
    parsed = Grants.parse({"room:launch": ["read", "send"], "room:team-*": ["read"], "stream:radio": ["listen"]})
    assert parsed.allows("read", "room:launch")
    assert parsed.allows("send", "room:launch")
    assert not parsed.allows("manage", "room:launch")
    assert not parsed.allows("read", "room:launch2")
    assert not parsed.allows("read", "room:laun")
    assert parsed.allows("read", "room:team-")
    assert parsed.allows("read", "room:team-a")
    assert not parsed.allows("send", "room:team-a")
    assert not parsed.allows("read", "room:team")
    assert parsed.allows("listen", "stream:radio")
    assert not parsed.allows("read", "stream:radio")
    assert not parsed.allows("listen", "room:radio")


def test_a_star_alone_is_all_of_its_kind_and_stars_add_up() -> None:
    parsed = Grants.parse({"room:*": ["read"], "room:team-*": ["send"], "room:team-a": ["manage"]})
    assert parsed.allows("read", "room:anything")
    assert not parsed.allows("read", "stream:anything")
    assert [parsed.allows(action, "room:team-a") for action in ("read", "send", "manage")] == [True, True, True]
    assert not Grants.parse({}).allows("read", "room:a")
    assert not Grants.parse({"room:a": []}).allows("read", "room:a")


@pytest.mark.parametrize(
    "resource",
    ["", "room:", "room", "launch", "room:a b", "room:**", "room:*a", "Room:a", "room:a\n", "room:" + "a" * 65],
)
def test_a_resource_in_an_unknown_form_is_malformed(resource: str) -> None:
    with pytest.raises(TokenRefused, match="token_malformed"):
        Grants.parse({resource: ["read"]})


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("sub", ""),
        ("sub", "a b"),
        ("sub", "a" * 321),
        ("sid", "s" * 65),
        ("sid", "a/b"),
        ("jti", ""),
        ("type", "robot"),
        ("roles", ["root"]),
        ("name", "\ud800"),
        ("grants", {"room:a*b": ["read"]}),
        ("ttl_s", float("inf")),
    ],
)
def test_what_a_verifier_would_refuse_is_not_issued(claim: str, value: Any) -> None:
    with pytest.raises(ValueError, match="exp" if claim == "ttl_s" else claim):
        ISSUER.issue(**GOOD | {claim: value})


@pytest.mark.parametrize(
    ("claim", "value", "told"),
    [
        ("roles", ["editor"], "roles should be a list of guest, member, agent, admin"),
        ("type", "robot", "type should be account or guest or service"),
        ("jti", "a/b", "jti should be an id: 1 to 64 characters of"),
        ("department", "\ud800", "department should be a text"),
    ],
)
def test_whoever_issues_is_told_what_a_claim_should_be(claim: str, value: Any, told: str) -> None:
    of_a_guest = {"type": "guest", "conversation": "c-1"} if claim == "department" else {}
    with pytest.raises(ValueError, match=f"^{told}"):
        ISSUER.issue(**GOOD | of_a_guest | {claim: value})


def test_a_guest_without_a_conversation_and_a_conversation_without_a_guest_are_not_issued() -> None:
    with pytest.raises(ValueError, match="needs a conversation"):
        ISSUER.issue(**GOOD | {"type": "guest"})
    with pytest.raises(ValueError, match="only a guest"):
        ISSUER.issue(**GOOD, conversation="c-1")


def test_a_token_over_8_kib_is_not_issued() -> None:
    with pytest.raises(ValueError, match="8192"):
        ISSUER.issue(**GOOD, name="n" * 8000)


def test_a_renewal_is_by_the_same_bearer_or_refused_by_the_claim_that_differs() -> None:
    guest = claims(type="guest", conversation="c-1")
    current = VERIFIER.verify(token(payload=guest), NOW)
    require_same_bearer(current, replace(current, roles=("agent",), sid="s2", jti="t2", exp=NOW + 9000))
    for claim, other in (("iss", "x"), ("sub", "ben"), ("type", "account"), ("conversation", "c-2")):
        changed: dict[str, Any] = {claim: other}
        with pytest.raises(TokenRefused) as refusal:
            require_same_bearer(current, replace(current, **changed))
        assert (refusal.value.code, refusal.value.claim) == ("subject_mismatch", claim)


class TestTwoWitnesses:
    """Ours are verified by PyJWT, and theirs by us."""

    @staticmethod
    def key(algorithm: str) -> SigningKey:
        if algorithm == "HS256":
            return SigningKey.from_secret(SECRET)
        return RSA_KEY if algorithm == "RS256" else SigningKey.generate(algorithm)

    @pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256", "HS256"])
    def test_a_token_of_ours_is_verified_by_pyjwt(self, algorithm: str) -> None:
        key = self.key(algorithm)
        made = Issuer(key).issue(**GOOD, name="Ada 👩🏽‍💻", grants={"room:*": ["read"]})
        head = jwt.get_unverified_header(made)
        assert head == {"typ": "at+jwt", "alg": algorithm, "kid": key.kid}
        witness: Any = (
            SECRET if algorithm == "HS256" else jwt.PyJWKSet.from_dict(KeySet([key]).to_jwks())[head["kid"]].key
        )
        # PyJWT asks the machine's clock; it is the signature that is asked for here.
        read = jwt.decode(
            made,
            witness,
            [algorithm],
            audience="parley",
            issuer="parley",
            options={"verify_iat": False, "verify_exp": False},
        )
        assert read["sub"] == "ada"
        assert read["name"] == "Ada 👩🏽‍💻"
        assert read["grants"] == {"room:*": ["read"]}
        assert set(read) == {"iss", "aud", "sub", "iat", "exp", "jti", "sid", "type", "roles", "name", "grants"}

    @pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256", "HS256"])
    def test_a_token_of_pyjwt_is_verified_by_us(self, algorithm: str) -> None:
        key = self.key(algorithm)
        private: Any = SECRET if algorithm == "HS256" else private_of(key)
        made = jwt.encode(claims(), private, algorithm, headers=header(alg=algorithm, kid=key.kid))
        assert Verifier(KeySet([key])).verify(made, NOW).sub == "ada"
