"""What a terminal shows of others' words, and how refusals, states and events are said to people.

Nothing here prints. `clean` is for whatever came from elsewhere: names and titles as well as messages.
"""

import re
from datetime import datetime
from typing import Any, Final

from parley.client.errors import ConnectionLost, ParleyError, Refused, SubscriptionEnded

#: C0 and C1 controls, which a terminal would obey, and the bidi controls that reorder what stands beside them.
_OBEYED: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_ENDS_LINE: Final = re.compile("\r\n|[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")

_WORDS: Final = {
    "not_found": "There is no such room, or you may not see it.",
    "forbidden": "You may see this, but not do it.",
    "banned": "You are banned from this room.",
    "archived": "This room is archived: it can be read only.",
    "rate_limited": "That was too much at once.",
    "conflict": "That can't be done any more.",
    "too_large": "That is too long.",
    "invalid_credentials": "The name or the password is wrong.",
    "token_expired": "Your token has expired; get a new one.",
    "token_revoked": "Your token was revoked.",
    "replaced": "You are connected too often: another connection of yours took this one's place.",
    "revoked": "Your access was revoked.",
    "subject_mismatch": "The new token is for somebody else.",
    "origin_denied": "A proxy on the way adds an origin that the server does not know.",
}
_ENDED: Final = {
    "removed": "You were removed from this room.",
    "banned": "You were banned from this room.",
    "left": "You have left this room.",
    "forbidden": "You may not read this room any more.",
    "not_found": "This room is not yours to read any more.",
}


def clean(text: str) -> str:
    """Text that a terminal shows and does not obey; lines end with a newline, tabs are spaces."""
    return _OBEYED.sub("\N{REPLACEMENT CHARACTER}", _ENDS_LINE.sub("\n", text)).replace("\t", "    ")


def clean_line(text: str) -> str:
    """As `clean`, in one line."""
    return clean(text).replace("\n", " ")


def in_words(error: ParleyError) -> str:
    """A refusal or an end for people, with its code in brackets for those who look it up."""
    match error:
        case SubscriptionEnded():
            return f"{_ENDED.get(error.reason, 'The server ended it.')} ({clean_line(error.reason)})"
        case Refused():
            said = _WORDS.get(error.code) or clean_line(error.message) or "The server says no."
            field = error.data.get("field")
            about = f" [{clean_line(field)}]" if isinstance(field, str) and field != "text" else ""
            return f"{said}{about} ({clean_line(error.code)})"
        case ConnectionLost():
            return f"The server can't be reached: {clean_line(error.reason)}."
        case _:
            return clean_line(str(error))


def name_of(person: dict[str, Any]) -> str:
    return clean_line(str(person.get("name") or person.get("subject") or "somebody"))


def local_time(at: str) -> datetime:
    """A time of the wire (RFC 3339) in the terminal's own zone."""
    return datetime.fromisoformat(at).astimezone()


def told(event: dict[str, Any]) -> str | None:
    """An event that is not a new message, in one line; None for one that needs no words."""
    actor, data = name_of(event["actor"]), event["data"]
    member = data.get("member") or {}
    name = name_of(member)
    own = member.get("subject") == event["actor"].get("subject")
    match event["type"]:
        case "member.joined":
            return f"{name} joined" if own else f"{actor} invited {name}"
        case "member.left":
            return f"{name} left"
        case "member.removed":
            return f"{actor} {'banned' if data.get('banned') else 'removed'} {name}{_because(data)}"
        case "member.role_changed":
            return f"{actor} made {name} {member.get('role')}"
        case "room.updated":
            return f"{actor} changed the room: {clean_line(str(data['room'].get('title') or 'without a title'))}"
        case "room.archived":
            return f"{actor} archived the room"
        case "message.deleted":
            message = data["message"]
            return f"{actor} deleted message {message['seq']} of {name_of(message['sender'])}{_because(message)}"
        case "message.edited":
            message = data["message"]
            if "text" not in message:
                return None  # deleted since; that follows
            return f"{actor} edited message {message['seq']}: {clean(message['text'])}"
        case _:
            return None


def _because(data: dict[str, Any]) -> str:
    reason = data.get("reason")
    return f" ({clean_line(reason)})" if isinstance(reason, str) and reason else ""
