"""The pages and what they are made of: files of the package's `web/` folder, held in memory from the start.

Serves them with a strict content policy, strong validators and gzip made once, scripts without their comments. Knows
nothing of what a page does.
"""

import gzip
import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from parley.domain.errors import Refusal
from parley.transport.origins import Origins

#: What is served, by the end of its name; anything else in the folder is not.
MEDIA_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "html": "text/html; charset=utf-8",
        "js": "text/javascript; charset=utf-8",
        "css": "text/css; charset=utf-8",
        "svg": "image/svg+xml",
        "webmanifest": "application/manifest+json",
        "json": "application/json",
        "txt": "text/plain; charset=utf-8",
        "png": "image/png",
        "ico": "image/vnd.microsoft.icon",
        "woff2": "font/woff2",
    }
)
_ALREADY_SMALL: Final = frozenset({"png", "ico", "woff2"})
#: All files together: they stay in memory, in every process, for as long as it runs.
BYTES_MAX: Final = 16 * 1024 * 1024

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src {connect}; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors {framers}"
)
#: What the player's pages may do besides: play a stream as it is, and run their audio modules.
_SOUND: Final = "; media-src 'self'; worker-src 'self'"


#: Comments that have their lines to themselves: half of a module, which browsers need not load.
_COMMENT: Final = re.compile(rb"^[ \t]*(?:/\*\*(?:(?!\*/).)*\*/|//[^\n]*)[ \t]*\n", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Asset:
    """One file. `etag` and `etag_gzip` are quoted; `body_gzip` is None where it would not be smaller."""

    media_type: str
    body: bytes
    etag: str
    body_gzip: bytes | None
    etag_gzip: str


class Pages:
    """The files under `root`, read now; `framers` are the origins whose pages may frame the widget, and nothing else.

    Raises: ValueError where the files are more than BYTES_MAX.
    """

    def __init__(self, root: Traversable, origins: Origins, framers: Collection[str] = ()) -> None:
        self._origins = origins
        self._framers = " ".join(framers)
        self._assets = _read(root)

    async def static(self, request: Request) -> Response:
        """`GET /static/<path>`: the path is a name that was read, not one that is opened now."""
        return self.answer(request, request.path_params["path"])

    async def chat(self, request: Request) -> Response:
        """`GET /`."""
        return self.answer(request, "chat/index.html")

    async def agent(self, request: Request) -> Response:
        """`GET /agent`."""
        return self.answer(request, "console/index.html")

    async def widget_script(self, request: Request) -> Response:
        """`GET /widget.js`: what a site puts on its pages."""
        return self.answer(request, "widget/widget.js")

    async def widget(self, request: Request) -> Response:
        """`GET /widget`: what that script frames."""
        return self.answer(request, "widget/index.html", self._framers)

    async def listen(self, request: Request) -> Response:
        """`GET /listen/<stream>`, whatever its name: the page asks for it."""
        return self.answer(request, "player/listen.html", besides=_SOUND)

    async def broadcast(self, request: Request) -> Response:
        """`GET /broadcast/<stream>`."""
        return self.answer(request, "player/broadcast.html", besides=_SOUND)

    def answer(self, request: Request, path: str, framers: str = "", besides: str = "") -> Response:
        """One file, or 304 where the browser has it; none but `framers` may frame it. `besides` is added to its policy.

        Raises: Refusal (`not_found`).
        """
        asset = self._assets.get(path)
        if asset is None:
            raise Refusal("not_found", "There is nothing at this path.")
        body, etag = asset.body, asset.etag
        headers = {
            "Cache-Control": "no-cache",
            "Content-Security-Policy": self._policy(request, framers or "'none'") + besides,
            "Cross-Origin-Opener-Policy": "same-origin",
        }
        if not framers:  # this header knows no list of origins; the policy does
            headers["X-Frame-Options"] = "DENY"
        if asset.body_gzip is not None:
            headers["Vary"] = "Accept-Encoding"
            if accepts_gzip(request.headers.getlist("accept-encoding")):
                body, etag = asset.body_gzip, asset.etag_gzip
                headers["Content-Encoding"] = "gzip"
        headers["ETag"] = etag
        if matches(request.headers.getlist("if-none-match"), etag):
            headers.pop("Content-Encoding", None)
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type=asset.media_type)

    def _policy(self, request: Request, framers: str) -> str:
        # `'self'` covers a WebSocket of one's own origin in today's browsers; older ones need it by name.
        socket = self._origins.web_socket(request.headers.get("host"))
        return _POLICY.format(connect=f"'self' {socket}" if socket else "'self'", framers=framers)


def matches(if_none_match: list[str], etag: str) -> bool:
    """Whether `If-None-Match` names this one. Source: RFC 9110 §13.1.2, weak comparison."""
    named = [one.strip().removeprefix("W/") for line in if_none_match for one in line.split(",")]
    return etag in named or "*" in named


def accepts_gzip(accept_encoding: list[str]) -> bool:
    """Whether `Accept-Encoding` lists gzip, with any weight but 0. Source: RFC 9110 §12.5.3."""
    weights: dict[str, bool] = {}
    for one in ",".join(accept_encoding).split(","):
        coding, *parameters = (part.strip().lower() for part in one.split(";"))
        weights[coding] = not any(_is_zero(part) for part in parameters)
    return weights.get("gzip", weights.get("*", False))


def _is_zero(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    return name.strip() == "q" and value.strip().rstrip("0").rstrip(".") in ("", "0")


def _read(root: Traversable) -> dict[str, Asset]:
    assets: dict[str, Asset] = {}
    left = BYTES_MAX
    folders = [("", root)]
    while folders:
        prefix, folder = folders.pop()
        for entry in folder.iterdir():
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                folders.append((f"{prefix}{entry.name}/", entry))
            elif (ending := entry.name.rpartition(".")[2]) in MEDIA_TYPES:
                body = entry.read_bytes()
                if ending == "js":
                    body = _COMMENT.sub(b"", body)
                left -= len(body)
                if left < 0:
                    raise ValueError(f"the pages have more than {BYTES_MAX} bytes")
                assets[prefix + entry.name] = _asset(body, ending)
    return assets


def _asset(body: bytes, ending: str) -> Asset:
    digest = hashlib.sha256(body).hexdigest()[:32]
    # With the time left out, the same content gives the same bytes on every node, as a strong validator promises.
    small = None if ending in _ALREADY_SMALL else gzip.compress(body, 9, mtime=0)
    if small is not None and len(small) >= len(body):
        small = None
    return Asset(MEDIA_TYPES[ending], body, f'"{digest}"', small, f'"{digest}-gzip"')
