"""One room on one screen: what is shown of it, and what a typed line does.

How a terminal is drawn is `screen.py`, how things are said `wording.py`; when it begins and ends is `terminal.py`.
"""

import asyncio
import secrets
from collections import OrderedDict
from datetime import date, timedelta
from typing import Any, Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from parley.client.connection import Chat, State
from parley.client.errors import CommandRefused, ConnectionLost
from parley.client.screen import Plain, Tty
from parley.client.subscription import Reset, Signal, Subscription
from parley.client.wording import clean, clean_line, in_words, local_time, name_of, told

HISTORY: Final = 50
#: Messages of one person this near each other share one heading.
TOGETHER: Final = timedelta(minutes=5)
TYPING_INTERVAL_S: Final = 3.0
#: Shown messages that `/edit` and `/delete` find by their number.
REMEMBERED_MAX: Final = 2000
#: How often "too much at once" is waited out before a message is given up.
PATIENCE: Final = 50

HELP: Final = """\
Type, and press Enter. The number before a message is its place in the room.
  /who                       who is here
  /edit [NUMBER] TEXT        change your last message, or the one of that number
  /delete [NUMBER] [REASON]  delete your last message, or the one of that number
  /quit                      leave (Ctrl-C and Ctrl-D do as well)
A message that begins with a slash is written with two."""


class Talk:
    """One room on one screen. `enter` first, then `show_on`, then `follow` and `speak` beside each other."""

    chat: Chat
    following: Subscription

    def __init__(self, room: str) -> None:
        self.room = room
        self._screen: Tty | Plain | None = None
        self._view: dict[str, Any] = {}
        self._history: list[dict[str, Any]] = []
        self._messages: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self._last: dict[str, Any] | None = None  # the message above the next one, where they may share a heading
        self._day: date | None = None
        self._typing: dict[str, str] = {}
        self._present: dict[str, str] | None = None
        self._count: int | None = None
        self._typed_at_s = 0.0
        #: A message is on its way, and not acknowledged yet.
        self.is_waiting = False
        self._was_lost = False
        self._shown_seq = 0
        self._shown = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def enter(self, chat: Chat) -> None:
        """Read the room and its newest messages, and follow it from there. Raises: CommandRefused, SessionRefused."""
        self.chat = chat
        while True:
            try:
                view = (await chat.call("room.get", room=self.room))["room"]
                page = await chat.call("message.list", room=self.room, before=view["seq"] + 1, limit=HISTORY)
                break
            except ConnectionLost:
                await chat.live()
        self._view, self._history, self._shown_seq = view, page["messages"], view["seq"]
        self.following = await chat.subscribe(
            self.room, after=view["seq"], epoch=view["epoch"], on_signal=self._signalled
        )
        await self._ask_who_is_here()

    def show_on(self, screen: Tty | Plain) -> None:
        self._screen = screen
        title = clean_line(self._view.get("title") or self.room)
        if isinstance(screen, Tty):
            screen.show(Text.assemble((title, "bold"), ("  /help says how", "dim")))
        for message in self._history:
            self._show_message(message)
        if self._view.get("archived"):
            self.remark("This room is archived: it can be read only.")
        elif self._view.get("role") is None:
            self.remark("You read along; your first message joins the room.")
        self._show_status()

    async def follow(self) -> None:
        """Show what happens. Raises: SubscriptionEnded, SessionRefused."""
        async for item in self.following:
            if isinstance(item, Reset):
                self._messages.clear()
                self._last = None
                self._shown_seq = 0
                self.remark("The room was restored from a backup; this is what it holds now.")
                continue
            if item["type"] == "message.created":
                self._show_message(item["data"]["message"])
            elif (said := told(item)) is not None:
                self.remark(said)
            self._shown_seq = item["seq"]
            self._shown.set()

    async def shown_up_to(self, seq: int) -> None:
        while self._shown_seq < seq:
            self._shown.clear()
            await self._shown.wait()

    async def speak(self, typed: "asyncio.Queue[str | None]") -> None:
        """Do what is typed, one line after the other, until the user wants to leave."""
        while (line := await typed.get()) is not None:
            if not line.strip():
                continue
            if line.startswith("/") and not line.startswith("//"):
                if line.split()[0] in ("/quit", "/exit"):
                    return
                await self._carefully(self._command(line))
            else:
                await self._carefully(self._say_shown(line.removeprefix("/") if line.startswith("//") else line))

    async def say(self, text: str) -> dict[str, Any]:
        """The message as stored; joins the room where that is missing. Raises: CommandRefused, SessionRefused."""
        client_id = secrets.token_hex(16)
        for _ in range(PATIENCE):
            try:
                return await self.chat.send(self.room, text, client_id=client_id)
            except CommandRefused as refusal:
                if refusal.code == "rate_limited":
                    await asyncio.sleep(refusal.retry_after_s or 1)
                elif refusal.code == "forbidden" and self._view.get("role") is None:
                    await self._join()
                else:
                    raise
        return await self.chat.send(self.room, text, client_id=client_id)

    async def _join(self) -> None:
        while True:
            try:
                member = (await self.chat.call("room.join", room=self.room))["member"]
                self._view = {**self._view, "role": member["role"]}
                return
            except ConnectionLost:
                await self.chat.live()

    async def _say_shown(self, text: str) -> None:
        self.is_waiting = True
        self._typed_at_s = 0.0
        message = await self.say(text)
        self._remember(message)  # before its event: `/edit` may be typed already
        self.is_waiting = False

    async def _carefully(self, doing: Any) -> None:
        try:
            await doing
        except CommandRefused as refusal:
            self.is_waiting = False
            self.remark(f"Not done: {in_words(refusal)}", "red")
        except ConnectionLost:
            self.remark("Not done: the line is away; try again.", "red")

    # --- commands ---

    async def _command(self, line: str) -> None:
        name, _, rest = line.partition(" ")
        match name:
            case "/help":
                self.remark(HELP)
            case "/who":
                await self._who()
            case "/edit" | "/delete":
                message, rest = self._meant(rest.strip())
                if message is None:
                    self.remark("Which one? There is no such message here.", "red")
                elif name == "/delete":
                    await self.chat.call("message.delete", message=message["id"], reason=rest or None)
                elif not rest:
                    self.remark("/edit [NUMBER] TEXT", "red")
                else:
                    await self.chat.call("message.edit", message=message["id"], text=rest)
            case _:
                self.remark(f"There is no {clean_line(name)}; /help lists what there is.", "red")

    def _meant(self, rest: str) -> tuple[dict[str, Any] | None, str]:
        """The message that a command is about, and what follows its number."""
        number, _, after = rest.partition(" ")
        if number.lstrip("#").isdecimal():
            return self._messages.get(int(number.lstrip("#"))), after.strip()
        own = (m for m in reversed(self._messages.values()) if m["sender"]["subject"] == self._me)
        return next(own, None), rest

    async def _who(self) -> None:
        listed = await self.chat.call("presence.list", room=self.room)
        names = sorted(name_of(person) for person in listed["present"])
        more = listed.get("count", len(names)) - len(names)
        self.remark("Here: " + ", ".join(names) + (f" and {more} more" if more > 0 else ""))

    # --- what the line says ---

    @property
    def _me(self) -> str:
        return str(self.chat.session.get("subject"))

    def line_changed(self, state: State) -> None:
        """For `connect(on_state=…)`."""
        if state.name == "reconnecting" and not self._was_lost:
            self._was_lost = True
            self.remark("reconnecting…")
        elif state.name == "live" and self._was_lost:
            self._was_lost = False
            self._typing.clear()
            self.remark("live again")
            task = asyncio.get_running_loop().create_task(self._ask_who_is_here())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._show_status()

    def _signalled(self, signal: Signal) -> None:
        data = signal["data"]
        if signal["type"] == "typing.changed":
            for person in data.get("stopped", ()):
                self._typing.pop(person["subject"], None)
            for person in data.get("started", ()):
                if person["subject"] != self._me:
                    self._typing[person["subject"]] = name_of(person)
        elif signal["type"] == "presence.changed":
            if "count" in data:
                self._count, self._present = data["count"], None
            elif self._present is not None:
                for person in data.get("left", ()):
                    self._present.pop(person["subject"], None)
                for person in data.get("joined", ()):
                    self._present[person["subject"]] = name_of(person)
        self._show_status()

    async def _ask_who_is_here(self) -> None:
        try:
            listed = await self.chat.call("presence.list", room=self.room)
        except (CommandRefused, ConnectionLost):
            return  # no member, or no line: then nobody is counted
        self._present = {person["subject"]: name_of(person) for person in listed["present"]}
        self._count = listed.get("count")
        if self._count is not None:
            self._present = None
        self._show_status()

    def is_typing(self, text: str) -> None:
        """The unfinished line changed."""
        now_s = asyncio.get_running_loop().time()
        is_message = bool(text.strip()) and not (text.startswith("/") and not text.startswith("//"))
        if is_message and now_s - self._typed_at_s > TYPING_INTERVAL_S and self._view.get("role") is not None:
            self._typed_at_s = now_s
            self.chat.notify("typing.set", room=self.room, active=True)
        elif not is_message and self._typed_at_s:
            self._typed_at_s = 0.0
            self.chat.notify("typing.set", room=self.room, active=False)

    # --- what is seen ---

    def _show_status(self) -> None:
        if not isinstance(self._screen, Tty):
            return
        parts = [clean_line(self._view.get("title") or self.room)]
        count = len(self._present) if self._present is not None else self._count
        if self._was_lost:
            parts.append("reconnecting…")
        elif count is not None:
            parts.append(f"{count} here")
        if self.is_waiting and self._was_lost:
            parts.append("your message waits")
        names = sorted(self._typing.values())
        if names:
            said = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
            parts.append(f"{said} {'is' if len(names) == 1 else 'are'} typing…")
        self._screen.set_status(" · ".join(parts))

    def remark(self, text: str, style: str = "dim") -> None:
        """A line that is no message."""
        self._last = None
        screen = self._screen
        if isinstance(screen, Plain):
            screen.errors.print(Text(f"* {text}"))
        elif screen is not None:
            screen.show(Text(f"· {text}", style=style))

    def _remember(self, message: dict[str, Any]) -> None:
        self._messages[message["seq"]] = message
        if len(self._messages) > REMEMBERED_MAX:
            self._messages.popitem(last=False)

    def _show_message(self, message: dict[str, Any]) -> None:
        screen = self._screen
        self._remember(message)
        sender, at = message["sender"], local_time(message["at"])
        text = "(deleted)" if message.get("deleted") else clean(message["text"])
        if isinstance(screen, Plain):
            screen.show(Text(f"{at:%H:%M} {name_of(sender)}: " + text.replace("\n", "\n      ")))
            return
        if screen is None:
            return
        if at.date() != self._day:
            self._day, self._last = at.date(), None
            screen.show(Text(f"{at:%A, %d %B %Y}", style="dim"))
        last, self._last = self._last, message
        if last is None or last["sender"]["subject"] != sender["subject"] or at - local_time(last["at"]) > TOGETHER:
            own = "  (you)" if sender["subject"] == self._me else ""
            screen.show(Text.assemble((name_of(sender), "bold"), (f"{own}  {at:%H:%M}", "dim")))
        screen.show(_numbered(message["seq"], text, "dim" if message.get("deleted") else ""))


def _numbered(seq: int, text: str, style: str) -> RenderableType:
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_column(justify="right", style="dim", min_width=5, no_wrap=True)
    row.add_column(overflow="fold")
    row.add_row(str(seq), Text(text, style=style))
    return row
