"""The conformance server as a process of its own, by the eyes of `websockets`, and what its connections weigh."""

import asyncio
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
import uvloop
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

ROOT = Path(__file__).resolve().parents[2]
IDLE_BYTES_MAX = 10 * 1024


class Process:
    """The server, started; `address` is what it printed."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.interop.conformance", "--host", "127.0.0.1", "--port", "0"]
        self.popen = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.popen.stdout is not None
        self.line = self.popen.stdout.readline()
        self.address = self.line.strip()

    @property
    def socket_url(self) -> str:
        return self.address.replace("http://", "ws://") + "/echo"

    @property
    def resident_bytes(self) -> int:
        pages = Path(f"/proc/{self.popen.pid}/statm").read_text().split()[1]
        return int(pages) * resource.getpagesize()

    def stop(self) -> None:
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        self.popen.wait(10)
        assert self.popen.stdout is not None
        self.popen.stdout.close()


@pytest.fixture(scope="module")
def process() -> Iterator[Process]:
    process = Process()
    yield process
    process.stop()


def test_it_prints_one_line_with_its_address_and_answers_404_elsewhere(process: Process) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+\n", process.line)
    with pytest.raises(OSError, match="404"), urlopen(process.address + "/other"):
        pass


def test_it_echoes_to_an_independent_client_as_it_came_and_agrees_on_no_extension(process: Process) -> None:
    async def scene() -> None:
        async with connect(process.socket_url, compression="deflate", max_size=None) as client:
            assert client.protocol.extensions == []
            assert client.subprotocol is None
            for message in ("", "é" * 70_000, b"", b"\xff" * 70_000, "x" * 125, b"y" * 126):
                await client.send(message)
                assert await client.recv() == message
            await client.send(["frag", "mented ", "é"])
            assert await client.recv() == "fragmented é"
            await (await client.ping())
        assert client.close_code == 1000

    uvloop.run(scene())


def test_its_limit_is_sixteen_mebibytes(process: Process) -> None:
    async def scene() -> None:
        async with connect(process.socket_url, compression=None, max_size=None) as client:
            await client.send(b"\0" * (16 * 1024 * 1024))
            assert len(await client.recv()) == 16 * 1024 * 1024
            await client.send(b"\0" * (16 * 1024 * 1024 + 1))
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert client.close_code == 1009

    uvloop.run(scene())


def test_sigterm_closes_every_socket_with_1012_and_ends_the_process() -> None:
    async def scene(process: Process) -> None:
        async with connect(process.socket_url) as one, connect(process.socket_url) as another:
            process.popen.send_signal(signal.SIGTERM)
            for client in (one, another):
                await asyncio.wait_for(client.wait_closed(), 10)
                assert (client.close_code, client.close_reason) == (1012, "restarting")

    process = Process()
    try:
        uvloop.run(scene(process))
        process.popen.wait(10)
    finally:
        process.stop()


def test_an_idle_connection_weighs_at_most_ten_kibibytes() -> None:
    head = (
        b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) Chrome/130.0\r\n"
        b"Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )

    async def connected(port: int) -> asyncio.StreamWriter:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        return writer

    async def scene(process: Process) -> float:
        port = int(process.address.rpartition(":")[2])
        many = min(2_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200)
        writers = [await connected(port) for _ in range(100)]  # what the first ones cost is the process's own
        before = process.resident_bytes
        writers += [await connected(port) for _ in range(many)]
        grown = process.resident_bytes - before
        for writer in writers:
            writer.transport.abort()
        return grown / many

    process = Process()
    try:
        weight = uvloop.run(scene(process))
    finally:
        process.stop()
    assert weight <= IDLE_BYTES_MAX, f"{weight:.0f} bytes"
    assert weight > 1_000, "nothing was measured"


def test_the_server_ships_nowhere() -> None:
    """`parley serve` must never be able to reach it."""
    for path in (ROOT / "src").rglob("*.py"):
        assert "tests.interop" not in path.read_text(encoding="utf-8"), path
