"""Every refused credential has an incident: a log line and a record under one id, to be asked about with `explain`.

A record says what the token claimed of itself, where it came and why it was refused; never the token. How records are
kept is the caller's; a flood of bad tokens leaves few of them, and a count.
"""

import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

from parley.domain.errors import Refusal
from parley.logs import redacted
from parley.service.limits import Buckets
from parley.tokens import JWS_BYTES_MAX, TOKEN_CODES, TokenRefused, parse_jws
from parley.tokens.jws import parse_json_object

log = logging.getLogger(__name__)

Record = dict[str, Any]

#: The refusals that are worth an incident: of a credential, or of a page that may not bring one.
NOTED: Final = frozenset(TOKEN_CODES) | {"origin_denied"}
#: Records of one address and of the node: at once, and in each second from then on.
ADDRESS_BURST: Final = 10
ADDRESS_PER_S: Final = 0.2
NODE_BURST: Final = 50
NODE_PER_S: Final = 5.0
#: How often a flood is told of.
FLOOD_TOLD_S: Final = 60.0
TEXT_CHARS_MAX: Final = 120
_LIST_MAX: Final = 8
_HEADER: Final = ("alg", "typ", "kid")
_CLAIMS: Final = ("iss", "sub", "aud", "iat", "nbf", "exp", "jti", "sid", "type", "roles")
_INCIDENT_BYTES: Final = 6


class Refusals:
    """`note` is called for each refusal of a credential. `keep` takes a record; `clock_s` is monotonic."""

    def __init__(
        self,
        keep: Callable[[Record], None],
        *,
        clock_ms: Callable[[], int],
        clock_s: Callable[[], float],
        random_text: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        self._keep = keep
        self._clock_ms = clock_ms
        self._clock_s = clock_s
        self._random_text = random_text
        self._by_address = Buckets(ADDRESS_PER_S, ADDRESS_BURST)
        self._of_node = Buckets(NODE_PER_S, NODE_BURST)
        self._left_out = 0
        self._told_at_s = float("-inf")

    def note(
        self, refusal: Refusal, *, place: str, address: str, carrier: str | None = None, token: str | None = None
    ) -> str | None:
        """The id of the incident; None where it is one too many, which costs next to nothing, or not of `NOTED`.

        `place` is where it came, a path or a command; `token` is what is refused, None for a ticket or for nothing.
        """
        if refusal.code not in NOTED:
            return None
        now_s = self._clock_s()
        if self._by_address.take(address, now_s) or self._of_node.take(None, now_s):
            self._tell_of_a_flood(now_s)
            return None
        incident = self._random_text(_INCIDENT_BYTES)
        now_ms = self._clock_ms()
        record: Record = {
            "incident": incident,
            "at_ms": now_ms,
            "code": refusal.code,
            "place": place,
            "address": address,
            "carrier": carrier,
            "facts": _facts(refusal),
            **({} if token is None else described(token)),
        }
        self._keep(record)
        header, claims = record.get("header", {}), record.get("claims", {})
        told = {"incident": incident, "place": place, "carrier": carrier, "address": address}
        told |= {"kid": header.get("kid"), "issuer": claims.get("iss"), "subject": claims.get("sub")}
        extra = {name: value for name, value in told.items() if value is not None}
        log.info("refused with %s; `parley token explain %s` says more", refusal.code, incident, extra=extra)
        return incident

    def noted(
        self, refusal: Refusal, *, place: str, address: str, carrier: str | None = None, token: str | None = None
    ) -> Refusal:
        """`note`, and the refusal with the `incident` that its answer may name."""
        incident = self.note(refusal, place=place, address=address, carrier=carrier, token=token)
        if incident is None:
            return refusal
        return Refusal(refusal.code, refusal.message, **refusal.facts, incident=incident)

    def _tell_of_a_flood(self, now_s: float) -> None:
        self._left_out += 1
        if now_s - self._told_at_s >= FLOOD_TOLD_S:
            log.warning("refusals come too fast to be recorded each: %d have no incident", self._left_out)
            self._told_at_s = now_s
            self._left_out = 0


def described(token: str) -> Record:
    """What a token says of itself, unverified and cut short: `header` and `claims`, or `instead`, what it is."""
    try:
        jws = parse_jws(token)
        claims = parse_json_object(jws.payload)
    except TokenRefused:
        return {"instead": what_it_is(token)}
    return {"header": _short_members(jws.header, _HEADER), "claims": _short_members(claims, _CLAIMS)}


def what_it_is(token: str) -> str:
    """What a text is that can't be read as a JWT, in words."""
    parts = token.split(".")
    if not token:
        return "it is empty"
    if token.lower().startswith(("bearer ", "bearer.")):
        return "it begins with `Bearer`, which belongs to the header or the subprotocol, not to the token"
    if token[0] in "\"'" or token[-1] in "\"'":
        return "it is in quotes"
    if any(character.isspace() for character in token):
        return "there is space in it, perhaps from a line break when it was copied"
    if len(token) > JWS_BYTES_MAX:
        return f"it has {len(token)} characters, and more than {JWS_BYTES_MAX} are never read"
    if len(parts) == 3 and parts[1].isdigit():
        return "it looks like a refresh token of Parley's, which only /auth/refresh takes"
    if len(parts) == 5:
        return "it has five parts, like an encrypted token (JWE), which nobody here can read"
    if len(parts) != 3:
        return f"it has {len(parts)} part{'s' if len(parts) > 1 else ''} between its dots, and a JWT has three"
    if any("=" in part or "+" in part or "/" in part for part in parts):
        return "it is in base64 with padding or with + and /, and a JWT is in base64url without padding"
    return (
        "it has three parts, but they are not base64url of two JSON objects and a signature; it may be cut off, "
        "name a member twice, or use `crit`"
    )


def _facts(refusal: Refusal) -> Record:
    cause = refusal.__cause__
    facts = {**refusal.facts, **(cause.facts if isinstance(cause, TokenRefused) else {})}
    return _short_members(facts, ("claim", "reason", "off_by_s", "origin", "carrier"))


def _short_members(members: Mapping[str, Any], names: tuple[str, ...]) -> Record:
    found = {name: _short(members[name]) for name in names if name in members}
    return {name: value for name, value in found.items() if value is not None}


def _short(value: object) -> object:
    """A number as it is, a text cut and without what looks like a credential, a list of these; None for all else."""
    if isinstance(value, str):
        # A token may have been written where a name belongs.
        text = redacted(value[: 4 * TEXT_CHARS_MAX])
        return text if len(text) <= TEXT_CHARS_MAX else text[:TEXT_CHARS_MAX] + "…"
    if isinstance(value, list | tuple):
        return [short for one in value[:_LIST_MAX] if (short := _short(one)) is not None]
    return value if isinstance(value, int | float) else None
