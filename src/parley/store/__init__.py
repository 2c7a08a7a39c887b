"""Where rows live: one schema on SQLite and PostgreSQL, many commands in one commit, readers beside.

Decides nothing: it opens a transaction and lets `domain.dispatch` decide inside it.
"""

from parley.store.opening import open_store
from parley.store.problems import StoreProblem
from parley.store.store import Store

__all__ = ["Store", "StoreProblem", "open_store"]
