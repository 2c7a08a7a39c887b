"""One awaited question to the store, for those who are no connection: signing in, pages, the server itself.

Keeps no order and applies no rate; commands of clients go through `door.py`.
"""

import asyncio
from collections.abc import Callable

from parley.domain.params import Params
from parley.domain.ports import Decision, Job
from parley.domain.principal import Principal


async def ask(submit: Callable[[Job], None], params: Params, principal: Principal) -> Decision:
    """Decide `params` through `store.write` or `store.read`. Raises: Refusal, and whatever bug the store met.

    Cancelled, the command may still be carried out: nobody hears of it.
    """
    answer: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()

    def done(outcome: Decision | BaseException) -> None:
        if answer.done():  # cancelled
            return
        if isinstance(outcome, BaseException):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)

    submit(Job(params, principal, done))
    return await answer
