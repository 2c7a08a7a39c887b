"""`parley check`: it finds each of the mistakes planted in somebody else's server, and none in ours."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from parley.cli.check import life, probes, target
from parley.cli.check.findings import Finding
from parley.cli.check.target import Target
from tests.interop.faulty import FAULTS, PASSWORD, USER, FaultyServer, faulty
from tests.serving import ROOT, ServerProcess

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server in the test's own loop answers at once and is no stranger: neither pace nor patience is needed."""
    monkeypatch.setattr(target, "PACE_S", 0.0)
    monkeypatch.setattr(target, "SETTLE_S", 0.4)
    monkeypatch.setattr(target.Target.settle, "__defaults__", (0.4,))
    monkeypatch.setattr(probes, "UNAUTHENTICATED_S", 1.5)
    monkeypatch.setattr(life, "LEEWAY_S", 0.1)
    monkeypatch.setattr(life, "GRACE_S", 1.5)
    monkeypatch.setattr(life, "REVOKED_S", 1.0)


async def found(server: FaultyServer, *, wait_s: float) -> list[Finding]:
    looked_at = Target.of(f"http://127.0.0.1:{server.port}", "/ws", "parley.v1")
    looked_at.user, looked_at.password = USER, PASSWORD
    looked_at.expired = server.issue("old", ttl_s=-60)
    return await probes.run(looked_at, wait_s=wait_s, told=lambda finding: None)


async def test_a_server_without_the_mistakes_has_no_fault_and_is_seen_whole() -> None:
    async with faulty(None, ttl_s=2.5) as server:
        findings = await found(server, wait_s=3)
    assert [one for one in findings if one.verdict != "fine"] == []
    assert {one.name for one in findings} >= {name for name in FAULTS.values() if not name.startswith("forged:")}


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_planted_mistake_is_found_by_its_name(fault: str) -> None:
    waits = fault == "lets sockets outlive their tokens"
    async with faulty(fault, ttl_s=2.5 if waits else 60) as server:
        findings = await found(server, wait_s=3 if waits else 0)
    faults = [one for one in findings if one.verdict == "FAULT"]
    assert FAULTS[fault] in {one.name for one in faults}
    # And little else is blamed: a server that checks no signature takes every forgery, one with one mistake has one.
    if fault not in ("checks no signature", "answers anybody"):
        assert {one.name for one in faults} == {FAULTS[fault]}


def check(url: str, *flags: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "parley", "check", url, *flags],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environ},
        timeout=120,
        check=False,
    )


async def test_nothing_is_found_in_ours(tmp_path: Path) -> None:
    short = {"auth__access_ttl": 6, "auth__margin": 2, "auth__grace": 1, "limits__auth_timeout": 1}
    (tmp_path / "password").write_text("ada\n")
    with ServerProcess(tmp_path / "data", "--demo", **short) as server:
        flags = ("--user", "ada", "--password-file", str(tmp_path / "password"))
        expired = server.token("ada", ttl_s=-60)
        ran = await asyncio.to_thread(check, server.url, *flags, "--expired-token", expired, "--wait", "10")
        assert ran.returncode == 0, ran.stdout
        assert "FAULT" not in ran.stdout
        assert "unclear" not in ran.stdout
        assert "skipped" not in ran.stdout
        assert ran.stderr == ""
        for secret in (expired, expired.rpartition(".")[2]):
            assert secret not in ran.stdout
        assert server.stop() == 0


async def test_without_a_token_it_looks_at_what_it_can(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", limits__auth_timeout=1) as server:
        ran = await asyncio.to_thread(check, server.url)
        assert ran.returncode == 0, ran.stdout
        assert "forged tokens" in ran.stdout
        assert "sign in with --user" in ran.stdout


async def test_faults_are_exit_status_1() -> None:
    async with faulty("publishes private keys") as server:
        ran = await asyncio.to_thread(check, f"http://127.0.0.1:{server.port}", "--wait", "0")
    assert ran.returncode == 1
    (line,) = [line for line in ran.stdout.splitlines() if line.startswith("FAULT")]
    assert "published keys" in line
    assert ran.stdout.splitlines()[-1].count("1 FAULT") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("ftp://example.org",),
        ("http://",),
        ("http://127.0.0.1:1", "--path", "ws"),
        ("http://127.0.0.1:1", "--token", "a", "--user", "b"),
        ("http://127.0.0.1:1", "--user", "b", "--password-file", "/nowhere"),
        ("http://127.0.0.1:1",),
        (),
    ],
)
async def test_what_cannot_be_looked_at_is_exit_status_2(arguments: tuple[str, ...]) -> None:
    ran = await asyncio.to_thread(check, *(arguments or ("--path", "/ws")))
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert len(ran.stderr.splitlines()) == 1
