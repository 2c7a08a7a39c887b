"""`tokens/adapters/outgoing.py`: where a request may go, and how it ends whatever the other side does."""

from __future__ import annotations

import ipaddress
import threading
import time
from pathlib import Path

import pytest

from parley.tokens.adapters.outgoing import OutgoingFailed, OutgoingRefused, Target, is_public, permitted, request
from tests.tokens.adapters.elsewhere import LOOPBACK, Elsewhere, Handler, certificate_for

pytestmark = pytest.mark.anyio

PUBLIC = ["1.1.1.1", "2606:4700:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1"]
NOT_PUBLIC = [
    "127.0.0.1",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "::",
    "::1",
    "fe80::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::",
    "2001:db8::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_asked(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_of_the_internet_may_not_be_asked(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    assert permitted([ipaddress.ip_address(address)], [], is_tls=True) == []


def test_a_network_that_is_allowed_may_be_asked_and_its_neighbours_may_not() -> None:
    allow = [ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00::/8")]
    asked = [ipaddress.ip_address(text) for text in ("10.1.2.3", "10.2.2.3", "fd00::7", "1.1.1.1", "127.0.0.1")]
    assert [str(one) for one in permitted(asked, allow, is_tls=True)] == ["10.1.2.3", "fd00::7", "1.1.1.1"]


def test_plain_http_goes_to_loopback_alone_and_to_that_only_where_it_is_allowed() -> None:
    asked = [ipaddress.ip_address(text) for text in ("127.0.0.1", "1.1.1.1", "10.1.2.3")]
    assert permitted(asked, [ipaddress.ip_network("10.0.0.0/8")], is_tls=False) == []
    assert permitted(asked, LOOPBACK, is_tls=False) == [ipaddress.ip_address("127.0.0.1")]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "file:///etc/passwd",
        "https:///nowhere",
        "https://ada:secret@example.org/",
        "https://example.org:99999/",
        "https://example.org/\r\nHost: elsewhere",
        "https://example.org/a b",
        "//example.org",
        "",
    ],
)
def test_an_url_that_is_no_plain_https_url_is_refused(url: str) -> None:
    with pytest.raises(OutgoingRefused) as refused:
        Target.parse(url)
    assert "secret" not in str(refused.value)


async def test_an_answer_comes_back_whole_whatever_its_status() -> None:
    with Elsewhere() as elsewhere:
        elsewhere.body = b'{"keys": []}'
        answer = await request(f"{elsewhere.url}?a=1", allow=LOOPBACK, headers={"Accept": "application/json"})
        assert (answer.status, answer.body) == (200, elsewhere.body)
        ((method, path, headers),) = elsewhere.asked
        assert (method, path, headers["accept"]) == ("GET", "/jwks.json?a=1", "application/json")
        assert headers["host"] == f"localhost:{elsewhere.port}"

        answer = await request(elsewhere.url, method="POST", body=b"news", allow=LOOPBACK)
        assert answer.status == 200
        assert elsewhere.asked[1][2]["content-length"] == "4"


async def test_a_loopback_address_that_is_not_allowed_is_never_connected_to() -> None:
    with Elsewhere() as elsewhere:
        for host in ("localhost", "127.0.0.1", "[::ffff:127.0.0.1]"):
            with pytest.raises(OutgoingRefused, match="no address that is public or allowed"):
                await request(f"http://{host}:{elsewhere.port}/")
            with pytest.raises(OutgoingRefused, match="no address that is public or allowed"):
                await request(f"https://{host}:{elsewhere.port}/")
        assert elsewhere.asked == []


async def test_the_name_is_resolved_once_so_that_a_second_answer_leads_nowhere() -> None:
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    with Elsewhere() as elsewhere:
        answer = await request(
            f"http://rebound.example:{elsewhere.port}/",
            allow=LOOPBACK,
            resolve=lambda host, port: [ipaddress.ip_address(text) for text in next(answers)],
        )
        assert answer.status == 200
        assert elsewhere.asked[0][2]["host"] == f"rebound.example:{elsewhere.port}"
    assert next(answers) == ["10.0.0.1"]


async def test_plain_http_to_another_host_is_refused_though_its_network_is_allowed() -> None:
    def resolve(host: str, port: int) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
        return [ipaddress.ip_address("10.1.2.3")]

    with pytest.raises(OutgoingRefused, match="plain HTTP goes nowhere else"):
        await request("http://inside.example/", allow=[ipaddress.ip_network("10.0.0.0/8")], resolve=resolve)


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    def redirect(handler: Handler) -> None:
        handler.send_response(302)
        handler.send_header("Location", "http://169.254.169.254/latest/meta-data/")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with Elsewhere() as elsewhere:
        elsewhere.answer = redirect
        answer = await request(elsewhere.url, allow=LOOPBACK)
        assert (answer.status, len(elsewhere.asked)) == (302, 1)


async def test_an_answer_over_its_bytes_fails() -> None:
    with Elsewhere() as elsewhere:
        elsewhere.body = b" " * 65_536
        assert len((await request(elsewhere.url, allow=LOOPBACK)).body) == 65_536
        elsewhere.body += b" "
        with pytest.raises(OutgoingFailed, match="over 65536 bytes"):
            await request(elsewhere.url, allow=LOOPBACK)


async def test_an_answer_that_breaks_off_fails() -> None:
    def break_off(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    with Elsewhere() as elsewhere:
        elsewhere.answer = break_off
        with pytest.raises(OutgoingFailed, match="broke off"):
            await request(elsewhere.url, allow=LOOPBACK)


async def test_a_peer_that_drips_is_left_when_the_time_is_over() -> None:
    is_left = threading.Event()

    def drip(handler: Handler) -> None:
        try:
            while True:
                handler.wfile.write(b"H")
                time.sleep(0.02)
        except OSError:
            is_left.set()

    with Elsewhere() as elsewhere:
        elsewhere.answer = drip
        with pytest.raises(OutgoingFailed, match=r"did not answer within 0\.3 s"):
            await request(elsewhere.url, allow=LOOPBACK, timeout_s=0.3)
        assert is_left.wait(5), "the thread still reads"


async def test_a_certificate_is_asked_for_the_name_and_not_for_the_address(tmp_path: Path) -> None:
    server, client = certificate_for("localhost", tmp_path)
    with Elsewhere(tls=server) as elsewhere:
        assert (await request(elsewhere.url, allow=LOOPBACK, tls=client)).status == 200
        with pytest.raises(OutgoingFailed, match="no certificate we trust"):
            await request(elsewhere.url, allow=LOOPBACK)
        with pytest.raises(OutgoingFailed, match="no certificate we trust"):
            await request(f"https://127.0.0.1:{elsewhere.port}/", allow=LOOPBACK, tls=client)


async def test_nobody_there_and_no_such_name_are_failures_that_name_the_host() -> None:
    with Elsewhere() as elsewhere:
        port = elsewhere.port
    with pytest.raises(OutgoingFailed, match="localhost can't be reached"):
        await request(f"http://localhost:{port}/?token=secret", allow=LOOPBACK)
    with pytest.raises(OutgoingFailed, match=r"parley\.invalid has no address"):
        await request("https://parley.invalid/")
