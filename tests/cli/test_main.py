"""Settings, help, and secrets that are never shown."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import jwt

from tests.cli.running import Run, ok, refused


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


def test_a_place_where_nobody_can_listen_is_named_with_the_setting_that_chooses_another(parley: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        said = refused(parley("serve", "--port", port))
    assert said.startswith(f"127.0.0.1 port {port} is in use: ")
    assert said.endswith("choose another --port (PARLEY_PORT).")
    said = refused(parley("serve", "--host", "192.0.2.1", PUBLIC_URL="http://chat.example"))
    assert said == "192.0.2.1 port 8000 is no address of this machine; choose another --host (PARLEY_HOST)."


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
