"""Whose pages may call: spellings of an origin, our own ones, and how the no reads."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.transport.origins import Origins, normalised

OURS = Origins("https://chat.example.org", lambda: 8000, ["https://shop.example", "http://localhost:3000"])
AT_HOME = Origins(None, lambda: 8000, [])


@pytest.mark.parametrize(
    ("spelled", "meant"),
    [
        ("https://a.example", "https://a.example"),
        ("HTTPS://A.Example", "https://a.example"),
        ("https://a.example:443", "https://a.example"),
        ("http://a.example:80", "http://a.example"),
        ("http://a.example:443", "http://a.example:443"),
        ("https://a.example:08443", "https://a.example:8443"),
        ("http://[0:0::1]:8000", "http://[::1]:8000"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
    ],
)
def test_spellings_of_one_origin_are_one(spelled: str, meant: str) -> None:
    assert normalised(spelled) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "https://",
        "a.example",
        "https://a.example/",
        "https://a.example/x",
        "https://a.example?x",
        "https://a.example#x",
        "https://user@a.example",
        "https://a.example:port",
        "https://a.example:",
        "https://a.example, https://b.example",
        "https://a.example https://b.example",
        "https://[::g]",
        "https://[1.2.3.4]",
        "https://a.example\\@b.example",
        " https://a.example",
    ],
)
def test_what_is_no_origin_has_no_normal_form(text: str) -> None:
    assert normalised(text) is None
    assert not OURS.admits(text)


def test_a_request_without_an_origin_is_admitted() -> None:
    assert OURS.admits(None)
    assert AT_HOME.admits(None)


@pytest.mark.parametrize(
    "origin",
    ["https://chat.example.org", "https://CHAT.example.org:443", "https://shop.example", "http://localhost:3000"],
)
def test_the_public_url_and_the_allowed_are_admitted(origin: str) -> None:
    assert OURS.admits(origin)


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "http://chat.example.org",
        "https://chat.example.org:8443",
        "https://chat.example.org.evil.example",
        "https://evil.example",
        "https://xchat.example.org",
        "http://localhost:8000",  # with a public URL the loopback names are nobody's
        "http://127.0.0.1:8000",
    ],
)
def test_others_than_the_public_url_and_the_allowed_are_not_admitted(origin: str) -> None:
    assert not OURS.admits(origin)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"])
def test_without_a_public_url_the_loopback_names_are_our_own_at_our_port_only(host: str) -> None:
    assert AT_HOME.admits(f"http://{host}:8000")
    assert not AT_HOME.admits(f"http://{host}:8001")
    assert not AT_HOME.admits(f"http://{host}")
    assert not AT_HOME.admits(f"https://{host}:8000")


def test_the_port_counts_that_the_server_has_now() -> None:
    port = 0
    origins = Origins(None, lambda: port, [])
    assert not origins.admits("http://localhost:4711")
    port = 4711
    assert origins.admits("http://localhost:4711")
    port = 80
    assert origins.admits("http://localhost")
    assert not origins.admits("http://localhost:4711")


def test_the_denial_names_the_origin_and_the_setting() -> None:
    refusal = OURS.denied("https://evil.example")
    assert (refusal.code, refusal.status) == ("origin_denied", 403)
    assert "https://evil.example" in refusal.message
    assert "PARLEY_ALLOWED_ORIGINS" in refusal.message
    assert refusal.facts == {"origin": "https://evil.example", "setting": "PARLEY_ALLOWED_ORIGINS"}


def test_the_denial_is_no_echo_of_a_long_or_unprintable_origin() -> None:
    refusal = OURS.denied("https://\r\n\x00" + "x" * 5000)
    assert len(refusal.message) < 300
    assert refusal.message.isprintable()


@pytest.mark.parametrize(
    ("origins", "host", "expected"),
    [
        (OURS, "chat.example.org", "wss://chat.example.org"),
        (OURS, "evil.example", "wss://chat.example.org"),
        (AT_HOME, "localhost:8000", "ws://localhost:8000"),
        (AT_HOME, "[::1]:8000", "ws://[::1]:8000"),
        (AT_HOME, "evil.example:8000", None),
        (AT_HOME, "localhost:8000; script-src *", None),
        (AT_HOME, None, None),
    ],
)
def test_the_web_socket_origin_of_a_page_is_our_own_or_none(
    origins: Origins, host: str | None, expected: str | None
) -> None:
    assert origins.web_socket(host) == expected


@settings(derandomize=True, max_examples=300)
@given(st.text(max_size=60) | st.from_regex(r"[a-z]+://[^ ]{0,30}", fullmatch=True))
def test_any_text_is_an_answer_and_a_normal_form_is_its_own(text: str) -> None:
    meant = normalised(text)
    assert meant is None or normalised(meant) == meant
    assert OURS.denied(text).status == 403
