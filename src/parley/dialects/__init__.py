"""Codecs without I/O, one for each wire dialect: bytes to commands, and replies, events and notices to bytes."""
