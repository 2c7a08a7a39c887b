"""Answers whoever says "hello" in a room, for as long as it runs: over restarts of the server, and renewed tokens."""

import asyncio
import sys

from parley.client import Reset, connect


async def main(url: str, room: str, name: str) -> None:
    async with connect(url, username=name, password=name) as chat:
        events = await chat.subscribe(room)
        print(f"{name} is in {room}", flush=True)
        async for event in events:
            if isinstance(event, Reset) or event["type"] != "message.created":
                continue
            message = event["data"]["message"]
            if message["text"].lower().startswith("hello"):
                await chat.send(room, f"Good day, {message['sender']['name']}!", reply_to=message["id"])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
