"""Passwords become Argon2id hashes here, in threads behind a bounded line, so that the loop never waits for one.

Knows no accounts and counts no failures: `sign_in.py` does.
"""

import asyncio
import os
import unicodedata
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from parley.domain.errors import Refusal

T = TypeVar("T")

#: OWASP's first choice for Argon2id: 19 MiB, two passes, one lane. About 25 ms of one core.
_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
#: What an account has that nobody may enter, or that does not exist. Made once, of a password that nobody knows.
_DUMMY: list[str] = []
_THREADS: Final = max(1, min(4, os.cpu_count() or 1))
#: About three seconds of work for two threads; who comes later is told that the server is overloaded.
WAITING_MAX: Final = 256


def hash_password(password: str) -> str:
    """An Argon2id hash in the PHC form. Blocks for about 25 ms; the command line calls it, the server `Passwords`."""
    return _HASHER.hash(_octets(password))


def verify_password(stored: str | None, password: str) -> bool:
    """Whether `password` is the one that `stored` is of; without `stored` it is not, and takes as long to say so."""
    try:
        # False of a dummy is worked out in full; True cannot come of it, but is not believed either.
        return _HASHER.verify(stored or _dummy(), _octets(password)) and stored is not None
    except (VerificationError, InvalidHashError):
        return False


def needs_rehash(stored: str) -> bool:
    """Whether `stored` was made with other parameters than today's."""
    return _HASHER.check_needs_rehash(stored)


def _dummy() -> str:
    if not _DUMMY:
        _DUMMY.append(_HASHER.hash(os.urandom(32)))
    return _DUMMY[0]


def _octets(password: str) -> bytes:
    # NFC, for one keyboard composes what another does not (RFC 8265 §4.2). JSON can spell lone surrogates.
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


class Passwords:
    """The threads that hash and verify, and the line before them.

    `turn()` waits for a thread; inside it, `run(function, *arguments)` uses it. Raises: Refusal (`overloaded`) where
    the line is full.
    """

    def __init__(self, *, threads: int = _THREADS, waiting_max: int = WAITING_MAX) -> None:
        self._pool = ThreadPoolExecutor(threads, "passwords")
        self._free = asyncio.Semaphore(threads)
        self._waiting_max = waiting_max
        self.waiting = 0
        _dummy()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        if self.waiting >= self._waiting_max:
            raise Refusal("overloaded", "Too many sign-ins at once; try again in some seconds.")
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        try:
            yield
        finally:
            self._free.release()

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)

    async def hash(self, password: str) -> str:
        """`hash_password` in its turn. Raises: Refusal (`overloaded`)."""
        async with self.turn():
            return await self.run(hash_password, password)

    def close(self) -> None:
        """What is under way ends by itself, what waits does not begin."""
        self._pool.shutdown(wait=False, cancel_futures=True)
