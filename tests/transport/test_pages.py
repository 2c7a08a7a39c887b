"""The pages over a real socket: what is served, under which policy, and what is not."""

import gzip
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from parley.domain.errors import Refusal
from parley.transport.origins import Origins
from parley.transport.pages import BYTES_MAX, Pages, accepts_gzip, matches
from tests.serving import ServerProcess
from tests.transport.asking import ask, assert_problem

WEB = Path(__file__).resolve().parents[2] / "src" / "parley" / "web"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'{}; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
GZIP = ("Accept-Encoding", "gzip, deflate, br")


def test_the_chat_is_at_the_root_and_everything_it_names_is_served(at_home: ServerProcess) -> None:
    page = ask(at_home, "GET", "/")
    assert page.status == 200
    assert page.header("content-type") == "text/html; charset=utf-8"
    assert page.body == (WEB / "chat" / "index.html").read_bytes()
    named = re.findall(r'(?:href|src)="(/[^"]*)"', page.body.decode())
    assert named
    for path in named:
        assert ask(at_home, "GET", path).status == 200, path


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("parley.js", "text/javascript; charset=utf-8"),
        ("elements/tokens.css", "text/css; charset=utf-8"),
        ("chat/mark.svg", "image/svg+xml"),
        ("chat/chat.webmanifest", "application/manifest+json"),
        ("chat/index.html", "text/html; charset=utf-8"),
    ],
)
def test_each_file_is_served_with_its_media_type_scripts_without_their_comments(
    at_home: ServerProcess, path: str, media_type: str
) -> None:
    answer = ask(at_home, "GET", f"/static/{path}")
    assert (answer.status, answer.header("content-type")) == (200, media_type)
    written = (WEB / path).read_bytes()
    if path.endswith(".js"):
        assert written.startswith(b"/**")
        written = re.sub(rb"(?ms)^ *(/\*\*.*?\*/|//.*?)\n", b"", written)
    assert answer.body == written
    assert answer.header("content-encoding") is None
    assert answer.header("cache-control") == "no-cache"
    assert answer.header("vary") == "Accept-Encoding"


def test_text_comes_compressed_to_whoever_takes_it_under_another_validator(at_home: ServerProcess) -> None:
    plain = ask(at_home, "GET", "/static/parley.js")
    small = ask(at_home, "GET", "/static/parley.js", [GZIP])
    assert small.header("content-encoding") == "gzip"
    assert gzip.decompress(small.body) == plain.body
    assert len(small.body) < len(plain.body)
    etags = (plain.header("etag"), small.header("etag"))
    assert all(etag and re.fullmatch(r'"[0-9a-f-]+(gzip)?"', etag) for etag in etags)
    assert etags[0] != etags[1]
    assert (small.header("vary"), small.header("content-type")) == (plain.header("vary"), plain.header("content-type"))


@pytest.mark.parametrize("headers", [[], [GZIP]])
def test_what_the_browser_has_is_not_sent_again(at_home: ServerProcess, headers: list[tuple[str, str]]) -> None:
    first = ask(at_home, "GET", "/static/parley.js", headers)
    etag = first.header("etag") or ""
    again = ask(at_home, "GET", "/static/parley.js", [*headers, ("If-None-Match", f'"x", W/{etag}')])
    assert (again.status, again.body) == (304, b"")
    for name in ("etag", "cache-control", "vary", "content-security-policy"):
        assert again.header(name) == first.header(name)
    assert again.header("content-encoding") is None
    other = ask(at_home, "GET", "/static/parley.js", [*headers, ("If-None-Match", '"x"')])
    assert other.status == 200


@pytest.mark.parametrize("path", ["/", "/static/chat/index.html", "/static/parley.js", "/static/chat/mark.svg"])
def test_every_page_is_under_the_strict_policy(at_home: ServerProcess, path: str) -> None:
    answer = ask(at_home, "GET", path)
    assert answer.header("content-security-policy") == POLICY.format(f" ws://127.0.0.1:{at_home.port}")
    assert answer.header("x-frame-options") == "DENY"
    assert answer.header("cross-origin-opener-policy") == "same-origin"
    assert answer.header("x-content-type-options") == "nosniff"
    assert answer.header("referrer-policy") == "no-referrer"


@pytest.mark.parametrize("page", ["listen", "broadcast"])
def test_the_players_pages_play_our_own_sound_and_run_our_own_audio_modules(at_home: ServerProcess, page: str) -> None:
    answer = ask(at_home, "GET", f"/{page}/radio%20one")
    assert answer.body == (WEB / "player" / f"{page}.html").read_bytes()
    policy = POLICY.format(f" ws://127.0.0.1:{at_home.port}")
    assert answer.header("content-security-policy") == f"{policy}; media-src 'self'; worker-src 'self'"
    for path in re.findall(r'(?:href|src)="(/[^"]*)"', answer.body.decode()):
        assert ask(at_home, "GET", path).status == 200, path
    assert_problem(ask(at_home, "GET", f"/{page}/"), 404, "not_found")
    assert_problem(ask(at_home, "GET", f"/{page}/radio/one"), 404, "not_found")


def test_the_policy_lets_a_page_reach_the_socket_of_the_name_it_was_asked_under(at_home: ServerProcess) -> None:
    for host in ("localhost", "[::1]"):
        answer = ask(at_home, "GET", "/", [("Host", f"{host}:{at_home.port}")])
        assert answer.header("content-security-policy") == POLICY.format(f" ws://{host}:{at_home.port}")
    for host in ("evil.example", "x; script-src *", ""):
        answer = ask(at_home, "GET", "/", [("Host", host)])
        assert answer.header("content-security-policy") == POLICY.format("")


def test_with_a_public_url_the_policy_names_its_socket_only(on_the_web: ServerProcess) -> None:
    for host in ("chat.example.org", "evil.example"):
        answer = ask(on_the_web, "GET", "/", [("Host", host)])
        assert answer.header("content-security-policy") == POLICY.format(" wss://chat.example.org")


@pytest.mark.parametrize(
    "path",
    [
        "/static/",
        "/static/chat",
        "/static/chat/",
        "/static/nothing.js",
        "/static/../server.py",
        "/static/..%2fserver.py",
        "/static/%2e%2e/server.py",
        "/static/chat/../parley.js",
        "/static//parley.js",
        "/static//etc/passwd",
        "/static/parley.js%00",
        "/static/parley.js/",
        "/static/PARLEY.JS",
        "/chat/index.html",
        "/index.html",
    ],
)
def test_nothing_but_the_names_of_files_leads_anywhere(at_home: ServerProcess, path: str) -> None:
    assert_problem(ask(at_home, "GET", path), 404, "not_found")


NOBODYS = Origins(None, lambda: 8000, [])


def asked_of(pages: Pages, path: str) -> Any:
    return pages.answer(Request({"type": "http", "headers": []}), path)


def test_hidden_files_and_those_of_no_known_kind_are_not_served(tmp_path: Path) -> None:
    for name in (".secret.js", "notes.md", "types.d.ts", "x.py", "shown.js", "Makefile"):
        (tmp_path / name).write_text("text")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config.txt").write_text("text")
    pages = Pages(tmp_path, NOBODYS)
    assert asked_of(pages, "shown.js").body == b"text"
    for name in (".secret.js", "notes.md", "types.d.ts", "x.py", "Makefile", ".git/config.txt"):
        with pytest.raises(Refusal, match="not_found"):
            asked_of(pages, name)


def test_files_are_read_once_so_that_no_request_touches_the_disk(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("first")
    pages = Pages(tmp_path, NOBODYS)
    (tmp_path / "a.js").write_text("second")
    (tmp_path / "b.js").write_text("later")
    assert asked_of(pages, "a.js").body == b"first"


def test_the_same_content_has_the_same_validator_on_every_node(tmp_path: Path) -> None:
    for node in ("one", "two"):
        (tmp_path / node).mkdir()
        (tmp_path / node / "a.js").write_text("x" * 1000)
    one, two = (asked_of(Pages(tmp_path / node, NOBODYS), "a.js") for node in ("one", "two"))
    assert one.headers["etag"] == two.headers["etag"]
    (tmp_path / "two" / "a.js").write_text("y" * 1000)
    assert asked_of(Pages(tmp_path / "two", NOBODYS), "a.js").headers["etag"] != one.headers["etag"]


def test_pages_too_large_to_keep_in_memory_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x" * BYTES_MAX)
    Pages(tmp_path, NOBODYS)
    (tmp_path / "b.txt").write_bytes(b"x")
    with pytest.raises(ValueError, match="more than"):
        Pages(tmp_path, NOBODYS)


@pytest.mark.parametrize(
    ("values", "accepted"),
    [
        ([], False),
        ([""], False),
        (["gzip"], True),
        (["GZIP;q=0.1"], True),
        (["br, gzip"], True),
        (["br", "gzip"], True),
        (["*"], True),
        (["gzip;q=0"], False),
        (["gzip; q=0.000, *"], False),
        (["*;q=0"], False),
        (["identity"], False),
        (["x-gzip"], False),
    ],
)
def test_gzip_is_for_whoever_lists_it(values: list[str], accepted: bool) -> None:
    assert accepts_gzip(values) is accepted


@pytest.mark.parametrize(
    ("values", "same"),
    [
        ([], False),
        (['"a"'], True),
        (['W/"a"'], True),
        (['"b" , "a"'], True),
        (["*"], True),
        (['"b"'], False),
        (["a"], False),
    ],
)
def test_a_validator_is_looked_for_among_those_the_browser_has(values: list[str], same: bool) -> None:
    assert matches(values, '"a"') is same
