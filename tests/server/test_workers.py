"""`parley serve --workers N`: several processes on one port, each started anew when it dies, all drained together."""

import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from parley.store import keyring
from tests.here import until
from tests.servers import ValkeyServer
from tests.serving import PATIENCE_S, ROOT, NativeClient, ServerProcess, native

pytestmark = pytest.mark.anyio


def children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


class Workers(ServerProcess):
    is_forked = False  # they fork by themselves

    @property
    def pids(self) -> set[int]:
        assert self.process is not None
        return children(self.process.pid)


@pytest.fixture
async def server(tmp_path: Path, postgres_url: str, valkey: ValkeyServer) -> AsyncIterator[Workers]:
    urls = {"database_url": postgres_url, "bus_url": valkey.url}
    with Workers(tmp_path / "data", "--workers", "2", port=0, **urls) as server:
        yield server


async def sockets_on_each(
    server: Workers, stack: AsyncExitStack, opened: list[NativeClient]
) -> dict[int, NativeClient]:
    """A client on each worker, by the process that has its socket."""
    found: dict[int, NativeClient] = {}
    while len(found) < 2:
        client = await stack.enter_async_context(native(server, server.token(f"u{len(found)}")))
        opened.append(client)
        port = client.socket.local_address[1]
        found.setdefault(holder(port, server.pids), client)
    return found


def scraped(server: Workers) -> str:
    with urllib.request.urlopen(server.url + "/metrics", timeout=5) as answer:
        page: str = answer.read().decode()
        return page


def holder(port: int, pids: set[int]) -> int:
    """Which process has the other end of the connection from `port`."""
    wanted = f":{port:04X}"
    inode = next(
        line.split()[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[2].endswith(wanted) and line.split()[9] != "0"
    )
    for pid in pids:
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            try:
                if os.readlink(fd) == f"socket:[{inode}]":
                    return pid
            except FileNotFoundError:
                continue
    raise AssertionError("nobody has it")


async def test_all_serve_one_that_dies_is_replaced_and_sigterm_drains_all_of_them(server: Workers) -> None:
    async with AsyncExitStack() as stack:
        opened: list[NativeClient] = []
        clients = await sockets_on_each(server, stack, opened)
        (dying, dead), (living, client) = clients.items()
        await dead.call("room.create", room="lobby", visibility="public")
        await client.call("room.subscribe", room="lobby")
        await dead.call("message.send", room="lobby", text="from over there")
        await client.event("message.created")

        async with asyncio.timeout(PATIENCE_S):  # whichever is asked, once they know each other
            while "parley_nodes 2.0" not in (page := await asyncio.to_thread(scraped, server)):
                pass
        assert f'parley_connections{{dialect="native"}} {len(opened)}.0' in page

        os.kill(dying, signal.SIGKILL)
        await dead.closed()
        await client.call("room.create", room="attic")
        await until(lambda: len(server.pids - {dying}) == 2)
        assert living in server.pids

        pids = server.pids
        assert await asyncio.to_thread(server.stop, patience_s=10) == 0, server.log
        assert await client.closed() == (1012, "restarting")
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def line_to_each(server: Workers) -> list[http.client.HTTPConnection]:
    """A connection that stays, to each worker."""
    found: dict[int, http.client.HTTPConnection] = {}
    while len(found) < 2:
        line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
        published(line)
        found.setdefault(holder(line.sock.getsockname()[1], server.pids), line)
    return list(found.values())


def published(line: http.client.HTTPConnection) -> list[str]:
    """The keys that a worker publishes, the one that signs first."""
    line.request("GET", "/.well-known/jwks.json")
    return [key["kid"] for key in json.load(line.getresponse())["keys"]]


async def test_a_hangup_has_every_worker_read_the_keys(server: Workers) -> None:
    lines = await asyncio.to_thread(line_to_each, server)
    directory, now_ms = server.data / "keys", time.time_ns() // 1_000_000
    made = keyring.rotate(directory, "ES256", now_ms=now_ms, signs_from_ms=now_ms + 600_000)
    await until(lambda: all(made.kid in published(line) for line in lines))
    assert all(made.kid != published(line)[0] for line in lines)

    # Changed so that no look finds it, only who reads: neither its size nor its time is another.
    file, mark = directory / f"signing-{made.kid}.json", keyring.mark_of(directory)
    before, text = file.stat(), file.read_text()
    with file.open("r+") as written:
        written.write(text.replace(str(now_ms + 600_000), str(now_ms)))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert keyring.mark_of(directory) == mark
    assert server.process is not None
    server.process.send_signal(signal.SIGHUP)
    await until(lambda: all(made.kid == published(line)[0] for line in lines))


async def test_workers_do_not_outlive_their_parent(server: Workers) -> None:
    pids = server.pids
    server.kill()
    await until(lambda: not [pid for pid in pids if Path(f"/proc/{pid}/exe").exists() and is_running(pid)])


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_workers_that_cannot_serve_are_refused_in_one_line(tmp_path: Path) -> None:
    urls = {"PARLEY_BUS_URL": "redis://127.0.0.1:1", "PARLEY_DATABASE_URL": "postgresql://p@127.0.0.1:1/p"}
    ended = subprocess.run(
        [sys.executable, "-m", "parley", "serve", "--port", "0", "--workers", "2", "--data", str(tmp_path / "data")],
        env={**os.environ, **urls},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert "parley: " in ended.stderr
    assert "Traceback" not in ended.stderr
