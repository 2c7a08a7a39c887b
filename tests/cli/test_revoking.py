"""`parley token` on what is revoked, on other issuers' tokens, and on incidents."""

import json
import time
from pathlib import Path

import jwt
import pytest

from tests import issuers
from tests.cli.running import Run, created, explained, issued, ok, refused, refused_code


def test_a_token_a_session_and_a_subject_are_revoked_and_nothing_else(parley: Run) -> None:
    account = created(parley, "ada")
    one, two, others = issued(parley, "ada"), issued(parley, "ada"), issued(parley, "ben")
    assert ok(parley("token", "revoke", "-", stdin=one)) == ""
    assert refused_code(parley, one) == "token_revoked"
    ok(parley("token", "verify", two))
    ok(parley("token", "revoke", "--session", claims_of(two)["sid"]))
    assert refused_code(parley, two) == "token_revoked"
    three = issued(parley, account)
    time.sleep(1.1)  # a token by hand says when it was made to the millisecond, but a stranger's only to the second
    ok(parley("token", "revoke", "--subject", "ada"))
    assert refused_code(parley, three) == "token_revoked"
    ok(parley("token", "verify", issued(parley, "ada")))
    ok(parley("token", "verify", others))
    ok(parley("token", "revoke", one))  # again: no effect


def claims_of(token: str) -> dict[str, str]:
    claims: dict[str, str] = jwt.decode(token, options={"verify_signature": False})
    return claims


def test_what_nobody_could_use_is_not_revoked(parley: Run) -> None:
    token = issued(parley, "ada")
    assert "token_bad_signature" in refused(parley("token", "revoke", token[:-6] + "AAAAAA"))
    assert "token_malformed" in refused(parley("token", "revoke", "x"))
    expired = issued(parley, "ada", "--ttl", "0.05")
    time.sleep(0.06)
    assert ok(parley("token", "revoke", expired)) == ""
    assert "Name one" in refused(parley("token", "revoke"), 2)
    assert "Name one" in refused(parley("token", "revoke", token, "--subject", "ada"), 2)
    assert refused(parley("token", "revoke", "--session", "no id"))


@pytest.fixture
def shop(tmp_path: Path) -> dict[str, str]:
    """A shop that signs with a secret, and one whose keys are in a file."""
    (tmp_path / "secret").write_text(issuers.PHP_SECRET + "\n")
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [KEYCLOAK_KEY.jwk]}))
    trusted = [
        {**issuers.PHP, "secret_file": str(tmp_path / "secret")},
        {**issuers.KEYCLOAK, "jwks_file": str(tmp_path / "jwks.json")},
    ]
    return {"AUTH__ISSUERS": json.dumps(trusted)}


KEYCLOAK_KEY = issuers.Key("kc-1")


def test_an_external_token_is_verified_explained_and_revoked(parley: Run, shop: dict[str, str]) -> None:
    token = issuers.php()
    assert json.loads(ok(parley("token", "verify", token, **shop)))["sub"] == "1042"
    said = explained(parley, token, **shop)
    assert "It was signed by a key without a name of the external issuer shop." in said
    assert "Here its bearer is shop:1042, of type account, with the roles member." in said
    assert "It would be accepted now." in said
    by_keycloak = issuers.keycloak(KEYCLOAK_KEY)
    assert "signed by the key kc-1 of the external issuer kc." in explained(parley, by_keycloak, **shop)
    assert refused_code(parley, by_keycloak) == "token_unknown_key"
    ok(parley("token", "revoke", token, **shop))
    assert refused_code(parley, token, **shop) == "token_revoked"
    assert "It would be refused: token_revoked" in explained(parley, token, **shop)
    again = issuers.php(sub="7", iat=int(time.time()) - 60)
    ok(parley("token", "revoke", "--subject", "shop:7", **shop))
    assert refused_code(parley, again, **shop) == "token_revoked"


def test_an_external_token_that_its_issuer_does_not_vouch_for_is_explained(
    parley: Run, shop: dict[str, str], tmp_path: Path
) -> None:
    said = explained(parley, issuers.keycloak(issuers.Key("kc-2")), **shop)
    assert "It names the key kc-2, which is none of the external issuer kc" in said
    assert "jwks.json" in said
    assert "What to do: Let its issuer publish the key" in said
    (tmp_path / "jwks.json").unlink()
    assert "Its issuer's keys can't be had: " in explained(parley, issuers.keycloak(KEYCLOAK_KEY), **shop)


def test_keys_by_url_are_fetched_for_the_one_token(parley: Run) -> None:
    nowhere = {**issuers.KEYCLOAK, "jwks_url": "http://127.0.0.1:9/keys"}
    said = explained(parley, issuers.keycloak(KEYCLOAK_KEY), AUTH__ISSUERS=json.dumps([nowhere]))
    assert "Its issuer's keys can't be had: 127.0.0.1" in said
    assert "token_unknown_key" in said


def test_an_incident_that_nobody_knows_is_said_to_be_unknown(parley: Run) -> None:
    assert "No refusal of 0123456789ab is kept here." in refused(parley("token", "explain", "0123456789ab"))
