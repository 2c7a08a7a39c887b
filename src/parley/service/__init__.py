"""The one door: what admits a command, has it decided, and publishes what came of it.

Knows no socket, no wire format and no table; see `domain/ports.py` for what it asks of the store.
"""
