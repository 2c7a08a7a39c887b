"""Where the parts meet: processes that serve one port, from their settings to their last commit."""

from parley.server.node import Clock, Server
from parley.server.serving import serve

__all__ = ["Clock", "Server", "serve"]
