"""One of two processes that write to one PostgreSQL: `python -m tests.store.talking_process URL SEED PAIRS`.

Sends random pairs of commands to random rooms, both of a pair at once and many pairs on their way, and prints how each
command ended: `ok`, a refusal's code, or the name of what broke.
"""

import asyncio
import random
import sys
from collections import Counter

from parley.domain import accounts, members, messages, receipts, rooms
from parley.domain.errors import Refusal
from parley.domain.params import Params
from parley.domain.principal import OPERATOR, Principal
from tests.stage import somebody
from tests.store.asking import Asking

ROOMS = [f"room-{i:02}" for i in range(20)]
PEOPLE = [somebody(name) for name in ("ada", "ben", "cid", "dee")]
PAIRS_AT_ONCE = 30


def chosen(chance: random.Random, known: list[str]) -> tuple[Principal, Params]:
    room = chance.choice(ROOMS)
    who = chance.choice(PEOPLE)
    other = chance.choice(PEOPLE).subject
    kinds = "ssssssssedjlirumapc" if known else "sssjlirumpc"
    match chance.choice(kinds):
        case "e":
            return who, messages.Edit(chance.choice(known), f"edited {chance.random()}")
        case "d":
            return OPERATOR, messages.Delete(chance.choice(known))
        case "j":
            return who, members.Join(room)
        case "l":
            return who, members.Leave(room)
        case "i":
            return OPERATOR, members.Invite(room, other)
        case "r":
            return OPERATOR, members.Remove(room, other, ban=chance.random() < 0.3)
        case "u":
            return OPERATOR, rooms.Update(room, title=f"title {chance.random()}")
        case "m":
            return who, receipts.Mark(room, 1 + chance.randrange(5))
        case "a":
            return who, messages.Send(room, "an answer", reply_to=chance.choice(known))
        case "p":
            return OPERATOR, accounts.Create(f"name-{chance.randrange(40)}", "hash", ["member"])
        case "c":
            return who, rooms.Create(room=f"new-{chance.randrange(60)}")
        case _:
            client_id = f"c{chance.randrange(30)}" if chance.random() < 0.5 else None
            return who, messages.Send(room, f"text {chance.random()}", client_id=client_id)


async def main(url: str, seed: int, pairs: int) -> None:
    chance = random.Random(seed)
    ended: Counter[str] = Counter()
    known: list[str] = []
    async with Asking(url) as asking:
        turns = asyncio.Semaphore(PAIRS_AT_ONCE)

        async def one(who: Principal, params: Params) -> None:
            try:
                decision = await asking.write(who, params)
            except Refusal as refusal:
                ended[refusal.code] += 1
            except Exception as problem:
                ended[f"{type(problem).__name__}: {problem}"] += 1
            else:
                ended["ok"] += 1
                if isinstance(params, messages.Send):
                    known.append(decision.reply["message"].id)
                    del known[:-50]

        async def pair() -> None:
            async with turns:
                await asyncio.gather(*(one(*chosen(chance, known)) for _ in range(2)))

        await asyncio.gather(*(pair() for _ in range(pairs)))
    for how, count in ended.items():
        print(how, count, sep="\t")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
