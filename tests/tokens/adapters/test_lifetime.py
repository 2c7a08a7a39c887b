"""`tokens/adapters/lifetime.py` by itself: what no client sees."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from parley.tokens import Issuer, KeySet, Verifier
from parley.tokens.adapters.gate import Gate
from parley.tokens.adapters.lifetime import Lifetime
from tests.tokens.forge import KEY, NOW

pytestmark = pytest.mark.anyio


async def test_a_socket_that_is_renewed_for_months_keeps_nothing_of_its_warnings() -> None:
    now_s = float(NOW)
    gate = Gate(Verifier(KeySet([KEY])), clock=lambda: now_s)
    told: asyncio.Queue[str] = asyncio.Queue()

    async def notify(method: str, _: dict[str, Any]) -> None:
        told.put_nowait(method)

    def token() -> str:
        claims: dict[str, Any] = {"sub": "ada", "type": "account", "roles": [], "sid": "s1", "jti": f"t{now_s}"}
        return Issuer(KEY).issue(**claims, now_s=now_s, ttl_s=900)

    lifetime = Lifetime(gate, gate.verifier.verify(token(), now_s), notify)
    watching = asyncio.ensure_future(lifetime.watch())
    for _ in range(20):
        now_s += 890
        lifetime.wake()
        assert await told.get() == "session.expiring"
        await lifetime.renew(token())
    warnings = [each for each in gc.get_objects() if type(each) is asyncio.Task and "_warn" in repr(each)]
    assert len(warnings) <= 1
    watching.cancel()
