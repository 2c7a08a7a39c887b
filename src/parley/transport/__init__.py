"""The one port: sockets and HTTP, and no meaning.

What the bytes say is decided above the dialects; who may say it, in the service.
"""
