"""Builds what the benchmarks run beside Parley: the load generator, the C floor, npm's ws, Go's gorilla, Strawberry.

What cannot be built here is left out, each with one line that says what is missing. Everything lands in `build/`, but
for `peers/node_modules`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"
PEERS = HERE / "peers"
GO_PACKAGES = (
    "golang-1.19-go",
    "golang-1.19-src",
    "golang-github-gorilla-websocket-dev",
    "golang-github-golang-jwt-jwt-dev",
)


class Missing(Exception):
    """A program that is not here; says which, and what would bring it."""


def build_all() -> dict[str, str]:
    """Build each peer; what is missing, by the peer's name. Raises: Missing, where there is no C compiler at all."""
    BUILD.mkdir(exist_ok=True)
    compile_c("wsload", *(HERE / "load" / name for name in ("wsload.c", "client.c", "meter.c")))
    compile_c("floor", PEERS / "floor.c")
    missing = {}
    for name, build in (
        ("ws", install_node_peers),
        ("gorilla", build_gorilla),
        ("strawberry", install_python_peers),
        ("icecast", find_icecast),
    ):
        try:
            build()
        except Missing as absent:
            missing[name] = str(absent)
            print(f"without {name}: {absent}", file=sys.stderr)
    return missing


def compile_c(name: str, *sources: Path) -> None:
    target = BUILD / name
    watched = [*sources, *(HERE / "load").glob("*.h")]
    if target.exists() and all(target.stat().st_mtime > source.stat().st_mtime for source in watched):
        return
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise Missing("the load generator is in C and there is no gcc: apt-get install gcc libc6-dev")
    subprocess.run([compiler, "-O2", "-o", str(target), *map(str, sources)], check=True)


def install_node_peers() -> None:
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise Missing("there is no node or no npm: apt-get install nodejs npm")
    installed = PEERS / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime > (PEERS / "package-lock.json").stat().st_mtime:
        return
    ended = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=PEERS,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise Missing(f"npm ci failed: {_last_line(ended.stderr)}")


def find_icecast() -> None:
    if shutil.which("icecast2") is None:
        raise Missing("there is no icecast2: apt-get install icecast2")


def install_python_peers() -> None:
    """Into a folder of their own: nothing of Parley's stands on them."""
    target, wanted = BUILD / "python", PEERS / "requirements.txt"
    if target.exists() and target.stat().st_mtime > wanted.stat().st_mtime:
        return
    words = [sys.executable, "-m", "pip", "install", "-q", "--upgrade", "--target", str(target), "-r", str(wanted)]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise Missing(f"pip install failed: {_last_line(ended.stderr)}")
    target.touch()


def build_gorilla() -> None:
    target = BUILD / "gorilla"
    source = PEERS / "gorilla"
    if target.exists() and target.stat().st_mtime > (source / "main.go").stat().st_mtime:
        return
    go, flags, environment = _go()
    ended = subprocess.run(
        [go, "build", *flags, "-o", str(target), "."],
        cwd=source,
        env={**os.environ, "GOCACHE": str(BUILD / "go-cache"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise Missing(f"go build failed: {_last_line(ended.stderr)}")


def _go() -> tuple[str, list[str], dict[str, str]]:
    """A Go compiler, its flags and its environment.

    The installed one, with Debian's packages of the two libraries where they are installed too, else with modules;
    without one, Debian's, unpacked in `build/`.
    """
    installed = shutil.which("go")
    code = Path("/usr/share/gocode")
    if installed is not None and (code / "src/github.com/gorilla/websocket").exists():
        return installed, [], {"GOPATH": str(code), "GO111MODULE": "off"}
    if installed is not None:
        # The sums of the modules are noted beside this copy, so that building leaves the sources as they were.
        shutil.copy(PEERS / "gorilla" / "go.mod", BUILD / "go.mod")
        return (
            installed,
            ["-mod=mod", "-modcacherw", f"-modfile={BUILD / 'go.mod'}"],
            {"GOPATH": str(BUILD / "go-path")},
        )
    root = BUILD / "debian"
    if not (root / "usr/lib/go-1.19/bin/go").exists():
        _unpack_debian(root)
    environment = {
        "GOROOT": str(root / "usr/lib/go-1.19"),
        "GOPATH": str(root / "usr/share/gocode"),
        "GO111MODULE": "off",
    }
    return str(root / "usr/lib/go-1.19/bin/go"), [], environment


def _unpack_debian(root: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise Missing("there is no go: see https://go.dev/dl")
    packages = BUILD / "packages"
    (packages / "partial").mkdir(parents=True, exist_ok=True)
    ended = subprocess.run(
        ["apt-get", "download", *GO_PACKAGES], cwd=packages, capture_output=True, text=True, check=False
    )
    found = sorted(packages.glob("*.deb"))
    if ended.returncode or len(found) < len(GO_PACKAGES):
        raise Missing(f"there is no go, nor could Debian's be had: {_last_line(ended.stderr)}")
    for package in found:
        subprocess.run(["dpkg", "-x", str(package), str(root)], check=True)


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it did not say why"
