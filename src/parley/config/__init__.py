"""The settings: their table, and reading them from flags, environment and file.

Only `server` and `cli` import this; every other part is given what it needs.
"""

from parley.config.settings import ExternalIssuer, Settings
from parley.config.sources import SettingsError, load, require_servable

__all__ = ["ExternalIssuer", "Settings", "SettingsError", "load", "require_servable"]
