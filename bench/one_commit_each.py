"""Parley with a transaction for each command: what group commit is measured against.

For `bench/run` alone. Arguments are those of `parley`.
"""

from parley.__main__ import main
from parley.store.writer import Writer

defaults = Writer.__init__.__kwdefaults__
assert defaults is not None
assert "batch_max" in defaults, "the writer no longer has a size of batch to set"
defaults["batch_max"] = 1
main()
