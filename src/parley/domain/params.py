"""The base of every command's parameters, and the forms that several of them share."""

from typing import Annotated

from msgspec import Meta, Struct

#: How many rows a page holds at most.
Limit = Annotated[int, Meta(ge=1, le=200)]
Seq = Annotated[int, Meta(ge=0, le=2**53)]
Reason = Annotated[str, Meta(max_length=500)]


class Params(Struct, forbid_unknown_fields=True, gc=False):
    """The parameters of one command: a JSON object; an unknown member is refused.

    Their `repr` is the command's form alone: some hold a password or a token. What JSON holds is no circle, so the
    collector has nothing to look for in it.
    """

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} …>"
