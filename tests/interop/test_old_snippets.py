"""The snippets that people copy, from the client code as they write it, with the legacy carriers on and off.

`docs/tutorials/from-the-old-snippets.md` says what is wrong with them. A browser's subprotocol pair is in `tests/web`.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.npm import need, node_modules
from tests.serving import PATIENCE_S, ROOT, ServerProcess

ALL = "header,subprotocol,ticket,message,token_header,query"
ASK_WHO = '{"jsonrpc": "2.0", "id": 1, "method": "session.describe", "params": {}}'

SOCKET_IO = """
const { io } = require("socket.io-client");
const [token, url] = process.argv.slice(1);
const socket = io(url, { query: 'token=' + token });
socket.on("connect", () => socket.emit("session.describe", {}, ({ result }) => end(result.subject)));
socket.on("connect_error", (error) => end(error.context.responseText));
const end = (said) => { console.log(said); process.exit(); };
"""

WS = """
const WebSocket = require("ws");
const [token, url, ask] = process.argv.slice(1);
const ws = new WebSocket(url, { headers: { token: token } });
ws.on("open", () => ws.send(ask));
ws.on("message", (data) => end(JSON.parse(data).result.subject));
ws.on("unexpected-response", (request, answer) => answer.on("data", (body) => end(`${body}`)));
const end = (said) => { console.log(said); process.exit(); };
"""

GO = """
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/gorilla/websocket"
)

func main() {
	token, url, ask := os.Args[1], os.Args[2], os.Args[3]
	header := http.Header{}
	header.Add("Authorization", "Bearer "+token)
	c, answer, err := websocket.DefaultDialer.Dial(url, header)
	if err != nil {
		problem, _ := io.ReadAll(answer.Body)
		fmt.Println(string(problem))
		return
	}
	c.WriteMessage(websocket.TextMessage, []byte(ask))
	_, message, _ := c.ReadMessage()
	fmt.Println(string(message))
}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("old") / "data", auth__carriers=ALL) as running:
        yield running


@pytest.fixture(scope="module")
def modern_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("modern") / "data") as running:
        yield running


def node(program: str, *arguments: str) -> str:
    ran = subprocess.run(
        [need("node", "the snippets' own libraries run on it"), "--input-type=commonjs", "--eval", program, *arguments],
        cwd=node_modules().parent,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def code_of(problem: str) -> str:
    code: str = json.loads(problem)["code"]
    return code


def test_socket_io_with_the_token_in_the_query_works_with_that_carrier_on(server: ServerProcess) -> None:
    assert node(SOCKET_IO, server.token("ada"), server.url) == "ada"
    assert code_of(node(SOCKET_IO, server.token("ada", ttl_s=-5), server.url)) == "token_expired"


def test_socket_io_with_the_token_in_the_query_is_told_the_carrier_is_off(modern_server: ServerProcess) -> None:
    assert code_of(node(SOCKET_IO, modern_server.token("ada"), modern_server.url)) == "carrier_disabled"


def test_ws_with_a_token_header_works_with_that_carrier_on(server: ServerProcess) -> None:
    assert node(WS, server.token("ada"), server.ws_url, ASK_WHO) == "ada"
    assert code_of(node(WS, server.token("ada", ttl_s=-5), server.ws_url, ASK_WHO)) == "token_expired"


def test_ws_with_a_token_header_is_told_the_carrier_is_off(modern_server: ServerProcess) -> None:
    assert code_of(node(WS, modern_server.token("ada"), modern_server.ws_url, ASK_WHO)) == "carrier_disabled"


def test_gos_authorization_header_works_as_it_is(modern_server: ServerProcess, tmp_path: Path) -> None:
    """By gorilla itself where there is a Go, else by the very bytes that gorilla writes."""
    program = _gorilla(tmp_path)

    def dial(token: str) -> str:
        if program is None:
            return _as_gorilla_does(modern_server, token)
        command = [str(program), token, modern_server.ws_url, ASK_WHO]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S).stdout

    assert json.loads(dial(modern_server.token("ada")))["result"]["subject"] == "ada"
    assert code_of(dial(modern_server.token("ada", ttl_s=-5))) == "token_expired"


def _gorilla(folder: Path) -> Path | None:
    """The snippet, compiled: with Debian's packages of Go and of gorilla, or their copy that `make bench` unpacks."""
    build = ROOT / "bench" / "build"
    debian = build / "debian" / "usr"
    places = [(shutil.which("go"), None, Path("/usr/share/gocode"))]
    places.append((str(debian / "lib/go-1.19/bin/go"), debian / "lib/go-1.19", debian / "share/gocode"))
    for go, root, code in places:
        if go is None or not Path(go).exists() or not (code / "src/github.com/gorilla/websocket").exists():
            continue
        (folder / "main.go").write_text(GO)
        cache = build / "go-cache" if build.exists() else folder / "cache"
        environment = {"GOPATH": str(code), "GO111MODULE": "off", "GOCACHE": str(cache)}
        environment |= {"GOROOT": str(root)} if root is not None else {}
        command = [go, "build", "-o", str(folder / "dial"), str(folder / "main.go")]
        subprocess.run(command, env={**os.environ, **environment}, cwd=folder, check=True, timeout=100)
        return folder / "dial"
    return None


def _as_gorilla_does(server: ServerProcess, token: str) -> str:
    """What `websocket.DefaultDialer.Dial` sends, header by header, and the first frame of a client."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as line:
        line.sendall(
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nUser-Agent: Go-http-client/1.1\r\n"
            f"Authorization: Bearer {token}\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n\r\n".encode()
        )
        reading = line.makefile("rb")
        status = reading.readline().split()[1]
        head = {}
        while (row := reading.readline().strip()) != b"":
            name, _, value = row.partition(b":")
            head[name.lower()] = value.strip()
        if status != b"101":
            return reading.read(int(head[b"content-length"])).decode()
        # RFC 6455 §5.2, with a mask of zeros; the answer has 126 to 65,535 bytes, so its length is in the next two.
        line.sendall(bytes([0x81, 0x80 | len(ASK_WHO), 0, 0, 0, 0]) + ASK_WHO.encode())
        _, length = reading.read(2)
        size = int.from_bytes(reading.read(2), "big") if length == 126 else length
        return reading.read(size).decode()
