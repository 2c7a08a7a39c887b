"""A client for Python: connect with a token, follow rooms, send, and lose nothing when the line does.

    async with connect("http://127.0.0.1:8000", username="ada", password="ada") as chat:
        room = await chat.subscribe("lobby")
        await chat.send("lobby", "Hello!")
        async for event in room:
            print(event)

Imports nothing of the server but the tokens' carriers. The terminal is `parley.client.terminal`.
"""

from parley.client.close_codes import Timing
from parley.client.connection import Chat, State, connect
from parley.client.errors import (
    CommandRefused,
    ConnectionLost,
    ParleyError,
    Refused,
    SessionRefused,
    SubscriptionEnded,
)
from parley.client.subscription import Reset, Subscription

__all__ = [
    "Chat",
    "CommandRefused",
    "ConnectionLost",
    "ParleyError",
    "Refused",
    "Reset",
    "SessionRefused",
    "State",
    "Subscription",
    "SubscriptionEnded",
    "Timing",
    "connect",
]
