"""What calls back, awaited: for those who are no connection, as signing in, pages, the server itself.

Keeps no order and applies no rate; commands of clients go through `door.py`.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from parley.domain.params import Params
from parley.domain.ports import Decision, Job
from parley.domain.principal import Principal

T = TypeVar("T")


async def called_back(begin: Callable[[Callable[[T], None]], None]) -> T:
    """What `begin` calls back with, on the loop, now or later. Cancelled, it goes on: nobody hears of it."""
    answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    begin(lambda outcome: None if answer.done() else answer.set_result(outcome))
    return await answer


async def ask(submit: Callable[[Job], None], params: Params, principal: Principal) -> Decision:
    """Decide `params` through `store.write` or `store.read`. Raises: Refusal, and whatever bug the store met.

    Cancelled, the command may still be carried out: nobody hears of it.
    """

    def begin(done: Callable[[Decision | BaseException], None]) -> None:
        submit(Job(params, principal, done))

    outcome = await called_back(begin)
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome
