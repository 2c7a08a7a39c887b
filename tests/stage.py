"""A store to act on, without a server: people, a clock that the test moves, commands decided one by one.

What is decided and refused is the real thing; only the asynchronous door is missing.
"""

import os
from typing import Any

import msgspec

from parley.domain import accounts, replay
from parley.domain.errors import Refusal
from parley.domain.params import Params
from parley.domain.ports import Decision, Rules
from parley.domain.principal import OPERATOR, Principal
from parley.store import open_store
from parley.tokens.claims import Grants

START_MS = 1_800_000_000_000


class Clock:
    """Unix milliseconds that move when they are told to."""

    def __init__(self) -> None:
        self.now_ms = START_MS

    def __call__(self) -> int:
        return self.now_ms

    def forward(self, *, s: float) -> None:
        self.now_ms += int(s * 1000)


def somebody(subject: str, *roles: str, name: str | None = None, **more: Any) -> Principal:
    """The bearer of a token, with or without an account row."""
    return Principal(
        subject=subject,
        type=more.pop("type", "account"),
        name=name or subject,
        roles=frozenset(roles or ("member",)),
        session=more.pop("session", f"session-of-{subject}"),
        token_id="token",
        issuer="parley",
        expires_at_s=float("inf"),
        **more,
    )


def guest(conversation: str) -> Principal:
    return somebody("guest:1", "guest", type="guest", conversation=conversation)


def narrowed(who: Principal, grants: dict[str, list[str]]) -> Principal:
    return msgspec.structs.replace(who, grants=Grants.parse(grants))


def as_json(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


class Stage:
    """One store, and what a test does on it."""

    def __init__(self, url: str, rules: Rules | None = None) -> None:
        self.url = url
        self.clock = Clock()
        self.store = open_store(url, clock_ms=self.clock, random_bytes=os.urandom, rules=rules)

    def close(self) -> None:
        assert self.store.close(10)

    def account(self, name: str, *roles: str) -> Principal:
        """A new account, as the bearer of a token under a session that is kept."""
        made = self.do(OPERATOR, accounts.Create(name, "hash", list(roles or ("member",))))  # type: ignore[arg-type]
        return somebody(made["account"]["id"], *roles, name=name, kept=True)

    def decide(self, who: Principal, params: Params) -> Decision:
        return self.store.execute(params, who)

    def do(self, who: Principal, params: Params) -> Any:
        """The reply, as JSON would have it."""
        return as_json(self.decide(who, params).reply)

    def refusal(self, who: Principal, params: Params) -> Refusal:
        """The refusal that this command meets; one that is decided is a failure."""
        try:
            reply = self.do(who, params)
        except Refusal as refusal:
            return refusal
        raise AssertionError(f"{params} was not refused: {reply}")

    def refused(self, who: Principal, params: Params) -> str:
        return self.refusal(who, params).code

    def together(self, *asked: tuple[Principal, Params]) -> list[Decision | BaseException]:
        """What comes of several commands that are decided in one transaction."""
        return self.store.execute_together([(params, who) for who, params in asked])

    def log(self, room: str, after: int = 0) -> list[Any]:
        """Every event of a room, as JSON would have it."""
        events: list[Any] = []
        complete = False
        while not complete:
            page, complete = self.do(OPERATOR, replay.Missing(room, events[-1]["seq"] if events else after))
            events += page
        return events

    def types(self, room: str) -> list[str]:
        return [event["type"] for event in self.log(room)]
