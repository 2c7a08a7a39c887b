"""The settings: where they come from, which of them wins, and the one line that is said of a wrong one."""

import ipaddress
import re
from pathlib import Path

import pytest

from parley.config import Settings, SettingsError, load, require_servable
from parley.config.sources import environment_name, fields, form_of


def refusal(environ: dict[str, str] | None = None, config: Path | None = None, **flags: object) -> str:
    with pytest.raises(SettingsError) as caught:
        load(config, environ=environ or {}, flags=flags)
    line = str(caught.value)
    assert "\n" not in line
    assert caught.value.__cause__ is None
    return line


def test_without_anything_given_every_setting_has_the_default_of_the_contract() -> None:
    settings = load()
    limits = settings.limits
    assert (settings.host, settings.port, settings.data) == ("127.0.0.1", 8000, Path("parley-data"))
    assert settings.store_url == "sqlite:///parley-data/parley.db"
    assert settings.log_format == "console"
    assert settings.auth.carriers == ["header", "subprotocol", "ticket", "message"]
    assert (settings.auth.algorithm, settings.auth.issuer, settings.auth.audience) == ("ES256", "parley", "parley")
    assert (settings.auth.access_ttl, settings.auth.guest_ttl, settings.auth.refresh_ttl) == (900, 3600, 2_592_000)
    assert (settings.auth.refresh_reuse, settings.auth.margin, settings.auth.grace) == (60, 30, 25)
    assert settings.policy.delete_own is False
    assert limits.model_dump() == {
        "message_chars": 8000,
        "request_bytes": 131_072,
        "replay_bytes": 524_288,
        "slow_consumer_bytes": 1_048_576,
        "subscriptions": 100,
        "connections": 20,
        "service_connections": 1000,
        "connections_total": 20_000,
        "pending_connections": 1000,
        "pending_per_address": 20,
        "bad_tokens_per_s": 20,
        "messages_per_s": 10,
        "messages_burst": 20,
        "guest_messages_per_s": 2,
        "guest_messages_burst": 5,
        "conversations_per_min": 5,
        "login_failures": 10,
        "links_per_hour": 3,
        "ping_interval": 25,
        "ping_timeout": 20,
        "connection_lifetime": 86_400,
        "auth_timeout": 5,
    }


def test_a_flag_wins_over_the_environment_and_that_over_the_file_and_that_over_the_default(tmp_path: Path) -> None:
    file = tmp_path / "parley.toml"
    file.write_text('host = "::1"\nport = 1\nworkers = 2\n[limits]\nconnections = 3\nsubscriptions = 4\n')
    environ = {"PARLEY_PORT": "2", "PARLEY_WORKERS": "3", "PARLEY_LIMITS__CONNECTIONS": "5"}
    settings = load(file, environ=environ, flags={"workers": 4, "port": None})
    assert (settings.host, settings.port, settings.workers) == ("::1", 2, 4)
    assert (settings.limits.connections, settings.limits.subscriptions) == (5, 4)
    assert settings.limits.pending_per_address == 20


def test_lists_are_comma_separated_in_the_environment_and_arrays_in_toml(tmp_path: Path) -> None:
    file = tmp_path / "parley.toml"
    file.write_text('allowed_origins = ["https://a.example"]\n[auth]\ncarriers = ["header"]\n')
    settings = load(file, environ={"PARLEY_AUTH__CARRIERS": " header , query,"})
    assert settings.auth.carriers == ["header", "query"]
    assert settings.allowed_origins == ["https://a.example"]
    assert load(environ={"PARLEY_ALLOWED_ORIGINS": ""}).allowed_origins == []


def test_networks_are_read_as_networks() -> None:
    settings = load(environ={"PARLEY_TRUSTED_PROXIES": "10.0.0.0/8,192.0.2.7,::1"})
    assert settings.trusted_proxies == [ipaddress.ip_network(n) for n in ("10.0.0.0/8", "192.0.2.7/32", "::1/128")]


def test_origins_are_kept_as_browsers_write_them() -> None:
    environ = {
        "PARLEY_PUBLIC_URL": "https://Chat.Example.org:443/",
        "PARLEY_ALLOWED_ORIGINS": "http://localhost:80,http://localhost:3000",
        "PARLEY_WIDGET_ORIGINS": "https://*.example.org",
    }
    settings = load(environ=environ)
    assert settings.public_url == "https://chat.example.org"
    assert settings.allowed_origins == ["http://localhost", "http://localhost:3000"]
    assert settings.widget_origins == ["https://*.example.org"]


@pytest.mark.parametrize(
    "value",
    [
        "*",
        "null",
        "example.org",
        "https://a.example/path",
        "https://u@a.example",
        "ftp://a.example",
        "https://a.example?x",
        "https://*.example.org",
        "https://a.example; script-src *",
        "https://",
    ],
)
def test_what_is_no_origin_is_refused(value: str) -> None:
    assert "PARLEY_ALLOWED_ORIGINS should be a comma-separated list of origins" in refusal(
        {"PARLEY_ALLOWED_ORIGINS": value}
    )


def test_a_value_is_read_from_the_file_that_its_name_with_file_names(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("s" * 31 + "\n\n")
    settings = load(environ={"PARLEY_AUTH__SECRET_FILE": str(file), "PARLEY_AUTH__ALGORITHM": "HS256"})
    assert settings.auth.secret is not None
    assert settings.auth.secret.get_secret_value() == "s" * 31 + "\n"  # only the last newline goes


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({"PARLEY_PROT": "1"}, "PARLEY_PROT is not a setting; did you mean PARLEY_PORT?"),
        (
            {"PARLEY_LIMITS__MESAGE_CHARS": "1"},
            "PARLEY_LIMITS__MESAGE_CHARS is not a setting; did you mean PARLEY_LIMITS__MESSAGE_CHARS?",
        ),
        (
            {"PARLEY_AUTH__SECRET_FIEL": "x"},
            "PARLEY_AUTH__SECRET_FIEL is not a setting; did you mean PARLEY_AUTH__SECRET_FILE?",
        ),
        ({"PARLEY_XYZZY": "1"}, "PARLEY_XYZZY is not a setting; the settings are listed in the documentation"),
        ({"PARLEY_PORT": "80a"}, "PARLEY_PORT should be a whole number from 0 to 65535"),
        ({"PARLEY_PORT": "65536"}, "PARLEY_PORT should be a whole number from 0 to 65535"),
        ({"PARLEY_LIMITS__CONNECTIONS": "-1"}, "PARLEY_LIMITS__CONNECTIONS should be a whole number; 0 switches"),
        ({"PARLEY_LIMITS__PING_INTERVAL": "nan"}, "PARLEY_LIMITS__PING_INTERVAL should be a number of seconds"),
        ({"PARLEY_AUTH__ACCESS_TTL": "0"}, "PARLEY_AUTH__ACCESS_TTL should be a number of seconds, at least 1"),
        ({"PARLEY_POLICY__DELETE_OWN": "maybe"}, "PARLEY_POLICY__DELETE_OWN should be true or false"),
        ({"PARLEY_AUTH__CARRIERS": "header,cookie"}, "PARLEY_AUTH__CARRIERS should be a comma-separated list of"),
        ({"PARLEY_AUTH__CARRIERS": ""}, "PARLEY_AUTH__CARRIERS should be a comma-separated list of"),
        ({"PARLEY_AUTH__ALGORITHM": "none"}, "PARLEY_AUTH__ALGORITHM should be ES256, EdDSA, RS256 or HS256"),
        ({"PARLEY_TRUSTED_PROXIES": "proxy"}, "PARLEY_TRUSTED_PROXIES should be a comma-separated list of networks"),
        ({"PARLEY_DATABASE_URL": "mysql://x"}, "PARLEY_DATABASE_URL should be sqlite:///FILE or postgresql://"),
        ({"PARLEY_BUS_URL": "nats://x"}, "PARLEY_BUS_URL should be redis://"),
        ({"PARLEY_LOG_FORMAT": "xml"}, "PARLEY_LOG_FORMAT should be console or json"),
        ({"PARLEY_AUTH": "x"}, "PARLEY_AUTH is not a setting but a group of them"),
        ({"PARLEY_AUTH__ISSUERS": "{"}, "PARLEY_AUTH__ISSUERS should be a JSON list"),
        ({"PARLEY_AUTH__ISSUERS": "[3]"}, "PARLEY_AUTH__ISSUERS[0] should be an object"),
        ({"PARLEY_AUTH__ISSUERS": '[{"name": "a"}]'}, "PARLEY_AUTH__ISSUERS[0].issuer is missing"),
        ({"PARLEY_AUTH__SECRET_FILE": "/nonexistent"}, "PARLEY_AUTH__SECRET_FILE: /nonexistent can't be read"),
        (
            {"PARLEY_PORT": "1", "PARLEY_PORT_FILE": "/nonexistent"},
            "PARLEY_PORT_FILE and PARLEY_PORT are both set: unset one of them",
        ),
    ],
)
def test_a_wrong_setting_is_named_as_it_was_written_and_the_line_says_what_it_should_be(
    environ: dict[str, str], line: str
) -> None:
    assert refusal(environ).startswith(line)


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        ("prot = 1", "prot in {path} is not a setting; did you mean port?"),
        ("[limit]\nconnections = 1", "limit in {path} is not a setting"),
        ("[limits]\nconections = 1", "limits.conections in {path} is not a setting; did you mean limits.connections?"),
        ("[limits]\nconnections = 'many'", "limits.connections in {path} should be a whole number"),
        ("auth = 1", "auth in {path} is not a setting but a group of them"),
        ("port = ", "--config {path} is not TOML"),
    ],
)
def test_a_wrong_key_of_the_file_is_named_with_the_file(tmp_path: Path, toml: str, line: str) -> None:
    file = tmp_path / "parley.toml"
    file.write_text(toml)
    assert refusal(config=file).startswith(line.format(path=file))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert refusal(config=tmp_path / "none.toml").startswith(f"--config {tmp_path / 'none.toml'} can't be read")


def test_a_wrong_flag_is_named_as_a_flag() -> None:
    assert refusal(port=70_000) == "--port should be a whole number from 0 to 65535"


def test_variables_of_tests_and_of_the_clients_are_no_settings() -> None:
    environ = {"PARLEY_TEST_LONG": "1", "PARLEY_URL": "x", "PARLEY_TOKEN": "x", "PARLEY_TOKEN_FILE": "x", "HOME": "/"}
    assert load(environ=environ) == load()


@pytest.mark.parametrize(("secret", "is_enough"), [("s" * 31, False), ("s" * 32, True), ("é" * 16, True)])
def test_hs256_needs_a_secret_of_32_bytes_of_utf_8(secret: str, is_enough: bool) -> None:
    environ = {"PARLEY_AUTH__ALGORITHM": "HS256", "PARLEY_AUTH__SECRET": secret}
    if is_enough:
        assert load(environ=environ).auth.secret is not None
    else:
        assert refusal(environ) == "PARLEY_AUTH__SECRET should be a secret of at least 32 bytes"


def test_hs256_without_a_secret_is_refused_with_what_to_set() -> None:
    line = refusal({"PARLEY_AUTH__ALGORITHM": "HS256"})
    assert line.startswith("PARLEY_AUTH__ALGORITHM is HS256")
    assert "set PARLEY_AUTH__SECRET" in line


def test_no_secret_is_in_a_repr_or_in_what_is_said_of_a_fault() -> None:
    secret, password = "sesame" * 6, "opensesame"
    environ = {
        "PARLEY_AUTH__SECRET": secret,
        "PARLEY_DATABASE_URL": f"postgresql://u:{password}@h/d",
        "PARLEY_BUS_URL": f"redis://:{password}@h",
    }
    settings = load(environ=environ)
    for text in (repr(settings), str(settings), repr(settings.model_dump()), f"{settings.auth}"):
        assert "sesame" not in text
    assert settings.store_url == f"postgresql://u:{password}@h/d"
    assert "sesame" not in refusal({**environ, "PARLEY_DATABASE_URL": f"postgres:{password}"})
    assert "sesame" not in refusal({"PARLEY_AUTH__SECRET": "sesame"})


@pytest.mark.parametrize(
    ("issuer", "said"),
    [
        ({}, "[0] needs exactly one of jwks_url, jwks_file and secret_file"),
        ({"jwks_url": "https://a.example/jwks", "jwks_file": "x"}, "[0] needs exactly one of"),
        ({"jwks_url": "http://a.example/jwks"}, "[0].jwks_url should be an https:// URL"),
        ({"jwks_url": "https://a.example/jwks", "name": "guest"}, "[0] has the name guest"),
        ({"jwks_url": "https://a.example/jwks", "name": "Acme"}, "[0].name should be 1 to 16 of a-z"),
        ({"jwks_url": "https://a.example/jwks", "type": "guest"}, "[0].type should be account or service"),
        ({"jwks_url": "https://a.example/jwks", "isuer": "x"}, "[0].isuer is not a setting; did you mean"),
        ({"jwks_url": "https://a.example/jwks", "issuer": "parley"}, ": one has our own ISSUER"),
    ],
)
def test_a_wrong_external_issuer_is_named_by_its_place(issuer: dict[str, str], said: str) -> None:
    import json

    whole = {"name": "acme", "issuer": "https://id.acme.example", "audience": "chat", **issuer}
    assert refusal({"PARLEY_AUTH__ISSUERS": json.dumps([whole])}).startswith(f"PARLEY_AUTH__ISSUERS{said}")


def test_external_issuers_come_as_tables_of_the_file_too(tmp_path: Path) -> None:
    file = tmp_path / "parley.toml"
    file.write_text(
        '[[auth.issuers]]\nname = "acme"\nissuer = "https://id.acme.example"\naudience = "chat"\n'
        'jwks_url = "http://127.0.0.1:1/jwks"\n'
    )
    (issuer,) = load(file).auth.issuers
    assert issuer.typ == ["at+jwt", "JWT", ""]
    assert (issuer.use, issuer.type, issuer.allowed_roles, issuer.default_roles) == ("access", "account", [], [])


def servable(demo: bool = False, **environ: str) -> str | None:
    settings: Settings = load(environ={f"PARLEY_{name}": value for name, value in environ.items()})
    try:
        require_servable(settings, demo=demo)
    except SettingsError as error:
        return str(error)
    return None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_a_loopback_host_needs_no_public_url(host: str) -> None:
    assert servable(HOST=host) is None


def test_any_other_host_is_refused_with_the_line_to_set() -> None:
    said = servable(HOST="192.0.2.7", PORT="9000")
    assert said is not None
    line = re.search(r"PARLEY_PUBLIC_URL=(\S+)", said)
    assert line is not None
    assert servable(HOST="192.0.2.7", PORT="9000", PUBLIC_URL=line[1]) is None
    assert "PARLEY_PUBLIC_URL=https://chat.example.org" in (servable(HOST="0.0.0.0") or "")


def test_the_demo_serves_on_loopback_only() -> None:
    assert servable(demo=True) is None
    assert "loopback only" in (servable(demo=True, HOST="0.0.0.0", PUBLIC_URL="https://a.example") or "")


def test_more_workers_than_one_need_a_bus_and_postgresql() -> None:
    assert "PARLEY_BUS_URL" in (servable(WORKERS="2") or "")
    assert "PARLEY_DATABASE_URL" in (servable(WORKERS="2", BUS_URL="redis://h") or "")
    assert servable(WORKERS="2", BUS_URL="redis://h", DATABASE_URL="postgresql://h/d") is None


def test_every_setting_says_what_it_is_and_what_it_should_be() -> None:
    for key, field in fields():
        assert field.description, environment_name(key)
        assert form_of(field) != "something else", environment_name(key)


def test_every_setting_that_deploy_and_the_documentation_name_exists() -> None:
    known = {environment_name(key) for key, _ in fields()}
    known |= {f"{name}_FILE" for name in known}
    known |= {"PARLEY_URL", "PARLEY_TOKEN", "PARLEY_TOKEN_FILE"}
    root = Path(__file__).parents[1]
    pages = [root / "README.md", root / "SECURITY.md", *root.glob("docs/**/*.md"), *root.glob("deploy/**/*")]
    named = {
        (page.name, name)
        for page in pages
        if page.is_file() and "_build" not in page.parts
        for name in re.findall(r"\bPARLEY_[A-Z_]+", page.read_text())
        if not name.startswith("PARLEY_TEST_")
    }
    assert len(named) > 50
    assert {(page, name) for page, name in named if name not in known} == set()
