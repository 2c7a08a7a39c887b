"""`parley account`."""

import stat
from pathlib import Path

import pytest

from parley.service.passwords import verify_password
from tests.cli.running import Run, created, ok, refused, stored


def test_creating_an_account_before_the_first_start_prints_its_id_alone(parley: Run, tmp_path: Path) -> None:
    printed = created(parley, "Ada", "agent", "member")
    account = stored(tmp_path, "ada")
    assert account.id == printed
    assert account.username == "Ada"
    assert account.role_set == {"agent", "member"}
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "data" / "parley.db").stat().st_mode) == 0o600


def test_only_the_last_newline_of_a_password_is_left_out(parley: Run, tmp_path: Path) -> None:
    ok(parley("account", "create", "ada", "--role", "member", "--password-stdin", stdin=" two\nlines \n\n"))
    assert verify_password(stored(tmp_path, "ada").password_hash, " two\nlines \n")
    (tmp_path / "password").write_text("from a file\r\n")
    ok(parley("account", "set-password", "ada", "--password-file", "password"))
    assert verify_password(stored(tmp_path, "ada").password_hash, "from a file")


def test_an_account_is_named_by_its_username_or_its_subject(parley: Run, tmp_path: Path) -> None:
    subject = created(parley)
    ok(parley("account", "set-roles", "ADA", "--role", "admin"))
    assert stored(tmp_path, "ada").role_set == {"admin"}
    ok(parley("account", "set-roles", subject, "--role", "member", "--role", "agent"))
    assert stored(tmp_path, "ada").role_set == {"member", "agent"}
    ok(parley("account", "disable", subject))
    assert stored(tmp_path, "ada").disabled


def test_listing_shows_every_account_on_a_line_of_its_own(parley: Run) -> None:
    ada, ben = created(parley), created(parley, "ben", "admin", "member")
    ok(parley("account", "disable", "ben"))
    lines = [line.split("\t") for line in ok(parley("account", "list")).splitlines()]
    assert sorted(lines) == sorted(
        [[ada, "ada", "member", "active", "ada"], [ben, "ben", "admin,member", "disabled", "ben"]]
    )


def test_no_name_can_write_to_the_terminal_of_who_lists_it(parley: Run) -> None:
    ok(
        parley(
            "account", "create", "ada", "--role", "member", "--name", "a\x1b[2J\nb", "--password-stdin", stdin="sesame"
        )
    )
    listed = ok(parley("account", "list"))
    assert len(listed.splitlines()) == 1
    assert "\x1b" not in listed


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("account", "create", "ada", "--password-stdin"), 2, "Missing option '--role'"),
        (
            ("account", "create", "ada", "--role", "owner", "--password-stdin"),
            2,
            "Invalid value for '--role': 'owner' is not one of",
        ),
        (("account", "create", "ada", "--role", "member"), 2, "Say where the password is"),
        (("account", "create", "a b", "--role", "member", "--password-stdin"), 1, "A username is 1 to 128 printable"),
        (("account", "create", "ada", "--role", "member", "--password-file", "none"), 1, "none can't be read"),
        (("account", "set-roles", "nobody", "--role", "member"), 1, "There is no account nobody"),
        (("account", "disable", "nobody"), 1, "There is no account nobody"),
        (("acount", "list"), 2, "No such command 'acount'. Did you mean 'account'?"),
        (("account", "list", "--config", "none.toml"), 1, "--config none.toml can't be read"),
        (("token", "issue"), 2, "Missing option '--subject'"),
        (("token", "issue", "--subject", "a b"), 1, "--subject should be 1 to 320 printable ASCII characters"),
        (("token", "issue", "--subject", "a", "--ttl", "0"), 2, "--ttl should be a number of seconds above 0"),
        (("token", "issue", "--subject", "a", "--ttl", "nan"), 2, "--ttl should be a number of seconds above 0"),
        (
            ("token", "issue", "--subject", "a", "--type", "guest"),
            2,
            "Invalid value for '--type': 'guest' is not one of",
        ),
        (("token", "issue", "--subject", "a", "--grant", "room:x"), 2, "--grant 'room:x' should be like"),
        (("token", "issue", "--subject", "a", "--grant", "room:x=own"), 2, "--grant 'room:x=own' should be like"),
        (("token", "issue", "--subject", "a", "--grant", "tree:x=read"), 2, "--grant 'tree:x=read' should be like"),
        (("serve", "--port", "x"), 2, "Invalid value for '--port'"),
        (("serve", "--port", "70000"), 1, "--port should be a whole number from 0 to 65535"),
        (("serve", "--host", "0.0.0.0"), 1, "0.0.0.0 is not a loopback address"),
        (("serve", "--demo", "--host", "0.0.0.0"), 1, "--demo has sign-ins that everybody knows"),
        (("serve", "--workers", "2"), 1, "2 workers need a bus"),
        (("chat", "lobby"), 2, "Say who you are"),
        (("chat", "lobby", "--token", "x", "--user", "y"), 2, "--token and --user exclude each other"),
        (("db", "backup"), 2, "Missing argument 'FILE'"),
    ],
)
def test_bad_input_is_one_line_and_the_right_status(
    parley: Run, arguments: tuple[str, ...], status: int, said: str
) -> None:
    assert refused(parley(*arguments, stdin="sesame"), status).startswith(said)


def test_a_taken_username_an_empty_password_and_a_long_one_are_refused(parley: Run) -> None:
    created(parley)
    create = ("account", "create", "ADA", "--role", "member", "--password-stdin")
    assert "exists" in refused(parley(*create, stdin="sesame"))
    assert "empty" in refused(parley(*create, stdin="\n"))
    assert "1024" in refused(parley(*create, stdin="x" * 1025))
