"""A token's life from outside: tickets used twice, refresh tokens used again, sockets after a sign-out or an expiry.

These take their time, and end the session that they look at, so they come last.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Final

from parley.cli.check.findings import Finding, fault, fine, skipped, unclear
from parley.cli.check.forgeries import expiry_of
from parley.cli.check.target import Target

#: A socket may be held for a renewal this long after its token's expiry, and after that it has to go.
GRACE_S: Final = 35.0
#: Clocks differ, and some leeway is usual.
LEEWAY_S: Final = 6.0
#: How long a sign-out may take to reach a socket.
REVOKED_S: Final = 3.0


async def all_of(target: Target, wait_s: float, *, by_header: bool, is_clear: bool) -> AsyncIterator[Finding]:
    """`is_clear`: a good token gets in, by its header where `by_header`, else as a subprotocol."""
    async for finding in _tickets(target):
        yield finding
    yield await _held(target, wait_s, by_header=by_header, is_clear=is_clear)
    async for finding in _signed_out(target, by_header=by_header, is_clear=is_clear):
        yield finding


def _how(token: str, *, by_header: bool) -> dict[str, Any]:
    return {"bearer": token} if by_header else {"subprotocols": [f"bearer.{token}"]}


async def _sign_in_anew(target: Target) -> None:
    """A good token that is fresh, where there is a name and a password."""
    if target.user is None or target.password is None:
        return
    answer = await target.sign_in(target.user, target.password)
    target.answers.pop()
    try:
        given = answer.json()
        target.good, target.refresh = given["access_token"], given.get("refresh_token")
    except (ValueError, KeyError, TypeError):
        pass  # the token of before is as good as any


async def _tickets(target: Target) -> AsyncIterator[Finding]:
    name = "tickets"
    await _sign_in_anew(target)
    if target.good is None:
        return
    answer = await target.ask("POST", "/auth/tickets", headers=[("Authorization", f"Bearer {target.good}")])
    try:
        ticket = answer.json()["ticket"]
    except (ValueError, KeyError, TypeError):
        yield skipped(name, f"none are given at /auth/tickets (HTTP {answer.status_code})")
        return
    target.answers.pop()
    first = await target.attempt(query={"ticket": ticket})
    again = await target.attempt(query={"ticket": ticket})
    if not first.is_out and not again.is_out and (again.answered or not first.answered):
        yield fault(name, "one opens a socket twice")
    else:
        yield fine(name, f"used once ({again})")


async def _held(target: Target, wait_s: float, *, by_header: bool, is_clear: bool) -> Finding:
    name = "a socket after its token"
    await _sign_in_anew(target)  # so that its whole life is seen
    token = target.good
    exp = expiry_of(token) if token is not None else None
    if token is None or exp is None or not is_clear:
        return skipped(name, "give a good token that expires soon")
    left_s = exp - time.time()
    if left_s > wait_s:
        return skipped(
            name, f"the token lasts another {left_s:.0f} s: wait longer (--wait), or give one that is shorter"
        )
    if left_s < 1:
        return skipped(name, "the token has expired already")
    socket, seen = await target.open(**_how(token, by_header=by_header))
    if socket is None:
        return unclear(name, str(seen))
    try:
        await target.settle(socket, seen)
        if seen.is_out:
            return unclear(name, str(seen))
        was_answered = seen.answered
        await asyncio.sleep(max(0.0, exp + LEEWAY_S - time.time()))
        await target.settle(socket, seen)
        if seen.answered and was_answered:
            return fault(name, "it still answers after its token has expired")
        held = seen.refused
        while seen.code is None and time.time() < exp + GRACE_S:
            await target.settle(socket, seen)
        if seen.code is None:
            return fault(name, f"it is still open {GRACE_S:.0f} s after its token has expired")
        return fine(name, f"{'held, then ' if held else ''}{seen}")
    finally:
        await socket.close()


async def _signed_out(target: Target, *, by_header: bool, is_clear: bool) -> AsyncIterator[Finding]:
    name = "after a sign-out"
    if target.user is None or target.password is None:
        yield skipped(name, "sign in with --user")
        return
    await _sign_in_anew(target)
    async for finding in _used_twice(target, target.refresh):
        yield finding
    await _sign_in_anew(target)
    token, refresh = target.good, target.refresh
    if token is None:
        yield skipped(name, "no token is given at /auth/login")
        return
    socket, seen = (await target.open(**_how(token, by_header=by_header))) if is_clear else (None, None)
    out = await target.ask("POST", "/auth/logout", headers=[("Authorization", f"Bearer {token}")])
    if out.status_code not in (200, 204):
        yield skipped(name, f"there is none at /auth/logout (HTTP {out.status_code})")
        if socket is not None:
            await socket.close()
        return
    if socket is not None and seen is not None:
        until_s = time.monotonic() + REVOKED_S
        while seen.code is None and time.monotonic() < until_s:
            await target.settle(socket, seen, 0.3)
        await socket.close()
        if seen.code is None:
            yield fault(f"{name}: the socket", f"it is still open after {REVOKED_S:.0f} s")
        else:
            yield fine(f"{name}: the socket", str(seen))
        again = await target.attempt(**_how(token, by_header=by_header))
        if again.is_out:
            yield fine(f"{name}: the token", str(again))
        else:
            yield fault(f"{name}: the token", "it still opens a socket")
    if isinstance(refresh, str):
        used = await target.ask("POST", "/auth/refresh", json_body={"refresh_token": refresh})
        if used.status_code == 200:
            target.answers.pop()
            yield fault(f"{name}: refreshing", "the refresh token still gives tokens")
        else:
            yield fine(f"{name}: refreshing", f"refused by HTTP {used.status_code}")


async def _used_twice(target: Target, refresh: object) -> AsyncIterator[Finding]:
    """A refresh token that was used, and whose successor was used too, is stolen."""
    name = "a refresh token, stolen"
    if not isinstance(refresh, str):
        return
    tokens = [refresh]
    for _ in range(2):
        answer = await target.ask("POST", "/auth/refresh", json_body={"refresh_token": tokens[-1]})
        try:
            tokens.append(answer.json()["refresh_token"])
        except (ValueError, KeyError, TypeError):
            yield skipped(name, f"nothing is refreshed at /auth/refresh (HTTP {answer.status_code})")
            return
        target.answers.pop()
    if len(set(tokens)) == 1:
        yield fault(name, "it stays the same for ever: a stolen one is never noticed")
        return
    stolen = await target.ask("POST", "/auth/refresh", json_body={"refresh_token": tokens[0]})
    if stolen.status_code == 200:
        target.answers.pop()
        yield fault(name, "one that was used long ago still gives tokens")
        return
    after = await target.ask("POST", "/auth/refresh", json_body={"refresh_token": tokens[-1]})
    if after.status_code == 200:
        target.answers.pop()
        yield fault(name, "is refused, but its session lives on with the thief's or the owner's newer one")
    else:
        yield fine(name, "its whole session ends")
