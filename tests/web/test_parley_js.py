"""`parley.js` by itself, in Chromium, against a real server: its promises to whoever imports it."""

from pathlib import Path

import pytest

from tests.serving import ServerProcess, native
from tests.web.conftest import OpenChat

pytestmark = pytest.mark.anyio


async def test_both_carriers_bring_the_token(open_chat: OpenChat) -> None:
    chat = await open_chat()
    names = await chat.run(
        """
        const names = [];
        for (const carrier of ["subprotocol", "message"]) {
          const parley = await enter("ada", { carrier });
          names.push(parley.session.name, (await parley.call("session.describe")).type);
          parley.disconnect();
        }
        return names;
        """
    )
    assert names == ["Ada", "account", "Ada", "account"]


async def test_a_refusal_surfaces_by_its_code_and_status(open_chat: OpenChat) -> None:
    chat = await open_chat()
    codes = await chat.run(
        """
        const parley = await enter("ada");
        const codes = [];
        const tell = (error) => codes.push([error instanceof ParleyError, error.code, error.status]);
        const refused = (work) => work.then(() => codes.push(null), tell);
        await refused(parley.call("room.get", { room: "nowhere" }));
        await refused(parley.call("room.get", { rum: "lobby" }));
        await refused(parley.call("no.such"));
        await refused(parley.call("account.list"));
        await refused(parley.send("lobby", ""));
        await refused(parley.send("lobby", "x".repeat(200000)));
        await refused(parley.login("ada", "wrong"));
        await refused(parley.call("session.describe"));
        await parley.subscribe("nowhere", {}).ready.catch((error) => codes.push(error.code));
        parley.disconnect();
        await refused(parley.call("session.describe"));
        await refused(parley.send("lobby", "late"));
        return codes;
        """
    )
    assert codes == [
        [True, "not_found", 404],
        [True, "invalid_params", 422],
        [True, "unknown_command", 404],
        [True, "forbidden", 403],
        [True, "invalid_params", 422],
        [True, "too_large", 413],
        [True, "invalid_credentials", 401],
        None,
        "not_found",
        [True, "connection_lost", 0],
        [True, "left", 0],
    ]


async def test_a_bad_token_asks_for_a_sign_in_instead_of_trying_for_ever(open_chat: OpenChat) -> None:
    chat = await open_chat()
    assert await chat.run(
        """
        const states = [];
        const parley = new Parley({ token: "not.a.token", store: memoryStore() });
        parley.on("state", ({ name, reason }) => states.push([name, reason ?? null]));
        const code = await parley.connect().catch((error) => error.code);
        return [code, states.at(-1)[0], states.length < 6];
        """
    ) == ["sign_in_needed", "held", True]


async def test_a_callback_is_asked_again_when_its_token_is_refused(open_chat: OpenChat) -> None:
    chat = await open_chat()
    assert await chat.run(
        """
        const body = JSON.stringify({ username: "ben", password: "ben" });
        const headers = { "content-type": "application/json" };
        const login = await fetch("/auth/login", { method: "POST", headers, body });
        const tokens = ["not.a.token", (await login.json()).access_token];
        let asked = 0;
        const parley = new Parley({ tokenCallback: () => tokens[asked++], store: memoryStore() });
        const session = await parley.connect();
        parley.disconnect();
        return [session.name, asked];
        """
    ) == ["Ben", 2]


async def test_events_are_given_from_where_one_asked_to_go_on(open_chat: OpenChat, server: ServerProcess) -> None:
    chat = await open_chat()
    async with native(server, server.login("ada")) as ada:
        room = (await ada.call("room.create", title="Long log"))["room"]["id"]
        for number in range(1205):
            await ada.call("message.send", room=room, text=str(number))
    seqs = await chat.run(
        """
        const [room] = args;
        const parley = await enter("ada");
        const seqs = [];
        const subscription = parley.subscribe(room, { event: ({ seq }) => seqs.push(seq) }, { after: 3 });
        await subscription.ready;
        await parley.send(room, "one more");
        while (seqs.at(-1) !== 1207) await new Promise((done) => setTimeout(done, 10));
        parley.disconnect();
        return [seqs, subscription.epoch.length > 0];
        """,
        room,
    )
    assert seqs == [list(range(4, 1208)), True]


async def test_another_log_under_the_same_name_says_reset_first(open_chat: OpenChat) -> None:
    chat = await open_chat()
    told = await chat.run(
        """
        const parley = await enter("ada");
        const told = [];
        const handlers = { event: ({ seq }) => told.push(seq), reset: ({ seq }) => told.push(`reset at ${seq}`) };
        await parley.subscribe("lobby", handlers, { after: 1, epoch: "of-another-life" }).ready;
        parley.disconnect();
        return told;
        """
    )
    assert told[0].startswith("reset at ")
    assert told[1:] == list(range(told[1], told[1] + len(told) - 1))
    assert told[0] == f"reset at {told[-1]}"


async def test_a_listener_that_throws_harms_nobody_else(open_chat: OpenChat, server: ServerProcess) -> None:
    chat = await open_chat()
    heard = await chat.run(
        """
        const parley = await enter("ada");
        const heard = [];
        addEventListener("error", (event) => { event.preventDefault(); heard.push(event.message); });
        const done = new Promise((resolve) => parley.on("event", resolve));
        await parley.subscribe("lobby", { event: () => { throw new Error("my mistake"); } }).ready;
        await parley.send("lobby", "still here");
        heard.push((await done).data.message.text);
        const answer = await parley.call("session.describe");
        parley.disconnect();
        return [...heard, answer.name].sort();
        """
    )
    assert heard == ["Ada", "Uncaught Error: my mistake", "still here"]


async def test_one_connection_too_many_ends_the_oldest_for_good(open_chat: OpenChat, tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", "--demo", limits__connections=1) as server:
        chat = await open_chat(url=server.url)
        assert await chat.run(
            """
            const first = await enter("ada");
            const over = (done) => first.on("state", ({ name, reason }) => name === "ended" && done(reason));
            const ended = new Promise(over);
            const second = await enter("ada");
            const reason = await ended;
            second.disconnect();
            return [reason, first.state.name];
            """
        ) == ["replaced", "ended"]


async def test_the_pauses_between_attempts_grow_have_jitter_and_an_end(open_chat: OpenChat) -> None:
    chat = await open_chat()
    pauses = await chat.page.evaluate(
        """async () => {
          const { after, isFinal } = await import("/static/client/reconnecting.js");
          const timing = { retryMs: 1000, retryMaxMs: 30000, restartMs: 5000, overloadedMs: 5000 };
          return {
            lost: [0, 1, 2, 10].map((attempts) => [after(1006, attempts, timing, 0), after(1006, attempts, timing, 1)]),
            restart: [after(1012, 0, timing, 0), after(1012, 0, timing, 1)],
            overloaded: [1013, 4429].map((code) => after(code, 0, timing, 1)),
            stop: [1000, 1006, 1012, 1013, 4400, 4401, 4403, 4408, 4409, 4420, 4429].filter(isFinal),
          };
        }"""
    )
    assert pauses == {
        "lost": [[500, 1000], [1000, 2000], [2000, 4000], [15000, 30000]],
        "restart": [0, 5000],
        "overloaded": [5000, 5000],
        "stop": [4400, 4403, 4409],
    }
