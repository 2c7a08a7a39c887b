"""What a run of `parley` comes to, and what the tests of the command line make by it."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from parley.domain import accounts
from parley.store import open_store

Ran = subprocess.CompletedProcess[str]
Run = Callable[..., Ran]


def ok(ran: Ran) -> str:
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    return ran.stdout.removesuffix("\n")


def refused(ran: Ran, status: int = 1) -> str:
    assert ran.returncode == status, ran.stderr
    assert ran.stdout == ""
    (line,) = ran.stderr.splitlines()
    assert line.startswith("parley: ")
    return line.removeprefix("parley: ")


def created(parley: Run, name: str = "ada", *roles: str) -> str:
    flags = [flag for role in roles or ("member",) for flag in ("--role", role)]
    return ok(parley("account", "create", name, *flags, "--password-stdin", stdin="sesame\n"))


def stored(tmp_path: Path, name: str) -> accounts.Account:
    store = open_store(
        f"sqlite:///{tmp_path / 'data' / 'parley.db'}",
        clock_ms=lambda: time.time_ns() // 1_000_000,
        random_bytes=os.urandom,
    )
    try:
        account = store.execute(accounts.Find(name=name)).reply
        assert isinstance(account, accounts.Account)
        return account
    finally:
        store.close()


def issued(parley: Run, subject: str, *flags: str) -> str:
    return ok(parley("token", "issue", "--subject", subject, *flags))


def refused_code(parley: Run, token: str, **settings: str) -> str:
    ran = parley("token", "verify", "-", stdin=token, **settings)
    assert (ran.returncode, ran.stdout) == (1, "")
    return ran.stderr.strip()


def explained(parley: Run, token: str, **settings: str) -> str:
    said = ok(parley("token", "explain", "-", stdin=token, **settings))
    assert len(token) < 20 or token not in said
    return said
