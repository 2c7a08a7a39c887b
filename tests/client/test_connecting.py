"""Who is let in, by which carrier, and how a "no" is told: by its code."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from parley.client import CommandRefused, ConnectionLost, SessionRefused, connect
from parley.client.credentials import SignIn
from tests.client.following import States, new_room, take, texts
from tests.serving import PATIENCE_S, ServerProcess

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("carrier", ["header", "subprotocol", "message"])
async def test_a_token_lets_its_bearer_in_by_every_carrier(server: ServerProcess, carrier: Any) -> None:
    async with connect(server.url, token=server.token("eve", name="Eve"), carrier=carrier) as chat:
        assert (chat.session["subject"], chat.session["name"]) == ("eve", "Eve")
        assert (await chat.call("session.describe"))["subject"] == "eve"


async def test_a_name_and_a_password_let_in_and_a_wrong_password_is_refused(server: ServerProcess) -> None:
    async with connect(server.url, username="ada", password="ada") as chat:
        assert chat.session["name"] == "Ada"
    with pytest.raises(SessionRefused) as refused:
        async with connect(server.url, username="ada", password="wrong"):
            pass
    assert (refused.value.code, refused.value.status) == ("invalid_credentials", 401)


async def test_the_url_may_be_that_of_the_socket(server: ServerProcess) -> None:
    async with connect(server.ws_url, username="ben", password="ben") as chat:
        assert chat.session["name"] == "Ben"


@pytest.mark.parametrize("carrier", ["header", "subprotocol", "message"])
async def test_a_bad_token_is_refused_by_its_code_by_every_carrier(server: ServerProcess, carrier: Any) -> None:
    for token, code in [
        ("not-a-token", "token_malformed"),
        (server.token("eve", ttl_s=-10), "token_expired"),
        (server.token("eve")[:-8] + "AAAAAAAA", "token_bad_signature"),
    ]:
        with pytest.raises(SessionRefused) as refused:
            async with connect(server.url, token=token, carrier=carrier):
                pass
        assert (refused.value.code, refused.value.status) == (code, 401)
        assert token not in str(refused.value)


async def test_no_error_shows_the_token_not_even_in_what_it_came_from(server: ServerProcess) -> None:
    token = server.token("eve", ttl_s=-10)
    with pytest.raises(SessionRefused) as refused:
        async with connect(server.url, token=token):
            pass
    error: BaseException | None = refused.value
    while error is not None:
        assert token not in repr(error) + repr(vars(error))
        error = error.__cause__
    assert "secret" not in repr(vars(SignIn)) + repr(SignIn(server.url, "ada", "secret"))


async def test_a_callback_is_asked_again_for_a_token_that_was_refused(server: ServerProcess) -> None:
    tokens = [server.token("eve", ttl_s=-10), server.token("eve")]

    async def next_token() -> str:
        return tokens.pop(0)

    async with connect(server.url, token_callback=next_token) as chat:
        assert chat.session["subject"] == "eve"
    assert tokens == []


async def test_a_callback_that_only_gives_refused_tokens_is_not_asked_for_ever(server: ServerProcess) -> None:
    asked = 0

    async def next_token() -> str:
        nonlocal asked
        asked += 1
        return server.token("eve", ttl_s=-10)

    with pytest.raises(SessionRefused) as refused:
        async with connect(server.url, token_callback=next_token):
            pass
    assert refused.value.code == "token_expired"
    assert asked == 3


async def test_where_nobody_listens_the_connection_is_lost_at_once() -> None:
    with pytest.raises(ConnectionLost):
        async with connect("http://127.0.0.1:9", token="t"):
            pass


async def test_refused_commands_name_their_code_and_the_connection_goes_on(server: ServerProcess) -> None:
    async with connect(server.url, username="ada", password="ada") as chat:
        for command, params, code, status in [
            ("room.get", {"room": "nowhere"}, "not_found", 404),
            ("room.dance", {}, "unknown_command", 404),
            ("message.send", {"room": "lobby", "text": ""}, "invalid_params", 422),
            ("audit.list", {}, "forbidden", 403),
            ("message.send", {"room": "lobby", "text": "x" * 200_000}, "too_large", 413),
        ]:
            with pytest.raises(CommandRefused) as refused:
                await chat.call(command, **params)
            assert (refused.value.code, refused.value.status) == (code, status)
        with pytest.raises(CommandRefused) as refused:
            await chat.send("lobby", "")
        assert refused.value.data["field"] == "text"
        with pytest.raises(CommandRefused) as refused:
            await chat.subscribe("nowhere")
        assert refused.value.code == "not_found"
        with pytest.raises(ValueError, match="not JSON compliant"):
            await chat.send("lobby", "a number that JSON does not have", data={"n": float("nan")})
        assert (await chat.send("lobby", "still here"))["text"] == "still here"


async def test_commands_sent_together_are_answered_each_by_its_own(server: ServerProcess) -> None:
    async with connect(server.url, username="ada", password="ada") as chat:
        room = await new_room(chat)
        messages = await asyncio.gather(*(chat.send(room, f"message {n}") for n in range(300)))
        assert [message["text"] for message in messages] == [f"message {n}" for n in range(300)]
        assert [message["seq"] for message in messages] == list(range(2, 302))


async def test_closing_fails_what_waits_and_ends_what_iterates(server: ServerProcess) -> None:
    states = States()
    async with connect(server.url, username="ada", password="ada", on_state=states) as chat:
        room = await new_room(chat)
        following = await chat.subscribe(room)

        await chat.send(room, "the last")
        assert texts(await take(following, 1)) == ["the last"]

        async def read_all() -> list[Any]:
            return [event async for event in following]

        reading = asyncio.create_task(read_all())
        lost = asyncio.create_task(chat.call("room.get", room=room))
        await asyncio.sleep(0)  # both are under way; there was no time for an answer
    assert await reading == []
    with pytest.raises(ConnectionLost):
        await lost
    assert states.names == ["live", "ended"]
    with pytest.raises(ConnectionLost):
        await chat.call("session.describe")
    with pytest.raises(ConnectionLost):
        await chat.send(room, "too late")


async def test_a_room_is_followed_once_and_again_after_it_was_let_go(server: ServerProcess) -> None:
    async with connect(server.url, username="ada", password="ada") as chat:
        room = await new_room(chat)
        first = await chat.subscribe(room)
        with pytest.raises(ValueError, match="already"):
            await chat.subscribe(room)
        await first.close()
        await chat.send(room, "nobody hears this live")
        second = await chat.subscribe(room, after=0)
        async with asyncio.timeout(PATIENCE_S):
            assert [(await anext(second))["type"] for _ in range(2)] == ["member.joined", "message.created"]  # type: ignore[index]
        assert [event async for event in first] == []


async def test_an_answer_may_be_as_large_as_the_longest_messages_make_it(server: ServerProcess) -> None:
    async with connect(server.url, token=server.token("eve")) as chat:
        room = await new_room(chat)
        await asyncio.gather(*(chat.send(room, "漢" * 8000) for _ in range(200)))
        page = await chat.call("message.list", room=room, limit=200)
        assert [len(message["text"]) for message in page["messages"]] == [8000] * 200


async def test_whoever_goes_on_asking_a_connection_that_is_over_piles_nothing_up(server: ServerProcess) -> None:
    async with connect(server.url, token=server.token("eve")) as chat:
        room = await chat.subscribe(await new_room(chat))
    asked: list[Callable[[], Any]] = [
        lambda: chat.call("session.describe"),
        lambda: chat.subscribe("lobby"),
        chat.live,
        room.__anext__,
    ]
    for ask in asked:
        for _ in range(50):
            with pytest.raises((ConnectionLost, StopAsyncIteration)) as told:
                await ask()
        assert len(told.traceback) < 10
