"""Types of columns that the two engines spell differently.

Both the tables and the migrations use them, so what is here keeps its meaning for ever.
"""

from typing import Any, Final

from sqlalchemy import BigInteger, Integer, Text
from sqlalchemy.dialects.postgresql import TEXT as PG_TEXT
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine, UserDefinedType

#: Text that sorts by its bytes on both engines, so that pages have the same order.
TEXT: Final[TypeEngine[str]] = Text().with_variant(PG_TEXT(collation="C"), "postgresql")
#: SQLite counts by itself in a column that is spelt INTEGER, and in no other.
COUNTER: Final[TypeEngine[int]] = BigInteger().with_variant(Integer(), "sqlite")


class _Xid8(UserDefinedType[int]):
    """A transaction's id that never wraps around."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "xid8"


XID: Final[TypeEngine[int]] = BigInteger().with_variant(_Xid8(), "postgresql")


class transaction_id(FunctionElement[int]):
    """The id of the running transaction; 0 on SQLite, which needs none."""

    inherit_cache = True


@compiles(transaction_id)
def _no_transaction_id(*_: Any, **__: Any) -> str:
    return "0"


@compiles(transaction_id, "postgresql")
def _current_transaction_id(*_: Any, **__: Any) -> str:
    return "pg_current_xact_id()"
