"""RFC 6455 as a table of frames over a real socket: whole, byte by byte, cut anywhere, large, and over the limit."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from parley.transport import frame_parser
from parley.transport.upgrade import Accept, UpgradeRequest
from tests.transport.wire import (
    BINARY,
    CLOSE,
    HELLO,
    HELLO_BACK,
    PING,
    PONG,
    TEXT,
    Frame,
    Peer,
    Recorder,
    Respond,
    closing,
    halves,
    listening,
    masked,
    run,
    single_bytes,
    text,
)

FIN, RSV1, RSV2, RSV3 = 0x80, 0x40, 0x20, 0x10
GOES_ON = -1  # instead of a close code: the connection is still good


@dataclass(frozen=True)
class Case:
    """What the client sends, what it must get, and the code it is closed with (None: a CLOSE without one)."""

    name: str
    sent: bytes
    got: list[Frame] = field(default_factory=list)
    code: int | None = GOES_ON


def good_frames() -> Iterator[Case]:
    for size in (0, 1, 125, 126, 127, 128):
        yield Case(f"text of {size} bytes", text("*" * size), [(TEXT, b"*" * size)])
        data = bytes(at % 256 for at in range(size))
        yield Case(f"binary of {size} bytes", masked(BINARY, data), [(BINARY, data)])
    yield Case("two messages", HELLO + masked(BINARY, b"\0"), [HELLO_BACK, (BINARY, b"\0")])
    yield Case("ping without payload", masked(PING), [(PONG, b"")])
    yield Case("ping with text", masked(PING, b"Hello, world!"), [(PONG, b"Hello, world!")])
    yield Case(
        "ping with bytes", masked(PING, b"\0\xff\xfe\xfd\xfc\xfb\0\xff"), [(PONG, b"\0\xff\xfe\xfd\xfc\xfb\0\xff")]
    )
    yield Case("ping of 125 bytes", masked(PING, b"\xfe" * 125), [(PONG, b"\xfe" * 125)])
    yield Case(
        "ten pings", b"".join(masked(PING, b"%d" % n) for n in range(10)), [(PONG, b"%d" % n) for n in range(10)]
    )
    yield Case("unsolicited pong", masked(PONG, b"x") + masked(PING, b"y"), [(PONG, b"y")])


def reserved_bits_and_opcodes() -> Iterator[Case]:
    for rsv in range(1, 8):
        yield Case(f"text with reserved bits {rsv}", masked(TEXT | rsv << 4, b"x"), [], 1002)
    for first, name in ((BINARY, "binary"), (PING, "ping"), (PONG, "pong"), (CLOSE, "close")):
        payload = b"\x03\xe8" if first == CLOSE else b"x"
        yield Case(f"{name} with a reserved bit", masked(first | RSV1, payload), [], 1002)
    yield Case("reserved bit in a later frame", HELLO + masked(TEXT | RSV3, b"x") + HELLO, [HELLO_BACK], 1002)
    yield Case("reserved bit in a continuation", masked(0x01, b"a") + masked(FIN | RSV2, b"b"), [], 1002)
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        yield Case(f"opcode {opcode}", masked(FIN | opcode, b"x"), [], 1002)
        yield Case(f"opcode {opcode} after a message", HELLO + masked(FIN | opcode) + HELLO, [HELLO_BACK], 1002)


def fragments() -> Iterator[Case]:
    yield Case("text in two", masked(0x01, b"fr") + masked(0x80, b"ag"), [(TEXT, b"frag")])
    yield Case(
        "binary in three", masked(0x02, b"\0") + masked(0x00, b"\1") + masked(0x80, b"\2"), [(BINARY, b"\0\1\2")]
    )
    yield Case("all fragments empty", masked(0x01) + masked(0x00) + masked(0x80), [(TEXT, b"")])
    yield Case(
        "pings between fragments",
        masked(0x01, b"a") + masked(PING, b"1") + masked(0x00, b"b") + masked(PING, b"2") + masked(0x80, b"c"),
        [(PONG, b"1"), (PONG, b"2"), (TEXT, b"abc")],
    )
    yield Case(
        "a message after a fragmented one", masked(0x01, b"a") + masked(0x80, b"b") + HELLO, [(TEXT, b"ab"), HELLO_BACK]
    )
    for first, name in ((0x09, "ping"), (0x0A, "pong"), (0x08, "close")):
        yield Case(f"fragmented {name}", masked(first, b"\x03\xe8") + masked(0x80, b"x"), [], 1002)
    for first, name in ((0x80, "last"), (0x00, "inner")):
        yield Case(f"{name} fragment of nothing", masked(first, b"x"), [], 1002)
        yield Case(f"{name} fragment of nothing after a message", HELLO + masked(first, b"x"), [HELLO_BACK], 1002)
    for first in (TEXT, BINARY, 0x01, 0x02):
        yield Case(f"message {first:#x} within another", masked(0x01, b"a") + masked(first, b"b"), [], 1002)
    yield Case("close within a message", masked(0x01, b"a") + closing(1000), [], 1000)


GOOD_TEXTS = [
    "κόσμε", "Hellø, Wörld", "\0", "\x7f", "\x80", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\ufffd", "\ufffe", "\uffff",
    "\U00010000", "\U0001f600", "\U0010ffff", "\ufeff", "a\u0301", "‮x",
]  # fmt: skip
BAD_TEXTS = [
    b"\x80", b"\xbf", b"a\x80b", b"\xc0", b"\xc2", b"\xc2 ", b"\xe0\xa0", b"\xe0\xa0 ", b"\xf0\x90\x80",
    b"\xf0\x90\x80 ",
    b"\xc0\xaf", b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xe0\x9f\xbf", b"\xf0\x80\x80\xaf", b"\xf0\x8f\xbf\xbf",
    b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xbf\xbf", b"\xed\xa0\x80\xed\xb0\x80", b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80", b"\xfe", b"\xff",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
]  # fmt: skip


def texts() -> Iterator[Case]:
    for good in GOOD_TEXTS:
        data = good.encode()
        yield Case(f"text {good!a}", masked(TEXT, data), [(TEXT, data)])
        for at in range(1, len(data)):
            pieces = masked(0x01, data[:at]) + masked(0x80, data[at:])
            yield Case(f"text {good!a} in two at {at}", pieces, [(TEXT, data)])
    for bad in BAD_TEXTS:
        yield Case(f"text {bad!r}", masked(TEXT, bad), [], 1007)
        yield Case(f"text {bad!r} after a message", HELLO + masked(TEXT, bad) + HELLO, [HELLO_BACK], 1007)
        yield Case(f"text {bad!r} in two", masked(0x01, bad[:1]) + masked(0x80, bad[1:]), [], 1007)
    yield Case("binary that is not UTF-8", masked(BINARY, b"\xff\xfe"), [(BINARY, b"\xff\xfe")])
    yield Case(
        "binary fragments that are not UTF-8", masked(0x02, b"\xff") + masked(0x80, b"\xfe"), [(BINARY, b"\xff\xfe")]
    )


def closes() -> Iterator[Case]:
    yield Case("close without a code", masked(CLOSE), [], None)
    yield Case("close of one byte", masked(CLOSE, b"\x03"), [], 1002)
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4401, 4999):
        yield Case(f"close {code}", closing(code), [], code)
    for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
        yield Case(f"close {code}", closing(code), [], 1002)
    yield Case("close with a reason", closing(1000, "Grüße".encode()), [], 1000)
    yield Case("close with the longest reason", closing(1000, b"*" * 123), [], 1000)
    yield Case("close with a reason that is not UTF-8", closing(1000, b"\xed\xa0\x80"), [], 1007)
    yield Case("message before close", HELLO + closing(1000), [HELLO_BACK], 1000)
    yield Case("message after close", closing(1000) + HELLO, [], 1000)
    yield Case("ping after close", closing(1000) + masked(PING), [], 1000)
    yield Case("second close", closing(1000) + closing(1001), [], 1000)
    yield Case("broken frame after close", closing(1000) + b"\xff\xff\xff\xff", [], 1000)


def broken_frames() -> Iterator[Case]:
    for first, name in ((PING, "ping"), (PONG, "pong"), (CLOSE, "close")):
        yield Case(f"{name} of 126 bytes", masked(first, b"\x03\xe8" + b"*" * 124), [], 1002)
    yield Case("unmasked frame", b"\x81\x05hello", [], 1002)
    yield Case("unmasked frame after a message", HELLO + b"\x81\x05hello", [HELLO_BACK], 1002)
    yield Case("size of 5 in 16 bits", b"\x81\xfe\x00\x05\0\0\0\0hello", [], 1002)
    yield Case("size of 5 in 64 bits", b"\x81\xff" + (5).to_bytes(8, "big") + b"\0\0\0\0hello", [], 1002)
    yield Case("size with the highest bit", b"\x81\xff" + (1 << 63).to_bytes(8, "big") + b"\0\0\0\0", [], 1002)
    too_big = (16 * 1024 * 1024 + 1).to_bytes(8, "big")
    yield Case("one byte over the limit", HELLO + b"\x82\xff" + too_big + b"\0\0\0\0", [HELLO_BACK], 1009)


CASES = [*good_frames(), *reserved_bits_and_opcodes(), *fragments(), *texts(), *closes(), *broken_frames()]


async def check(case: Case, port: int, receivers: list[Recorder], pieces: Any) -> None:
    async with await Peer.upgraded(port) as peer:
        receiver = receivers.pop()
        await peer.send_pieces(pieces, receiver.ws)
        if case.code == GOES_ON:
            for frame in case.got:
                assert await peer.frame() == frame
            await peer.send(closing(1000))
            assert await peer.frames_to_the_end() == [(CLOSE, b"\x03\xe8")]
        else:
            *frames, (first, payload) = await peer.frames_to_the_end()
            assert frames == case.got
            assert first == CLOSE
            assert payload[:2] == (b"" if case.code is None else case.code.to_bytes(2, "big"))
    await receiver.until("lost")
    assert receiver.heard.count("lost") == 1
    assert receiver.heard[-1] == "lost"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_frames_are_judged_alike_whole_byte_by_byte_and_cut_anywhere(case: Case) -> None:
    async def scene() -> None:
        async with listening() as server:
            await check(case, server.port, server.receivers, [case.sent])
            await check(case, server.port, server.receivers, single_bytes(case.sent))
            for pieces in halves(case.sent):
                await check(case, server.port, server.receivers, pieces)

    run(scene())


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 300_000])
@pytest.mark.parametrize("first", [TEXT, BINARY])
def test_large_messages_come_back_whole_and_in_pieces(first: int, size: int) -> None:
    payload = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    sent = masked(first, payload)

    async def scene() -> None:
        async with listening() as server:
            cuts = [997, 4_096, 65_536, len(sent)]
            for step in cuts:
                async with await Peer.upgraded(server.port) as peer:
                    pieces = [sent[at : at + step] for at in range(0, len(sent), step)]
                    sending = asyncio.ensure_future(peer.send_pieces(pieces, server.receiver().ws))
                    assert await peer.frame() == (first, payload)
                    await sending
            for at in range(1, 16):  # within the header and the mask
                async with await Peer.upgraded(server.port) as peer:
                    sending = asyncio.ensure_future(peer.send_pieces([sent[:at], sent[at:]], server.receiver().ws))
                    assert await peer.frame() == (first, payload)
                    await sending

    run(scene())


def test_a_message_of_sixteen_mebibytes_comes_back_in_one_frame_and_in_many_fragments() -> None:
    payload = b"\xfe" * (16 * 1024 * 1024)
    chunk = 65_536
    fragments = [masked(0x02, payload[:chunk])]
    fragments += [masked(0x00, payload[:chunk])] * (len(payload) // chunk - 2)
    fragments += [masked(0x80, payload[:chunk])]

    async def scene() -> None:
        async with listening() as server:
            for sent in (masked(BINARY, payload), b"".join(fragments)):
                async with await Peer.upgraded(server.port) as peer:
                    await peer.send(sent)
                    got = bytearray()
                    while len(got) < len(payload) + 10:
                        got += await peer.loop.sock_recv(peer.sock, 1 << 20)
                    assert got[:10] == b"\x82\x7f" + len(payload).to_bytes(8, "big")
                    assert bytes(got[10:]) == payload

    run(scene())


def accept_small(limit: int, receivers: list[Recorder]) -> Callable[[UpgradeRequest, Respond], None]:
    def decide(request: UpgradeRequest, respond: Respond) -> None:
        receivers.append(Recorder())
        respond(Accept(receivers[-1], message_bytes_max=limit))

    return decide


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (masked(TEXT, b"*" * 1000) + closing(1000), 1000),
        (masked(TEXT, b"*" * 1001), 1009),
        (masked(0x01, b"*" * 500) + masked(0x80, b"*" * 500) + closing(1000), 1000),
        (masked(0x01, b"*" * 500) + masked(0x80, b"*" * 501), 1009),
        (masked(0x02, b"*" * 999) + masked(0x00) * 50 + masked(0x00, b"12"), 1009),
    ],
)
def test_the_limit_counts_the_whole_message_over_its_fragments(sent: bytes, code: int) -> None:
    async def scene() -> None:
        receivers: list[Recorder] = []
        async with listening(accept_small(1000, receivers)) as server, await Peer.upgraded(server.port) as peer:
            await peer.send(sent)
            assert await peer.close_code() == code

    run(scene())


def test_a_peer_that_goes_on_sending_after_a_fault_still_reads_why_it_was_closed() -> None:
    async def scene() -> None:
        receivers: list[Recorder] = []
        async with listening(accept_small(1000, receivers)) as server, await Peer.upgraded(server.port) as peer:
            await peer.send(masked(BINARY, b"*" * 3_000_000))
            frames = await peer.frames_to_the_end()
            assert [first for first, _ in frames] == [CLOSE]
            assert frames[0][1][:2] == (1009).to_bytes(2, "big")

    run(scene())


def test_picows_is_kept_behind_one_file() -> None:
    source = Path(frame_parser.__file__).parents[1]
    importing = [path for path in source.rglob("*.py") if "picows import" in path.read_text(encoding="utf-8")]
    assert importing == [Path(frame_parser.__file__)]
