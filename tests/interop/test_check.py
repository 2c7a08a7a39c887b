"""`parley check`: it finds each of the mistakes planted in somebody else's server, and none in ours."""

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from parley.cli import main
from parley.cli.check import life, probes, target
from parley.cli.check.findings import Finding
from parley.cli.check.target import SETTLE_S, Target
from tests.interop.faulty import FAULTS, PASSWORD, USER, FaultyServer, faulty
from tests.serving import PATIENCE_S, ServerProcess

pytestmark = pytest.mark.anyio

Ran = subprocess.CompletedProcess[str]
Check = Callable[..., Awaitable[Ran]]


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


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Callable[..., Awaitable[Ran]]:
    """`parley check …` from its command line to its exit status, beside the test's own loop."""

    async def check(*arguments: str) -> Ran:
        status = await asyncio.to_thread(main, ["check", *arguments])
        said = capsys.readouterr()
        return Ran(arguments, status, said.out, said.err)

    return check


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch, hurried: None) -> None:
    """As much patience as a stranger has, with a server in a process of its own."""
    monkeypatch.setattr(target.Target.settle, "__defaults__", (SETTLE_S,))
    monkeypatch.setattr(probes, "UNAUTHENTICATED_S", PATIENCE_S)
    monkeypatch.setattr(life, "GRACE_S", PATIENCE_S)
    monkeypatch.setattr(life, "REVOKED_S", 3.0)


async def test_nothing_is_found_in_ours(tmp_path: Path, check: Check, patient: None) -> None:
    # All at once, so that many bad tokens come in a second; and a token that lives as long as all takes that needs one.
    short = {"auth__access_ttl": 5, "auth__margin": 2, "auth__grace": 1, "limits__auth_timeout": 0.5}
    short |= {"limits__bad_tokens_per_s": 0}
    (tmp_path / "password").write_text("ada\n")
    with ServerProcess(tmp_path / "data", "--demo", **short) as server:
        flags = ("--user", "ada", "--password-file", str(tmp_path / "password"))
        expired = server.token("ada", ttl_s=-60)
        ran = await check(server.url, *flags, "--expired-token", expired, "--wait", "10")
        assert ran.returncode == 0, ran.stdout
        assert "FAULT" not in ran.stdout
        assert "unclear" not in ran.stdout
        assert "skipped" not in ran.stdout
        assert ran.stderr == ""
        for secret in (expired, expired.rpartition(".")[2]):
            assert secret not in ran.stdout
        assert server.stop() == 0


async def test_without_a_token_it_looks_at_what_it_can(tmp_path: Path, check: Check, patient: None) -> None:
    with ServerProcess(tmp_path / "data", limits__auth_timeout=0.5, limits__bad_tokens_per_s=0) as server:
        ran = await check(server.url)
        assert ran.returncode == 0, ran.stdout
        assert "forged tokens" in ran.stdout
        assert "sign in with --user" in ran.stdout


async def test_faults_are_exit_status_1(check: Check) -> None:
    async with faulty("publishes private keys") as server:
        ran = await check(f"http://127.0.0.1:{server.port}", "--wait", "0")
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
async def test_what_cannot_be_looked_at_is_exit_status_2(arguments: tuple[str, ...], check: Check) -> None:
    ran = await check(*(arguments or ("--path", "/ws")))
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert len(ran.stderr.splitlines()) == 1
