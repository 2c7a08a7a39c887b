"""What keeps a store from being opened: one line that says what to do, meant for the operator.

Refusals of commands are the domain's; what a driver raises never leaves this package.
"""


class StoreProblem(Exception):
    """The database cannot serve this program; the text is one clear line and holds no password."""
