"""Lines that die in every way: what was followed goes on, what was sent is stored once, the end is told by its code."""

import asyncio
import random
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from parley.client import ConnectionLost, Reset, SessionRefused, SubscriptionEnded, Timing, connect
from parley.client.close_codes import delay_s
from parley.client.subscription import BUFFERED_MAX
from tests.client.following import States, new_room, rpc, take, texts
from tests.proxies import proxy
from tests.serving import PATIENCE_S, ROOT, ServerProcess

pytestmark = pytest.mark.anyio

#: As the defaults, but for people who can't wait.
SOON = Timing(retry_s=0.05, retry_max_s=0.5, restart_s=0.1, overloaded_s=0.1)


async def test_a_restart_on_the_same_port_loses_and_doubles_nothing(data: Path) -> None:
    states = States()
    with ServerProcess(data, "--demo") as server:
        async with connect(server.url, username="ada", password="ada", timing=SOON, on_state=states) as chat:
            room = await new_room(chat)
            following = await chat.subscribe(room)
            await chat.send(room, "before")
            assert await asyncio.to_thread(server.stop) == 0
            await states.until(lambda seen: seen[-1].name == "reconnecting")
            assert states.seen[1].reason == "restarting"
            waiting = [asyncio.create_task(chat.send(room, f"meanwhile {n}")) for n in range(5)]
            with pytest.raises(ConnectionLost):
                await chat.call("room.get", room=room)
            await asyncio.to_thread(server.start)
            await states.live_again()
            stored = await asyncio.gather(*waiting)
            assert [message["seq"] for message in stored] == [3, 4, 5, 6, 7]
            events = await take(following, 6)
            assert [event["seq"] for event in events] == [2, 3, 4, 5, 6, 7]
            assert texts(events) == ["before", *(f"meanwhile {n}" for n in range(5))]


async def test_a_line_that_swallows_everything_is_noticed_and_left(data: Path) -> None:
    states = States()
    timing = Timing(silence_s=2, retry_s=0.05)
    with ServerProcess(data, "--demo", limits__ping_interval=0.5) as server:
        async with (
            proxy(server.port) as line,
            connect(line.url, token=server.login("ada"), timing=timing, on_state=states) as chat,
        ):
            following = await chat.subscribe("lobby")
            ben = await asyncio.to_thread(server.login, "ben")
            line.black_hole()
            sent = asyncio.create_task(chat.send("lobby", "into the tunnel"))
            from_elsewhere = await rpc(server, ben, "message.send", room="lobby", text="from elsewhere")
            await states.until(lambda seen: seen[-1].name == "reconnecting")
            assert states.seen[-1].reason == "silent"
            message = await asyncio.wait_for(sent, PATIENCE_S)
            assert message["seq"] == from_elsewhere["message"]["seq"] + 1
            assert texts(await take(following, 2)) == ["from elsewhere", "into the tunnel"]


async def test_a_quiet_line_is_kept_for_the_sake_of_its_pings(data: Path) -> None:
    states = States()
    with ServerProcess(data, "--demo", limits__ping_interval=0.2) as server:
        timing = Timing(silence_s=1.5)
        async with connect(server.url, username="ada", password="ada", timing=timing, on_state=states) as chat:
            loop = asyncio.get_running_loop()
            until_s = loop.time() + 2
            while loop.time() < until_s:
                await asyncio.sleep(0.1)  # what is tested is that time passes and nothing happens
            assert chat.state.name == "live"
        assert states.names == ["live", "ended"]


async def test_a_message_whose_answer_was_lost_is_stored_once(server: ServerProcess) -> None:
    token = server.login("ada")
    states = States()
    async with proxy(server.port) as line, connect(line.url, token=token, timing=SOON, on_state=states) as chat:
        room = await new_room(chat)
        line.black_hole(to_server=False)
        sent = asyncio.create_task(chat.send(room, "only once"))
        other = asyncio.create_task(chat.call("room.update", room=room, title="Changed"))
        while (await rpc(server, token, "room.get", room=room))["room"]["title"] != "Changed":
            pass  # the server has carried out both; the answers went nowhere
        line.cut()
        with pytest.raises(ConnectionLost):
            await other
        message = await asyncio.wait_for(sent, PATIENCE_S)
        assert states.names == ["live", "reconnecting", "live"]
        listed = await rpc(server, token, "message.list", room=room)
        assert listed["messages"] == [message]


async def test_messages_keep_their_order_through_cuts(server: ServerProcess) -> None:
    """Also those that were on their way when the line died, and those given meanwhile."""
    chance = random.Random(7)
    async with (
        proxy(server.port) as line,
        connect(line.url, username="ada", password="ada", timing=SOON) as chat,
    ):
        room = await new_room(chat)
        sending = []
        for n in range(120):
            sending.append(asyncio.create_task(chat.send(room, str(n))))
            if n % 20 == 19:
                await asyncio.wait(sending[: chance.randrange(n)] or sending[:1])
                line.cut()
        stored = await asyncio.wait_for(asyncio.gather(*sending), PATIENCE_S)
        assert [message["seq"] for message in stored] == list(range(2, 122))
        assert [message["text"] for message in stored] == [str(n) for n in range(120)]


@pytest.mark.parametrize("seed", range(3))
async def test_every_event_comes_once_and_in_order_through_random_cuts(server: ServerProcess, seed: int) -> None:
    chance = random.Random(seed)
    count = 150
    async with (
        connect(server.url, username="ben", password="ben") as writer,
        proxy(server.port) as line,
        connect(line.url, username="ada", password="ada", timing=SOON) as reader,
    ):
        room = await new_room(writer)
        following = await reader.subscribe(room, after=0)

        async def write() -> None:
            for n in range(count):
                await writer.send(room, f"{n}")
                match chance.randrange(14):
                    case 0:
                        line.cut()
                    case 1:
                        line.black_hole(to_server=False)
                        await writer.send(room, "into the hole")
                        line.cut()
                    case 2:
                        line.delay_s = chance.choice([0, 0.002, 0.01])

        await asyncio.wait_for(write(), 60)
        head = (await writer.call("room.get", room=room))["room"]["seq"]
        events = await take(following, head)
        assert [event["seq"] for event in events] == list(range(1, head + 1))
        assert events == (await writer.call("event.list", room=room, after=0))["events"]


async def test_a_reader_who_was_away_for_longer_than_a_page_gets_everything(server: ServerProcess) -> None:
    """1,000 events to a page: `complete: false` makes the client ask again."""
    states = States()
    token = server.login("ada")
    async with proxy(server.port) as line, connect(line.url, token=token, timing=SOON, on_state=states) as reader:
        room = await new_room(reader)
        following = await reader.subscribe(room)
        line.is_down = True
        line.cut()
        async with connect(server.url, token=token) as writer:
            await asyncio.gather(*(writer.send(room, str(n)) for n in range(900)))
            await asyncio.gather(*(writer.send(room, str(n)) for n in range(900, 1500)))
        line.is_down = False
        await states.live_again()
        assert texts(await take(following, 1500)) == [str(n) for n in range(1500)]


async def test_a_reader_who_does_not_read_costs_one_buffer_and_misses_nothing(server: ServerProcess) -> None:
    async with connect(server.url, username="ada", password="ada") as chat:
        room = await new_room(chat)
        following = await chat.subscribe(room)
        count = BUFFERED_MAX + 1200
        for start in range(0, count, 500):
            await asyncio.gather(*(chat.send(room, str(n)) for n in range(start, min(start + 500, count))))
        assert following.buffered <= BUFFERED_MAX
        assert (await chat.call("session.describe"))["name"] == "Ada"  # the line is free for everything else
        assert texts(await take(following, count)) == [str(n) for n in range(count)]
        await chat.send(room, "and live again")
        assert texts(await take(following, 1)) == ["and live again"]


async def test_a_slow_line_is_ended_by_the_server_and_resumed(data: Path) -> None:
    states = States()
    with ServerProcess(data, "--demo", limits__messages_per_s=0, limits__slow_consumer_bytes=65536) as server:
        async with (
            connect(server.url, username="ben", password="ben") as writer,
            proxy(server.port) as line,
            connect(line.url, username="ada", password="ada", timing=SOON, on_state=states) as reader,
        ):
            following = await reader.subscribe("lobby")
            line.stall()
            count = 0
            while not re.search(r'parley_closes_total\{code="4420"\} [1-9]', await _metrics(server)):
                # Kernels buffer megabytes before anybody learns that nothing is read.
                await asyncio.gather(*(writer.send("lobby", f"{count + n} " + "x" * 7000) for n in range(50)))
                count += 50
            line.flow()
            await states.live_again()
            numbers = [int(text.split()[0]) for text in texts(await take(following, count))]
            assert numbers == list(range(count))


async def _metrics(server: ServerProcess) -> str:
    def read() -> str:
        with urllib.request.urlopen(server.url + "/metrics") as answer:
            return str(answer.read().decode())

    return await asyncio.to_thread(read)


async def test_a_subscription_goes_on_from_where_another_process_left_it(server: ServerProcess) -> None:
    async with connect(server.url, username="ada", password="ada") as chat:
        room = await new_room(chat)
        following = await chat.subscribe(room)
        await chat.send(room, "read")
        await take(following, 1)
        await chat.send(room, "not read yet")
        left_at = (following.seq, following.epoch)
    async with connect(server.url, username="ada", password="ada") as chat:
        following = await chat.subscribe(room, after=left_at[0], epoch=left_at[1])
        assert texts(await take(following, 1)) == ["not read yet"]


async def test_a_restored_backup_is_told_as_a_reset_and_the_newest_page_follows(data: Path) -> None:
    states = States()
    backup = data.parent / "backup.db"
    with ServerProcess(data, "--demo") as server:
        async with connect(server.url, username="ada", password="ada", timing=SOON, on_state=states) as chat:
            room = await new_room(chat)
            following = await chat.subscribe(room)
            await chat.send(room, "in the backup")
            command = [sys.executable, "-m", "parley", "db", "backup", str(backup), "--data", str(data)]
            await asyncio.to_thread(subprocess.run, command, check=True, cwd=ROOT)
            await chat.send(room, "after the backup")
            await take(following, 2)
            epoch = following.epoch
            server.kill()
            for file in data.glob("parley.db*"):
                file.unlink()
            shutil.copy(backup, data / "parley.db")
            await asyncio.to_thread(server.start)
            async with asyncio.timeout(PATIENCE_S):
                reset = await anext(following)
            assert isinstance(reset, Reset)
            assert (reset.room, reset.seq) == (room, 2)
            assert following.epoch == reset.epoch != epoch
            events = await take(following, 2)
            assert [event["seq"] for event in events] == [1, 2]
            assert texts(events) == ["in the backup"]
            await chat.send(room, "live in the new log")
            assert texts(await take(following, 1)) == ["live in the new log"]


async def test_one_who_is_removed_hears_why_the_room_ends(server: ServerProcess) -> None:
    ada, ben = server.login("ada"), server.login("ben")
    async with connect(server.url, token=ada) as owner, connect(server.url, token=ben) as chat:
        room = await new_room(owner, visibility="private")
        subject = chat.session["subject"]
        await owner.call("room.invite", room=room, subject=subject)
        following = await chat.subscribe(room)
        await owner.send(room, "the last thing you read")
        assert texts(await take(following, 1)) == ["the last thing you read"]
        await owner.call("room.remove", room=room, subject=subject)
        with pytest.raises(SubscriptionEnded) as ended:
            async with asyncio.timeout(PATIENCE_S):
                await anext(following)
        assert ended.value.reason == "removed"
        assert (await chat.call("session.describe"))["subject"] == subject


async def test_one_who_was_removed_while_away_hears_it_on_coming_back(server: ServerProcess) -> None:
    ada, ben = server.login("ada"), server.login("ben")
    async with (
        proxy(server.port) as line,
        connect(server.url, token=ada) as owner,
        connect(line.url, token=ben, timing=SOON) as chat,
    ):
        room = await new_room(owner, visibility="private")
        await owner.call("room.invite", room=room, subject=chat.session["subject"])
        following = await chat.subscribe(room)
        line.is_down = True
        line.cut()
        await owner.call("room.remove", room=room, subject=chat.session["subject"])
        line.is_down = False
        with pytest.raises(SubscriptionEnded) as ended:
            async with asyncio.timeout(PATIENCE_S):
                await anext(following)
        assert ended.value.reason == "not_found"


async def test_one_connection_too_many_stops_the_oldest_for_good(data: Path) -> None:
    states, notices = States(), []
    with ServerProcess(data, "--demo", limits__connections=1) as server:
        token = server.login("ada")
        on_notice = lambda method, params: notices.append((method, params))  # noqa: E731
        async with connect(server.url, token=token, on_state=states, on_notice=on_notice, timing=SOON) as first:
            following = await first.subscribe("lobby")
            async with connect(server.url, token=token):
                with pytest.raises(SessionRefused) as refused:
                    async with asyncio.timeout(PATIENCE_S):
                        await anext(following)
            assert (refused.value.code, refused.value.close_code) == ("replaced", 4409)
            assert states.names == ["live", "ended"]
            assert notices == [("session.closing", {"code": 4409, "reason": "replaced", "reconnect": False})]
            with pytest.raises(SessionRefused):
                await first.send("lobby", "nobody")


async def test_a_disabled_account_is_not_let_back_in(data: Path) -> None:
    with ServerProcess(data, "--demo") as server:
        admin = server.login("admin")
        async with (
            proxy(server.port) as line,
            connect(line.url, username="ben", password="ben", timing=SOON) as chat,
        ):
            following = await chat.subscribe("lobby")
            line.is_down = True
            line.cut()
            await rpc(server, admin, "account.disable", account=chat.session["subject"])
            line.is_down = False
            with pytest.raises(SessionRefused) as refused:
                async with asyncio.timeout(PATIENCE_S):
                    await anext(following)
            assert refused.value.status == 401


async def test_a_token_near_its_end_is_replaced_and_nothing_is_missed(server: ServerProcess) -> None:
    """Whether the server renews in place or not: from here it looks the same."""
    given: list[str] = []

    async def next_token() -> str:
        # The first has less than the server's margin left, so that it warns at once.
        given.append(server.token("eve", ttl_s=10 if not given else 900))
        return given[-1]

    async with connect(server.url, username="ada", password="ada") as writer:
        room = await new_room(writer)
        async with connect(server.url, token_callback=next_token, timing=SOON) as chat:
            following = await chat.subscribe(room)
            await writer.send(room, "1")
            while len(given) < 2:
                await asyncio.sleep(0.01)  # the callback is asked; there is nothing else to wait for
            await writer.send(room, "2")
            await chat.live()
            assert texts(await take(following, 2)) == ["1", "2"]


def test_each_close_code_asks_for_its_own_delay() -> None:
    timing = Timing()
    chances = [0.0, 0.25, 0.5, 0.999]
    for chance in chances:
        assert 0 <= delay_s(1012, 0, timing, chance) <= 5
        assert delay_s(4401, 0, timing, chance) == 0
        assert 2.5 <= delay_s(1013, 0, timing, chance) <= 5
        assert 2.5 <= delay_s(4429, 0, timing, chance) <= 5
        assert 0.5 <= delay_s(1006, 0, timing, chance) <= 1
        assert 0.5 <= delay_s(4420, 0, timing, chance) <= 1
        assert 8 <= delay_s(1006, 4, timing, chance) <= 16
        assert 15 <= delay_s(1006, 1000, timing, chance) <= 30
    spread = {delay_s(1012, 0, timing, chance) for chance in chances}
    assert len(spread) == len(chances), "after a restart nobody comes at the same moment"


async def test_who_tries_again_at_once_after_a_cut_lets_the_line_come_back(server: ServerProcess) -> None:
    """A loop of calls that fail without waiting once kept the client from ever noticing that its line was over."""
    async with (
        proxy(server.port) as line,
        connect(line.url, username="ada", password="ada", timing=SOON) as chat,
    ):
        line.black_hole(to_server=False)
        asyncio.get_running_loop().call_later(0.05, line.cut)
        for _ in range(100):
            try:
                await chat.call("room.get", room="lobby")
                break
            except ConnectionLost:
                await chat.live()
        else:
            raise AssertionError("it was told a hundred times that there is a line, and there was none")
