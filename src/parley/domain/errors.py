"""Every refusal that Parley can give, named once, with its HTTP status.

How each dialect says it is `dialects/error_codes.py`; a bug is not a refusal and has no row here but `internal`.
Source: CONTRACT section 5.
"""

from collections.abc import Mapping
from typing import Any, Final

#: code -> (HTTP status, what it tells the caller to understand and do)
REFUSALS: Final[Mapping[str, tuple[int, str]]] = {
    # The request itself
    "parse_error": (400, "The body is not JSON."),
    "invalid_request": (400, "The request is not a JSON-RPC 2.0 request."),
    "unknown_command": (404, "There is no command of this name here."),
    "invalid_params": (422, "A parameter is missing, unknown or of the wrong form; `field` names it."),
    "method_not_allowed": (405, "This path does not take this method; `Allow` lists those it takes."),
    "unsupported_media_type": (415, "The body's media type is not one that this path takes."),
    "too_large": (413, "The request is over the size limit."),
    "head_too_large": (431, "The request head is over the size limit."),
    "upgrade_required": (426, "This path speaks WebSocket only."),
    "unsupported_subprotocol": (400, "None of the offered subprotocols is spoken here."),
    # Credentials
    "ambiguous_credentials": (400, "Two different credentials came with one request; send one."),
    "carrier_disabled": (
        401,
        "The server does not take a token this way; `PARLEY_AUTH__CARRIERS` lists those that are on.",
    ),
    "token_missing": (401, "A token is needed and none came."),
    "token_malformed": (401, "The token is not a well-formed JWT of ours."),
    "token_unsupported_algorithm": (401, "The token's algorithm is not the one its key is for."),
    "token_unknown_key": (401, "The token was signed with a key that nobody here knows."),
    "token_bad_signature": (401, "The token's signature does not verify."),
    "token_wrong_type": (401, "The token is of a type that is not accepted here."),
    "token_claim_missing": (401, "The token lacks a required claim."),
    "token_wrong_issuer": (401, "The token's issuer is not the one its key belongs to."),
    "token_wrong_audience": (401, "The token is for somebody else."),
    "token_not_yet_valid": (401, "The token is not valid yet."),
    "token_expired": (401, "The token has expired; get a new one."),
    "token_revoked": (401, "The token was revoked; sign in again."),
    "subject_mismatch": (401, "The new token is for somebody else; the old one stays in force."),
    "invalid_credentials": (401, "The name or the password is wrong."),
    "invalid_grant": (401, "The refresh token is not valid; sign in again."),
    "ticket_invalid": (401, "The ticket is unknown, used or too old."),
    "authentication_timeout": (408, "No token came in time."),
    # Rights
    "forbidden": (403, "You may see this but not do it."),
    "banned": (403, "You are banned from this room."),
    "origin_denied": (
        403,
        "Pages of this origin may not call this server; `PARLEY_ALLOWED_ORIGINS` lists those that may.",
    ),
    "challenge_required": (403, "Solve the challenge of `GET /conversations/challenge` first."),
    "stopped": (403, "The broadcast was stopped."),
    "not_found": (404, "There is no such thing, or you may not see it."),
    # State
    "conflict": (409, "The state of things does not allow this."),
    "already_claimed": (409, "Somebody else has claimed it."),
    "already_live": (409, "Somebody else is broadcasting."),
    "archived": (409, "The room is archived and read-only."),
    # Limits
    "rate_limited": (429, "Too many requests; `retry_after` says when to come back, in seconds."),
    "limit_exceeded": (429, "A limit is reached; give something up first."),
    # Streams
    "stalled": (408, "No audio came for too long."),
    "not_ogg_opus": (415, "The body is not Ogg Opus."),
    "not_live": (503, "Nobody is broadcasting."),
    # The machine
    "internal": (500, "Something broke here; `incident` finds it in the log."),
    "unavailable": (503, "A part that this needs is away; try again."),
    "overloaded": (503, "The server is at its limit; try again later."),
}


class Refusal(Exception):
    """The expected "no": a `code` of `REFUSALS`, a sentence for people, and facts for programs.

    `facts` become members of the answer beside `code` and `status` (`field`, `retry_after`, `incident`, ...);
    they never hold a credential.
    """

    def __init__(self, code: str, message: str = "", **facts: Any) -> None:
        status, meaning = REFUSALS[code]  # an unknown code is a bug, and shows here
        super().__init__(code)
        self.code = code
        self.status = status
        self.message = message or meaning
        self.facts = facts

    def __repr__(self) -> str:
        return f"Refusal({self.code!r}, {self.message!r})"


def invalid_params(field: str, message: str) -> Refusal:
    """The refusal of one parameter, by its name."""
    return Refusal("invalid_params", message, field=field)
