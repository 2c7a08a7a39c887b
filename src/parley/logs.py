"""Log lines: one structured line for each event, to standard error, and no credential in any of them.

Everything goes through here, the libraries' lines included. Redaction is the last line of defence, not the first:
who writes a line leaves credentials out of it.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, Literal, TextIO

import structlog

REDACTED: Final = "[redacted]"
#: A longer value is cut: a peer's text must not fill a disk with one line.
VALUE_CHARS_MAX: Final = 8192

_KEYS = (
    "access_token|refresh_token|id_token|token|ticket|link|identity|secret|client_secret|password|current|api_key|jwt"
    "|cookie|set-cookie"
)
_VALUE = r"""(?:\\?"[^"]*"|'[^']*'|[^\s"'&,;}\\]+)"""
#: Pattern and what takes its place. Only what cannot be quoted JSON is taken, so that a JSON line stays one.
_SECRETS: Final = tuple(
    (re.compile(pattern), put)
    for pattern, put in (
        (r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,20}PRIVATE KEY-----|\Z)", REDACTED),
        (r"(?i)(\bauthorization\b\\?[\"']?\s*[:=]\s*)[^\r\n\"'\\]+", rf"\1{REDACTED}"),
        (r"(?i)\b(bearer)(\.|(?:\s|%20|\+)+)[^\s\"'<>,;\\]+", rf"\1\2{REDACTED}"),
        (rf"(?i)(\b(?:{_KEYS})\b\\?[\"']?\s*=\s*b?){_VALUE}", rf"\1{REDACTED}"),
        # In JSON and in Python's repr of a mapping; there the key is quoted, so prose ("refused: token: …") is not it.
        (rf"(?i)([\"'](?:{_KEYS})\\?[\"']\s*:\s*b?\\?[\"'])[^\"'\\]*", rf"\1{REDACTED}"),
        # A private JWK.
        (r"([\"'](?:d|k|p|q|dp|dq|qi)\\?[\"']\s*:\s*\\?[\"'])[A-Za-z0-9_-]{8,}", rf"\1{REDACTED}"),
        # A JWS, whatever its header; then what is left of one that was cut.
        (r"(?<![\w-])[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}", REDACTED),
        (r"\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*", REDACTED),
        # A refresh token.
        (r"(?<![\w~-])[A-Za-z0-9_~-]{1,64}\.\d{1,19}\.[A-Za-z0-9_-]{40,}", REDACTED),
        (r"\$argon2[a-z]*\$[^\s\"'\\]*", REDACTED),
        # An URL with a password.
        (r"(?i)\b([a-z][a-z0-9+.-]{0,20}://)[^\s/@\"'\\]{1,1000}@", rf"\1{REDACTED}@"),
    )
)
_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {
    10: "\\n",
    13: "\\r",
    9: "\\t",
}


def redacted(text: str) -> str:
    """`text` without anything that looks like a credential."""
    for pattern, put in _SECRETS:
        text = pattern.sub(put, text)
    return text


def configure(form: Literal["console", "json"], level: str, stream: TextIO | None = None) -> None:
    """Send every log line of the process to `stream` (standard error). Call it once, before the first line."""
    stream = sys.stderr if stream is None else stream
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: Any
    if form == "json":
        renderer = structlog.processors.JSONRenderer(default=_plain)
    else:
        colours = stream.isatty()
        renderer = structlog.dev.ConsoleRenderer(
            colors=colours, exception_formatter=structlog.dev.plain_traceback, pad_event_to=0, pad_level=False
        )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        _Redacting(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _cut,
                # JSON escapes control characters itself; on a console they forge lines and move cursors.
                *([structlog.processors.format_exc_info] if form == "json" else [_escape]),
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    # What they say below a warning is of use to their authors only.
    for chatty in ("alembic", "picows", "asyncio", "httpx2", "httpcore2"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def access(method: str, path: str, status: int, duration_ms: float, address: str | None) -> None:
    """One line of the access log. `path` may have a query, which is left out, for it may hold a credential."""
    _access.info(
        "request",
        extra={
            "method": method,
            "path": path.partition("?")[0],
            "status": status,
            "ms": round(duration_ms, 1),
            "address": address,
        },
    )


_access: Final = logging.getLogger("parley.access")


class _Redacting(structlog.stdlib.ProcessorFormatter):
    """Redacts the finished line, so that nothing is in it that was not looked at: tracebacks, nested values, all."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


def _cut(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = _short(value)
    return event


def _escape(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = value.translate(_CONTROLS)
    return event


def _short(text: str) -> str:
    return text if len(text) <= VALUE_CHARS_MAX else text[:VALUE_CHARS_MAX] + "…"


def _plain(value: object) -> object:
    """What JSON knows no form of."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    return _short(repr(value))
