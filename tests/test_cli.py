"""The command line as its users run it: a process, real files, one line for whatever goes wrong."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import jwt
import pytest

from parley.cli import main
from parley.domain import accounts
from parley.service.passwords import verify_password
from parley.store import open_store
from tests import issuers
from tests.servers import Databases

Ran = subprocess.CompletedProcess[str]
Run = Callable[..., Ran]


@pytest.fixture
def parley(tmp_path: Path) -> Run:
    """Run `parley …` with a directory of data of its own; keyword arguments become `PARLEY_…` variables.

    A forked process: as real as any, without the third of a second that importing everything takes.
    """

    def run(*arguments: str, stdin: str = "", **settings: str) -> Ran:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
        given = {"PARLEY_DATA": str(tmp_path / "data")} | {f"PARLEY_{name}": value for name, value in settings.items()}
        with tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            told.write(stdin.encode())
            told.seek(0)
            pid = os.fork()
            if pid == 0:
                _become_parley(arguments, clean | given, tmp_path, (told.fileno(), out.fileno(), err.fileno()))
            _, status = os.waitpid(pid, 0)
            out.seek(0)
            err.seek(0)
            ran = Ran(arguments, os.waitstatus_to_exitcode(status), out.read().decode(), err.read().decode())
        assert "Traceback" not in ran.stderr
        return ran

    return run


def _become_parley(
    arguments: tuple[str, ...], environ: dict[str, str], cwd: Path, files: tuple[int, int, int]
) -> NoReturn:
    status = 99
    try:
        for number, file in enumerate(files):
            os.dup2(file, number)
        sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
        os.environ.clear()
        os.environ.update(environ)
        os.chdir(cwd)
        status = main(list(arguments))
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


@pytest.fixture
def fresh_parley(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start `python -m parley …` from nothing."""

    def start(*arguments: str) -> subprocess.Popen[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
        return subprocess.Popen(
            [sys.executable, "-m", "parley", *arguments],
            env=clean | {"PARLEY_DATA": str(tmp_path / "data")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def ok(ran: Ran) -> str:
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    return ran.stdout.removesuffix("\n")


def refused(ran: Ran, status: int = 1) -> str:
    assert ran.returncode == status, ran.stderr
    assert ran.stdout == ""
    (line,) = ran.stderr.splitlines()
    assert line.startswith("parley: ")
    return line.removeprefix("parley: ")


def created(parley: Run, name: str = "ada", *roles: str) -> str:
    flags = [flag for role in roles or ("member",) for flag in ("--role", role)]
    return ok(parley("account", "create", name, *flags, "--password-stdin", stdin="sesame\n"))


def stored(tmp_path: Path, name: str) -> accounts.Account:
    store = open_store(
        f"sqlite:///{tmp_path / 'data' / 'parley.db'}",
        clock_ms=lambda: time.time_ns() // 1_000_000,
        random_bytes=os.urandom,
    )
    try:
        account = store.execute(accounts.Find(name=name)).reply
        assert isinstance(account, accounts.Account)
        return account
    finally:
        store.close()


# --- accounts


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


# --- tokens


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


def explained(parley: Run, token: str, **settings: str) -> str:
    said = ok(parley("token", "explain", "-", stdin=token, **settings))
    assert len(token) < 20 or token not in said
    return said


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


# --- keys and database


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


# --- settings, help, secrets


def test_a_wrong_setting_stops_every_command_with_its_name(parley: Run) -> None:
    for command in (("account", "list"), ("key", "list"), ("serve",), ("db", "upgrade")):
        said = refused(parley(*command, LIMITS__MESAGE_CHARS="1"))
        assert said == "PARLEY_LIMITS__MESAGE_CHARS is not a setting; did you mean PARLEY_LIMITS__MESSAGE_CHARS?"


def test_a_file_of_settings_is_taken_before_and_behind_the_command(parley: Run, tmp_path: Path) -> None:
    (tmp_path / "parley.toml").write_text('[auth]\nissuer = "us"\n')
    before = ok(parley("--config", "parley.toml", "token", "issue", "--subject", "ada"))
    behind = ok(parley("token", "issue", "--subject", "ada", "--config", "parley.toml"))
    for token in (before, behind):
        assert jwt.decode(token, options={"verify_signature": False})["iss"] == "us"


def test_a_directory_of_data_is_taken_behind_any_command(parley: Run, tmp_path: Path) -> None:
    ok(parley("key", "list", "--data", "elsewhere"))
    assert (tmp_path / "elsewhere" / "keys").is_dir()
    assert not (tmp_path / "data").exists()


def test_the_version_and_the_help_are_there_at_once_and_need_no_settings(parley: Run) -> None:
    assert re.fullmatch(r"parley, version \d+\.\d+\.\d+", ok(parley("--version", PROT="1")))
    for command in ((), ("account",), ("token", "issue"), ("serve",), ("chat",), ("db", "backup")):
        assert "Usage: parley" in ok(parley(*command, "--help", PROT="1"))


def test_without_the_extra_the_command_says_how_to_install_it(tmp_path: Path) -> None:
    program = "import sys; sys.modules['click'] = None; from parley.__main__ import main; sys.exit(main())"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 1
    assert ran.stderr == "The command parley needs the server: pip install 'parley-chat[server]'\n"


def test_no_password_and_no_secret_is_in_any_output(parley: Run) -> None:
    password = "sesame-open"
    for command in (
        ("account", "create", "a b", "--role", "member", "--password-stdin"),
        ("account", "create", "ada", "--role", "member", "--password-stdin"),
        ("account", "create", "ada", "--role", "member", "--password-stdin"),
        ("account", "list"),
    ):
        for settings in ({}, {"AUTH__SECRET": password}, {"DATABASE_URL": f"postgresql://u:{password}@127.0.0.1:1/x"}):
            ran = parley(*command, stdin=password, **settings)
            assert password not in ran.stdout + ran.stderr


# --- tokens: revoking, other issuers, incidents


def issued(parley: Run, subject: str, *flags: str) -> str:
    return ok(parley("token", "issue", "--subject", subject, *flags))


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


def refused_code(parley: Run, token: str, **settings: str) -> str:
    ran = parley("token", "verify", "-", stdin=token, **settings)
    assert (ran.returncode, ran.stdout) == (1, "")
    return ran.stderr.strip()


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
