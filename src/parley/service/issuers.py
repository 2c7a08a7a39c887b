"""The keys of the issuers that we trust, kept fresh in the verifier for as long as the server runs.

Whose key an unknown `kid` should be is decided here: another issuer is asked for it, once a minute at most, for one of
ours our own key files are looked at. Verifies nothing: whoever waits for a key is told when to try again.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from parley.tokens import KeySet, TokenRefused, TrustedIssuer, Verifier, parse_jws
from parley.tokens.adapters.jwks_http import JwksSource
from parley.tokens.jws import parse_json_object

log = logging.getLogger(__name__)

#: Tokens that wait for an issuer's answer; one more is refused at once.
WAITING_MAX: Final = 1000
#: Between two looks at our own keys for the sake of tokens, so that made-up ones cost no look each. `WAITING_MAX` wait
#: for the next; one more brings it forward.
OWN_LOOK_S: Final = 0.05


class KeyFile(Protocol):
    """A file with an issuer's keys."""

    def mark(self) -> object:
        """Something that differs once the file has changed."""

    def read(self) -> KeySet:
        """The keys that it holds now. Raises: any exception whose text is one line for the operator."""


class Issuers:
    """The trusted issuers of `verifier`. `by_url` and `by_file` are under the `iss` that they are for.

    `look_for_own` hands our own keys to the verifier where their files have changed.
    """

    def __init__(
        self,
        verifier: Verifier,
        by_url: Mapping[str, JwksSource],
        by_file: Mapping[str, KeyFile],
        *,
        look_for_own: Callable[[], None],
        call_later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._verifier = verifier
        self._look_for_own = look_for_own
        self._call_later = call_later
        self._own_rests = False
        self._wait_for_own: list[Callable[[], None]] = []
        self._by_url = dict(by_url)
        self._by_file = dict(by_file)
        self._marks = {iss: file.mark() for iss, file in self._by_file.items()}
        self._taken: dict[str, KeySet] = {}
        self._failures: dict[str, str | None] = {}
        self._waiting = 0

    @property
    def trusted(self) -> tuple[TrustedIssuer, ...]:
        """The issuers, with the keys that they have now."""
        return self._verifier.trusted_issuers

    def look(self) -> None:
        """Fetch what is too old, read others' files that have changed. Call it every half second; it is cheap."""
        for iss, source in self._by_url.items():
            if source.is_due and (fetching := source.begin()) is not None:
                self._when_fetched(iss, source, fetching, _nothing)
        for iss, file in self._by_file.items():
            mark = file.mark()
            if mark != self._marks[iss]:
                self._marks[iss] = mark
                self._read(iss, file)

    def ask(self, token: str, then: Callable[[], None]) -> bool:
        """Ask the issuer that this token names for the key that it names, which we do not know.

        True where that may help: `then` is called once, when the issuer has answered or could not; for a key of our
        own that may be before this returns. False where it cannot help: it is nobody's token, its issuer was asked
        less than a minute ago, or too many wait already.
        """
        try:
            jws = parse_jws(token)
            iss = parse_json_object(jws.payload).get("iss")
        except TokenRefused:
            return False
        if iss == self._verifier.issuer:
            return jws.kid is not None and self._ask_ourselves(jws.kid, then)
        if not isinstance(iss, str) or iss not in self._by_url or self._waiting >= WAITING_MAX:
            return False
        kid = jws.kid if jws.kid is not None else self._trusted(iss).default_kid
        source = self._by_url[iss]
        if kid is None or (fetching := source.begin(kid)) is None:
            return False
        self._waiting += 1

        def fetched() -> None:
            self._waiting -= 1
            then()

        self._when_fetched(iss, source, fetching, fetched)
        return True

    def _ask_ourselves(self, kid: str, then: Callable[[], None]) -> bool:
        """Look at our own keys: another node may have seen before this one that there is a new one, and signed with it.

        A look says nothing of tokens that come after it. So one that comes too soon after the last look waits for the
        next, and none is refused for the sake of the pace.
        """
        if self._own_rests and len(self._wait_for_own) < WAITING_MAX:
            self._wait_for_own.append(then)
            return True
        self._look_at_own()
        if kid not in self._verifier.keys:
            return False
        then()
        return True

    def _look_at_own(self) -> None:
        self._look_for_own()
        for then in self._wait_for_own:
            self._call_later(0, then)
        self._wait_for_own.clear()
        if not self._own_rests:
            self._own_rests = True
            self._call_later(OWN_LOOK_S, self._own_rested)

    def _own_rested(self) -> None:
        self._own_rests = False
        if self._wait_for_own:
            self._look_at_own()

    def _when_fetched(
        self, iss: str, source: JwksSource, fetching: asyncio.Task[None], then: Callable[[], None]
    ) -> None:
        def over(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (bug := task.exception()) is not None:
                log.error("the keys of an issuer could not be fetched", exc_info=bug)
            self._take(iss, source)
            then()

        fetching.add_done_callback(over)

    def _take(self, iss: str, source: JwksSource) -> None:
        """Hand what was fetched to the verifier, and say once what has changed."""
        name = self._trusted(iss).name
        if source.failure != self._failures.get(iss):
            self._failures[iss] = source.failure
            if source.failure is not None:
                kept = "those of before stay" if source.has_fetched else "its tokens are refused"
                log.warning("the keys of the issuer %s can't be fetched: %s; %s", name, source.failure, kept)
        if source.has_fetched and source.keys() is not self._taken.get(iss):
            self._taken[iss] = published = source.keys()
            # What is published is no secret: whoever reads it could sign with it.
            self._replace(iss, KeySet(key for key in published if not key.is_secret), published.unusable)

    def _read(self, iss: str, file: KeyFile) -> None:
        try:
            keys = file.read()
        except Exception as problem:
            log.error("the keys of the issuer %s stay as they were: %s", self._trusted(iss).name, problem)
            return
        self._replace(iss, keys, keys.unusable)

    def _replace(self, iss: str, keys: KeySet, unusable: tuple[str, ...]) -> None:
        renewed = [dataclasses.replace(one, keys=keys) if one.issuer == iss else one for one in self.trusted]
        self._verifier.replace(trusted_issuers=renewed)
        left_out = f"; left out: {'; '.join(unusable)}" if unusable else ""
        log.info("the issuer %s has %d keys%s", self._trusted(iss).name, len(keys), left_out)

    def _trusted(self, iss: str) -> TrustedIssuer:
        return next(one for one in self.trusted if one.issuer == iss)


def _nothing() -> None:
    return
