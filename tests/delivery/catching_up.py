"""A client that subscribes, a store that answers when it is told to, and what the client was told of both."""

import json
from collections.abc import Callable
from typing import Any

from parley.delivery import catchup
from parley.delivery.readers import Subscription
from parley.domain.errors import Refusal
from parley.domain.events import Event, Signal
from parley.domain.ports import Decision
from parley.domain.replay import Subscribe, Subscribed
from tests.delivery.scene import ROOM, Recorder, Scene

EPOCH = "epoch"


class Frames:
    """An encoder whose frames are JSON lines."""

    def event(self, event: Event) -> bytes:
        return line(event=event.seq)

    def signal(self, signal: Signal) -> bytes:
        return line(signal=signal.type)


def line(**told: Any) -> bytes:
    return json.dumps(told).encode() + b"\n"


class Asked:
    """One reading of the log that is under way; `follows` where it is for a subscription that was held."""

    def __init__(self, params: Subscribe, got: Callable[[Any], None], *, follows: bool = False) -> None:
        self.params = params
        self.got = got
        self.follows = follows


class Client(Recorder):
    """What a connection does about subscriptions, and what its client then sees in the order of the socket."""

    def __init__(self, scene: Scene, subject: str) -> None:
        super().__init__(scene.turn, Frames(), subject)
        self.scene = scene
        self.is_open = True
        self.is_held = False
        self.stranded_in: list[Subscription] = []
        self.live: Subscription | None = None
        self.asked: list[Asked] = []
        self.overs = 0

    def subscribe(self, after: int | None, epoch: str | None) -> None:
        params = Subscribe(room=ROOM, after=after, epoch=epoch)
        catchup.subscribe(
            self.scene.hub,
            self,
            params,
            lambda page, got: self.asked.append(Asked(page, got)),
            lambda: self.reads,
            self._answered,
            self._over,
        )

    @property
    def reads(self) -> bool:
        return self.is_open and not self.is_held

    def write(self, data: bytes) -> None:
        assert not (self.is_held and b'"event"' in data), "a held client was handed an event"
        super().write(data)

    def hold(self) -> None:
        """What a connection does at the expiry of its token."""
        self.is_held = True
        for subscription in self.subscriptions:
            self.scene.hub.hold(subscription)
        self.outbox.withhold()

    def release(self) -> None:
        if self.is_held:
            self.is_held = False
            for subscription in list(self.subscriptions):
                self.follow(subscription)

    def follow(self, subscription: Subscription) -> None:
        if self.reads and not subscription.is_live:
            catchup.follow(
                self.scene.hub,
                subscription,
                lambda page, got: self.asked.append(Asked(page, got, follows=True)),
                lambda: self.reads,
            )

    def stranded(self, subscription: Subscription) -> None:
        self.stranded_in.append(subscription)

    def try_again(self) -> None:
        stranded, self.stranded_in = self.stranded_in, []
        for subscription in stranded:
            self.follow(subscription)

    def _answered(self, subscription: Subscription | None, outcome: Any) -> None:
        self.live = subscription
        self.subscriptions = [subscription] if subscription else []
        if isinstance(outcome, Refusal):
            self.outbox.put(line(refused=outcome.code))
        else:
            told = {**outcome, "events": [event.seq for event in outcome["events"]]}
            self.outbox.put(line(answer=told, live=subscription is not None))

    def _over(self) -> None:
        self.overs += 1

    def subscription_ended(self, subscription: Subscription, reason: str) -> None:
        self.live = None
        self.subscriptions = []
        self.outbox.put(line(ended=reason))

    def unsubscribe(self) -> None:
        if self.live is not None:
            self.scene.hub.unsubscribe(self.live)
            self.live, self.subscriptions = None, []
            self.outbox.put(line(ended="unsubscribed"))

    def close(self) -> None:
        self.is_open = False
        self.unsubscribe()

    @property
    def told(self) -> list[dict[str, Any]]:
        return [json.loads(each) for each in b"".join(self.writes).splitlines()]


class Store:
    """Who may read what, as of any head of the log: what `domain/replay.py` decides, on a list."""

    page_max = 4

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    def role(self, subject: str, head: int) -> tuple[str | None, bool]:
        """The subject's role, and whether it is banned."""
        role, banned = None, False
        for event in self.log(head):
            if event.data.get("member", {}).get("subject") == subject:
                role = None if event.type in ("member.removed", "member.left") else event.data["member"]["role"]
                banned = bool(event.data.get("banned")) and role is None
        return role, banned

    def public(self, head: int) -> bool:
        views = [event.data["room"] for event in self.log(head) if event.type == "room.updated"]
        return not views or views[-1]["visibility"] == "public"

    def may_read(self, subject: str, head: int) -> bool:
        role, banned = self.role(subject, head)
        return not banned and (role is not None or self.public(head))

    def log(self, head: int | None = None) -> list[Event]:
        return self.scene.logs.events.get(ROOM, [])[:head]

    def decide(self, subject: str, p: Subscribe, head: int) -> Any:
        if not self.may_read(subject, head):
            return Refusal("not_found")
        reset = complete = True
        if p.after is None and p.epoch in (None, EPOCH):
            events, reset = [], False
        elif p.epoch not in (None, EPOCH) or (p.after or 0) > head:
            events = self.log(head)[-self.page_max :]
        else:
            reset = False
            events = self.log(head)[p.after or 0 :][: self.page_max]
            complete = (p.after or 0) + len(events) >= head
        reply = {
            "room": ROOM,
            "epoch": EPOCH,
            "seq": head if complete else events[-1].seq,
            "events": events,
            "complete": complete,
            "reset": reset,
        }
        return Decision(Subscribed(reply, self.role(subject, head)[0], self.public(head)))

    def answer(self, client: Client, n: int, head: int) -> None:
        asked = client.asked.pop(n)
        asked.got(self.decide(client.subject, asked.params, head))
