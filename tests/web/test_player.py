"""Live audio from page to page: a microphone on one, loudspeakers on others, a real server between them."""

import asyncio
import itertools
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, WebSocketRoute, async_playwright, expect

from tests.npm import need
from tests.serving import ServerProcess, native
from tests.web.conftest import QUIET
from tests.web.line import line
from tests.web.studio import EARS, Broadcaster, Listener, Player, write_tone
from tests.web.test_accessibility import PHONE, WIDE, Check, axe, finds_nothing
from tests.web.watched import watched_pages

pytestmark = pytest.mark.anyio

__all__ = ["axe", "finds_nothing"]

#: The promise to somebody who joins late.
SOUND_WITHIN_S = 1.0

#: A browser of the strict kind, whatever the test's own allows.
SILENT_UNTIL_PRESSED = """
  AudioContext.prototype.resume = () => new Promise(() => {});
  Object.defineProperty(AudioContext.prototype, "state", { get: () => "suspended" });
"""

#: The line is lost just while the module of the audio thread is loaded.
FIRST_MODULE_IS_LOST = """
  const addModule = AudioWorklet.prototype.addModule;
  AudioWorklet.prototype.addModule = function () {
    AudioWorklet.prototype.addModule = addModule;
    return Promise.reject(new DOMException("lost", "AbortError"));
  };
"""

Open = Callable[..., Awaitable[Any]]


@pytest.fixture(scope="module")
async def studio(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """A Chromium whose microphone is a file, and which allows it without asking."""
    tone = tmp_path_factory.mktemp("studio") / "tone.wav"
    write_tone(tone)
    fake = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    args = [*QUIET, *fake, f"--use-file-for-fake-audio-capture={tone}"]
    path = need("chromium", "the pages are tested in a real browser")
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=path, args=args)
        yield chromium
        await chromium.close()


@pytest.fixture
async def opened(studio: Browser, server: ServerProcess) -> AsyncIterator[Open]:
    """Opens a page of the player in a profile of its own: `await opened(Listener, "radio")`."""
    async with watched_pages(studio) as open_page:

        async def open_one(
            kind: type[Player], stream: str = "radio", url: str = "", script: str = "", **options: Any
        ) -> Player:
            visit = {key: options.pop(key) for key in ("name", "may") if key in options}
            on_page = options.pop("on_page", None)
            page = await open_page(url or server.url, **options)
            await page.add_init_script(EARS + script)
            if on_page is not None:
                await on_page(page)
            player = kind(page, url or server.url)
            await player.visit(stream, **visit)  # type: ignore[attr-defined]
            return player

        yield open_one


def make_stream(server: ServerProcess, stream: str, visibility: str = "public", owner: str = "ada") -> None:
    params = {"stream": stream, "title": "A test", "visibility": visibility}
    status, answer = server.post(
        "/rpc", {"jsonrpc": "2.0", "id": 1, "method": "stream.create", "params": params}, server.login(owner)
    )
    assert (status, answer.get("error")) == (200, None)


async def test_what_one_page_sends_is_what_others_hear(opened: Open, server: ServerProcess) -> None:
    make_stream(server, "heard")
    early, untouched = await asyncio.gather(
        opened(Listener, "heard"), opened(Listener, "heard", script=SILENT_UNTIL_PRESSED)
    )
    await early.shows("Off air")
    await untouched.shows("Off air")
    await early.play.click()
    await expect(early.said).to_contain_text("starts by itself")
    ada: Broadcaster = await opened(Broadcaster, "heard")
    await ada.go()
    await early.shows("Live")
    await expect(early.card).to_contain_text("is on the air since")
    # It waited, too, but its browser lets no sound begin that nobody pressed for.
    await untouched.shows("On air")
    await expect(untouched.play).to_be_visible()
    await untouched.page.close()
    late: Listener = await opened(Listener, "heard")
    await late.shows("On air")
    assert await late.press_until(SOUND_WITHIN_S) < SOUND_WITHIN_S
    await expect(ada.listeners).to_have_text("2 listeners")
    await late.until("heard.length > 75")
    await ada.end.click()
    for one in (ada, early, late):
        await one.shows("Off air")
    sent = await ada.samples("sent")
    for one, at_least_s in ((early, 2.0), (late, 1.4)):
        found = await one.alike(sent, await one.samples("heard"))
        assert found["seconds"] > at_least_s
        assert found["likeness"] > 0.99, found


async def test_a_broadcast_outlives_its_token_and_everybodys_line(opened: Open, tmp_path: Path) -> None:
    async with line() as tunnel, line() as way:
        # Asked for the next token after a second, a busy machine has four to bring it.
        short: dict[str, Any] = {"auth__access_ttl": 4, "auth__margin": 3, "auth__grace": 1}
        origins = f"{tunnel.url},{way.url}"
        with ServerProcess(tmp_path / "data", "--demo", allowed_origins=origins, **short) as server:
            tunnel.target = way.target = server.port
            ada: Broadcaster = await opened(Broadcaster, "radio", tunnel.url)
            renewals: list[str] = []
            ada.page.on("request", lambda request: "/auth/refresh" in request.url and renewals.append(request.url))
            await ada.go()
            await ada.page.evaluate(
                """() => {
                  window.badges = [];
                  const badge = document.querySelector(".badge-text");
                  const seen = new MutationObserver(() => badges.push(badge.textContent));
                  seen.observe(badge, { childList: true, subtree: true, characterData: true });
                }"""
            )
            listener: Listener = await opened(Listener, "radio", way.url)
            await listener.press_play()
            # 20 ms each: past the end of the first token and its grace.
            await ada.until("sent.length > 265")
            await ada.shows("On air")
            assert len(renewals) >= 1
            assert await ada.page.evaluate("badges") == []

            await ada.until("document.querySelector('.clock').textContent > '00:01'")
            before_s = await ada.seconds()
            tunnel.target = 0  # nobody answers there
            tunnel.cut()
            await ada.shows("Reconnecting")
            await expect(ada.said).to_contain_text("Your place is kept for 10 seconds")
            await listener.shows("Gap")
            await expect(listener.said).to_contain_text("goes on by itself")
            # Pressed before anybody answers: what tries by itself would be faster than the press.
            await ada.page.get_by_role("button", name="Try now").click()
            tunnel.target = server.port
            await ada.shows("On air")
            # The same broadcast: its clock went on. The gap took a second.
            assert await ada.seconds() > before_s
            await listener.shows("Live")

            way.target = 0
            way.cut()
            await listener.shows("Reconnecting")
            await expect(listener.said).to_contain_text("Your connection was lost")
            way.target = server.port
            await listener.shows("Live")

            # Another source, on the air: a screen's sound.
            await ada.page.get_by_role("radio", name="A tab’s or screen’s sound").click()
            await expect(ada.page.get_by_role("combobox")).to_be_hidden()
            await expect(ada.page.get_by_role("alert")).to_be_empty()
            await ada.until("document.querySelector('parley-meter').dataset.is !== 'silence'")
            await ada.shows("On air")


async def test_whoever_is_refused_or_stopped_is_told_why(opened: Open, server: ServerProcess) -> None:
    make_stream(server, "taken")
    first, second = await asyncio.gather(opened(Broadcaster, "taken"), opened(Broadcaster, "taken", name="admin"))
    await first.go()
    await second.choose_microphone()
    await second.go_live.click()
    await expect(second.page.get_by_role("alert")).to_contain_text("already_live")
    await second.shows("Off air")
    await expect(second.said).to_contain_text("Ada is on the air")
    await first.shows("On air")
    status, _ = server.post(
        "/rpc",
        {"jsonrpc": "2.0", "id": 1, "method": "stream.stop", "params": {"stream": "taken"}},
        server.login("admin"),
    )
    assert status == 200
    await expect(first.page.get_by_role("alert")).to_contain_text("Your broadcast was stopped")
    await first.shows("Off air")
    await second.go_live.click()
    await second.shows("On air")
    await expect(second.page.get_by_role("alert")).to_be_empty()


async def test_who_may_not_broadcast_is_told_what_is_missing_and_gets_the_form_once_they_may(
    opened: Open, server: ServerProcess
) -> None:
    make_stream(server, "theirs")

    async def with_clock(page: Page) -> None:
        await page.clock.install()

    ben: Broadcaster = await opened(Broadcaster, "theirs", name="ben", may=False, on_page=with_clock)
    verdict = ben.page.locator(".verdict")
    await expect(verdict).to_have_text("You may not broadcast here.")
    await expect(ben.said).to_contain_text(
        "You are signed in as Ben: not this stream’s owner, not one of its publishers"
    )
    await expect(ben.page.get_by_role("radio")).to_have_count(0)
    async with native(server, server.login("ada")) as ada:
        await ada.call("stream.set_publishers", stream="theirs", subjects=["ben"])
        # The page looks every 5 s.
        await ben.page.clock.fast_forward(5_000)
        await ben.go()
        await ada.call("stream.set_publishers", stream="theirs", subjects=[])
    await expect(verdict).to_have_text("You may not broadcast here.")
    await expect(ben.go_live).to_have_count(0)
    # Of a stream that is not there is said that it is not.
    await ben.page.goto(f"{server.url}/broadcast/nowhere")
    await expect(verdict).to_contain_text("There is no stream of this name")
    await ben.page.get_by_role("button", name="Sign in as somebody else").click()
    await expect(ben.page.get_by_label("Password")).to_be_visible()


async def test_a_sign_in_before_the_token_runs_out_puts_the_new_one_on_the_air(
    opened: Open, server: ServerProcess
) -> None:
    make_stream(server, "renewed")
    lines: list[WebSocketRoute] = []
    answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def between(page: Page) -> None:
        def join(socket: WebSocketRoute) -> None:
            lines.append(socket)
            line = socket.connect_to_server()
            asked: set[int] = set()

            def from_page(message: str | bytes) -> None:
                if isinstance(message, str) and json.loads(message)["method"] == "session.refresh":
                    asked.add(json.loads(message)["id"])
                line.send(message)

            def from_server(message: str | bytes) -> None:
                if isinstance(message, str) and json.loads(message).get("id") in asked:
                    answers.put_nowait(json.loads(message))
                socket.send(message)

            socket.on_message(from_page)
            line.on_message(from_server)

        await page.route_web_socket(re.compile("/publish$"), join)

    ada: Broadcaster = await opened(Broadcaster, "renewed", on_page=between)
    await ada.go()
    # Nothing is left to renew with: a person must come.
    await ada.page.evaluate("localStorage.clear()")
    lines[0].send(json.dumps({"jsonrpc": "2.0", "method": "session.expiring", "params": {"expires_at": "2099"}}))
    await expect(ada.said).to_contain_text("about to run out")
    await ada.page.get_by_role("button", name="Sign in").click()
    dialog = ada.page.get_by_role("dialog")
    await dialog.get_by_label("Name").fill("ada")
    await dialog.get_by_label("Password").fill("ada")
    await dialog.get_by_role("button", name="Sign in").click()
    assert "result" in await asyncio.wait_for(answers.get(), 15)
    await expect(dialog).to_have_count(0)
    await expect(ada.said).not_to_contain_text("run out")
    await ada.shows("On air")
    assert len(lines) == 1


async def test_sound_that_cannot_be_opened_is_said_and_tried_again(opened: Open, server: ServerProcess) -> None:
    make_stream(server, "unopened")
    ada: Broadcaster = await opened(Broadcaster, "unopened", script=FIRST_MODULE_IS_LOST)
    microphone = ada.page.get_by_role("radio", name="Microphone")
    await microphone.click()
    await expect(ada.page.get_by_role("alert")).to_contain_text("The sound could not be opened")
    await expect(microphone).not_to_be_checked()
    await ada.go_live.click()
    await expect(ada.page.get_by_role("alert")).to_contain_text("Choose first")
    await ada.go()
    listener: Listener = await opened(Listener, "unopened", script=FIRST_MODULE_IS_LOST)
    await listener.shows("On air")
    await listener.play.click()
    await expect(listener.said).to_contain_text("The sound could not be opened. Press play to try again.")
    await listener.play.click()
    await listener.shows("Live")


async def test_every_end_of_a_broadcast_is_told_in_words(opened: Open) -> None:
    ends = {
        "stalled": (4408, "No sound reached the server"),
        "rate_limited": (4429, "faster than it can be heard"),
        "not_ogg_opus": (4400, "could not read the sound"),
        "revoked": (4403, "Your sign-in was ended"),
    }
    coming = list(ends.items())
    ending: list[asyncio.Future[None]] = []

    async def refuse(page: Page) -> None:
        def between(socket: WebSocketRoute) -> None:
            server = socket.connect_to_server()
            reason, (code, _) = coming.pop(0)

            async def end(_: str | bytes) -> None:
                await server.close()
                await socket.close(code=code, reason=reason)

            # The server's first word is that the place is ours.
            server.on_message(lambda message: ending.append(asyncio.ensure_future(end(message))))

        await page.route_web_socket(re.compile("/publish$"), between)

    ada: Broadcaster = await opened(Broadcaster, on_page=refuse)
    await ada.choose_microphone()
    for reason, (_, words) in ends.items():
        await ada.go_live.click()
        told = ada.page.locator(".sign-in" if reason == "revoked" else ".player-card > [role=alert]")
        await expect(told).to_contain_text(words)
    # Of the last one only a sign-in helps.
    await ada.sign_in("ada")
    await ada.shows("Off air")


async def test_a_members_stream_asks_who_one_is_and_plays_in_every_browser(opened: Open, server: ServerProcess) -> None:
    make_stream(server, "crew", "members")
    lines: list[WebSocketRoute] = []

    async def between(page: Page) -> None:
        def join(socket: WebSocketRoute) -> None:
            lines.append(socket)
            socket.connect_to_server()

        await page.route_web_socket(re.compile("/listen$"), join)

    ada, ben, plain = await asyncio.gather(
        opened(Broadcaster, "crew"),
        opened(Listener, "crew", on_page=between),
        opened(Listener, "crew", script="delete window.AudioDecoder;"),
    )
    await ada.go()
    await expect(ben.page.get_by_role("status")).to_have_text("This stream is for members.")
    await ben.sign_in("ben")
    await ben.shows("On air")
    assert await ben.press_until(SOUND_WITHIN_S) < SOUND_WITHIN_S
    # A browser without a decoder plays the same by HTTP, with a ticket.
    await plain.sign_in("ben")
    await plain.shows("On air")
    await plain.press_play()
    await plain.shows("Live")
    assert await plain.page.evaluate("heard.length") == 0
    # The token runs out, and there is nothing to renew it with: what was heard goes on after the sign-in, by itself.
    await ben.page.evaluate("localStorage.clear()")
    await lines[-1].close(code=4401, reason="token_expired")
    await ben.sign_in("ben")
    await ben.shows("Live")
    await ada.end.click()
    for one in (ben, plain):
        await expect(one.said).to_contain_text("Waiting.")


async def test_a_stream_that_is_not_there_says_so(opened: Open) -> None:
    listener: Listener = await opened(Listener, "nowhere")
    await expect(listener.said).to_contain_text("There is no stream of this name")
    await expect(listener.said).to_contain_text("not_found")
    await expect(listener.play).to_be_disabled()


async def lose_some_pages(page: Page) -> None:
    """Every tenth page gets lost on its way, as those of a slow listener do."""

    def between(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        numbers = itertools.count(1)

        def from_server(message: str | bytes) -> None:
            if isinstance(message, str) or next(numbers) % 10 > 0:
                socket.send(message)

        server.on_message(from_server)
        socket.on_message(server.send)

    await page.route_web_socket(re.compile("/listen$"), between)


async def test_the_keyboard_does_it_all(opened: Open, server: ServerProcess) -> None:
    make_stream(server, "keys")
    ada: Broadcaster = await opened(Broadcaster, "keys")
    await ada.page.keyboard.press("Tab")
    await ada.page.keyboard.press("Tab")
    await expect(ada.page.get_by_role("radio", name="Microphone")).to_be_focused()
    await ada.page.keyboard.press("Space")
    await ada.until("document.querySelector('parley-meter').dataset.is === 'good'")
    await expect(ada.page.get_by_label("Microphone", exact=True)).to_have_value("default")
    await ada.go_live.focus()
    await ada.page.keyboard.press("Enter")
    await ada.shows("On air")
    await expect(ada.end).to_be_focused()
    listener: Listener = await opened(Listener, "keys", on_page=lose_some_pages)
    await listener.shows("On air")
    keys = listener.page.keyboard
    await keys.press("Space")
    await listener.shows("Live")
    await expect(listener.said).to_contain_text("some of the sound is missing")
    slider = listener.page.get_by_role("slider", name="Volume")
    await expect(slider).to_have_value("80")
    await keys.press("ArrowDown")
    await expect(slider).to_have_value("75")
    await keys.press("m")
    await expect(slider).to_have_value("0")
    await expect(listener.page.get_by_role("button", name="Unmute")).to_be_visible()
    await keys.press("m")
    await expect(slider).to_have_value("75")
    await keys.press("?")
    await expect(listener.page.get_by_role("dialog", name="Keys")).to_be_visible()
    await keys.press("Escape")
    await expect(listener.stop).to_be_focused()
    await keys.press("Space")
    await listener.shows("On air")


@pytest.mark.parametrize(("scheme", "size"), [("light", WIDE), ("dark", PHONE)], ids=["light-wide", "dark-phone"])
async def test_the_player_has_no_violation(
    opened: Open, server: ServerProcess, finds_nothing: Check, scheme: str, size: dict[str, Any]
) -> None:
    stream = f"seen-{scheme}-{len(size)}"
    make_stream(server, stream)
    # A player's faces change by themselves, and may while they are looked at: no colour is on its way to another.
    look: dict[str, Any] = {"color_scheme": scheme, "reduced_motion": "reduce", **size}
    listener, ada = await asyncio.gather(opened(Listener, stream, **look), opened(Broadcaster, stream, **look))
    await listener.shows("Off air")
    await finds_nothing(listener.page, "off air")
    await finds_nothing(ada.page, "a choice of sources")
    await ada.choose_microphone()
    await finds_nothing(ada.page, "a level")
    await ada.go_live.click()
    await ada.shows("On air")
    # Nobody pressed play: where the browser lets it, it starts by itself.
    await listener.shows("Live")
    await finds_nothing(ada.page, "on the air")
    await finds_nothing(listener.page, "live")
