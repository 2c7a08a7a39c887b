"""What Parley means: plain functions of a transaction.

Never awaits, reads no clock, draws no randomness, writes no log: `now_ms` and new ids come in as arguments.
"""
