"""Who may use which command at all, from the command's row; what they may do to one thing is decided by its noun.

The order is the contract's: what a guest names and may not have does not exist, every other command is forbidden to it;
then roles; then what the token's grants leave of them.
"""

from typing import Final

from parley.domain.commands import Command
from parley.domain.errors import Refusal
from parley.domain.params import Params
from parley.domain.ports import Acting

#: What a grant calls the things that a command names.
_GRANTED_AS: Final = {"room": "room:", "conversation": "room:", "stream": "stream:"}


def admit(row: Command, params: Params, who: Acting) -> None:
    """Raise unless the one who acts may use this command. Raises: Refusal (`forbidden`, `not_found`)."""
    principal = who.principal
    if principal.is_guest:
        if not row.visitor:
            names_others = row.names and not row.makes and not _names_its_own(row, params, who)
            raise Refusal("not_found" if names_others else "forbidden")
    elif row.who == "admin" and not who.is_admin:
        raise Refusal("forbidden", "Only an admin may do this.")
    # Who may not read a conversation must not learn that there is one: there its noun says so, after asking that.
    elif row.who == "agent" and row.names is None and not (who.is_admin or who.is_agent):
        raise Refusal("forbidden", "Only an agent may do this.")
    grants = principal.grants
    if grants is not None and not row.name.startswith("session."):
        if row.action is None:
            raise Refusal("forbidden", "This token is narrowed to what it names.")
        # A message's room is known only to the store, so the messages' noun asks again with the room.
        if row.names in _GRANTED_AS:
            named: str | None = getattr(params, row.names or "")
            if named is None or not grants.allows(row.action, _GRANTED_AS[row.names or ""] + named):
                raise Refusal("forbidden", "This token does not grant that.")


def _names_its_own(row: Command, params: Params, who: Acting) -> bool:
    """Whether a guest names its own conversation, or itself, and nobody else: what it may not do there is forbidden."""
    if row.names == "subject":
        return bool(getattr(params, "subject", None) == who.subject)
    if row.names not in ("room", "conversation") or getattr(params, row.names) != who.principal.conversation:
        return False
    return getattr(params, "subject", who.subject) == who.subject
