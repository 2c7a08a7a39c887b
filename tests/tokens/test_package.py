"""`parley.tokens` as others meet it: its example runs, and it needs nothing but the base install."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time

import pytest

import parley.tokens
from parley.tokens import TOKEN_CODES, TokenRefused


def test_the_example_in_the_modules_docstring_runs() -> None:
    assert parley.tokens.__doc__ is not None
    indented = [line for line in parley.tokens.__doc__.splitlines() if line.startswith("    ")]
    names = {name: getattr(parley.tokens, name) for name in parley.tokens.__all__} | {"time": time}
    exec(textwrap.dedent("\n".join(indented)), names)
    assert names["claims"].sub == "ada"


def test_it_is_imported_without_the_servers_dependencies() -> None:
    wanted = "import parley.tokens, sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", wanted], capture_output=True, text=True, check=True).stdout.split()
    assert "joserfc" in loaded
    assert not {"msgspec", "starlette", "uvicorn", "websockets", "sqlalchemy", "asyncio", "click"} & set(loaded)


def test_every_name_it_offers_is_there() -> None:
    assert sorted(parley.tokens.__all__) == sorted(set(parley.tokens.__all__))
    for name in parley.tokens.__all__:
        assert getattr(parley.tokens, name) is not None


@pytest.mark.parametrize("code", TOKEN_CODES)
def test_every_code_has_a_status_and_a_sentence(code: str) -> None:
    refusal = TokenRefused(code)
    bad_requests = ("unsupported_subprotocol", "ambiguous_credentials")
    assert refusal.status == (400 if code in bad_requests else 401)
    assert refusal.meaning.endswith(".")
    assert str(refusal) == f"{code}: {refusal.meaning}"


def test_a_code_that_nobody_knows_is_a_bug() -> None:
    with pytest.raises(KeyError):
        TokenRefused("token_funny")
