"""A token in words: what it is, which key signed it, whether it would be refused, and what to do then.

Decides nothing about the token and never shows it: its refusal is handed in, as the verifier gave it.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from parley.cli.terms import shown
from parley.domain.ids import rfc3339
from parley.tokens import JWS_BYTES_MAX, TokenRefused, parse_jws
from parley.tokens.jws import parse_json_object

if TYPE_CHECKING:
    from parley.config.settings import Auth
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
}


def explained(
    token: str, refused: TokenRefused | None, keyring: "Keyring", auth: "Auth", *, now_s: float
) -> Iterator[str]:
    """The lines that say what `token` is, given what the verifier said of it."""
    header, claims = _parts(token)
    if header is None:
        yield f"It is no JWT: {_instead(token)}."
    else:
        kind = "an access token" if str(header.get("typ", "")).lower() == "at+jwt" else "a JWT"
        yield f"It is {kind}, {_said(header, 'alg')}, {_said(header, 'typ')}."
        yield _key_line(header, refused, keyring)
        yield from _claim_lines(claims or {}, auth, now_s)
    if refused is None:
        yield "It would be accepted now."
        return
    facts = [f"claim {refused.claim}"] if refused.claim else []
    facts += [f"by {_duration(refused.off_by_s)}"] if refused.off_by_s is not None else []
    known = f" ({shown(', '.join(facts))})" if facts else ""
    yield f"It would be refused: {refused.code}{known}. {refused.meaning}"
    yield f"What to do: {_ADVICE[refused.code]}"


def _parts(token: str) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    try:
        jws = parse_jws(token)
        return jws.header, parse_json_object(jws.payload)
    except TokenRefused:
        return None, None


def _instead(token: str) -> str:
    """What it is, when it can't be read as a JWT."""
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


def _key_line(header: Mapping[str, Any], refused: TokenRefused | None, keyring: "Keyring") -> str:
    kid = header.get("kid")
    if kid is None:
        return "It names no key (no kid)."
    name = shown(str(kid)[:80])
    # Before the signature is checked nothing says that the key named has signed it.
    unsigned = refused is not None and refused.code in (
        "token_malformed",
        "token_unsupported_algorithm",
        "token_unknown_key",
        "token_bad_signature",
    )
    verb = "It names" if unsigned else "It was signed by"
    if kid == keyring.signing_key.kid:
        return f"{verb} our key {name}, the one that signs now."
    if kid in keyring.keyset:
        return f"{verb} our key {name}, which does not sign now but still verifies."
    if any(file.kid == kid for file in keyring.files):
        return f"{verb} our key {name}, which is retired and no longer verifies."
    return f"It names the key {name}, which is none of ours."


def _claim_lines(claims: Mapping[str, Any], auth: "Auth", now_s: float) -> Iterator[str]:
    issuer, subject = claims.get("iss"), claims.get("sub")
    whose = "us" if issuer == auth.issuer else _quoted(issuer)
    name = f", called {_quoted(claims['name'])}" if "name" in claims else ""
    yield f"It says that it is from {whose}, for {_quoted(subject)}{name}, to be used at {_quoted(claims.get('aud'))}."
    roles = claims.get("roles")
    listed = ", ".join(map(str, roles)) if isinstance(roles, list) else None
    yield (
        f"Its bearer is of type {_quoted(claims.get('type'))} with the roles {shown(listed) if listed else 'none'}; "
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
            when = f"{_duration(at - now_s)} from now" if at > now_s else f"{_duration(now_s - at)} ago"
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
