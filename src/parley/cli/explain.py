"""A token in words: what it is, which key signed it, whether it would be refused, and what to do then.

Decides nothing about the token and never shows it: its refusal is handed in, as the verifier gave it.
"""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from parley.cli.terms import shown
from parley.domain.errors import REFUSALS
from parley.domain.ids import rfc3339
from parley.service.refusals import what_it_is
from parley.tokens import TokenRefused, parse_jws
from parley.tokens.jws import parse_json_object

if TYPE_CHECKING:
    from parley.cli.verifying import Verdict
    from parley.config.settings import Auth, ExternalIssuer
    from parley.store.keyring import Keyring

#: What to do about each refusal.
_ADVICE: Final[Mapping[str, str]] = {
    "token_malformed": "Send the access token as it was issued: the whole of it, without quotes, prefix or line break.",
    "token_unsupported_algorithm": "Let its issuer sign with the algorithm of the key that the token names.",
    "token_unknown_key": "Get a token from this server, or add its issuer to PARLEY_AUTH__ISSUERS.",
    "token_bad_signature": "It was changed, or signed with another key of the same name: get a new one.",
    "token_wrong_type": "Send the access token, not an identity or refresh token.",
    "token_claim_missing": "Let its issuer add the claim.",
    "token_wrong_issuer": "Let its issuer set `iss` to the owner of the key, or set PARLEY_AUTH__ISSUER.",
    "token_wrong_audience": "Let its issuer set `aud` to this server's PARLEY_AUTH__AUDIENCE.",
    "token_not_yet_valid": "Wait, or compare the clocks of the two machines.",
    "token_expired": "Get a new one: refresh, or sign in again.",
    "token_revoked": "Sign in again; a disabled account can't.",
    "token_missing": "Send a token: in the header `Authorization: Bearer …`, or from a page as a subprotocol.",
    "ambiguous_credentials": "Send one credential, by one carrier.",
    "carrier_disabled": "Send the token by a carrier that is on, or switch this one on in PARLEY_AUTH__CARRIERS.",
    "unsupported_subprotocol": "Offer the protocol's own subprotocol beside the one that carries the token.",
    "ticket_invalid": "Get a new ticket from /auth/tickets for each connection, and use it within its 30 seconds.",
    "subject_mismatch": "Renew with a token of the same bearer; for somebody else open another connection.",
    "origin_denied": "If the page is yours, add its origin to PARLEY_ALLOWED_ORIGINS.",
}
_UNSIGNED: Final = frozenset(
    {"token_malformed", "token_unsupported_algorithm", "token_unknown_key", "token_bad_signature"}
)


def explained(token: str, verdict: "Verdict", auth: "Auth", *, now_s: float) -> Iterator[str]:
    """The lines that say what `token` is, and what would come of it now."""
    refused = verdict.refused
    code = None if refused is None else refused.code
    yield from _token_lines(_parts(token), code, verdict.keyring, auth, now_s)
    if verdict.claims is not None and verdict.claims.iss != auth.issuer:
        claims = verdict.claims
        roles = shown(", ".join(claims.roles)) or "none"
        yield f"Here its bearer is {shown(claims.sub)}, of type {claims.type}, with the roles {roles}."
    if verdict.trouble is not None:
        yield f"Its issuer's keys can't be had: {shown(verdict.trouble)}."
    if refused is None:
        yield "It would be accepted now."
        return
    advice = _advice(refused.code, _parts(token), auth)
    yield from _refusal_lines("It would be refused", refused.code, refused.meaning, refused.facts, advice)


def is_incident(text: str) -> bool:
    """Whether it is the id of a refusal, which no token looks like."""
    return re.fullmatch(r"[0-9a-f]{12}", text) is not None


def retold(record: Mapping[str, Any], keyring: "Keyring", auth: "Auth") -> Iterator[str]:
    """The lines that say what was refused, by its record (`service/refusals.py`)."""
    code, at_ms = str(record["code"]), int(record["at_ms"])
    where = f"{shown(str(record['place']))}, from the address {shown(str(record['address']))}"
    yield f"On {rfc3339(at_ms)} something was refused at {where}."
    carrier = record.get("carrier")
    if carrier == "ticket":
        yield "It brought a ticket."
    elif carrier is not None:
        yield f"It brought a token, by the carrier {shown(str(carrier))}."
    elif code != "origin_denied":
        yield "It brought no credential that was looked at."
    if "header" in record or "instead" in record:
        yield from _token_lines(record, code, keyring, auth, at_ms / 1000, words=("after that", "before that"))
    _, meaning = REFUSALS.get(code, (0, ""))
    yield from _refusal_lines("It was refused", code, meaning, record.get("facts", {}), _advice(code, record, auth))


def _parts(token: str) -> dict[str, Any]:
    """As a record has them, but whole."""
    try:
        jws = parse_jws(token)
        return {"header": jws.header, "claims": parse_json_object(jws.payload)}
    except TokenRefused:
        return {"instead": what_it_is(token)}


def _token_lines(
    token: Mapping[str, Any],
    code: str | None,
    keyring: "Keyring",
    auth: "Auth",
    now_s: float,
    words: tuple[str, str] = ("from now", "ago"),
) -> Iterator[str]:
    """What it is, who signed it and what it claims; `code` is that of its refusal, `words` are for times."""
    header, claims = token.get("header"), token.get("claims", {})
    if header is None:
        yield f"It is no JWT: {shown(str(token.get('instead')))}."
        return
    kind = "an access token" if str(header.get("typ", "")).lower() == "at+jwt" else "a JWT"
    yield f"It is {kind}, {_said(header, 'alg')}, {_said(header, 'typ')}."
    yield _key_line(header, claims, code, keyring, auth)
    yield from _claim_lines(claims, auth, now_s, words)


def _advice(code: str, token: Mapping[str, Any], auth: "Auth") -> str:
    if code == "token_unknown_key" and _issuer_of(token.get("claims", {}), auth) is not None:
        return "Let its issuer publish the key, and name it in `kid`; its keys are fetched anew once a minute at most."
    return _ADVICE.get(code, "Ask for a new one.")


def _issuer_of(claims: Mapping[str, Any], auth: "Auth") -> "ExternalIssuer | None":
    return next((one for one in auth.issuers if one.issuer == claims.get("iss")), None)


def _refusal_lines(begin: str, code: str, meaning: str, facts: Mapping[str, Any], advice: str) -> Iterator[str]:
    known = [f"{name} {shown(str(facts[name]))}" for name in ("claim", "carrier", "origin", "reason") if name in facts]
    known += [f"by {_duration(facts['off_by_s'])}"] if "off_by_s" in facts else []
    told = f" ({', '.join(known)})" if known else ""
    yield f"{begin}: {code}{told}. {meaning}".rstrip()
    yield f"What to do: {advice}"


def _key_line(
    header: Mapping[str, Any], claims: Mapping[str, Any], code: str | None, keyring: "Keyring", auth: "Auth"
) -> str:
    # Before the signature is checked nothing says that the key named has signed it.
    verb = "It names" if code in _UNSIGNED else "It was signed by"
    kid = header.get("kid")
    issuer = _issuer_of(claims, auth)
    if issuer is not None and not any(file.kid == kid for file in keyring.files):
        named = f"the key {shown(str(kid)[:80])}" if kid is not None else "a key without a name"
        whose = f"of the external issuer {issuer.name}"
        if code == "token_unknown_key":
            return f"It names {named}, which is none {whose}, whose keys come from {_source(issuer)}."
        return f"{verb} {named} {whose}."
    if kid is None:
        return "It names no key (no kid)."
    name = shown(str(kid)[:80])
    if kid == keyring.signing_key.kid:
        return f"{verb} our key {name}, the one that signs now."
    if kid in keyring.keyset:
        return f"{verb} our key {name}, which does not sign now but still verifies."
    if any(file.kid == kid for file in keyring.files):
        return f"{verb} our key {name}, which is retired and no longer verifies."
    return f"It names the key {name}, which is none of ours."


def _source(issuer: "ExternalIssuer") -> str:
    return str(issuer.jwks_url or issuer.jwks_file or issuer.secret_file)


def _claim_lines(claims: Mapping[str, Any], auth: "Auth", now_s: float, words: tuple[str, str]) -> Iterator[str]:
    issuer, subject = claims.get("iss"), claims.get("sub")
    is_ours = issuer == auth.issuer
    whose = "us" if is_ours else _quoted(issuer)
    name = f", called {_quoted(claims['name'])}" if "name" in claims else ""
    yield f"It says that it is from {whose}, for {_quoted(subject)}{name}, to be used at {_quoted(claims.get('aud'))}."
    if is_ours or "type" in claims:
        roles = claims.get("roles")
        listed = shown(", ".join(map(str, roles))) if isinstance(roles, list) and roles else "none"
        yield (
            f"Its bearer is of type {_quoted(claims.get('type'))} with the roles {listed}; "
            "the roles that count are those stored at the moment of use."
        )
    if "conversation" in claims:
        yield f"It opens the conversation {_quoted(claims['conversation'])} alone."
    grants = claims.get("grants")
    if isinstance(grants, dict):
        parts = [
            f"{resource} {', '.join(map(str, actions))}" if isinstance(actions, list) else str(resource)
            for resource, actions in grants.items()
        ]
        yield f"It is narrowed to: {shown('; '.join(parts)) or 'nothing'}."
    for claim, word in (("iat", "was issued"), ("nbf", "is valid"), ("exp", "expires")):
        at = claims.get(claim)
        if isinstance(at, int | float) and not isinstance(at, bool) and 0 <= at < 2**37:
            when = f"{_duration(at - now_s)} {words[0]}" if at > now_s else f"{_duration(now_s - at)} {words[1]}"
            tense = "expired" if claim == "exp" and at <= now_s else word
            yield f"It {tense} at {rfc3339(int(at * 1000))}, {when}."


def _said(members: Mapping[str, Any], name: str) -> str:
    return f"{name} {_quoted(members[name])}" if name in members else f"without {name}"


def _quoted(value: object) -> str:
    if value is None:
        return "nobody"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return shown(text if len(text) <= 120 else text[:120] + "…")


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds" if seconds >= 1 else f"{seconds * 1000:.0f} milliseconds"
