"""A chat on the library `websockets`: whoever brings a token may speak, as long as it is good."""

import asyncio
from pathlib import Path

from websockets.asyncio.server import serve

from parley.tokens import KeySet, Verifier
from parley.tokens.adapters.websockets import TokenSocket, WebSocketsGate

gate = WebSocketsGate(Verifier(KeySet.from_jwks(Path("jwks.json").read_text())), subprotocols=["chat.v1"])


async def chat(socket: TokenSocket) -> None:
    async for text in socket:
        await socket.send(f"{socket.claims.sub}: {text}")


async def main(port: int = 8765) -> None:
    async with serve(gate.handler(chat), "127.0.0.1", port, **gate.hooks) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
