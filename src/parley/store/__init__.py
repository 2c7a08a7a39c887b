"""Where rows live: one schema on SQLite and PostgreSQL, many commands in one commit, readers beside.

Decides nothing: it opens a transaction and lets `domain.dispatch` decide inside it.
"""

from parley.store.opening import backup_database, open_store, renew_epoch, upgrade_database
from parley.store.problems import StoreProblem
from parley.store.store import Store

__all__ = ["Store", "StoreProblem", "backup_database", "open_store", "renew_epoch", "upgrade_database"]
