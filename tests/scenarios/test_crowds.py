"""Many sockets at once: the one that never reads, everybody's receipts, ten thousand that are cut and come back."""

import asyncio
import time
import urllib.request
from pathlib import Path

import pytest

from tests.crowd import Crowd, allow_files
from tests.lengths import LONG
from tests.serving import ServerProcess, native

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

OTHERS = 1000 if LONG else 100
IDLE = 10_000 if LONG else 500


def rss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no such process")


def crowd_server(data: Path, **settings: object) -> ServerProcess:
    limits = {"connections": 0, "messages_per_s": 0, "connections_total": 0, "ping_interval": 0}
    return ServerProcess(data, **{f"limits__{name}": value for name, value in limits.items()}, **settings)


async def test_one_that_never_reads_is_dropped_at_its_limit_and_the_others_get_everything(tmp_path: Path) -> None:
    allow_files(20_000)
    with crowd_server(tmp_path / "data") as server:
        token = server.token("ada")
        crowd = Crowd(server.port)
        async with native(server, token) as ada:
            await ada.call("room.create", room="den")
            await crowd.gather([token] * OTHERS, "den")
            await crowd.gather([server.token("deaf")], "den", receive_bytes=4096)
            deaf = crowd.members.pop()
            deaf.stop_reading()
            assert server.process is not None
            before_kib = rss_kib(server.process.pid)
            text = "x" * 7000
            count = 1200  # over 8 MiB for each: more than the kernel and the outbox take together
            for said in range(0, count, 50):
                for _ in range(50):
                    await ada.call("message.send", room="den", text=text)
                # However busy the machine, none of the others falls behind: what is kept is kept for the deaf one.
                await crowd.until(lambda said=said: all(len(one.seqs) == said + 50 for one in crowd.members))
            expected = list(range(2, count + 2))
            assert all(member.seqs == expected for member in crowd.members)
            status, metrics = await asyncio.to_thread(_metric, server, "parley_slow_consumers_total")
            assert (status, metrics) == (200, 1.0)
            grown_kib = rss_kib(server.process.pid) - before_kib
            assert grown_kib < 65_536, f"{grown_kib} KiB more"
        crowd.leave()


def _metric(server: ServerProcess, name: str) -> tuple[int, float]:
    with urllib.request.urlopen(f"{server.url}/metrics") as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(name + " "):
                return answer.status, float(line.split()[1])
    return 200, -1.0


async def test_everybodys_receipts_cost_no_more_than_the_messages(tmp_path: Path) -> None:
    """Members who mark every message as read, and come back all at once: what is written to them at most doubles."""
    allow_files(20_000)
    members = 1000 if LONG else 150
    with crowd_server(tmp_path / "data") as server:
        async with native(server, server.token("ada")) as ada:
            await ada.call("room.create", room="den")
            for number in range(members):
                await ada.call("room.invite", room="den", subject=f"m{number}")
            tokens = [server.token(f"m{number}") for number in range(members)]
            crowd = Crowd(server.port)
            await crowd.gather(tokens, "den")
            first = (await ada.call("room.get", room="den"))["room"]["seq"]

            async def talk(messages: int, *, mark: bool) -> int:
                """Bytes that the crowd received for these messages."""
                began = sum(member.bytes_in for member in crowd.members)
                for _ in range(messages):
                    sent = await ada.call("message.send", room="den", text="x" * 200)
                    seq = sent["message"]["seq"]
                    await crowd.until(lambda seq=seq: all(m.seqs and m.seqs[-1] == seq for m in crowd.members))
                    if mark:
                        for member in crowd.members:
                            member.call("receipt.mark", room="den", seq=seq)
                receipts = await ada.call("receipt.list", room="den")
                while mark and sum(r["seq"] == seq for r in receipts["receipts"]) < members:
                    receipts = await ada.call("receipt.list", room="den")
                return sum(member.bytes_in for member in crowd.members) - began

            plain = await talk(20, mark=False)
            marked = await talk(20, mark=True)
            assert marked <= 2 * plain, (marked, plain)
            for member in crowd.members:
                assert member.transport is not None
                member.transport.abort()
            await crowd.until(lambda: not any(member.transport for member in crowd.members))
            began = sum(member.bytes_in for member in crowd.members)
            await crowd.connect(crowd.members)
            back = sum(member.bytes_in for member in crowd.members) - began
            assert back <= 2 * plain, (back, plain)
            expected = list(range(first + 1, first + 41))
            assert all(member.seqs[-40:] == expected for member in crowd.members)
            crowd.leave()


async def test_thousands_that_rest_are_light_and_come_back_exact_when_all_are_cut(tmp_path: Path) -> None:
    allow_files(IDLE * 2 + 1000)
    with crowd_server(tmp_path / "data") as server:
        token = server.token("ada")
        async with native(server, token) as ada:
            await ada.call("room.create", room="den")
            await ada.call("message.send", room="den", text="the first")
            assert server.process is not None
            warm = Crowd(server.port)  # what the first ones need is there already
            await warm.gather([token] * 50, "den")
            before_kib = rss_kib(server.process.pid)
            crowd = Crowd(server.port)
            await crowd.gather([token] * IDLE, "den")
            each_kib = (rss_kib(server.process.pid) - before_kib) / IDLE
            print(f"{each_kib:.1f} KiB for each of {IDLE} idle connections")
            assert each_kib <= 16

            await ada.call("message.send", room="den", text="all hear this")
            await crowd.until(lambda: all(member.seqs == [3] for member in crowd.members))
            for member in crowd.members:
                assert member.transport is not None
                member.transport.abort()
            await crowd.until(lambda: not any(member.transport for member in crowd.members))
            for number in range(20):
                await ada.call("message.send", room="den", text=f"missed {number}")
            began = time.monotonic()
            await crowd.connect(crowd.members)
            took_s = time.monotonic() - began
            print(f"all {IDLE} back after {took_s:.1f} s")
            expected = list(range(3, 24))
            assert all(member.seqs == expected for member in crowd.members)
            crowd.leave()
            warm.leave()
