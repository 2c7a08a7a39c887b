"""The chat page as its readers see it: what they do, and what is before their eyes.

Waits for what is to be seen, never for time.
"""

import re
from typing import Any

from playwright.async_api import Locator, Page, expect


class Chat:
    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.composer = page.get_by_role("textbox", name="Message")
        self.log = page.get_by_role("log")
        self.strip = page.locator("parley-strip")

    async def visit(self, room: str = "") -> None:
        await self.page.goto(f"{self.url}/#{room}")

    async def sign_in(self, name: str, password: str | None = None) -> None:
        await self.page.get_by_label("Name").fill(name)
        await self.page.get_by_label("Password").fill(password or name)
        await self.page.get_by_role("button", name="Sign in").click()
        if password is None:
            await expect(self.page.locator(".frame")).to_be_attached()

    async def enter(self, title: str) -> None:
        await self.page.locator(".room-item").filter(has_text=title).click()
        await expect(self.page.get_by_role("heading", level=1)).to_have_text(title)

    async def say(self, text: str) -> None:
        await self.composer.fill(text)
        await self.composer.press("Enter")

    def article(self, text: str) -> Locator:
        """The message of exactly this text."""
        exactly = self.page.locator(".text", has_text=re.compile(rf"^\s*{re.escape(text)}(\s*edited.*)?$"))
        return self.log.get_by_role("article").filter(has=exactly)

    async def sees(self, *texts: str) -> None:
        """Each of these stands in the log, once, and is stored."""
        for text in texts:
            await expect(self.article(text)).to_have_count(1)
            await expect(self.article(text)).not_to_have_class(re.compile("sending|failed"))

    async def texts(self) -> list[str]:
        """Every text in the log, from the top, as the DOM holds it."""
        found: list[str] = await self.page.locator("article .text").evaluate_all(
            "found => found.map((one) => one.firstChild.data)"
        )
        return found

    async def keys(self) -> list[str]:
        """The ids of what is drawn, from the top."""
        found: list[str] = await self.page.locator("article").evaluate_all(
            "found => found.map((one) => one.dataset.key)"
        )
        return found

    async def forget_sign_in(self) -> None:
        """As if the refresh token were used up: the next access token needs the password."""
        await self.page.evaluate(
            "Object.keys(localStorage).filter((key) => key.startsWith('parley.session'))"
            ".forEach((key) => localStorage.removeItem(key))"
        )

    async def write_what_is_refused(self) -> None:
        """A text that no server takes: it holds a NUL, which nobody can type."""
        await self.composer.evaluate(
            "field => { field.value = 'with a \\u0000 inside';"
            " field.dispatchEvent(new Event('input', { bubbles: true })); }"
        )
        await self.composer.press("Enter")

    async def until(self, condition: str) -> None:
        """Wait in the page. (Playwright's own waiting evaluates strings there, which the page's policy forbids.)"""
        await self.page.evaluate(f"async () => {{ while (!({condition})) await new Promise(requestAnimationFrame); }}")

    async def run(self, script: str, *arguments: Any) -> Any:
        """A script of the test's in the page: `parley.js` is imported, `args` holds the arguments, `enter` signs in."""
        source = (
            "async (args) => {\n"
            'const { Parley, ParleyError, memoryStore } = await import("/static/parley.js");\n'
            "const enter = (name, more) => Parley.connect(location.origin,"
            " { store: memoryStore(), signIn: { username: name, password: name }, ...more });\n"
            f"{script}\n"
            "}"
        )
        return await self.page.evaluate(source, list(arguments))
