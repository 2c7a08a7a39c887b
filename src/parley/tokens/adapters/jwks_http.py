"""A JWK set that lives at a URL: fetched when it is needed, seldom, and kept while its server is away.

Verifies nothing by itself: `keys()` goes into a `Verifier` or a `TrustedIssuer`, and `verify_fetching` keeps it there.
The rules of the request itself are those of `outgoing`.

    source = JwksSource("https://id.example.org/.well-known/jwks.json")
    await source.refresh()
    verifier = Verifier(source.keys(), issuer="https://id.example.org", audience="chat")
    claims = await verify_fetching(verifier, token, time.time(), {verifier.issuer: source})
"""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from parley.tokens.adapters.outgoing import Network, OutgoingFailed, OutgoingRefused, Target, request
from parley.tokens.claims import AccessClaims
from parley.tokens.errors import TokenRefused
from parley.tokens.jws import parse_json_object, parse_jws
from parley.tokens.keys import KeySet, KeyUnusable
from parley.tokens.verifier import Verifier

# Between two requests for a set that is too old, and between two for a `kid` that is not known, whatever they came to:
# nobody may make us ask more often by sending made-up `kid`s. Each has its own minute: a key that is new right after
# the set was fetched, at our start say, is not refused for the rest of it.
RETRY_S: Final = 60.0
# A key that its issuer withdrew stops verifying after this, when nothing asks earlier.
MAX_AGE_S: Final = 600.0


class JwksSource:
    """The JWK set at one URL. `keys()` is the last good one: empty until the first `refresh`.

    `failure` says in words why the last request gave no set, None where it did; for a log line.
    """

    def __init__(
        self,
        url: str,
        *,
        allow: Iterable[Network] = (),
        algorithm: str | None = None,
        only_key_serves: bool = False,
        max_age_s: float = MAX_AGE_S,
        retry_s: float = RETRY_S,
        tls: ssl.SSLContext | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`allow` lists private networks that may be asked; `algorithm` and `only_key_serves` are KeySet.from_jwks's.

        Raises: ValueError for a URL that is not HTTPS (plain HTTP may go to a loopback address).
        """
        try:
            Target.parse(url)
        except OutgoingRefused as refused:
            raise ValueError(str(refused)) from None
        self.url = url
        self.failure: str | None = None
        self._allow = list(allow)
        self._algorithm = algorithm
        self._only_key_serves = only_key_serves
        self._max_age_s = max_age_s
        self._retry_s = retry_s
        self._tls = tls
        self._clock_s = clock_s
        self._keys = KeySet()
        self._asked_s: float | None = None
        self._asked_for_kid_s: float | None = None
        self._fetched_s: float | None = None
        self._fetching: asyncio.Task[None] | None = None

    def keys(self) -> KeySet:
        """The last good set; the same object until it changes."""
        return self._keys

    @property
    def is_due(self) -> bool:
        """Whether `refresh()` would ask now: the set is too old or not there, and the last request a minute ago."""
        is_old = self._fetched_s is None or self._clock_s() - self._fetched_s >= self._max_age_s
        return is_old and self._is_past(self._asked_s)

    async def refresh(self, unknown_kid: str | None = None) -> KeySet:
        """Fetch the set anew if it is time, and return the one that counts now. Never raises for a server that is away.

        With `unknown_kid`, which a token names and the set lacks, it is time however young the set is; asking again for
        one within a minute gives the set at hand. Callers at the same moment share one request.
        """
        fetching = self.begin(unknown_kid)
        if fetching is not None:
            # Shielded: whoever waits may go away, the others still want the answer.
            await asyncio.shield(fetching)
        return self._keys

    def begin(self, unknown_kid: str | None = None) -> asyncio.Task[None] | None:
        """Begin what `refresh` waits for: the request that is under way now, or None if it is not time."""
        if self._fetching is None:
            is_wanted = unknown_kid is not None and unknown_kid not in self._keys
            is_due = self.is_due
            if is_due or (is_wanted and self._is_past(self._asked_for_kid_s)):
                self._asked_s = self._clock_s()
                if not is_due:
                    self._asked_for_kid_s = self._asked_s
                self._fetching = asyncio.create_task(self._fetch())
                self._fetching.add_done_callback(self._fetched)
        return self._fetching

    @property
    def has_fetched(self) -> bool:
        """Whether any request has given a set yet."""
        return self._fetched_s is not None

    def _is_past(self, asked_s: float | None) -> bool:
        return asked_s is None or self._clock_s() - asked_s >= self._retry_s

    def _fetched(self, _task: asyncio.Task[None]) -> None:
        self._fetching = None

    async def _fetch(self) -> None:
        try:
            answer = await request(
                self.url,
                headers={"Accept": "application/jwk-set+json, application/json"},
                allow=self._allow,
                tls=self._tls,
            )
            if answer.status != 200:
                raise OutgoingFailed(f"the answer has status {answer.status}")
            keys = KeySet.from_jwks(
                answer.body.decode("utf-8"), algorithm=self._algorithm, only_key_serves=self._only_key_serves
            )
        except (OutgoingFailed, KeyUnusable, UnicodeDecodeError) as failure:
            self.failure = "the answer is not UTF-8" if isinstance(failure, UnicodeDecodeError) else str(failure)
            return
        self.failure = None
        self._fetched_s = self._clock_s()
        if keys != self._keys or keys.unusable != self._keys.unusable:
            self._keys = keys


async def verify_fetching(
    verifier: Verifier, token: str, now_s: float, sources: Mapping[str, JwksSource]
) -> AccessClaims:
    """`verifier.verify`, with the keys of `sources` (by `iss`) fetched where the token names one that is not known.

    A source serves the verifier's own keys under its own `issuer`, else those of the trusted issuer of that `iss`.

    Raises: TokenRefused.
    """
    for issuer, source in sources.items():
        _take(verifier, issuer, source)
    try:
        claims = verifier.verify(token, now_s)
    except TokenRefused as refusal:
        if refusal.code != "token_unknown_key":
            raise
        jws = parse_jws(token)
        named = parse_json_object(jws.payload).get("iss")
        asked = sources.get(named) if isinstance(named, str) else None
        if asked is None or not isinstance(named, str):
            raise
        # A token without `kid` can only be checked by a set of one, which may not have been fetched yet.
        await asked.refresh(jws.kid if jws.kid is not None else "")
        # Whether it took something or not: of several who waited for one answer, the first took it for all.
        _take(verifier, named, asked)
        return verifier.verify(token, now_s)
    known = sources.get(claims.iss)
    if known is not None and known.is_due:
        known.begin()
    return claims


def _take(verifier: Verifier, issuer: str, source: JwksSource) -> None:
    """Hand the verifier what the source holds by now, unless that is what it has."""
    keys = source.keys()
    if not source.has_fetched:
        return
    if issuer == verifier.issuer:
        if verifier.keys is not keys:
            verifier.replace(keys=keys)
        return
    trusted = verifier.trusted_issuers
    if any(one.issuer == issuer and one.keys is not keys for one in trusted):
        renewed = [dataclasses.replace(one, keys=keys) if one.issuer == issuer else one for one in trusted]
        verifier.replace(trusted_issuers=renewed)
