"""Whose address counts: the peer's, unless a proxy of ours says what stands behind it."""

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.transport.addresses import Addresses, address_of, forwarded_elements

PROXY = "10.0.0.1"
BEHIND = Addresses([ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")])
ALONE = Addresses([])


def x(*values: str) -> list[tuple[str, str]]:
    return [("x-forwarded-for", value) for value in values]


def f(*values: str) -> list[tuple[str, str]]:
    return [("forwarded", value) for value in values]


@pytest.mark.parametrize("headers", [x("203.0.113.9"), f("for=203.0.113.9")])
def test_a_header_counts_from_a_trusted_proxy_and_from_nobody_else(headers: list[tuple[str, str]]) -> None:
    assert BEHIND.client(PROXY, headers) == "203.0.113.9"
    assert BEHIND.client("192.0.2.1", headers) == "192.0.2.1"
    assert ALONE.client(PROXY, headers) == PROXY
    assert ALONE.client("127.0.0.1", headers) == "127.0.0.1"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        # The client writes on the left, our proxies on the right: the first stranger from the right counts.
        (x("1.1.1.1, 203.0.113.9"), "203.0.113.9"),
        (x("1.1.1.1, 203.0.113.9, 10.0.0.7"), "203.0.113.9"),
        (x("1.1.1.1", "203.0.113.9", "10.0.0.7"), "203.0.113.9"),
        (f("for=1.1.1.1, for=203.0.113.9;proto=https, for=10.0.0.7"), "203.0.113.9"),
        (f("for=1.1.1.1", "for=203.0.113.9"), "203.0.113.9"),
        # All ours: the outermost of them.
        (x("10.0.0.5, 10.0.0.6"), "10.0.0.5"),
        (x(), PROXY),
        # With ports, in brackets, in quotes, in capitals.
        (x("203.0.113.9:5555"), "203.0.113.9"),
        (x("[2001:db8::1]:5555"), "2001:db8::1"),
        (x("2001:DB8:0::1"), "2001:db8::1"),
        (f('For="[2001:db8::1]:4711"'), "2001:db8::1"),
        (f('for="203.0.113.9:80";by=_x;host="a,b;c=d"'), "203.0.113.9"),
        (f('proto=https ; for="\\2\\03.0.113.9"'), "203.0.113.9"),
        (f("for=203.0.113.9,,"), "203.0.113.9"),
        (x("::ffff:203.0.113.9"), "203.0.113.9"),
        # Left of a hop that is no address nothing is known.
        (x("1.1.1.1, unknown"), PROXY),
        (x("1.1.1.1, unknown, 10.0.0.7"), "10.0.0.7"),
        (f("for=1.1.1.1, for=_hidden, for=10.0.0.7"), "10.0.0.7"),
        (f("for=1.1.1.1, proto=https"), PROXY),
        (x("1.1.1.1, "), PROXY),
        (x("garbage"), PROXY),
        (x("203.0.113.999"), PROXY),
        # A client's open quote swallows what the proxy appended: then nothing of that line counts.
        (f('for="1.1.1.1, for=203.0.113.9'), PROXY),
        (f('for="1.1.1.1', "for=203.0.113.9"), "203.0.113.9"),
        (f("for=1.1.1.1;for=203.0.113.9"), PROXY),
    ],
)
def test_the_right_most_hop_that_is_not_ours_counts(headers: list[tuple[str, str]], expected: str) -> None:
    assert BEHIND.client(PROXY, headers) == expected


def test_two_headers_that_agree_count_and_two_that_differ_do_not() -> None:
    agreeing = [*x("203.0.113.9, 10.0.0.7"), *f('for="203.0.113.9:1", for=10.0.0.7')]
    assert BEHIND.client(PROXY, agreeing) == "203.0.113.9"
    assert BEHIND.client(PROXY, [*x("203.0.113.9"), *f("for=1.1.1.1")]) == PROXY


def test_ipv4_within_ipv6_is_ipv4_also_where_proxies_are_recognised() -> None:
    assert ALONE.client("::ffff:192.0.2.1", []) == "192.0.2.1"
    assert BEHIND.client("::ffff:10.0.0.1", x("203.0.113.9")) == "203.0.113.9"


def test_a_unix_socket_has_no_address_and_its_headers_count_for_nothing() -> None:
    assert BEHIND.client(None, x("203.0.113.9")) == "unix"


def test_ipv6_counts_by_its_network_and_ipv4_by_itself() -> None:
    assert ALONE.limit_key("2001:db8:1:2:3:4:5:6") == ALONE.limit_key("2001:db8:1:2::9") == "2001:db8:1:2::/64"
    assert ALONE.limit_key("2001:db8:1:3::9") != ALONE.limit_key("2001:db8:1:2::9")
    assert ALONE.limit_key("203.0.113.9") == "203.0.113.9"
    assert ALONE.limit_key("unix") == "unix"


@pytest.mark.parametrize("name", ["forwarded", "x-forwarded-for", "x-real-ip", "via"])
def test_what_came_by_a_proxy_that_is_not_ours_is_known_as_such(name: str) -> None:
    assert ALONE.is_in_doubt("127.0.0.1", [(name, "x")])
    assert not ALONE.is_in_doubt("127.0.0.1", [("accept", "*/*")])


@pytest.mark.parametrize(
    ("headers", "is_in_doubt"),
    [
        ([], False),  # the proxy itself
        (x("203.0.113.9"), False),
        (x("10.0.0.7"), False),
        ([*x("203.0.113.9"), ("via", "1.1 proxy")], False),
        (x("203.0.113.9") + f("for=203.0.113.9"), False),
        (x("203.0.113.9") + f("for=8.8.8.8"), True),
        (x("unknown"), True),
        (x("unknown, 10.0.0.7"), True),
        (f("for=_hidden"), True),
        ([("via", "1.1 proxy")], True),
        ([("x-real-ip", "203.0.113.9")], True),
    ],
)
def test_behind_a_proxy_of_ours_it_is_known_who_asks_or_known_that_it_is_not(
    headers: list[tuple[str, str]], is_in_doubt: bool
) -> None:
    assert BEHIND.is_in_doubt(PROXY, headers) == is_in_doubt


TOKEN = st.text("abcdefghijklmnopqrstuvwxyzABC0123456789!#$%&'*+-.^_`|~", min_size=1, max_size=8)
QUOTED = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)
ELEMENT = st.dictionaries(TOKEN.map(str.lower), TOKEN | QUOTED, min_size=1, max_size=4)


def written(element: dict[str, str], spaces: str) -> str:
    def value(text: str) -> str:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'

    return f"{spaces};{spaces}".join(f"{name}={value(text)}" for name, text in element.items())


@settings(derandomize=True, max_examples=200)
@given(st.lists(ELEMENT, min_size=1, max_size=4), st.sampled_from(["", " ", "\t "]))
def test_what_is_written_by_rfc_7239_is_read_back(elements: list[dict[str, str]], spaces: str) -> None:
    line = f"{spaces},{spaces}".join(written(element, spaces) for element in elements)
    assert forwarded_elements(line) == elements


@settings(derandomize=True, max_examples=500)
@given(
    st.lists(st.tuples(st.sampled_from(["forwarded", "x-forwarded-for"]), st.text('for=";, \\[]:.1af\t', max_size=40)))
)
def test_whatever_headers_say_the_answer_is_an_address(headers: list[tuple[str, str]]) -> None:
    assert address_of(BEHIND.client(PROXY, headers)) is not None
    assert ALONE.client("192.0.2.1", headers) == "192.0.2.1"


@settings(derandomize=True, max_examples=200)
@given(st.text('for=";, \\[]:.1af', max_size=40))
def test_what_a_client_writes_cannot_move_the_hop_that_our_proxy_appends_as_a_line(theirs: str) -> None:
    assert BEHIND.client(PROXY, f(theirs, "for=203.0.113.9")) == "203.0.113.9"
    assert BEHIND.client(PROXY, x(theirs, "203.0.113.9")) == "203.0.113.9"
