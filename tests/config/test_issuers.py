"""External issuers from their settings: the files with their keys, and what is said of one that can't be used."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from parley.config import SettingsError, load
from parley.config.issuers import KeyFile, trusted_issuer
from parley.tokens import KeySet, SigningKey

ACME = {"name": "acme", "issuer": "https://acme.example", "audience": "chat"}
SECRET = "a secret that both back ends know, in 48 bytes.."


def external(**settings: Any) -> Any:
    environ = {"PARLEY_AUTH__ISSUERS": json.dumps([{**ACME, **settings}])}
    return load(environ=environ).auth.issuers[0]


def key_file(**settings: Any) -> KeyFile:
    found = KeyFile.of(external(**settings))
    assert found is not None
    return found


def test_an_issuer_whose_keys_are_fetched_has_no_file() -> None:
    assert KeyFile.of(external(jwks_url="https://acme.example/jwks")) is None


def test_the_settings_become_the_issuer_that_the_token_library_trusts() -> None:
    keys = KeySet([SigningKey.generate()])
    settings = {"algorithms": ["ES256"], "typ": ["JWT"], "default_kid": "k", "roles_claim": "a.b", "type": "service"}
    roles = {"allowed_roles": ["agent"], "default_roles": ["member"], "use": "identity"}
    trusted = trusted_issuer(external(jwks_url="https://acme.example/jwks", **settings, **roles), keys)
    assert (trusted.name, trusted.issuer, trusted.audience, trusted.keys) == ("acme", ACME["issuer"], "chat", keys)
    assert (trusted.algorithms, trusted.typ, trusted.default_kid) == (("ES256",), ("JWT",), "k")
    assert (trusted.roles_claim, trusted.allowed_roles, trusted.default_roles) == ("a.b", ("agent",), ("member",))
    assert (trusted.type, trusted.use) == ("service", "identity")


def test_an_algorithm_that_nobody_knows_is_named() -> None:
    with pytest.raises(SettingsError, match=r"^PARLEY_AUTH__ISSUERS: acme: algorithms: ES257; there are ES256, .*\.$"):
        trusted_issuer(external(jwks_url="https://acme.example/jwks", algorithms=["ES257"]))


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_secret_is_the_file_without_its_last_newline(tmp_path: Path, ending: str) -> None:
    (tmp_path / "secret").write_bytes((SECRET + ending).encode())
    (key,) = key_file(secret_file=str(tmp_path / "secret")).read()
    assert key.kid is None
    assert key.algorithms == {"HS256"}


def test_a_secret_is_for_the_algorithms_that_are_listed_and_has_the_default_kid(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    file = key_file(secret_file=str(tmp_path / "secret"), algorithms=["HS256", "HS384"], default_kid="main")
    (key,) = file.read()
    assert key.algorithms == {"HS256", "HS384"}
    assert key.kid == "main"


@pytest.mark.parametrize(
    ("settings", "content", "said"),
    [
        ({"setting": "secret_file"}, b"short", "a secret has at least 32 bytes"),
        ({"setting": "secret_file", "algorithms": ["HS512"]}, SECRET.encode(), "it may not be used with HS512"),
        ({"setting": "secret_file", "algorithms": ["RS256"]}, SECRET.encode(), "RS256 does not sign with a secret"),
        ({"setting": "jwks_file"}, b"{", "this is not JSON"),
        ({"setting": "jwks_file"}, b"[]", "this is no JSON object"),
        ({"setting": "jwks_file"}, b'{"keys": []}', "it has no keys"),
        ({"setting": "jwks_file"}, b'{"keys": [{"kty": "RSA", "use": "enc"}]}', "key 0: its use is not sig"),
        ({"setting": "jwks_file"}, b"\xff", "is not UTF-8"),
        ({"setting": "jwks_file"}, None, "No such file"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_that_quotes_nothing(
    tmp_path: Path, settings: dict[str, Any], content: bytes | None, said: str
) -> None:
    setting, path = settings.pop("setting"), tmp_path / "keys"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError) as problem:
        key_file(**{setting: str(path)}, **settings).read()
    told = str(problem.value)
    assert told.startswith(f"PARLEY_AUTH__ISSUERS: acme: {setting}: {path}")
    assert said in told
    assert "\n" not in told
    assert SECRET not in told


def test_the_mark_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    file = key_file(secret_file=str(path))
    assert file.mark() is None
    path.write_text(SECRET)
    before = file.mark()
    assert before == file.mark() is not None
    (tmp_path / "new").write_text(SECRET)
    os.replace(tmp_path / "new", path)
    assert file.mark() != before


def test_the_examples_of_the_documentation_are_settings() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "operate" / "external-issuers.md").read_text()
    examples = [part.partition("```")[0] for part in page.split("```json\n")[1:]]
    assert len(examples) == 4
    for example in examples:
        (issuer,) = load(environ={"PARLEY_AUTH__ISSUERS": example}).auth.issuers
        assert trusted_issuer(issuer).name == issuer.name


def test_they_are_read_from_a_file_of_settings(tmp_path: Path) -> None:
    (tmp_path / "parley.toml").write_text(
        '[[auth.issuers]]\nname = "acme"\nissuer = "https://acme.example"\naudience = "chat"\nsecret_file = "/x"\n'
    )
    (issuer,) = load(tmp_path / "parley.toml", environ={}).auth.issuers
    assert (issuer.name, issuer.secret_file) == ("acme", Path("/x"))
