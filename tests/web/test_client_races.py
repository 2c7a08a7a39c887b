"""`parley.js` where two things happen at once: what was asked for before, and answered after, must undo nothing."""

from collections.abc import Iterator

import pytest

from tests.serving import ServerProcess, native
from tests.web.conftest import OpenChat

pytestmark = pytest.mark.anyio

#: `gated(path)`: a `fetch` whose first answer from that path is kept back until `release()`; `asked`: it was asked.
GATED = """
const gated = (path) => {
  const gate = {};
  const opened = new Promise((resolve) => (gate.release = resolve));
  let isFirst = true;
  gate.asked = new Promise((resolve) => {
    gate.fetch = async (url, init) => {
      const isOurs = isFirst && url.endsWith(path);
      if (isOurs) isFirst = false;
      const answer = await fetch(url, init);
      if (isOurs) {
        resolve();
        await opened;
      }
      return answer;
    };
  });
  return gate;
};
const until = (parley, wanted) => new Promise((resolve) => {
  if (parley.state.name === wanted) resolve();
  else parley.on("state", ({ name }) => name === wanted && resolve());
});
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server whose tokens are about to run out as soon as they are made."""
    data = tmp_path_factory.mktemp("races") / "data"
    with ServerProcess(data, "--demo", auth__access_ttl=25, limits__connections=100) as running:
        yield running


async def test_a_room_given_up_and_followed_again_at_once_is_followed(open_chat: OpenChat) -> None:
    chat = await open_chat()
    assert await chat.run(
        """
        const parley = await enter("ada");
        parley.subscribe("lobby", {});
        parley.unsubscribe("lobby");
        const seen = [];
        const again = parley.subscribe("lobby", { event: ({ data }) => seen.push(data.message.text) });
        await again.ready;
        const heard = new Promise((resolve) => parley.on("event", resolve));
        await parley.send("lobby", "is this heard?");
        await heard;
        parley.disconnect();
        return seen;
        """
    ) == ["is this heard?"]


async def test_a_sign_out_is_not_undone_by_a_renewal_that_was_on_its_way(
    open_chat: OpenChat, server: ServerProcess
) -> None:
    chat = await open_chat()
    kept, session = await chat.run(
        f"""{GATED}
        const signIn = {{ username: "ada", password: "ada" }};
        const first = await Parley.connect(location.origin, {{ session: "out", signIn }});
        first.disconnect();
        const gate = gated("/auth/refresh");
        const second = new Parley({{ session: "out", fetch: gate.fetch }});
        const connected = second.connect().catch((error) => error.code);
        await gate.asked;
        await second.logout();
        gate.release();
        await connected;
        // The renewal holds the lock until it is through.
        await navigator.locks.request(`out ${{location.origin}}`, () => {{}});
        return [await second.isSignInKept, first.session.session];
        """
    )
    assert not kept
    async with native(server, server.login("ada")) as ada:
        assert session not in [one["id"] for one in (await ada.call("session.list"))["sessions"]]


async def test_a_server_that_never_answers_a_sign_out_keeps_the_lock_for_a_while_only(open_chat: OpenChat) -> None:
    chat = await open_chat()
    assert await chat.run(
        f"""{GATED}
        const signIn = {{ username: "ada", password: "ada" }};
        const first = await Parley.connect(location.origin, {{ session: "mute", signIn }});
        first.disconnect();
        const gate = gated("/auth/refresh");
        const limits = [];
        AbortSignal.timeout = () => {{
          const limit = new AbortController();
          limits.push(limit);
          return limit.signal;
        }};
        const ending = Promise.withResolvers();
        const mute = (url, init) => {{
          if (!url.endsWith("/auth/logout")) return gate.fetch(url, init);
          ending.resolve();
          return new Promise((_, reject) => init.signal?.addEventListener("abort", () => reject(init.signal.reason)));
        }};
        const second = new Parley({{ session: "mute", fetch: mute }});
        const refused = second.connect().catch((error) => error.code);
        await gate.asked;
        localStorage.removeItem(`mute ${{location.origin}}`);
        gate.release();
        await ending.promise;
        const {{ held }} = await navigator.locks.query();
        for (const limit of limits) limit.abort();
        const code = await refused;
        return [held.length, code, await navigator.locks.request(`mute ${{location.origin}}`, () => "free")];
        """
    ) == [1, "sign_in_needed", "free"]


async def test_a_refused_renewal_takes_no_newer_sign_in_away(open_chat: OpenChat) -> None:
    chat = await open_chat()
    assert await chat.run(
        f"""{GATED}
        const key = `in ${{location.origin}}`;
        localStorage.setItem(key, "long since used up");
        const gate = gated("/auth/refresh");
        const first = new Parley({{ session: "in", fetch: gate.fetch }});
        const refused = first.connect().catch((error) => error.code);
        await gate.asked;
        const second = new Parley({{ session: "in" }});
        await second.login("ben", "ben");
        gate.release();
        return [await refused, await second.isSignInKept];
        """
    ) == ["invalid_grant", True]


async def test_an_answer_cut_off_in_the_middle_signs_nobody_out(open_chat: OpenChat) -> None:
    chat = await open_chat()
    assert (
        await chat.run(
            """
        const session = "cut";
        const first = await Parley.connect(location.origin, { session, signIn: { username: "ben", password: "ben" } });
        first.disconnect();
        let isFirst = true;
        const cutting = async (url, init) => {
          const answer = await fetch(url, init);
          if (!isFirst) return answer;
          isFirst = false;
          return new Response(new ReadableStream({ start: (body) => body.error(new TypeError("cut")) }), answer);
        };
        const second = new Parley({ session, fetch: cutting, timing: { retryMs: 20 } });
        const { name } = await second.connect();
        second.disconnect();
        return name;
        """
        )
        == "Ben"
    )


async def test_signing_out_ends_the_session_also_where_its_token_is_of_no_use_any_more(
    open_chat: OpenChat, server: ServerProcess
) -> None:
    chat = await open_chat()
    claims = await chat.run(
        """
        const tokens = [];
        const noting = async (url, init) => {
          const answer = await fetch(url, init);
          if (url.endsWith("/auth/login")) tokens.push((await answer.clone().json()).access_token);
          return answer;
        };
        window.parley = new Parley({ store: memoryStore(), fetch: noting });
        await parley.login("ada", "ada");
        return JSON.parse(atob(tokens[0].split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
        """
    )
    async with native(server, server.login("admin")) as admin:
        # As if it had run out while the laptop slept.
        await admin.call("session.revoke", token_id=claims["jti"])
        await chat.run("await parley.logout()")
        sessions = (await admin.call("session.list", subject=claims["sub"]))["sessions"]
        assert claims["sid"] not in [one["id"] for one in sessions]


HELD = f"""{GATED}
const held = async (name, options) => {{
  const parley = new Parley(options);
  await parley.login(name, name);
  await options.store.remove();
  const isHeld = until(parley, "held");
  await parley.connect();
  await isHeld;
  return parley;
}};
"""


async def test_what_is_said_before_the_line_is_in_is_heard_after_it(open_chat: OpenChat) -> None:
    chat = await open_chat()
    assert await chat.run(
        f"""{GATED}
        // The answer that says who we are comes once a renewal, which nothing is left for, would have been refused.
        class Late extends WebSocket {{
          set onmessage(hear) {{
            const warned = new Promise((resolve) => (this.warned = resolve));
            super.onmessage = async (message) => {{
              const {{ id, method }} = JSON.parse(message.data);
              if (id === 1) {{
                await warned;
                await navigator.locks.request(`late ${{location.origin}}`, () => {{}});
                await new Promise((resolve) => setTimeout(resolve));
              }}
              hear(message);
              if (method === "session.expiring") this.warned();
            }};
          }}
        }}
        const store = memoryStore();
        const parley = new Parley({{ store, session: "late", WebSocket: Late }});
        await parley.login("ada", "ada");
        await store.remove();
        const states = [];
        parley.on("state", ({{ name }}) => states.push(name));
        const isHeld = until(parley, "held");
        await parley.connect();
        await isHeld;
        parley.disconnect();
        return states;
        """
    ) == ["connecting", "live", "held", "ended"]


async def test_somebody_else_who_signs_in_where_a_line_is_held_goes_on_as_themselves(open_chat: OpenChat) -> None:
    chat = await open_chat()
    assert await chat.run(
        f"""{HELD}
        const parley = await held("ada", {{ store: memoryStore(), session: "else" }});
        const wasOpen = parley.state.isOpen;
        const isLive = until(parley, "live");
        await parley.login("ben", "ben");
        await isLive;
        parley.disconnect();
        return [wasOpen, parley.session.name];
        """
    ) == [True, "Ben"]


async def test_a_sign_in_in_one_tab_lets_the_others_go_on(open_chat: OpenChat) -> None:
    chat = await open_chat()
    assert (
        await chat.run(
            f"""{HELD}
        const parley = await held("ada", {{ store: memoryStore(), session: "tabs" }});
        const isLive = until(parley, "live");
        const other = new Parley({{ store: memoryStore(), session: "tabs" }});
        await other.login("ada", "ada");
        await isLive;
        parley.disconnect();
        return parley.session.name;
        """
        )
        == "Ada"
    )


async def test_whoever_hangs_up_on_hearing_who_they_are_has_hung_up(open_chat: OpenChat) -> None:
    chat = await open_chat()
    assert await chat.run(
        """
        const parley = new Parley({ store: memoryStore() });
        await parley.login("ada", "ada");
        parley.on("session", () => parley.disconnect());
        const code = await parley.connect().catch((error) => error.code);
        return [code, parley.state.name];
        """
    ) == ["left", "ended"]


async def test_a_token_that_no_socket_takes_asks_for_a_sign_in(open_chat: OpenChat) -> None:
    chat = await open_chat()
    assert (
        await chat.run(
            """
        const parley = new Parley({ token: "with a space", store: memoryStore() });
        return await parley.connect().catch((error) => error.code);
        """
        )
        == "token_malformed"
    )


async def test_a_bug_beneath_the_line_is_not_taken_for_a_bad_token(open_chat: OpenChat) -> None:
    chat = await open_chat()
    assert await chat.run(
        """
        const thrown = new Promise((resolve) => addEventListener("unhandledrejection", (event) => {
          event.preventDefault();
          resolve(event.reason.message);
        }));
        class Broken {
          constructor() {
            throw new TypeError("a bug");
          }
        }
        const parley = new Parley({ token: "t", store: memoryStore(), WebSocket: Broken });
        void parley.connect();
        return [await thrown, parley.state.name];
        """
    ) == ["a bug", "connecting"]
