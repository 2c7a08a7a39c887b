"""Parley: a self-hosted live chat server in which every socket carries a token.

Says which version this is, and nothing else: importing it costs nothing and needs no extra.
"""

__version__ = "0.1.0"
