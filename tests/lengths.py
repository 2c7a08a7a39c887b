"""How long the tests run that have a short and a long form: `PARLEY_TEST_LONG=1` chooses the long one."""

import os

LONG = os.environ.get("PARLEY_TEST_LONG", "") not in ("", "0")
