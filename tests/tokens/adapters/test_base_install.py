"""With `joserfc` alone the library is whole, and an adapter whose framework is missing says which one, in one line."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

#: All that the base install brings: joserfc and what it needs itself. Whatever else is asked for is not there.
ONLY_THE_BASE = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names | {"parley", "joserfc", "cryptography", "cffi", "_cffi_backend"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    whole = ONLY_THE_BASE + textwrap.dedent(program)
    return subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True)


def test_the_library_works_with_joserfc_alone_and_fetches_keys_too() -> None:
    ran = run("""
        import time
        from parley.tokens import Issuer, KeySet, SigningKey, Verifier
        from parley.tokens.adapters import gate, jwks_http, lifetime, live_socket, outgoing
        key = SigningKey.generate()
        claims = dict(sub="ada", type="account", roles=["member"], sid="s1", jti="t1")
        token = Issuer(key).issue(**claims, now_s=time.time(), ttl_s=900)
        print(Verifier(KeySet([key])).verify(token, time.time()).sub)
    """)
    assert (ran.stdout, ran.stderr) == ("ada\n", "")


@pytest.mark.parametrize(
    ("adapter", "line"),
    [
        ("websockets", "needs the library: pip install 'websockets>=14'"),
        ("starlette", "needs the framework: pip install starlette"),
        ("socketio", "needs the library: pip install python-socketio"),
    ],
)
def test_an_adapter_without_its_framework_says_what_to_install(adapter: str, line: str) -> None:
    ran = run(f"import parley.tokens.adapters.{adapter}")
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1] == f"ImportError: parley.tokens.adapters.{adapter} {line}"
    assert "During handling" not in ran.stderr
