"""Tests of `parley.tokens`, mirroring its files."""
