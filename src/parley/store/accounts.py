"""Queries of accounts."""

from collections.abc import Sequence

from sqlalchemy import bindparam, select, text

from parley.domain.accounts import Account
from parley.store.engine import Query
from parley.store.rows import Rows
from parley.store.schema import AGENTS, accounts

_PAGE = Query(
    select(*accounts.c).where(accounts.c.id > bindparam("after")).order_by(accounts.c.id).limit(bindparam("limit"))
)

_OF_AGENTS = Query(select(*accounts.c).where(text(AGENTS)).order_by(accounts.c.id))


class AccountQueries(Rows):
    def account_by_username(self, username_key: str) -> Account | None:
        return self.by_other_key(Account, username_key)

    def accounts_page(self, after: str | None, limit: int) -> Sequence[Account]:
        return self.select(Account, _PAGE, after=after or "", limit=limit)

    def accounts_of_agents(self) -> Sequence[Account]:
        return self.select(Account, _OF_AGENTS)
