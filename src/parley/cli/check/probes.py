"""What is looked at, in order: each probe asks the server for something and says what it makes of the answer.

How a server is asked is `target.py`; forged tokens are `forgeries.py`; what takes its time is `life.py`.
"""

import statistics
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

from parley.cli.check import forgeries, life
from parley.cli.check.findings import Finding, fault, fine, skipped, unclear
from parley.cli.check.target import FOREIGN, Seen, Target, Unreachable

#: How long a socket without any credential may stay open.
UNAUTHENTICATED_S: Final = 12.0
#: Sign-ins for each of the two names; servers may well count failures.
LOGINS: Final = 4
#: What their times may differ by, whatever they are.
APART_S: Final = 0.02
_PRIVATE_MEMBERS: Final = ("d", "p", "q", "dp", "dq", "qi", "k")
_WANTED: Final = "sign in with --user, or give a --token"


@dataclass
class _Known:
    """What earlier probes have found out."""

    jwks: dict[str, Any]
    #: What becomes of a socket without any credential.
    bare: Seen
    #: A token by its header admits, by the subprotocol admits.
    by_header: bool = False
    by_subprotocol: bool = False


async def run(target: Target, *, wait_s: float, told: Callable[[Finding], None]) -> list[Finding]:
    """Everything, one after the other; each is `told` as it is found. Raises: Unreachable before anything was found."""
    findings = []
    try:
        await target.ask("GET", "/")  # is anybody there?
        async for finding in _all(target, wait_s):
            findings.append(finding)
            told(finding)
    finally:
        await target.close()
    return findings


async def _all(target: Target, wait_s: float) -> AsyncIterator[Finding]:
    known = _Known({}, Seen())
    steps = (_keys, _sign_in, _without_credential, _good, _forged, _others, _origins, _urls, _refusals, _pages, _names)
    for step in steps:
        try:
            async for finding in step(target, known):
                yield finding
        except Unreachable as problem:
            yield unclear(step.__name__.strip("_").replace("_", " "), str(problem))
    is_clear = known.by_header or known.by_subprotocol
    try:
        async for finding in life.all_of(target, wait_s, by_header=known.by_header, is_clear=is_clear):
            yield finding
    except Unreachable as problem:
        yield unclear("a token's life", str(problem))
    yield _leaks(target)


async def _keys(target: Target, known: _Known) -> AsyncIterator[Finding]:
    answer = await target.ask("GET", "/.well-known/jwks.json")
    name = "published keys"
    try:
        jwks = answer.json() if answer.status_code == 200 else {}
        keys = jwks["keys"] if isinstance(jwks, dict) else []
    except (ValueError, KeyError):
        keys = []
    if not isinstance(keys, list) or answer.status_code != 200:
        yield skipped(name, f"there are none at /.well-known/jwks.json (HTTP {answer.status_code})")
        return
    known.jwks = {"keys": [key for key in keys if isinstance(key, dict)]}
    leaked = sorted({member for key in known.jwks["keys"] for member in _PRIVATE_MEMBERS if member in key})
    if leaked:
        yield fault(name, f"private members are published: {', '.join(leaked)}; who reads them can sign anything")
    else:
        yield fine(name, f"{len(known.jwks['keys'])}, public members only")


async def _sign_in(target: Target, known: _Known) -> AsyncIterator[Finding]:
    if target.user is None or target.password is None:
        return
    answer = await target.sign_in(target.user, target.password)
    given = _members(answer)
    if answer.status_code != 200 or not isinstance(given.get("access_token"), str):
        yield unclear("signing in", f"no token came: HTTP {answer.status_code}")
        return
    target.good, target.refresh = given["access_token"], given.get("refresh_token")
    target.answers.pop()  # the one place where a token belongs
    if "no-store" not in answer.headers.get("cache-control", ""):
        yield fault("signing in", "the answer with the token may be cached: send Cache-Control: no-store")
    else:
        yield fine("signing in", "the answer with the token is not to be cached")


async def _without_credential(target: Target, known: _Known) -> AsyncIterator[Finding]:
    name = "no credential"
    socket, seen = await target.open()
    known.bare = seen
    if socket is None:
        yield fine(name, str(seen))
        return
    try:
        await target.settle(socket, seen)
    finally:
        await socket.close()
    if seen.answered:
        yield fault(name, "a socket without any token is opened and answered")
        return
    silent, quiet = await target.open()
    if silent is not None:
        try:
            await target.hear(silent, quiet, UNAUTHENTICATED_S)
        finally:
            await silent.close()
    if quiet.is_out:
        yield fine(name, str(quiet))
    else:
        yield fault(name, f"a socket without any token is still open after {UNAUTHENTICATED_S:.0f} s")


async def _good(target: Target, known: _Known) -> AsyncIterator[Finding]:
    """Which carriers there are: a forged token proves something only where a good one gets in."""
    name = "a good token"
    if target.good is None:
        yield skipped(name, _WANTED)
        return
    seen = await target.attempt(bearer=target.good)
    known.by_header = _is_in(seen, known)
    beside = await target.attempt(subprotocols=[f"bearer.{target.good}"])
    known.by_subprotocol = _is_in(beside, known)
    if known.by_header or known.by_subprotocol:
        carriers = [name for name, on in (("header", known.by_header), ("subprotocol", known.by_subprotocol)) if on]
        yield fine(name, f"gets in by {' and '.join(carriers)}")
    else:
        yield unclear(name, f"does not get in: {seen}")


def _is_in(seen: Seen, known: _Known) -> bool:
    # Where a socket without a credential is left open too, only an answer tells the two apart.
    return not seen.is_out and (seen.answered or known.bare.is_out)


async def _forged(target: Target, known: _Known) -> AsyncIterator[Finding]:
    caught = 0
    in_with: list[str] = []
    open_with: list[str] = []
    for trick, token in forgeries.forged(target.good, known.jwks):
        for how in ({"bearer": token}, {"subprotocols": [f"bearer.{token}"]}):
            seen = await target.attempt(**how)
            if seen.is_out:
                caught += 1
            elif seen.answered or known.bare.is_out:
                in_with.append(trick)
            else:
                open_with.append(trick)
    for trick in dict.fromkeys(in_with):
        yield fault(f"forged: {trick}", "it is let in")
    if open_with:
        tricks = ", ".join(dict.fromkeys(open_with))
        yield unclear("forged tokens", f"the socket stays open, as without a token, and says nothing: {tricks}")
    elif not in_with:
        yield fine("forged tokens", f"{caught} attempts were refused")


async def _others(target: Target, known: _Known) -> AsyncIterator[Finding]:
    """Tokens that were good once, or are good for something else."""
    expired = target.expired
    if expired is None and target.good is not None:
        exp = forgeries.expiry_of(target.good)
        expired = target.good if exp is not None and exp < time.time() else None
    async for finding in _refused(target, known, "an expired token", expired, "give one with --expired-token"):
        yield finding
    async for finding in _refused(target, known, "a refresh token", target.refresh, "sign in with --user"):
        yield finding
    async for finding in _refused(target, known, "no token at all ('x')", "x", ""):
        yield finding


async def _refused(
    target: Target, known: _Known, name: str, token: str | None, otherwise: str
) -> AsyncIterator[Finding]:
    if token is None:
        yield skipped(name, otherwise)
        return
    for how in ({"bearer": token}, {"subprotocols": [f"bearer.{token}"]}):
        seen = await target.attempt(**how)
        if seen.is_out:
            continue
        if seen.answered or known.bare.is_out:
            yield fault(name, "it is let in")
        else:
            yield unclear(name, str(seen))
        return
    yield fine(name, str(seen))


async def _origins(target: Target, known: _Known) -> AsyncIterator[Finding]:
    name = "foreign pages, sockets"
    if known.by_header or not known.by_subprotocol:
        how: dict[str, Any] = {"bearer": target.good} if target.good is not None else {}
    else:
        how = {"subprotocols": [f"bearer.{target.good}"]}
    bad = []
    for origin in (FOREIGN, "null", f"{target.origin}.evil.example"):
        seen = await target.attempt(origin=origin, **how)
        # Without a token, one that is opened and then closed as any other was not refused for its origin.
        is_as_bare = not how and seen.status is None and seen.code == known.bare.code
        if not seen.is_out or is_as_bare:
            bad.append(origin)
    if bad:
        yield fault(name, f"a page of {', '.join(bad)} may open a socket: check Origin on upgrades")
    else:
        yield fine(name, f"refused ({seen})")
    name = "foreign pages, requests"
    told = []
    preflight = [("Origin", FOREIGN), ("Access-Control-Request-Method", "POST")]
    for method, path, headers in (
        ("GET", "/.well-known/jwks.json", [("Origin", FOREIGN)]),
        ("OPTIONS", "/auth/login", preflight),
        ("OPTIONS", "/rpc", preflight),
        ("POST", "/auth/login", [("Origin", FOREIGN)]),
    ):
        answer = await target.ask(method, path, headers=headers, json_body={} if method == "POST" else None)
        allowed = answer.headers.get("access-control-allow-origin")
        is_public = path.endswith("jwks.json") and allowed == "*"  # the keys are for everybody
        with_credentials = answer.headers.get("access-control-allow-credentials", "").lower() == "true"
        if (allowed in ("*", FOREIGN, "null") and not is_public) or (allowed == FOREIGN and with_credentials):
            told.append(f"{method} {path} allows {allowed}{' with credentials' if with_credentials else ''}")
    if told:
        yield fault(name, "; ".join(told))
    else:
        yield fine(name, "no answer lets a foreign page read it")


async def _urls(target: Target, known: _Known) -> AsyncIterator[Finding]:
    name = "tokens in URLs"
    if target.good is None:
        yield skipped(name, _WANTED)
        return
    let_in = []
    for parameter in ("token", "access_token", "jwt", "auth"):
        seen = await target.attempt(query={parameter: target.good})
        if _is_in(seen, known):
            let_in.append(parameter)
    if let_in:
        yield fault(name, f"?{let_in[0]}= is accepted: it ends up in logs and histories; use a ticket, used once")
    else:
        yield fine(name, "not taken")


async def _refusals(target: Target, known: _Known) -> AsyncIterator[Finding]:
    """Whether whoever is refused can learn why, and nothing more."""
    name = "refusals, for programs"
    _, token = next(forgeries.forged(None, {}))
    seen = await target.attempt(bearer=token)
    challenge = next((value for key, value in seen.headers if key.lower() == "www-authenticate"), None)
    if seen.status == 401 and challenge is None:
        yield fault(name, "HTTP 401 without WWW-Authenticate (RFC 6750)")
    elif seen.status is not None and seen.status not in (401, 403, 429):
        yield fault(name, f"a bad token is HTTP {seen.status}, and should be 401")
    else:
        yield fine(name, str(seen))
    name = "refusals, for pages"
    seen = await target.attempt(subprotocols=[f"bearer.{token}"])
    if seen.status is not None:
        yield fault(name, f"{seen}: a page sees 1006 and no reason; open the socket and close it with a code")
    elif seen.code is None:
        yield unclear(name, str(seen))
    elif seen.code in (1000, 1005, 1006) or not seen.reason:
        yield fault(name, f"closed with {seen.code} and {'no reason' if not seen.reason else seen.reason}")
    else:
        yield fine(name, str(seen))


async def _pages(target: Target, known: _Known) -> AsyncIterator[Finding]:
    name = "headers of pages"
    answer = await target.ask("GET", "/")
    heads = answer.headers
    missing = []
    if heads.get("x-content-type-options", "").lower() != "nosniff":
        missing.append("X-Content-Type-Options: nosniff")
    if answer.headers.get("content-type", "").startswith("text/html"):
        policy = heads.get("content-security-policy", "")
        if "frame-ancestors" not in policy and "x-frame-options" not in heads:
            missing.append("Content-Security-Policy: frame-ancestors")
        if "default-src" not in policy and "script-src" not in policy:
            missing.append("Content-Security-Policy: default-src")
        if "referrer-policy" not in heads:
            missing.append("Referrer-Policy")
    if missing:
        yield fault(name, f"without {', '.join(missing)}")
    else:
        yield fine(name, "as they should be")


async def _names(target: Target, known: _Known) -> AsyncIterator[Finding]:
    name = "who has an account"
    if target.user is None:
        yield skipped(name, "sign in with --user")
        return
    took: dict[str, list[float]] = {target.user: [], "check-nobody-has-this-name": []}
    said: dict[str, set[tuple[int, str]]] = {who: set() for who in took}
    for _ in range(LOGINS):
        for who, times in took.items():
            begun_s = time.perf_counter()
            answer = await target.sign_in(who, "check: this is not the password")
            times.append(time.perf_counter() - begun_s)
            said[who].add((answer.status_code, str(_members(answer).get("code", answer.text[:200]))))
    fastest = [min(times) for times in took.values()]
    middle = [statistics.median(times) for times in took.values()]
    # The fastest of one against the usual of the other: a busy machine makes single answers slow, not all of one name.
    is_apart = any(fastest[one] > 2 * middle[1 - one] for one in (0, 1)) and abs(middle[0] - middle[1]) > APART_S
    if len({frozenset(answers) for answers in said.values()}) > 1:
        yield fault(name, "a wrong password and an unknown name are answered differently")
    elif is_apart:
        yield fault(name, f"a known name takes {middle[0] * 1000:.0f} ms, an unknown one {middle[1] * 1000:.0f} ms")
    else:
        yield fine(name, "known and unknown names are answered alike, in like time")


def _leaks(target: Target) -> Finding:
    """Searches all that came back for the tokens that we sent."""
    name = "tokens in answers"
    secrets = {"the token": target.good, "the expired token": target.expired, "the refresh token": target.refresh}
    secrets |= {"the password": target.password if target.password and len(target.password) >= 8 else None}
    for what, secret in secrets.items():
        for asked, text in target.answers:
            if secret is not None and secret in text:
                return fault(name, f"{what} came back in the answer to {asked}")
    for asked, text in target.answers:
        if "sec-websocket-protocol: bearer." in text.lower():
            return fault(name, f"the answer to {asked} selects the subprotocol that carries the token")
    return fine(name, f"none in {len(target.answers)} answers")


def _members(answer: Any) -> dict[str, Any]:
    try:
        value = answer.json()
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
