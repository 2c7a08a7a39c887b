"""Commands on a socket, each by its name: what a connection of the native dialect or of Socket.IO asks.

What is about the connection itself (its rooms, its token) is done here; every other command goes to the door.
GraphQL's operations are `graphql_socket.py`'s.
"""

import functools
from typing import Any

from parley.delivery.readers import Subscription
from parley.dialects.dialect import Batch, Request
from parley.domain import presence, replay, sessions
from parley.domain.errors import Refusal
from parley.domain.principal import Principal
from parley.transport.connection import Connection


class CommandConnection(Connection):
    """A connection that reads rooms itself, each once: a `hub.Reader`."""

    __slots__ = ()

    def _handle(self, request: Request, principal: Principal) -> None:
        row, params = request.row, request.params
        if self.is_held and not isinstance(params, sessions.Renew):
            self.put(self.codec.refused(request, _refusal_of(request)))
        elif row is None or params is None:
            self.put(self.codec.refused(request, request.refusal or Refusal("invalid_request")))
        elif row.kind == "connection":
            self._about_itself(request, principal)
        elif (
            isinstance(params, presence.TypingSet)
            and (here := self._subscriptions.get(params.room)) is not None
            and here.role is not None
            and principal.grants is None
        ):
            # Nothing is stored and the membership is known: the cheapest thing that a socket can ask.
            self.node.door.type(params, principal)
            if request.id is not None:
                self.put(self.codec.result(request, {}))
        else:
            self.node.door.submit(row, params, principal, self._ordering, functools.partial(self.answered, request))

    def _about_itself(self, request: Request, principal: Principal) -> None:
        params = request.params
        if isinstance(params, sessions.Renew):
            self._bearer.renew(request, params, principal)
        elif isinstance(params, replay.Subscribe):
            self._subscribe(request, params, principal)
        elif isinstance(params, replay.Unsubscribe):
            end, answered = functools.partial(self._unsubscribe, params.room), functools.partial(self.answered, request)
            assert request.row is not None
            self.node.door.unsubscribe(request.row, params, principal, self._ordering, end, answered)
        elif isinstance(params, sessions.Describe):
            self.answered(request, sessions.describe(principal, self.id, self.node.clock_ms()))
        else:
            self.answered(request, Refusal("conflict", "This connection is authenticated already."))

    def _subscribe(self, request: Request, params: replay.Subscribe, principal: Principal) -> None:
        node = self.node
        limit = node.subscriptions_max
        if limit and params.room not in self._subscriptions and len(self._subscriptions) >= limit:
            refusal = Refusal("limit_exceeded", f"A connection has at most {limit} subscriptions.")
            self.put(self.codec.refused(request, refusal))
            return

        def answered(subscription: Subscription | None, result: Any) -> None:
            self._subscriptions.pop(params.room, None)  # the hub ended it when this one began
            if subscription is not None and limit and len(self._subscriptions) >= limit:
                node.hub.unsubscribe(subscription)  # several were asked for at once
                result = Refusal("limit_exceeded")
            elif subscription is not None:
                self._subscriptions[params.room] = subscription
            self.answered(request, result)
            batch: Batch | None = request.batch
            if subscription is not None and batch is not None and request.id is not None and not batch.is_answered:
                # The client learns of the subscription by the batch's answer: its events come after that.
                node.hub.hold(subscription)
                subscription.told = result["seq"]
                subscription.is_awaited = True
                batch.waiting.append(subscription)

        assert request.row is not None
        node.door.subscribe(request.row, params, self, principal, self._ordering, lambda: self.reads, answered)

    def _answer(self, request: Request, result: Any) -> None:
        super()._answer(request, result)
        batch: Batch | None = request.batch
        if batch is not None and batch.waiting and batch.is_answered:
            waiting: list[Subscription] = batch.waiting
            batch.waiting = []
            for subscription in waiting:
                subscription.is_awaited = False
                if subscription in self._subscriptions.values():
                    self._follow(subscription)

    def _unsubscribe(self, room: str) -> bool:
        subscription = self._subscriptions.pop(room, None)
        if subscription is not None:
            self.node.hub.unsubscribe(subscription)
        return subscription is not None

    def subscription_ended(self, subscription: Subscription, reason: str) -> None:
        self._subscriptions.pop(subscription.room, None)
        self.notice("subscription.ended", {"room": subscription.room, "reason": reason})


def _refusal_of(request: Request) -> Refusal:
    """Of what is asked by a bearer whose token has expired: a renewal that is wrong, or no command, for what it is."""
    bad = request.refusal
    if bad is not None and (bad.code in ("parse_error", "invalid_request") or request.method == "session.refresh"):
        return bad
    return Refusal("token_expired")
