"""From a command to a decision: may this principal ask this now, and if so, what comes of it.

The only way into the nouns: the store's writer and readers call `decide`, inside a transaction.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import structs

from parley.domain import (
    accounts,
    agents,
    beginnings,
    claims,
    conversations,
    leases,
    nodes,
    policy,
    replay,
    retention,
    revocation,
    sign_ins,
    streams,
    tickets,
    transcripts,
    visitors,
)
from parley.domain.commands import COMMANDS, Command
from parley.domain.params import Params
from parley.domain.ports import Acting, Decision, Rules, Transaction
from parley.domain.principal import OPERATOR, Principal

#: What the service asks on its own account; no client can name these.
_INTERNAL: Final[Mapping[type[Params], Callable[..., Decision]]] = {
    accounts.Find: accounts.find,
    accounts.Rehash: accounts.rehash,
    agents.Seen: agents.seen,
    beginnings.Begin: beginnings.begin,
    claims.Abandoned: claims.abandoned,
    claims.Return: claims.give_back,
    nodes.Beat: nodes.beat,
    replay.Missing: replay.missing,
    retention.Sweep: retention.sweep,
    revocation.InForce: revocation.in_force,
    revocation.RevokeToken: revocation.revoke_token,
    sign_ins.Start: sign_ins.start,
    sign_ins.Refresh: sign_ins.refresh,
    sign_ins.Resolve: sign_ins.resolve,
    sign_ins.Meet: sign_ins.meet,
    leases.Cut: leases.cut,
    leases.End: leases.end,
    leases.Keep: leases.keep,
    streams.Look: streams.look,
    streams.May: streams.may,
    leases.Restarted: leases.restarted,
    leases.Take: leases.take,
    tickets.Mint: tickets.mint,
    tickets.Redeem: tickets.redeem,
    transcripts.Positions: transcripts.positions,
}
_ROW_OF: Final[Mapping[type[Params], Command]] = {
    **{row.params: row for row in COMMANDS.values()},
    beginnings.VerifiedStart: COMMANDS["conversation.start"],
    visitors.VerifiedIdentify: COMMANDS["conversation.identify"],
}


def decide(
    tx: Transaction, params: Params, principal: Principal, *, now_ms: int, new_id: Callable[[], str], rules: Rules
) -> Decision:
    """Decide one command inside `tx`. Raises: Refusal, before anything was written.

    May run twice for one command, where the first transaction was rolled back.
    """
    kind = type(params)
    roles = principal.roles
    if principal is not OPERATOR:
        roles = accounts.roles_now(tx, principal.subject, roles, kept=principal.kept)
    who = Acting(principal, roles, now_ms, new_id, rules)
    if (internal := _INTERNAL.get(kind)) is not None:
        return internal(tx, params, who)
    row = _ROW_OF[kind]
    policy.admit(row, params, who)
    if principal.is_guest and row.kind == "write":
        who = _as_called_now(tx, who)
    assert row.decide is not None, f"{row.name} is not decided in a transaction"
    decision: Any = row.decide(tx, params, who)
    assert isinstance(decision, Decision)
    return decision


def _as_called_now(tx: Transaction, who: Acting) -> Acting:
    """A guest's token says how it was called when it was made; its row says how it is called now."""
    principal = who.principal
    person = tx.get(conversations.Visitor, principal.conversation or "")
    if person is None or person.name in (None, principal.name):
        return who
    return structs.replace(who, principal=structs.replace(principal, name=person.name))
