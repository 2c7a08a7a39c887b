"""Two servers for the whole of these tests: one as at home, one as on the web, behind a proxy."""

from collections.abc import Iterator

import pytest

from tests.serving import ServerProcess

PUBLIC_URL = "https://chat.example.org"
ALLOWED = "https://shop.example"


@pytest.fixture(scope="session")
def at_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """`parley serve --demo` with nothing set."""
    with ServerProcess(tmp_path_factory.mktemp("home") / "data", "--demo") as server:
        yield server


@pytest.fixture(scope="session")
def on_the_web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """With a public URL and an allowed origin, a proxy on this machine, HS256, and metrics for a network behind it."""
    data = tmp_path_factory.mktemp("web") / "data"
    settings = {
        "public_url": PUBLIC_URL,
        "allowed_origins": ALLOWED,
        "trusted_proxies": "127.0.0.1",
        "metrics_allow": "10.1.0.0/16",
        "auth__algorithm": "HS256",
        "auth__secret": "s" * 40,
        "auth__carriers": "header,query,subprotocol",
        "limits__request_bytes": 20_000,
    }
    with ServerProcess(data, "--demo", **settings) as server:
        yield server


@pytest.fixture(scope="session")
def ada(at_home: ServerProcess) -> str:
    """An access token of the demo's member `ada`, from signing in at home."""
    return at_home.login("ada")
