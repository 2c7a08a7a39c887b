"""`parley token`: issued, verified, explained."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest

from tests.cli.running import Run, created, explained, ok


def test_a_token_for_an_account_has_its_id_name_and_roles(parley: Run) -> None:
    subject = created(parley, "ada", "agent", "member")
    by_name, by_id = (ok(parley("token", "issue", "--subject", who)) for who in ("Ada", subject))
    claims = json.loads(ok(parley("token", "verify", by_name)))
    assert claims["sub"] == subject
    assert (claims["type"], claims["name"], sorted(claims["roles"])) == ("account", "ada", ["agent", "member"])
    assert (claims["iss"], claims["aud"]) == ("parley", "parley")
    assert claims["exp"] - claims["iat"] == 900
    other = json.loads(ok(parley("token", "verify", "-", stdin=by_id + "\n")))
    assert other["sub"] == subject
    assert other["jti"] != claims["jti"]
    assert other["sid"] != claims["sid"]


def test_a_token_for_any_subject_has_what_was_asked_for(parley: Run) -> None:
    token = ok(
        parley(
            "token", "issue", "--subject", "acme:auth0|7", "--type", "service", "--role", "admin", "--role", "agent",
            "--ttl", "60", "--grant", "room:launch=read,send", "--grant", "room:launch=manage",
            "--grant", "stream:radio-*=listen",
        )
    )  # fmt: skip
    claims = json.loads(ok(parley("token", "verify", token)))
    assert (claims["sub"], claims["type"], claims["roles"]) == ("acme:auth0|7", "service", ["admin", "agent"])
    assert claims["exp"] - claims["iat"] == 60
    assert claims["grants"] == {"room:launch": ["read", "send", "manage"], "stream:radio-*": ["listen"]}


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256", "HS256"])
def test_an_independent_library_verifies_what_the_command_issues(parley: Run, tmp_path: Path, algorithm: str) -> None:
    secret = "s" * 32
    settings = {"AUTH__ALGORITHM": algorithm, "AUTH__ISSUER": "us", "AUTH__AUDIENCE": "them"}
    if algorithm == "HS256":
        settings["AUTH__SECRET"] = secret
    token = ok(parley("token", "issue", "--subject", "ada", **settings))
    header = jwt.get_unverified_header(token)
    assert (header["typ"], header["alg"]) == ("at+jwt", algorithm)
    key: object = secret
    if algorithm != "HS256":
        (path,) = (tmp_path / "data" / "keys").glob("signing-*.json")
        key = jwt.PyJWK.from_dict(json.loads(path.read_text())["jwk"], algorithm).key.public_key()
    claims = jwt.decode(token, key, [algorithm], audience="them", issuer="us")  # type: ignore[arg-type]
    assert claims["sub"] == "ada"
    assert header["kid"] in ok(parley("key", "list", **settings))


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda t: "", "token_malformed"),
        (lambda t: t + "=", "token_malformed"),
        (lambda t: t.rsplit(".", 1)[0] + ".", "token_bad_signature"),
        (lambda t: t[:-6] + ("AAAAAA" if t[-6:] != "AAAAAA" else "BBBBBA"), "token_bad_signature"),
    ],
)
def test_a_bad_token_is_its_code_on_standard_error(parley: Run, spoil: Callable[[str], str], code: str) -> None:
    token = ok(parley("token", "issue", "--subject", "ada"))
    ran = parley("token", "verify", "-", stdin=spoil(token))
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", code + "\n")


def test_the_token_of_a_disabled_account_is_revoked_and_issuing_one_warns(parley: Run) -> None:
    created(parley)
    token = ok(parley("token", "issue", "--subject", "ada"))
    ok(parley("account", "disable", "ada"))
    assert parley("token", "verify", token).stderr == "token_revoked\n"
    issued = parley("token", "issue", "--subject", "ada")
    assert issued.returncode == 0
    assert "disabled" in issued.stderr


def test_a_good_token_is_explained_with_its_key_its_bearer_and_its_times(parley: Run) -> None:
    token = ok(parley("token", "issue", "--subject", "ada", "--role", "agent", "--grant", "room:x=read"))
    said = explained(parley, token)
    for part in (
        "It is an access token, alg ES256, typ at+jwt.",
        f"It was signed by our key {jwt.get_unverified_header(token)['kid']}, the one that signs now.",
        "for ada",
        "of type account with the roles agent",
        "It is narrowed to: room:x read.",
        "15 minutes from now",
        "It would be accepted now.",
    ):
        assert part in said


def test_a_refused_token_is_explained_with_its_code_and_what_to_do(parley: Run, tmp_path: Path) -> None:
    token = ok(parley("token", "issue", "--subject", "ada"))
    refusals = {
        "token_wrong_audience (claim": explained(parley, token, AUTH__AUDIENCE="others"),
        "token_bad_signature": explained(parley, token[:-6] + ("AAAAAA" if token[-6:] != "AAAAAA" else "BBBBBA")),
        "token_malformed": explained(parley, token + "="),
    }
    shutil.rmtree(tmp_path / "data" / "keys")
    refusals["token_unknown_key"] = explained(parley, token)
    for code, said in refusals.items():
        assert f"It would be refused: {code.partition(' ')[0]}" in said
        assert "What to do: " in said
    assert "which is none of ours" in refusals["token_unknown_key"]
    assert "It names our key" in refusals["token_bad_signature"]
    assert "with padding" in refusals["token_malformed"]


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("", "it is empty"),
        ("Bearer a.b.c", "it begins with `Bearer`"),
        ('"a.b.c"', "it is in quotes"),
        ("a.b\nc", "there is space in it"),
        ("a.b", "it has 2 parts"),
        ("a.b.c.d.e", "JWE"),
        ("0192f0c1-2b3c-7d4e-8f90-a1b2c3d4e5f6.3.abc", "refresh token"),
        ("a" * 9000, "more than 8192"),
        ("a.b.c", "they are not base64url of two JSON objects"),
    ],
)
def test_what_is_no_token_is_said_to_be_what_it_is(parley: Run, token: str, said: str) -> None:
    assert said in explained(parley, token)
