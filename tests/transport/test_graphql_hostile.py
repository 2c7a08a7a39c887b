"""Hostile documents meet a running server, by HTTP and on a socket: refused by code, in bounded time and memory.

One process for all of them: what one did to it, the next would feel. What is refused before anything of it is looked at
is `dialects/test_graphql_bounds.py`'s.
"""

import asyncio
import os
from pathlib import Path

import pytest

from tests.dialects.hostile_documents import HOSTILE, request_bytes
from tests.graphql_client import GraphqlClient, graphql
from tests.serving import PATIENCE_S, ServerProcess
from tests.transport.test_graphql import NEWER, post

#: Of the server's own time, which a busy machine does not stretch. What is not bounded takes minutes.
CPU_S_MAX = 1.0
RSS_KIB_MAX = 16 * 1024


def cpu_s(server: ServerProcess) -> float:
    """The processor time that the server has used so far."""
    assert server.process is not None
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_kib(server: ServerProcess) -> int:
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


async def closed(client: GraphqlClient) -> int | None:
    await asyncio.wait_for(client.socket.wait_closed(), PATIENCE_S)
    return client.socket.close_code


class TestByHttp:
    @pytest.mark.parametrize("name", HOSTILE)
    def test_it_is_refused_and_the_server_goes_on(self, at_home: ServerProcess, ada: str, name: str) -> None:
        request, codes = HOSTILE[name]
        begun = cpu_s(at_home)
        answer = post(at_home, ada, request_bytes(request), NEWER)
        assert cpu_s(at_home) - begun < CPU_S_MAX
        if "application/problem+json" in (answer.header("content-type") or ""):
            assert answer.json["code"] in codes | {"too_large"}
        else:
            assert answer.json["errors"][0]["extensions"]["code"] in codes
            assert not any((answer.json.get("data") or {}).values())
        assert len(answer.body) < 8_000


@pytest.mark.anyio
class TestOnASocket:
    @pytest.mark.parametrize("name", HOSTILE)
    async def test_it_is_refused_and_whoever_else_is_there_is_told_on(
        self, at_home: ServerProcess, ada: str, name: str
    ) -> None:
        request, codes = HOSTILE[name]
        payload = request_bytes(request)
        async with graphql(at_home.url, ada) as witness, graphql(at_home.url, ada, notices=False) as harmful:
            await harmful.message("connection_ack")
            begun = cpu_s(at_home)
            answer = await harmful.ask(payload)
            await asyncio.wait((answer,), timeout=PATIENCE_S)
            assert cpu_s(at_home) - begun < CPU_S_MAX
            if answer.cancelled():
                # Too large for a message, or no message of the protocol.
                is_too_large = len(payload) > 131_072 - 100
                assert await closed(harmful) == (1009 if is_too_large else 4400)
                assert is_too_large or codes & {"invalid_request", "parse_error"}
            else:
                said = answer.result()
                assert said["errors"][0]["extensions"]["code"] in codes
                assert not any((said["data"] or {}).values())
                assert (await harmful.operation("{ session { name } }"))["data"] == {"session": {"name": "Ada"}}
            assert (await witness.operation("{ session { name } }"))["data"] == {"session": {"name": "Ada"}}

    async def test_all_of_them_again_and_again_take_bounded_memory(self, at_home: ServerProcess, ada: str) -> None:
        async def all_of_them() -> int:
            for request, _ in HOSTILE.values():
                async with graphql(at_home.url, ada, notices=False) as harmful:
                    await harmful.message("connection_ack")
                    await asyncio.wait((await harmful.ask(request_bytes(request)),), timeout=PATIENCE_S)
            return rss_kib(at_home)

        first = await all_of_them()
        assert await all_of_them() - first < RSS_KIB_MAX
