"""A token's life on a connection that renews it: in place, late, by refresh tokens, by a callback, or not at all."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parley.client import Chat, CommandRefused, SessionRefused, Timing, connect
from tests.client.following import States, new_room, rpc, take, texts
from tests.serving import PATIENCE_S, ServerProcess

pytestmark = pytest.mark.anyio

SOON = Timing(retry_s=0.05, retry_max_s=0.5, restart_s=0.1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Tokens of three seconds, warned of two before their end, held for two after it."""
    with ServerProcess(
        tmp_path_factory.mktemp("renewing") / "data",
        "--demo",
        auth__access_ttl=3,
        auth__margin=2,
        auth__grace=2,
        limits__messages_per_s=0,
        limits__connections=100,
    ) as running:
        yield running


async def test_a_sign_in_renews_itself_in_place_and_no_event_is_missed(server: ServerProcess) -> None:
    states, notices = States(), []
    on_notice = lambda method, params: notices.append(method)  # noqa: E731
    writer_token = server.token("zoe", ttl_s=900)
    async with (
        connect(server.url, token=writer_token) as writer,
        connect(server.url, username="ada", password="ada", on_state=states, on_notice=on_notice) as chat,
    ):
        room = await new_room(writer)
        following = await chat.subscribe(room)
        first = chat.session["expires_at"]
        seen = {first}
        count = 0
        async with asyncio.timeout(PATIENCE_S):
            while len(seen) < 4:
                await writer.send(room, str(count))
                count += 1
                seen.add(chat.session["expires_at"])
        assert texts(await take(following, count)) == [str(n) for n in range(count)]
        assert states.names == ["live"], "it never had to come back"
        assert notices.count("session.expiring") >= 3


async def test_a_callback_that_answers_late_loses_nothing_and_doubles_nothing(server: ServerProcess) -> None:
    """Past the token's end the connection is held; what is sent and said meanwhile comes when it is released."""
    states = States()
    asked = asyncio.Event()
    may_answer = asyncio.Event()

    async def next_token() -> str:
        if asked.is_set():
            await may_answer.wait()
            return server.token("eve", ttl_s=900)
        asked.set()
        return server.token("eve", ttl_s=2)

    writer_token = server.token("zoe", ttl_s=900)
    async with (
        connect(server.url, token=writer_token) as writer,
        connect(server.url, token_callback=next_token, on_state=states) as chat,
    ):
        room = await new_room(writer)
        await chat.call("room.join", room=room)
        following = await chat.subscribe(room)
        sent: list[Any] = []
        async with asyncio.timeout(PATIENCE_S):
            while True:  # until the server says that the token has had its time
                refused = await _refusal(chat, "session.describe")
                await writer.send(room, "from the writer")
                sent.append(asyncio.create_task(chat.send(room, f"{len(sent)}")))
                if refused == "token_expired":
                    break
                await asyncio.sleep(0.02)
            sent += [asyncio.create_task(chat.send(room, f"{len(sent) + n}")) for n in range(3)]
            await asyncio.sleep(0)
            assert not sent[-1].done()
            may_answer.set()
            stored = await asyncio.gather(*sent)
        assert states.names == ["live"]
        own = [message["text"] for message in sorted(stored, key=lambda message: message["seq"])]
        assert own == [str(n) for n in range(len(sent))], "in the order in which they were given"
        head = (await writer.call("room.get", room=room))["room"]["seq"]
        events = await take(following, head - 2)
        assert [event["seq"] for event in events] == list(range(3, head + 1))


async def _refusal(chat: Chat, command: str) -> str | None:
    try:
        await chat.call(command)
    except CommandRefused as refused:
        return refused.code
    return None


async def test_one_token_and_no_other_ends_with_what_the_server_said_of_it(server: ServerProcess) -> None:
    states = States()
    async with connect(server.url, token=server.token("eve", ttl_s=2), on_state=states, timing=SOON) as chat:
        following = await chat.subscribe("lobby")
        with pytest.raises(SessionRefused) as refused:
            async with asyncio.timeout(PATIENCE_S):
                await anext(following)
        assert (refused.value.code, refused.value.close_code) == ("token_expired", 4401)
        assert states.names[-1] == "ended"


async def test_a_callback_that_gives_another_persons_token_ends_the_connection(server: ServerProcess) -> None:
    given: list[str] = []

    async def next_token() -> str:
        given.append(server.token("eve", ttl_s=2) if not given else server.token("mallory", ttl_s=900))
        return given[-1]

    async with connect(server.url, token_callback=next_token, timing=SOON) as chat:
        with pytest.raises(SessionRefused) as refused:
            async with asyncio.timeout(PATIENCE_S):
                await anext(await chat.subscribe("lobby"))
        assert refused.value.code == "subject_mismatch"


@pytest.mark.parametrize(
    "trouble", [OSError("the token server is away"), CommandRefused("forbidden", 403), CommandRefused("expired", 401)]
)
async def test_a_callback_that_fails_is_asked_again_in_time(server: ServerProcess, trouble: Exception) -> None:
    states = States()
    asked = 0

    async def next_token() -> str:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise trouble
        return server.token("eve", ttl_s=3 if asked == 1 else 900)

    async with connect(server.url, token_callback=next_token, timing=SOON, on_state=states) as chat:
        first = chat.session["expires_at"]
        async with asyncio.timeout(PATIENCE_S):
            while chat.session["expires_at"] == first:
                await asyncio.sleep(0.02)
        assert asked == 3
        assert states.names == ["live"]


async def test_a_session_that_is_revoked_is_over_and_says_why(server: ServerProcess) -> None:
    async with connect(server.url, username="ben", password="ben", timing=SOON) as chat:
        following = await chat.subscribe("lobby")
        session = chat.session["session"]
        await rpc(server, server.login("admin"), "session.revoke", session=session, reason="left the company")
        with pytest.raises(SessionRefused) as refused:
            async with asyncio.timeout(PATIENCE_S):
                await anext(following)
        assert (refused.value.code, refused.value.close_code) == ("left the company", 4403)


async def test_refresh_tokens_outlive_a_restart_of_the_server(data: Path) -> None:
    states = States()
    with ServerProcess(data, "--demo", auth__access_ttl=3, auth__margin=2) as server:
        async with connect(server.url, username="ada", password="ada", timing=SOON, on_state=states) as chat:
            session = chat.session["session"]
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.start)
            await states.live_again()
            seen = {chat.session["expires_at"]}
            async with asyncio.timeout(PATIENCE_S):
                while len(seen) < 3:
                    await asyncio.sleep(0.05)
                    seen.add(chat.session["expires_at"])
            assert chat.session["session"] == session, "it was renewed, not signed in anew"
