"""The servers that are measured, and how one of them is started, spoken to and stopped.

Each is a row: a command, and what its clients say. What is measured of them is `scenarios.py`.
"""

import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from building import BUILD, HERE, PEERS
from cryptography.hazmat.primitives import serialization

from parley.store.keyring import Keyring
from parley.tokens import Issuer

SECRET = "a secret for benchmarks, known to everybody who reads this"
TEXT = "{ts} lorem ipsum dolor sit amet consectetur adipisci"
PATIENCE_S = 20.0
#: Where the two run; on a machine with one core they share it, and the numbers say little.
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]


@dataclass(frozen=True)
class Speech:
    """What a client says. `{room}` is the scenario's; the other braces are wsload's templates."""

    message: str
    path: str = "/ws"
    headers: tuple[str, ...] = ("Authorization: Bearer {token}",)
    #: Steps behind the upgrade, until the client is in its room.
    join: tuple[str, ...] = ()
    #: What is for nobody.
    dropped: str = ""
    #: How a delivery begins, where something else holds the message too.
    delivered: str = ""
    #: How an answer begins; the number of its message follows.
    answered: str = ""
    #: What wsload needs to know besides.
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Peer:
    name: str
    title: str
    command: tuple[str, ...]
    speech: Speech
    environment: dict[str, str] = field(default_factory=dict)
    algorithm: str = "HS256"
    is_parley: bool = False
    on_postgresql: bool = False
    #: Of a file that the command names as {config}.
    config: str = ""


def _call(method: str, params: str, id_: str | None = None) -> str:
    middle = f'"id":{id_},' if id_ else ""
    return f'{{"jsonrpc":"2.0",{middle}"method":"{method}","params":{{{params}}}}}'


NATIVE = Speech(
    join=("send:" + _call("room.subscribe", '"room":"{room}"', "1"), 'expect:"id":1,"result"'),
    message=_call("message.send", f'"room":"{{room}}","text":"{TEXT}"', "{seq}"),
    dropped=_call("typing.set", '"room":"{room}","active":true,"text":"lorem ipsum dolor sit"'),
    delivered='{"jsonrpc":"2.0","method":"event"',
    answered='{"jsonrpc":"2.0","id":',
)


def _operation(id_: str, document: str, variables: str = "") -> str:
    return f'{{"id":"{id_}","type":"subscribe","payload":{{"query":"{document}","variables":{{{variables}}}}}}}'


#: The same events, asked for and told as GraphQL has them. The mutation is answered once the subscription before it is.
GRAPHQL = Speech(
    path="/graphql",
    headers=("Authorization: Bearer {token}", "Sec-WebSocket-Protocol: graphql-transport-ws"),
    join=(
        'send:{"type":"connection_init"}',
        "expect:connection_ack",
        "send:"
        + _operation(
            "e",
            "subscription($r:ID!){ roomEvents(room:$r){ room seq type at actor{ subject name type } data } }",
            '"r":"{room}"',
        ),
        "send:" + _operation("b", r"mutation{ leaveRoom(room:\"no.room\"){ room } }"),
        'expect:"id":"b","type":"complete"',
    ),
    message=_operation(
        "m{seq}",
        "mutation($r:ID!,$t:String!){ sendMessage(room:$r,text:$t){ duplicate } }",
        f'"r":"{{room}}","t":"{TEXT}"',
    ),
    delivered='{"id":"e","type":"next"',
)
STRAWBERRY = replace(
    GRAPHQL,
    join=(*GRAPHQL.join[:3], "send:" + _operation("b", "{ room }"), GRAPHQL.join[4]),
    message=GRAPHQL.message.replace("{ duplicate }", ""),
)
PLAIN = Speech(
    message=f'{{"type":"msg","room":"r1","body":"{TEXT}"}}',
    dropped='{"type":"typing","room":"r1","active":true,"body":"lorem ipsum dolor sit amet consectetur adipisci"}',
)


def _packet(name: str, params: str, id_: str = "") -> str:
    return f'42{id_}["{name}",{{{params}}}]'


#: The same commands and events over Socket.IO.
SOCKETIO = Speech(
    path="/socket.io/?EIO=4&transport=websocket",
    join=(
        "expect:0{",
        "send:40",
        "expect:40{",
        "send:" + _packet("room.subscribe", '"room":"{room}"', "1"),
        'expect:431[{"result"',
    ),
    message=_packet("message.send", f'"room":"{{room}}","text":"{TEXT}"', "{seq}"),
    dropped=_packet("typing.set", '"room":"{room}","active":true,"text":"lorem ipsum dolor sit"'),
    delivered='42["event"',
    answered="43",
)
PLAIN_SOCKETIO = Speech(
    path=SOCKETIO.path,
    headers=(),
    join=("expect:0{", 'send:40{"token":"{token}"}', "expect:40{"),
    message=_packet("msg", f'"room":"r1","body":"{TEXT}"'),
    delivered='42["msg"',
)
#: What the C loop hands on is as large as Parley's event with the same text: larger frames cost the kernel more.
AS_LARGE = Speech(PLAIN.message.replace(TEXT, TEXT + " " * 356), path="/")
#: One broadcasts and the others listen; a page of 20 ms has some 188 bytes at 64 kbit/s.
LISTEN = Speech("", path="/streams/bench/listen", options=(("publish", "/streams/bench/publish"),))
GET_AUDIO = Speech("", path="/streams/bench", options=(*LISTEN.options, ("plain", "1")))
FLOOR_AUDIO = Speech("", path="/", headers=(), options=(("publish", "/"),))
ICECAST_AUDIO = Speech(
    "",
    path="/bench.opus",
    headers=("Authorization: Basic c291cmNlOmhhY2ttZQ==", "Content-Type: application/ogg"),
    options=(("publish", "/bench.opus"), ("plain", "1"), ("put", "1")),
)
ICECAST_CONFIG = """<icecast>
  <limits><clients>5000</clients><sources>2</sources><burst-size>0</burst-size></limits>
  <authentication><source-password>hackme</source-password><admin-password>hackme</admin-password></authentication>
  <listen-socket><port>{port}</port><bind-address>127.0.0.1</bind-address></listen-socket>
  <paths>
    <logdir>/tmp</logdir><webroot>/usr/share/icecast2/web</webroot><adminroot>/usr/share/icecast2/admin</adminroot>
  </paths>
  <logging><accesslog>-</accesslog><errorlog>-</errorlog><loglevel>1</loglevel></logging>
  <security><changeowner><user>nobody</user><group>nogroup</group></changeowner></security>
</icecast>
"""
#: As Parley ships, but for its limits.
LIMITS_OFF = {
    f"PARLEY_LIMITS__{name}": "0"
    for name in ("CONNECTIONS", "CONNECTIONS_TOTAL", "MESSAGES_PER_S", "MESSAGES_BURST", "BAD_TOKENS_PER_S")
}
SERVE = (sys.executable, "-m", "parley", "serve", "--port", "{port}", "--data", "{data}")


def _parley(name: str, title: str, *, command: tuple[str, ...] = SERVE, speech: Speech = NATIVE, **more: Any) -> Peer:
    return Peer(name, title, command, speech, LIMITS_OFF, is_parley=True, **more)


SERVERS = {
    peer.name: peer
    for peer in (
        _parley("parley", "Parley"),
        _parley("parley-graphql", "Parley, GraphQL", speech=GRAPHQL),
        _parley("parley-socketio", "Parley, Socket.IO", speech=SOCKETIO),
        _parley("parley-es256", "Parley, ES256", algorithm="ES256"),
        _parley("parley-postgresql", "Parley on PostgreSQL", on_postgresql=True),
        _parley(
            "parley-one-commit",
            "Parley, one commit for each",
            command=(sys.executable, "{here}/one_commit_each.py", *SERVE[3:]),
        ),
        Peer("floor", "C send() loop", ("{build}/floor", "{port}"), AS_LARGE),
        Peer("ws", "npm ws", ("node", "{peers}/ws.mjs", "{port}"), PLAIN),
        Peer("ws-es256", "npm ws, ES256", ("node", "{peers}/ws.mjs", "{port}"), PLAIN, algorithm="ES256"),
        Peer("socket.io", "npm socket.io", ("node", "{peers}/socketio.mjs", "{port}"), PLAIN_SOCKETIO),
        Peer(
            "python-socketio",
            "python-socketio",
            (sys.executable, "{peers}/python_socketio.py", "{port}"),
            PLAIN_SOCKETIO,
        ),
        Peer(
            "strawberry",
            "Strawberry's ASGI server",
            (sys.executable, "{peers}/strawberry_server.py", "{port}"),
            STRAWBERRY,
            {"PYTHONPATH": str(BUILD / "python")},
        ),
        _parley("parley-listen", "Parley, by socket", speech=LISTEN),
        _parley("parley-get", "Parley, by GET", speech=GET_AUDIO),
        Peer("floor-audio", "C send() loop", ("{build}/floor", "{port}"), FLOOR_AUDIO),
        Peer("icecast", "Icecast", ("icecast2", "-c", "{config}"), ICECAST_AUDIO, config=ICECAST_CONFIG),
        Peer("gorilla", "gorilla/websocket", ("{build}/gorilla", "{port}"), PLAIN),
    )
}
#: What `building` says is missing, and who can't run without it.
NEEDED = {
    "icecast": ("icecast",),
    "ws": ("ws", "ws-es256", "socket.io"),
    "gorilla": ("gorilla",),
    "strawberry": ("strawberry",),
}


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """Whatever is started inside runs on this core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Running:
    """One server, for one measurement: nothing of an earlier one, in memory or in a cache, is left."""

    def __init__(self, peer: Peer, *, subjects: int = 1, rooms: int = 1, tokens: int = 0) -> None:
        self.peer = peer
        self.rooms = rooms
        self.port = _free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="parley-bench-"))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._postgres: Any = None
        self._tokens_file = self.directory / "tokens"
        keyring = Keyring.load(self.directory / "data" / "keys", peer.algorithm, SECRET.encode())
        sessions = [uuid.uuid4().hex for _ in range(subjects)]
        self._tokens = [
            _token(keyring, f"bench-{i % subjects}", sessions[i % subjects]) for i in range(max(tokens, subjects))
        ]
        self._public_key = SECRET if peer.algorithm == "HS256" else _public_pem(keyring)

    def __enter__(self) -> "Running":
        try:
            self._start()
            if self.peer.is_parley:
                self._make_rooms()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(12)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._postgres is not None:
            self._postgres.remove()
        shutil.rmtree(self.directory, ignore_errors=True)

    def load(self, mode: str, options: dict[str, Any], *, refused: bool = False) -> dict[str, Any]:
        """What wsload found. Raises: RuntimeError, with what it said."""
        speech = self.peer.speech
        room = "room-{pair}" if self.rooms > 1 else "room-0"
        tokens = [_spoiled(token) for token in self._tokens] if refused else self._tokens
        self._tokens_file.write_text("\n".join(tokens) + "\n")
        words = [str(BUILD / "wsload"), "--mode", mode, "--port", str(self.port), "--path", speech.path]
        words += ["--tokens", str(self._tokens_file)]
        for process in self._processes:
            words += ["--pid", str(process.pid)]
        if self._postgres is not None:
            words += ["--pid", str(self._postgres.process.pid)]
        for header in speech.headers:
            words += ["--header", header]
        if mode != "handshake":
            for step in speech.join:
                words += ["--step", step.replace("{room}", room)]
        said = speech.dropped if mode == "drop" else speech.message
        words += ["--payload", said.replace("{room}", room)]
        for option, value in (("--delivered", speech.delivered), ("--answered", speech.answered)):
            if value:
                words += [option, value]
        for option, value in speech.options:
            words += ["--" + option, value]
        for option, number in options.items():
            words += ["--" + option.replace("_", "-"), str(number)]
        before = self._machine()
        with on_core(LOAD_CORE):
            ended = subprocess.run(words, capture_output=True, text=True, timeout=180, check=False)
        after = self._machine()
        if ended.returncode or not ended.stdout:
            raise RuntimeError(ended.stderr.strip()[-400:] or f"wsload ended with {ended.returncode}")
        if ended.stderr:
            print(f"{self.peer.name}: {ended.stderr.strip()[-400:]}", file=sys.stderr)
        found: dict[str, Any] = json.loads(ended.stdout)
        elapsed_s, busy_s, ours_s = (b - a for a, b in zip(before, after, strict=True))
        found["others"] = round(max(0.0, busy_s - ours_s) / elapsed_s / len({SERVER_CORE, LOAD_CORE}), 3)
        return found

    def _machine(self) -> tuple[float, float, float]:
        """Seconds: the clock, what both cores have worked, what of it was the server's and the load's."""
        ours_s = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
        roots = [process.pid for process in self._processes]
        if self._postgres is not None:
            roots.append(self._postgres.process.pid)
        return time.monotonic(), _busy_s(), ours_s + sum(map(cpu_s, roots))

    def _start(self) -> None:
        peer = self.peer
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")},
            "BENCH_ALGORITHM": peer.algorithm,
            "BENCH_KEY": self._public_key,
            **peer.environment,
        }
        if peer.is_parley:
            environment |= {"PARLEY_AUTH__ALGORITHM": peer.algorithm, "PARLEY_AUTH__ACCESS_TTL": "86400"}
            if peer.algorithm == "HS256":
                environment["PARLEY_AUTH__SECRET"] = SECRET
        if peer.on_postgresql:
            environment["PARLEY_DATABASE_URL"] = self._start_postgresql(environment)
        config = self.directory / "config"
        config.write_text(peer.config.replace("{port}", str(self.port)))
        places = {
            "config": config,
            "port": self.port,
            "data": self.directory / "data",
            "build": BUILD,
            "peers": PEERS,
            "here": HERE,
        }
        command = [word.format(**places) for word in peer.command]
        log = (self.directory / "log").open("ab")
        with on_core(SERVER_CORE):
            self._processes.append(
                subprocess.Popen(command, env=environment, cwd=self.directory, stdout=log, stderr=log)
            )
        limit = time.monotonic() + PATIENCE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.5).close()
                break
            except OSError:
                if time.monotonic() > limit or self._processes[-1].poll() is not None:
                    raise RuntimeError(f"did not start: {self.said()[-400:]}") from None
                time.sleep(0.03)
        time.sleep(0.3)

    def said(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def _start_postgresql(self, environment: dict[str, str]) -> str:
        from tests.servers import PostgresServer

        self._postgres = PostgresServer(durable=True)
        with on_core(SERVER_CORE):
            self._postgres.start()
        url: str = self._postgres.url
        subprocess.run(
            [sys.executable, "-m", "parley", "db", "upgrade"],
            env={**environment, "PARLEY_DATABASE_URL": url, "PARLEY_DATA": str(self.directory / "data")},
            cwd=self.directory,
            check=True,
            capture_output=True,
        )
        return url

    def _make_rooms(self) -> None:
        """Room i belongs to subject i, and anybody may read it; the stream is the first one's."""
        made = [_call("room.create", f'"room":"room-{i}","visibility":"public"', "1") for i in range(self.rooms)]
        if self.peer.speech in (LISTEN, GET_AUDIO):
            made = [_call("stream.create", '"stream":"bench"', "1")]
        for i, body in enumerate(made):
            request = urllib.request.Request(
                f"http://127.0.0.1:{self.port}/rpc",
                body.encode(),
                {
                    "Authorization": f"Bearer {self._tokens[i % len(self._tokens)]}",
                    "Content-Type": "application/json",
                },
            )
            with urllib.request.urlopen(request, timeout=10) as response:
                answer = json.load(response)
            if "result" not in answer:
                raise RuntimeError(f"no room was made: {answer}")


def _token(keyring: Keyring, subject: str, session: str) -> str:
    return Issuer(keyring.signing_key).issue(
        sub=subject,
        type="account",
        roles=["member"],
        sid=session,
        jti=uuid.uuid4().hex,
        now_s=time.time(),
        ttl_s=86_400,
        name=subject,
    )


def _spoiled(token: str) -> str:
    """The same token with another signature."""
    head, _, signature = token.rpartition(".")
    return f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


def _public_pem(keyring: Keyring) -> str:
    private = serialization.load_pem_private_key(keyring.signing_key.to_pem().encode(), None)
    return (
        private.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def _busy_s() -> float:
    """What the two cores have worked since the start of the machine, the time taken by others' machines included."""
    hertz = os.sysconf("SC_CLK_TCK")
    total = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name in (f"cpu{SERVER_CORE}", f"cpu{LOAD_CORE}"):
            user, nice, system, _idle, _wait, irq, soft, stolen = map(int, ticks[:8])
            total += user + nice + system + irq + soft + stolen
    return total / hertz


def cpu_s(pid: int) -> float:
    """What a process, its threads and its descendants have used; 0 for one that has gone."""
    total = 0.0
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0]) / 1e9
            total += sum(cpu_s(int(child)) for child in (task / "children").read_text().split())
    return total


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def without(missing: Sequence[str]) -> set[str]:
    return {name for absent in missing for name in NEEDED[absent]}
