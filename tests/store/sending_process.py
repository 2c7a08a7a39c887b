"""A process that sends as fast as it is answered, to be killed.

`python -m tests.store.sending_process URL TURN ROOMS WINDOW` keeps WINDOW messages on their way in each of ROOMS rooms.
Each answer is one line on standard output, `ROOM SEQ ID CLIENT_ID`, written by one system call once it has come.
"""

import asyncio
import contextlib
import os
import sys

from parley.domain import messages, rooms
from parley.domain.errors import Refusal
from tests.stage import somebody
from tests.store.asking import Asking

ADA = somebody("ada")


async def main(url: str, turn: str, room_count: int, window: int) -> None:
    asking = Asking(url)
    names = [f"room-{i}" for i in range(room_count)]
    for name in names:
        with contextlib.suppress(Refusal):
            await asking.write(ADA, rooms.Create(room=name))

    async def send(name: str, first: int) -> None:
        number = first
        while True:
            client_id = f"{turn}-{number}"
            message = (await asking.write(ADA, messages.Send(name, client_id, client_id=client_id))).reply["message"]
            os.write(1, f"{name} {message.seq} {message.id} {client_id}\n".encode())
            number += window

    await asyncio.gather(*(send(name, first) for name in names for first in range(window)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
