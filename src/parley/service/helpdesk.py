"""Visitors come in: a conversation begins, its guest gets tokens, an issuer's word on them is verified.

What begins and changes is decided in `domain/beginnings.py` and `domain/visitors.py`; who waits is told by `queue.py`.
"""

import functools
from collections.abc import Callable, Hashable
from typing import Any

from msgspec import Struct, structs

from parley.domain import beginnings, visitors
from parley.domain.beginnings import Begin, Begun, Start, VerifiedStart, Vouched
from parley.domain.conversations import ConversationView
from parley.domain.errors import Refusal
from parley.domain.params import Params
from parley.domain.ports import Store
from parley.domain.principal import OPERATOR, Principal
from parley.domain.sign_ins import Bearer
from parley.service.admission import Admission
from parley.service.ask import ask, called_back
from parley.service.limits import Buckets
from parley.service.sign_in import SignedIn, shown_user_agent, signed_in
from parley.tokens import Issuer

#: What is kept of a name that somebody else vouches for.
_NAME_CHARS_MAX = 200
_EMAIL_CHARS_MAX = 254


class Welcomed(Struct):
    """A conversation that has begun; `tokens` are the guest's, None where an account began it."""

    conversation: ConversationView
    tokens: SignedIn | None


class Helpdesk:
    """`issuer` gives the issuer of this moment; `clock_s` is Unix time, `monotonic_s` never goes back.

    `beginnings` says how many conversations an address may begin.
    """

    def __init__(
        self,
        store: Store,
        admission: Admission,
        *,
        issuer: Callable[[], Issuer],
        refresh_key: bytes,
        guest_ttl_s: float,
        refresh_ttl_s: float,
        beginnings: Buckets,
        clock_s: Callable[[], float],
        monotonic_s: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._admission = admission
        self._issuer = issuer
        self._refresh_key = refresh_key
        self._guest_ttl_s = guest_ttl_s
        self._refresh_ttl_s = refresh_ttl_s
        self._beginnings = beginnings
        self._clock_s = clock_s
        self._monotonic_s = monotonic_s
        self._new_id = new_id

    async def welcome(
        self, start: Start, principal: Principal | None, address: Hashable, user_agent: str | None
    ) -> Welcomed:
        """`POST /conversations`. Raises: Refusal: `rate_limited`, a token code of `identity`, `invalid_params`, …"""
        if principal is not None:
            _require_may_begin(principal)
        if wait_s := self._beginnings.take(address, self._monotonic_s()):
            told = "Too many conversations begin at this address."
            raise Refusal("rate_limited", told, retry_after=round(wait_s + 0.0005, 3))
        verified = await self._verified_start(start)
        if principal is not None:
            decision = await ask(self._store.write, verified, principal)
            return Welcomed(decision.reply["conversation"], None)
        begin = Begin(
            start=verified,
            expires_at_ms=int((self._clock_s() + self._refresh_ttl_s) * 1000),
            user_agent=shown_user_agent(user_agent),
            address=str(address),
        )
        begun: Begun = (await ask(self._store.write, begin, OPERATOR)).reply
        view = begun.conversation
        bearer = Bearer(begun.session.subject, "guest", view.visitor.name, ("guest",), view.id, view.department)
        tokens = signed_in(
            begun.session,
            bearer,
            issuer=self._issuer(),
            refresh_key=self._refresh_key,
            now_s=self._clock_s(),
            access_ttl_s=self._guest_ttl_s,
            token_id=self._new_id(),
        )
        return Welcomed(view, tokens)

    async def prepared(self, params: Params, principal: Principal) -> Params:
        """The commands that carry an identity, with the issuer's word in its place. Raises: Refusal (a token code)."""
        if isinstance(params, Start):
            _require_may_begin(principal)
            return await self._verified_start(params)
        if isinstance(params, visitors.Identify):
            await ask(self._store.read, params, principal)  # may they at all? Whatever the token says.
            vouched = await self._vouched(params.identity)
            return visitors.VerifiedIdentify(**_members(params), vouched=vouched)
        return params

    async def _verified_start(self, start: Start) -> VerifiedStart:
        vouched = None if start.identity is None else await self._vouched(start.identity)
        return VerifiedStart(**_members(start), vouched=vouched)

    async def _vouched(self, token: str) -> Vouched:
        claims = await called_back(functools.partial(self._admission.identified, token))
        if isinstance(claims, Refusal):
            raise claims
        name = "".join(filter(str.isprintable, claims.name)).strip()[:_NAME_CHARS_MAX] or claims.sub
        email = claims.email
        if email is not None and ("\0" in email or "@" not in email or len(email) > _EMAIL_CHARS_MAX):
            email = None
        return Vouched(claims.sub, name, email)


def _require_may_begin(principal: Principal) -> None:
    """Before an identity is looked at: whatever it says, they may not. Raises: Refusal (`forbidden`)."""
    if principal.is_guest:
        raise Refusal("forbidden", "A guest has its conversation already.")
    if principal.grants is not None:
        raise Refusal("forbidden", "This token is narrowed to what it names.")


def _members(params: Any) -> dict[str, Any]:
    return structs.asdict(params)


def carries_identity(params: Params) -> bool:
    """Whether a command's parameters must be prepared."""
    return isinstance(params, visitors.Identify) or (
        isinstance(params, beginnings.Start) and params.identity is not None
    )
