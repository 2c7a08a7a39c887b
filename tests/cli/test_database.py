"""`parley key` and `parley db`."""

import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import jwt

from tests.cli.running import Run, created, ok, refused
from tests.servers import Databases


def test_keys_are_listed_with_what_they_do(parley: Run) -> None:
    first = ok(parley("key", "list")).split("\t")
    assert first[1:3] == ["ES256", "signs"]
    after = [line.split("\t")[:3] for line in ok(parley("key", "list", AUTH__ALGORITHM="EdDSA")).splitlines()]
    assert after[0] == [first[0], "ES256", "verifies"]
    assert after[1][1:] == ["EdDSA", "signs"]


def test_a_key_is_rotated_retired_and_listed_with_its_state(parley: Run) -> None:
    old = ok(parley("key", "list")).split("\t")[0]
    assert refused(parley("key", "retire", old)).startswith("This key signs")
    new, _, state, _ = ok(parley("key", "rotate")).split("\t")
    assert state.startswith("signs from ")
    states = {kid: state for kid, _, state, _ in (line.split("\t") for line in ok(parley("key", "list")).splitlines())}
    assert states[old] == "signs"
    assert states[new].startswith("signs from ")
    before = ok(parley("token", "issue", "--subject", "ada"))
    now, _, state, _ = ok(parley("key", "rotate", "--now")).split("\t")
    assert state == "signs"
    assert jwt.get_unverified_header(ok(parley("token", "issue", "--subject", "ada")))["kid"] == now
    assert ok(parley("key", "retire", old)).split("\t")[2].startswith("verifies until ")
    ok(parley("token", "verify", before))
    assert ok(parley("key", "retire", new)).split("\t")[2] == "out"
    assert "retired" not in refused(parley("key", "retire", "x" * 500))


def test_a_secret_has_no_keys_to_rotate(parley: Run) -> None:
    for arguments in (("rotate",), ("retire", "x")):
        said = refused(parley("key", *arguments, AUTH__ALGORITHM="HS256", AUTH__SECRET="s" * 40))
        assert "PARLEY_AUTH__SECRET" in said


def test_commands_that_start_at_once_make_one_database_and_one_key(
    parley: Run, fresh_parley: Callable[..., subprocess.Popen[str]]
) -> None:
    tokens = []
    for process in [fresh_parley("token", "issue", "--subject", f"s{n}") for n in range(3)]:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        tokens.append(out.strip())
    assert len({jwt.get_unverified_header(token)["kid"] for token in tokens}) == 1
    for token in tokens:
        ok(parley("token", "verify", token))


def test_a_backup_is_private_and_has_the_accounts(parley: Run, tmp_path: Path) -> None:
    created(parley)
    ok(parley("db", "upgrade"))
    ok(parley("db", "backup", "copy.db"))
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    assert "ada" in ok(parley("account", "list", DATABASE_URL=f"sqlite:///{tmp_path / 'copy.db'}"))


def test_on_postgresql_every_command_waits_for_the_upgrade(parley: Run, databases: Databases) -> None:
    url = databases.empty()
    for command in (
        ("account", "list"),
        ("account", "create", "ada", "--role", "member", "--password-stdin"),
        ("token", "issue", "--subject", "ada"),
        ("serve", "--port", "0"),
    ):
        assert "parley db upgrade" in refused(parley(*command, stdin="sesame", DATABASE_URL=url))
    ok(parley("db", "upgrade", DATABASE_URL=url))
    ok(parley("account", "create", "ada", "--role", "member", "--password-stdin", stdin="sesame", DATABASE_URL=url))
    assert "ada" in ok(parley("account", "list", DATABASE_URL=url))
    databases.drop(url)
