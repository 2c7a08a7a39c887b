"""Where settings come from: flags, the environment, a TOML file. And the one line that is said of a wrong one.

Remembers of each value how its user named it, so that the line can say exactly that. The settings are `settings.py`.
"""

import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from parley.config.settings import SECRET_BYTES_MIN, Form, Settings, is_loopback

PREFIX: Final = "PARLEY_"
#: Read by the command line's clients, not settings of the server.
_OF_CLIENTS: Final = frozenset({"PARLEY_URL", "PARLEY_TOKEN", "PARLEY_TOKEN_FILE"})
_TEST_PREFIX: Final = "PARLEY_TEST_"

Key = tuple[str, ...]


class SettingsError(Exception):
    """A setting that stops the start; its text is one line for the user, without the value."""


def fields() -> Iterator[tuple[Key, FieldInfo]]:
    """Every setting: `("auth", "secret")` and what it is. Also what the documentation's table is made of."""
    return _fields_of(Settings, ())


def _fields_of(model: type[BaseModel], above: Key) -> Iterator[tuple[Key, FieldInfo]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _fields_of(field.annotation, (*above, name))
        else:
            yield (*above, name), field


def environment_name(key: Key) -> str:
    """`PARLEY_AUTH__SECRET`."""
    return PREFIX + "__".join(key).upper()


def form_of(field: FieldInfo) -> str:
    """What a value should be: the end of the sentence "X should be …"."""
    return next((str(part) for part in field.metadata if isinstance(part, Form)), "something else")


_FIELDS: Final[Mapping[Key, FieldInfo]] = dict(fields())


class Given:
    """Values that somebody gave, nested as the model is, and how they named each."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.names: dict[Key, str] = {}

    def put(self, key: Key, value: object, name: str) -> None:
        level = self.values
        for part in key[:-1]:
            level = level.setdefault(part, {})
        level[key[-1]] = value
        self.names[key] = name


def from_flags(flags: Mapping[str, object]) -> Given:
    """Flags of the command line; those that are None were not given."""
    given = Given()
    for name, value in flags.items():
        if value is not None:
            given.put((name,), value, f"--{name.replace('_', '-')}")
    return given


def from_environment(environ: Mapping[str, str]) -> Given:
    """`PARLEY_…`, `__` between levels, lists comma-separated, `…_FILE` from a file. Raises: SettingsError."""
    given = Given()
    known = {environment_name(key): key for key in _FIELDS}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name.startswith(_TEST_PREFIX) or name in _OF_CLIENTS:
            continue
        if (key := known.get(name)) is not None:
            given.put(key, _parsed(key, environ[name], name), name)
        elif (key := known.get(name.removesuffix("_FILE"))) is not None:
            if name.removesuffix("_FILE") in environ:
                raise SettingsError(f"{name} and {name.removesuffix('_FILE')} are both set: unset one of them")
            given.put(key, _parsed(key, _text_of_file(environ[name], name), name), name)
        else:
            raise _unknown(name, [*known, *(name + "_FILE" for name in known if name + "_FILE" not in known)])
    return given


def from_toml(path: Path) -> Given:
    """A TOML file with a table for each level. Raises: SettingsError."""
    given = Given()
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"--config {path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"--config {path} is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"--config {path} is not TOML: {error}") from None
    _put_tables(given, tables, (), path)
    return given


def _put_tables(given: Given, table: Mapping[str, Any], above: Key, path: Path) -> None:
    for name, value in table.items():
        key = (*above, name)
        if key in _FIELDS:
            given.put(key, value, f"{'.'.join(key)} in {path}")
        elif isinstance(value, dict) and any(known[: len(key)] == key for known in _FIELDS):
            _put_tables(given, value, key, path)
        else:
            raise _unknown(".".join(key), [".".join(known) for known in _FIELDS], f" in {path}")


def _parsed(key: Key, text: str, name: str) -> object:
    field = _FIELDS[key]
    if get_origin(field.annotation) is not list:
        return text
    if _item_model(field) is None:
        return [part.strip() for part in text.split(",") if part.strip()]
    if not text.strip():
        return []
    try:
        return json.loads(text)
    except ValueError:
        raise SettingsError(f"{name} should be {form_of(field)}") from None


def _item_model(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a list's items, where they are objects."""
    item = get_args(field.annotation)[0] if get_origin(field.annotation) is list else None
    return item if isinstance(item, type) and issubclass(item, BaseModel) else None


def _text_of_file(path: str, name: str) -> str:
    try:
        text = Path(path).read_bytes().decode("utf-8")
    except OSError as error:
        raise SettingsError(f"{name}: {path} can't be read: {error.strerror}") from None
    except (UnicodeDecodeError, ValueError):
        raise SettingsError(f"{name}: {path} is not UTF-8 text") from None
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


def _unknown(name: str, known: list[str], where: str = "") -> SettingsError:
    if any(one.startswith((name + "__", name + ".")) for one in known):
        return SettingsError(f"{name}{where} is not a setting but a group of them; the documentation lists its members")
    # Compared without the prefix, which all of them share.
    shown = {one.removeprefix(PREFIX): one for one in known}
    near = difflib.get_close_matches(name.removeprefix(PREFIX), shown, n=1, cutoff=0.6)
    hint = f"; did you mean {shown[near[0]]}?" if near else "; the settings are listed in the documentation"
    return SettingsError(f"{name}{where} is not a setting{hint}")


class _Source(PydanticBaseSettingsSource):
    def __init__(self, settings_cls: type[BaseSettings], given: Given) -> None:
        super().__init__(settings_cls)
        self._given = given

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self._given.values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._given.values


def load(
    config: Path | None = None, *, environ: Mapping[str, str] | None = None, flags: Mapping[str, object] | None = None
) -> Settings:
    """All settings: `flags` before `environ` before the file `config` before the defaults.

    Raises: SettingsError, which names the setting as its user wrote it.
    """
    file = from_toml(config) if config is not None else Given()
    given = [from_flags(flags or {}), from_environment(environ or {}), file]

    names = given[2].names | given[1].names | given[0].names
    try:
        settings = Settings(*(_Source(Settings, one) for one in given))
    except ValidationError as error:
        raise SettingsError(_line(error, names)) from None
    _require_consistent(settings, names)
    return settings


def _line(error: ValidationError, names: Mapping[Key, str]) -> str:
    """The first fault, in one line, without the value."""
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    at = tuple(fault["loc"])
    key = next((at[:n] for n in range(len(at), 0, -1) if at[:n] in _FIELDS), None)
    said = fault["msg"].removeprefix("Value error, ")
    if key is None:  # of a level as a whole
        return f"{environment_name(tuple(map(str, at)))}__{said}"
    key = tuple(map(str, key))
    name = names.get(key, environment_name(key))
    inside = at[len(key) :]
    field = _FIELDS[key]
    item = _item_model(field)
    if not inside or item is None:
        return f"{name} should be {form_of(field)}"
    place = f"{name}[{inside[0]}]"
    if len(inside) == 1:
        return f"{place} {said}" if fault["type"] == "value_error" else f"{place} should be an object"
    member = str(inside[1])
    if fault["type"] == "extra_forbidden":
        return str(_unknown(f"{place}.{member}", [f"{place}.{one}" for one in item.model_fields]))
    if fault["type"] == "missing":
        return f"{place}.{member} is missing"
    return f"{place}.{member} should be {form_of(item.model_fields[member])}"


def _require_consistent(settings: Settings, names: Mapping[Key, str]) -> None:
    if settings.auth.algorithm == "HS256" and settings.auth.secret is None:
        raise SettingsError(
            f"{names[('auth', 'algorithm')]} is HS256, which needs a secret of at least {SECRET_BYTES_MIN} bytes: "
            "set PARLEY_AUTH__SECRET or PARLEY_AUTH__SECRET_FILE"
        )


def require_servable(settings: Settings, *, demo: bool) -> None:
    """What only `parley serve` needs. Raises: SettingsError, with the line to set."""
    host = settings.host
    if demo and not is_loopback(host):
        raise SettingsError(f"--demo has sign-ins that everybody knows: it serves on loopback only, not on {host}")
    if settings.public_url is None and not is_loopback(host):
        shown = "https://chat.example.org" if host in ("0.0.0.0", "::", "[::]") else _url(host, settings.port)  # noqa: S104
        raise SettingsError(
            f"{host} is not a loopback address, so browsers' origins can't be checked without the server's own: "
            f"set PARLEY_PUBLIC_URL={shown}"
        )
    if settings.workers > 1:
        if settings.bus_url is None:
            raise SettingsError(f"{settings.workers} workers need a bus: set PARLEY_BUS_URL=redis://HOST:6379")
        if not settings.is_postgresql:
            raise SettingsError(
                f"{settings.workers} workers need PostgreSQL: set PARLEY_DATABASE_URL=postgresql://USER@HOST/NAME"
            )


def _url(host: str, port: int) -> str:
    return f"http://[{host.strip('[]')}]:{port}" if ":" in host else f"http://{host}:{port}"
