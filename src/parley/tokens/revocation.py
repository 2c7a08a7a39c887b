"""What has been revoked, held in memory: tokens, sessions, subjects and guests' conversations.

Stores nothing: whoever keeps revocations fills this set; it answers `Verifier`, and tells those who watch it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from parley.tokens.claims import AccessClaims

DEFAULT_REASON: Final = "revoked"


@dataclass(frozen=True, slots=True)
class _Entry:
    reason: str
    until_s: float
    # Of a subject's only: sign-ins from this moment on are not meant. Unix milliseconds.
    before_ms: int = 0


class RevocationSet:
    """Revocations that still matter. Each has `until_s`, Unix seconds: when all that it refuses has expired anyway.

    So the set is as large as what was revoked within the life of one token; call `forget_expired` now and then.
    """

    def __init__(self) -> None:
        self._tokens: dict[str, _Entry] = {}
        self._sessions: dict[str, _Entry] = {}
        self._subjects: dict[str, _Entry] = {}
        self._conversations: dict[str, _Entry] = {}
        self._watchers: list[Callable[[], None]] = []

    def watch(self, revoked: Callable[[], None]) -> Callable[[], None]:
        """Call `revoked` after each revocation from now on, in whichever thread it came; returns what ends that."""
        self._watchers.append(revoked)
        return lambda: self._watchers.remove(revoked)

    def revoke_token(self, token_id: str, *, until_s: float, reason: str = DEFAULT_REASON) -> None:
        """Refuse the one token whose `jti` is `token_id`."""
        self._add(self._tokens, token_id, _Entry(reason, until_s))

    def revoke_session(self, session: str, *, until_s: float, reason: str = DEFAULT_REASON) -> None:
        """Refuse every token of the sign-in whose `sid` is `session`."""
        self._add(self._sessions, session, _Entry(reason, until_s))

    def revoke_conversation(self, conversation: str, *, until_s: float, reason: str = DEFAULT_REASON) -> None:
        """Refuse every guest's token for `conversation`, new ones included, until `lift_conversation`."""
        self._add(self._conversations, conversation, _Entry(reason, until_s))

    def lift_conversation(self, conversation: str) -> None:
        """Let tokens for `conversation` pass again; no effect where none were refused."""
        self._conversations.pop(conversation, None)

    def revoke_subject(self, subject: str, *, before_s: float, until_s: float, reason: str = DEFAULT_REASON) -> None:
        """Refuse every token of `subject` from a sign-in before `before_s`, Unix seconds to the millisecond.

        A sign-in in the same millisecond, or for a token without `auth_time` in the same second as its `iat`, lives: it
        may have come after. Whoever knows the sessions that it does mean revokes those by name too.
        """
        self._add(self._subjects, subject, _Entry(reason, until_s, before_ms=_milliseconds(before_s)))

    def reason_for(self, claims: AccessClaims) -> str | None:
        """Why these claims are revoked, or None; four look-ups, whatever the size of the set."""
        entry = self._tokens.get(claims.jti) or self._sessions.get(claims.sid)
        if entry is None and claims.conversation is not None:
            entry = self._conversations.get(claims.conversation)
        if entry is None:
            entry = self._subjects.get(claims.sub)
            if entry is not None and not signed_in_before(claims, entry.before_ms):
                entry = None
        return None if entry is None else entry.reason

    def forget_expired(self, now_s: float) -> int:
        """Drop what has served its time and return how many entries that were."""
        forgotten = 0
        for entries in (self._tokens, self._sessions, self._subjects, self._conversations):
            expired = [key for key, entry in entries.items() if entry.until_s <= now_s]
            for key in expired:
                del entries[key]
            forgotten += len(expired)
        return forgotten

    def _add(self, entries: dict[str, _Entry], key: str, entry: _Entry) -> None:
        """Revocations of one thing add up: the later end and the later cut-off count, whichever was read first."""
        known = entries.get(key)
        if known is not None:
            newer = known if known.before_ms > entry.before_ms else entry
            entry = _Entry(newer.reason, max(known.until_s, entry.until_s), max(known.before_ms, entry.before_ms))
        entries[key] = entry
        for revoked in list(self._watchers):
            revoked()

    def __len__(self) -> int:
        return len(self._tokens) + len(self._sessions) + len(self._subjects) + len(self._conversations)


def signed_in_before(claims: AccessClaims, before_ms: int) -> bool:
    """Whether a token comes from a sign-in before then, Unix milliseconds; where that can't be told, it does not."""
    if claims.auth_time is not None:
        return _milliseconds(claims.auth_time) < before_ms
    # A whole `iat` stands for its whole second, and the sign-in may have come at the very end of it.
    precision_ms = 1000 if claims.iat == int(claims.iat) else 1
    return _milliseconds(claims.iat) + precision_ms <= before_ms


def _milliseconds(seconds: float) -> int:
    """Rounding keeps the order, so a sign-in after a revocation is never counted as before it."""
    return round(seconds * 1000)
