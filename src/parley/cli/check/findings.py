"""What a probe found: its name, a verdict, and what was seen, in words. Says nothing about how it is shown."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """`unclear` is where the server's answer proves neither; `skipped` where something was not given."""

    name: str
    verdict: Literal["fine", "FAULT", "unclear", "skipped"]
    seen: str


def fine(name: str, seen: str) -> Finding:
    return Finding(name, "fine", seen)


def fault(name: str, seen: str) -> Finding:
    return Finding(name, "FAULT", seen)


def unclear(name: str, seen: str) -> Finding:
    return Finding(name, "unclear", seen)


def skipped(name: str, seen: str) -> Finding:
    return Finding(name, "skipped", seen)
