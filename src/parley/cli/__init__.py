"""The command `parley`: one file for each of its nouns, and what they share in `terms.py`.

Starts fast: whatever a command needs is imported when it runs.
"""

from parley.cli.main import main

__all__ = ["main"]
