"""From a command to a decision: may this principal ask this now, and if so, what comes of it.

The only way into the nouns: the store's writer and readers call `decide`, inside a transaction.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from parley.domain import accounts, policy, replay, retention, revocation, sign_ins, tickets
from parley.domain.commands import COMMANDS, Command
from parley.domain.params import Params
from parley.domain.ports import Acting, Decision, Rules, Transaction
from parley.domain.principal import OPERATOR, Principal

#: What the service asks on its own account; no client can name these.
_INTERNAL: Final[Mapping[type[Params], Callable[..., Decision]]] = {
    accounts.Find: accounts.find,
    accounts.Rehash: accounts.rehash,
    replay.Missing: replay.missing,
    retention.Sweep: retention.sweep,
    revocation.InForce: revocation.in_force,
    revocation.RevokeToken: revocation.revoke_token,
    sign_ins.Start: sign_ins.start,
    sign_ins.Refresh: sign_ins.refresh,
    sign_ins.Resolve: sign_ins.resolve,
    sign_ins.Meet: sign_ins.meet,
    tickets.Mint: tickets.mint,
    tickets.Redeem: tickets.redeem,
}
_ROW_OF: Final[Mapping[type[Params], Command]] = {row.params: row for row in COMMANDS.values()}


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
    assert row.decide is not None, f"{row.name} is not decided in a transaction"
    decision: Any = row.decide(tx, params, who)
    assert isinstance(decision, Decision)
    return decision
