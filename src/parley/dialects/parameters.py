"""A command's parameters as JSON: what native and Socket.IO have in common in reading them, strictly.

Says what is wrong with them, for people; knows no envelope, so how a request is found and answered is the dialects'.

msgspec reads what is well-formed, in one pass. It takes a lone surrogate for broken JSON, so what it will not read is
read once more, slowly, to say rightly what is wrong with it.
"""

import json
import math
import re
from typing import Any, Final, get_args

import msgspec

from parley.domain.accounts import Username
from parley.domain.beginnings import Email, Name, Page
from parley.domain.commands import COMMANDS
from parley.domain.departments import Time, Zone
from parley.domain.errors import Refusal, invalid_params
from parley.domain.ids import ChosenId, Id, Subject
from parley.domain.params import Params
from parley.domain.replies import Shortcut

DEPTH_MAX: Final = 32

_params: Final = {name: msgspec.json.Decoder(row.params) for name, row in COMMANDS.items()}
_AT = re.compile(r" - at `\$\.([A-Za-z0-9_]+)")
_FIELD = re.compile(r"field `(.*)`", re.DOTALL)
# A string that never ends is taken to the end of the message: with nothing to go back for, the walk stays linear.
_BRACKETS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{]|[\]}]', re.DOTALL)
#: What stands for a number that no double holds: itself beyond every limit.
_HUGE: Final = 10**400
#: What msgspec says of a text that has not its form, and what people are told.
_FORMS: Final = {
    f"Expected `str` matching regex {get_args(form)[1].pattern!r}": words
    for form, words in (
        (Id, "An id is 1 to 64 of the characters A-Z, a-z, 0-9, `.`, `_`, `~` and `-`."),
        (ChosenId, "An id of one's own is 1 to 56 of the characters A-Z, a-z, 0-9, `.`, `_`, `~` and `-`."),
        (Subject, "A subject is 1 to 320 printable ASCII characters without space."),
        (Username, "A username is 1 to 128 printable ASCII characters without space and colon."),
        (Name, "A name is 1 to 200 characters, none of them a control character."),
        (Email, "This is no email address."),
        (Page, "A page is 1 to 2048 characters without space."),
        (Time, "A time is like 09:30, from 00:00 to 24:00."),
        (Zone, "A zone is like Europe/Berlin."),
        (Shortcut, "A shortcut is 1 to 40 characters without space and slash."),
    )
}
_BAD_STRING: Final = "A string has no NUL and no lone surrogate."


def read_params(method: str, raw: bytes) -> Params:
    """The parameters of a command; `raw` is well-formed JSON in UTF-8, `method` a command's name.

    Raises: Refusal (`invalid_params` with `field`).
    """
    # `find`, for `in` takes the bytes for a number first and writes an error's text, each time.
    if raw.find(b"\\u0000") >= 0 and (bad := bad_string(load(raw))) is not None:
        raise bad
    try:
        params: Params = _params[method].decode(raw)
    except msgspec.ValidationError as wrong:
        raise _refusal(raw, wrong) from None
    return params


def _refusal(raw: bytes, wrong: Exception) -> Refusal:
    """What msgspec found wrong with a command's parameters, said for people, with the `field`."""
    if raw[:1] == b"[":
        return Refusal("invalid_params", "Parameters go by name: send an object.", field="params")
    told = str(wrong)
    *_, inside = [None, *_AT.finditer(told)]
    if inside is not None and told.startswith("Invalid enum value"):
        # It tells the value, whatever that is and however long.
        return invalid_params(inside[1], "There is no such value.")
    if inside is not None:
        said = told[: inside.start()]
        return invalid_params(inside[1], _FORMS.get(said, said + "."))
    named = _FIELD.search(told)
    field = named[1][:64] if named else "params"
    if "unknown field" in told:
        return invalid_params(field, f"There is no parameter `{field}`.")
    if "missing required" in told:
        return invalid_params(field, f"The parameter `{field}` is required.")
    return invalid_params(field, told + ".")


# --- reading what may be anything -------------------------------------------------------------------------------------


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def depth(data: bytes) -> int:
    """How deep the nesting goes, as far as it matters: 0 for a message that has too few brackets to go too deep."""
    if data.count(b"{") + data.count(b"[") <= DEPTH_MAX:
        return 0
    now = deepest = 0
    for part in _BRACKETS.finditer(data):
        first = data[part.start()]
        if first in b"[{":
            now += 1
            deepest = max(now, deepest)
        elif first in b"]}":
            now -= 1
    return deepest


def is_balanced(data: bytes) -> bool:
    """Whether every bracket is closed by its own kind: what is asked of nesting too deep for any parser."""
    open_brackets = bytearray()
    for part in _BRACKETS.finditer(data):
        first = data[part.start()]
        if first in b"[{":
            open_brackets.append(first + 2)  # the ASCII code of its closing bracket
        elif first in b"]}" and (not open_brackets or open_brackets.pop() != first):
            return False
    return not open_brackets


def load(data: bytes) -> Any:
    """JSON with lone surrogates in it as they came. Raises: ValueError where it is none, RecursionError."""
    return json.loads(data.decode(), parse_int=_integer, parse_float=_float, parse_constant=_refuse_constant)


def _integer(digits: str) -> int:
    return int(digits) if len(digits) <= 400 else _HUGE


def _float(digits: str) -> float | int:
    number = float(digits)
    return number if math.isfinite(number) else _HUGE


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def bad_string(params: Any) -> Refusal | None:
    """The refusal of a NUL or a lone surrogate, naming the parameter that has it; None where there is none."""

    def has_it(value: Any) -> bool:
        waiting = [value]  # no recursion: what nests too deep for us may be asked about, too
        while waiting:
            one = waiting.pop()
            if isinstance(one, str):
                if "\x00" in one or (not one.isascii() and any("\ud800" <= c <= "\udfff" for c in one)):
                    return True
            elif isinstance(one, dict):
                waiting += one.keys()
                waiting += one.values()
            elif isinstance(one, list):
                waiting += one
        return False

    if not isinstance(params, dict):
        return invalid_params("params", _BAD_STRING) if has_it(params) else None
    for name, part in params.items():
        if has_it(name):
            return invalid_params("params", _BAD_STRING)  # a name that no answer could hold
        if has_it(part):
            return invalid_params(name[:64], _BAD_STRING)
    return None
