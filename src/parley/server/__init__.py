"""Where the parts meet: processes that serve one port, from their settings to their last commit."""

from parley.server.node import Server
from parley.server.parts import Clock
from parley.server.serving import serve

__all__ = ["Clock", "Server", "serve"]
