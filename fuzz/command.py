"""What every fuzzer has in common: its command line, and a watch over what is logged. Sends nothing."""

import argparse
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)
        self.records.append(self.format(record))


@contextmanager
def no_error_logged() -> Iterator[None]:
    """Raises: AssertionError where anything is logged as an error inside."""
    errors = _Errors()
    logging.getLogger().addHandler(errors)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(errors)
    assert errors.records == [], errors.records[0]


def main(doc: str | None, run: Callable[[float, int], Mapping[str, Counter[str]]]) -> int:
    """Run it from the command line; `run(seconds, seed)` gives what was seen, by target."""
    options = argparse.ArgumentParser(description=doc)
    options.add_argument("--seconds", type=float, default=10)
    options.add_argument("--seed", type=int, default=int(time.time()))
    chosen = options.parse_args()
    print(f"seed {chosen.seed}", flush=True)
    for target, seen in run(chosen.seconds, chosen.seed).items():
        print(target, dict(seen.most_common()))
    return 0
