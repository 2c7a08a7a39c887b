"""The keyring's files: made once, private, and read back as the same keys."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from parley.store.keyring import FOLLOWED_MS, KeyFile, Keyring, mark_of, note_long_token, retire, rotate
from parley.store.problems import StoreProblem
from parley.tokens import Issuer, SigningKey, TokenRefused, Verifier

NOW_MS = 1_800_000_000_000


def load(directory: Path, algorithm: str = "ES256", secret: str | None = None, now_ms: int = NOW_MS) -> Keyring:
    return Keyring.load(directory, algorithm=algorithm, secret=secret, now_ms=now_ms, random_bytes=os.urandom)


def write_key(directory: Path, **facts: object) -> str:
    key = SigningKey.generate("ES256")
    file = {"kid": key.kid, "algorithm": "ES256", "created_at_ms": 0, "signs_from_ms": 0, "jwk": key.to_jwk(), **facts}
    (directory / f"signing-{key.kid}.json").write_text(json.dumps(file))
    return key.kid


def token(keyring: Keyring) -> str:
    return Issuer(keyring.signing_key).issue(
        sub="ada", type="account", roles=["member"], sid="s", jti="j", now_s=NOW_MS / 1000, ttl_s=60
    )


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
def test_keys_are_made_on_first_use_and_read_back_the_next_time(tmp_path: Path, algorithm: str) -> None:
    first = load(tmp_path / "data" / "keys", algorithm)
    again = load(tmp_path / "data" / "keys", algorithm)
    assert first.signing_key.algorithm == algorithm
    assert first.signing_key.kid == again.signing_key.kid
    assert first.refresh_key == again.refresh_key
    assert len(first.refresh_key) == 32
    assert first.fingerprint == again.fingerprint
    assert first.mark == again.mark
    claims = Verifier(again.keyset).verify(token(first), NOW_MS / 1000)
    assert claims.sub == "ada"


def test_the_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load(tmp_path / "data" / "keys")
    finally:
        os.umask(before)
    for directory in (tmp_path / "data", tmp_path / "data" / "keys"):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    files = list((tmp_path / "data" / "keys").iterdir())
    assert len(files) == 3  # a signing key, the refresh key, the lock
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_key_file_is_named_by_its_kid_which_is_the_keys_thumbprint(tmp_path: Path) -> None:
    keyring = load(tmp_path)
    (path,) = tmp_path.glob("signing-*")
    assert path.name == f"signing-{keyring.signing_key.kid}.json"
    assert SigningKey.from_jwk({**json.loads(path.read_text())["jwk"], "kid": None}).kid == keyring.signing_key.kid


def test_processes_that_start_at_once_agree_on_the_keys(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from parley.store.keyring import Keyring; sys.stdin.read();"
        "k = Keyring.load(Path(sys.argv[1]), algorithm='ES256', secret=None, now_ms=1, random_bytes=os.urandom);"
        "print(k.signing_key.kid, k.refresh_key.hex())"
    )
    starting = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "keys")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in starting:
        assert process.stdin is not None
        process.stdin.close()  # all have imported by now or soon: go
        process.stdin = None
    said = {process.communicate(timeout=100)[0] for process in starting}
    assert len(said) == 1
    assert said != {""}
    assert len(list((tmp_path / "keys").glob("signing-*"))) == 1


def test_with_hs256_the_secret_signs_and_nothing_is_published(tmp_path: Path) -> None:
    asymmetric = load(tmp_path)
    keyring = load(tmp_path, "HS256", "s" * 32)
    assert keyring.signing_key.algorithm == "HS256"
    assert keyring.keyset.to_jwks() == {"keys": []}
    assert keyring.refresh_key == asymmetric.refresh_key
    with pytest.raises(TokenRefused) as refused:
        Verifier(keyring.keyset).verify(token(asymmetric), NOW_MS / 1000)
    assert refused.value.code == "token_unknown_key"


def test_after_a_change_of_the_algorithm_the_old_key_still_verifies(tmp_path: Path) -> None:
    old = load(tmp_path, "ES256")
    new = load(tmp_path, "EdDSA")
    assert new.signing_key.algorithm == "EdDSA"
    assert len(new.keyset) == 2
    assert Verifier(new.keyset).verify(token(old), NOW_MS / 1000).sub == "ada"


def test_a_new_key_is_published_at_once_and_signs_from_its_time_on(tmp_path: Path) -> None:
    old = write_key(tmp_path, signs_from_ms=0)
    new = write_key(tmp_path, signs_from_ms=NOW_MS + 600_000)
    early, late = load(tmp_path), load(tmp_path, now_ms=NOW_MS + 600_000)
    assert early.signing_key.kid == old
    assert new in early.keyset
    assert early.changes_at_ms == NOW_MS + 600_000
    assert late.signing_key.kid == new
    assert old in late.keyset
    assert late.changes_at_ms is None
    assert early.fingerprint == late.fingerprint


def test_no_kid_looks_like_an_option_of_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate = SigningKey.generate
    with_hyphen = next(key for key in iter(lambda: generate("EdDSA"), None) if key.kid.startswith("-"))
    made = iter([with_hyphen, with_hyphen, generate("EdDSA")])
    monkeypatch.setattr(SigningKey, "generate", lambda algorithm: next(made, None) or generate(algorithm))
    file = rotate(tmp_path, "EdDSA", now_ms=NOW_MS, signs_from_ms=NOW_MS)
    assert not file.kid.startswith("-")


def test_a_retired_key_verifies_until_its_last_token_is_out(tmp_path: Path) -> None:
    retired = write_key(tmp_path, retired_at_ms=NOW_MS, verifies_until_ms=NOW_MS + 900_000)
    signing = load(tmp_path).signing_key.kid  # the retired one can't sign, so another is made
    assert signing != retired
    during = load(tmp_path)
    assert retired in during.keyset
    assert during.changes_at_ms == NOW_MS + 900_000
    after = load(tmp_path, now_ms=NOW_MS + 900_000)
    assert retired not in after.keyset
    assert after.signing_key.kid == signing


def test_the_mark_changes_with_the_files_and_not_without(tmp_path: Path) -> None:
    keyring = load(tmp_path)
    assert mark_of(tmp_path) == keyring.mark == mark_of(tmp_path)
    write_key(tmp_path)
    assert mark_of(tmp_path) != keyring.mark
    assert load(tmp_path).fingerprint != keyring.fingerprint


def test_a_key_under_a_name_with_a_dot_is_none_until_it_is_renamed(tmp_path: Path) -> None:
    """So that several machines with copies can have it in one moment (docs/operate/keys.md)."""
    (tmp_path / "next").mkdir()
    keys = tmp_path / "keys"
    before = load(keys)
    name = f"signing-{write_key(tmp_path / 'next')}.json"
    (tmp_path / "next" / name).rename(keys / f".{name}")
    assert (mark_of(keys), load(keys).fingerprint) == (before.mark, before.fingerprint)
    (keys / f".{name}").rename(keys / name)
    assert mark_of(keys) != before.mark
    assert load(keys).fingerprint != before.fingerprint


def test_a_retired_key_is_of_the_same_keyring_until_it_is_out(tmp_path: Path) -> None:
    old = load(tmp_path).signing_key.kid
    rotate(tmp_path, "ES256", now_ms=NOW_MS, signs_from_ms=NOW_MS + 1)
    both = load(tmp_path).fingerprint
    out_at_ms = retire(tmp_path, "ES256", old, now_ms=NOW_MS + 2, token_ms=900_000).verifies_until_ms
    assert out_at_ms is not None
    assert load(tmp_path, now_ms=out_at_ms - 1).fingerprint == both
    assert load(tmp_path, now_ms=out_at_ms).fingerprint != both


def test_the_last_long_token_of_a_key_is_remembered(tmp_path: Path) -> None:
    kid = load(tmp_path).signing_key.kid
    for exp_ms in (5, 9, 7):
        note_long_token(tmp_path, kid, exp_ms)
    (path,) = tmp_path.glob("signing-*")
    assert msgspec.json.decode(path.read_bytes(), type=KeyFile).tokens_until_ms == 9
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_rotation_publishes_at_once_and_signs_when_it_is_told_to(tmp_path: Path) -> None:
    old = load(tmp_path).signing_key.kid
    made = rotate(tmp_path, "ES256", now_ms=NOW_MS, signs_from_ms=NOW_MS + 600_000)
    assert load(tmp_path).signing_key.kid == old
    assert made.kid in load(tmp_path).keyset
    assert load(tmp_path, now_ms=NOW_MS + 599_999).signing_key.kid == old
    assert load(tmp_path, now_ms=NOW_MS + 600_000).signing_key.kid == made.kid
    assert stat.S_IMODE((tmp_path / f"signing-{made.kid}.json").stat().st_mode) == 0o600


def test_rotations_within_one_millisecond_take_over_in_their_order(tmp_path: Path) -> None:
    load(tmp_path)
    for _ in range(5):
        made = rotate(tmp_path, "ES256", now_ms=NOW_MS, signs_from_ms=NOW_MS)
        assert load(tmp_path, now_ms=NOW_MS + 10).signing_key.kid == made.kid


def test_the_key_that_signs_is_not_retired_and_one_that_is_not_there_is_named(tmp_path: Path) -> None:
    signing = load(tmp_path).signing_key.kid
    with pytest.raises(StoreProblem, match="This key signs"):
        retire(tmp_path, "ES256", signing, now_ms=NOW_MS, token_ms=900_000)
    rotate(tmp_path, "ES256", now_ms=NOW_MS, signs_from_ms=NOW_MS + 600_000)
    with pytest.raises(StoreProblem, match="This key signs"):
        retire(tmp_path, "ES256", signing, now_ms=NOW_MS + 1, token_ms=900_000)
    with pytest.raises(StoreProblem, match="no key 'other'"):
        retire(tmp_path, "ES256", "other", now_ms=NOW_MS, token_ms=900_000)


def test_a_retired_key_is_out_once_the_last_token_it_can_have_signed_is(tmp_path: Path) -> None:
    old = load(tmp_path).signing_key.kid
    rotate(tmp_path, "ES256", now_ms=NOW_MS + 1, signs_from_ms=NOW_MS + 1000)
    retired = retire(tmp_path, "ES256", old, now_ms=NOW_MS + 400_000, token_ms=900_000)
    out_ms = NOW_MS + 1000 + FOLLOWED_MS + 900_000  # counted from when the new one took over, not from the retirement
    assert retired.verifies_until_ms == out_ms
    assert old in load(tmp_path, now_ms=out_ms - 1).keyset
    assert old not in load(tmp_path, now_ms=out_ms).keyset
    assert retire(tmp_path, "ES256", old, now_ms=NOW_MS + 800_000, token_ms=1).verifies_until_ms == out_ms


def test_a_retired_key_waits_for_a_long_token_that_was_made_by_hand(tmp_path: Path) -> None:
    old = load(tmp_path).signing_key.kid
    note_long_token(tmp_path, old, NOW_MS + 10**10)
    rotate(tmp_path, "ES256", now_ms=NOW_MS, signs_from_ms=NOW_MS)
    retired = retire(tmp_path, "ES256", old, now_ms=NOW_MS + 10, token_ms=900_000)
    assert retired.verifies_until_ms == NOW_MS + 10**10


def test_a_key_that_never_signed_is_out_at_once(tmp_path: Path) -> None:
    load(tmp_path)
    made = rotate(tmp_path, "ES256", now_ms=NOW_MS, signs_from_ms=NOW_MS + 600_000)
    retire(tmp_path, "ES256", made.kid, now_ms=NOW_MS + 10, token_ms=900_000)
    assert made.kid not in load(tmp_path, now_ms=NOW_MS + 10).keyset


def test_the_key_of_an_algorithm_that_was_given_up_is_retired_from_now(tmp_path: Path) -> None:
    old = load(tmp_path, "ES256").signing_key.kid
    load(tmp_path, "EdDSA")
    retired = retire(tmp_path, "EdDSA", old, now_ms=NOW_MS + 50, token_ms=900_000)
    assert retired.verifies_until_ms == NOW_MS + 50 + FOLLOWED_MS + 900_000


@pytest.mark.parametrize("content", ["", "{", "{}", '{"kid": 1}', '{"kid":"a","algorithm":"ES256","created_at_ms":0}'])
def test_a_damaged_key_file_is_named_and_not_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / "signing-a.json"
    path.write_text(content)
    with pytest.raises(StoreProblem) as problem:
        load(tmp_path)
    assert str(path) in str(problem.value)
    assert path.read_text() == content


def test_a_key_that_is_no_key_is_said_to_be_unusable_without_quoting_it(tmp_path: Path) -> None:
    write_key(tmp_path, jwk={"kty": "EC", "crv": "P-256", "d": "sesame"})
    with pytest.raises(StoreProblem) as problem:
        load(tmp_path)
    assert "can't be used" in str(problem.value)
    assert "sesame" not in str(problem.value)


@pytest.mark.parametrize("content", [b"", b"00", b"\xff" * 64, b"x" * 64])
def test_a_damaged_refresh_key_is_named_and_not_replaced(tmp_path: Path, content: bytes) -> None:
    load(tmp_path)
    (tmp_path / "refresh").write_bytes(content)
    with pytest.raises(StoreProblem, match="refresh is damaged"):
        load(tmp_path)


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(StoreProblem, match="can't be used: Not a directory"):
        load(tmp_path / "data" / "keys")


def test_nothing_secret_is_in_a_repr(tmp_path: Path) -> None:
    keyring = load(tmp_path)
    shown = f"{keyring!r} {keyring.files!r}"
    assert keyring.refresh_key.hex() not in shown
    assert keyring.files[0].jwk["d"] not in shown
