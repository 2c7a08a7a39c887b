"""What `parley serve --demo` furnishes: four sign-ins, a room they all belong to, a stream, what a helpdesk needs.

For loopback only: each password is the name. Does nothing where it has been before.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from parley.domain import accounts, departments, members, replies, rooms, streams
from parley.domain.errors import Refusal
from parley.domain.principal import OPERATOR, Principal
from parley.store import Store

#: username -> (display name, role)
SIGN_INS: Final[Mapping[str, tuple[str, accounts.AccountRole]]] = {
    "admin": ("Admin", "admin"),
    "agent": ("Agent", "agent"),
    "ada": ("Ada", "member"),
    "ben": ("Ben", "member"),
}
ROOM: Final = "lobby"
#: The demo's public stream and whose it is.
STREAM: Final = "radio"
STREAM_OWNER: Final = "ada"
DEPARTMENTS: Final = ("Orders", "Workshop")
#: shortcut -> text
REPLIES: Final[Mapping[str, str]] = {
    "delivery": "We deliver within three working days, wrapped in straw.",
    "broken": "I am sorry. We send you another one today; please keep the pieces.",
    "thanks": "Thank you, and enjoy your tea. Write here whenever something comes up.",
}


def furnish(store: Store, hash_password: Callable[[str], str]) -> None:
    """Make the demo's accounts, its room and its stream where they are missing."""
    people: list[Principal] = []
    for username, (name, role) in SIGN_INS.items():
        account: Any = store.execute(accounts.Find(name=username)).reply
        if account is None:
            create = accounts.Create(username=username, password=hash_password(username), roles=[role], name=name)
            store.execute(create)
            account = store.execute(accounts.Find(name=username)).reply
        people.append(
            Principal(
                subject=account.id,
                type="account",
                name=account.name,
                roles=account.role_set,
                session="",
                token_id="",
                issuer="",
                expires_at_s=float("inf"),
                kept=True,
            )
        )
    owner, *others = people
    try:
        store.execute(rooms.Get(room=ROOM), OPERATOR)
    except Refusal:
        store.execute(rooms.Create(room=ROOM, title="Lobby"), owner)
        # Once only: whoever has left, was removed or banned since has been so for a reason.
        for person in others:
            store.execute(members.Join(room=ROOM), person)
        for name in DEPARTMENTS:
            store.execute(departments.Create(name=name), OPERATOR)
        for shortcut, text in REPLIES.items():
            with suppress(Refusal):  # longer than PARLEY_LIMITS__MESSAGE_CHARS: the demo goes without it
                store.execute(replies.Create(shortcut=shortcut, text=text), OPERATOR)
    try:
        store.execute(streams.Get(stream=STREAM), OPERATOR)
    except Refusal:
        ada = people[list(SIGN_INS).index(STREAM_OWNER)]
        store.execute(streams.Create(stream=STREAM, title="Radio"), ada)


def welcome(url: str, shop: str) -> str:
    """What is told in the terminal once the demo serves, the chat at `url` and the shop at `shop`."""
    names = ", ".join(SIGN_INS)
    return (
        f"\n  The chat is at {url}/ : open it in two tabs.\n"
        f"  Sign in as {names}; each has its own name as password.\n"
        f"  A shop with the widget on it is at {shop}/ : open its chat, and answer at {url}/agent as agent.\n"
        f"  In a terminal: parley chat {ROOM} --url {url} --user ada\n"
        f"  On the air: parley broadcast {STREAM} --input SONG --url {url} --user {STREAM_OWNER}\n"
        f"  It is heard at {url}/listen/{STREAM} ; a microphone, or a tab's sound: {url}/broadcast/{STREAM}\n\n"
    )
