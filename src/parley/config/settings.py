"""Every setting that Parley has, with its form and its default: the table itself.

Where the values come from, and what is said of a wrong one, is `sources.py`. The names are CONTRACT sections 6 and 7.
"""

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

Carrier = Literal["header", "subprotocol", "ticket", "message", "token_header", "query"]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SECRET_BYTES_MIN: Final = 32
_TEN_YEARS_S: Final = 315_360_000


class Form(str):
    """Metadata of a setting's type: what a value should be, as the end of the sentence "X should be …"."""


def _none_where_empty(value: object) -> object:
    # Compose files pass variables on as empty strings: `PARLEY_PUBLIC_URL=${PUBLIC_URL:-}`.
    return None if value == "" else value


def _split_url(text: str) -> tuple[str, str]:
    """Scheme and authority of an URL that has nothing else. Raises: ValueError."""
    url = urlsplit(text)
    if url.path not in ("", "/") or url.query or url.fragment or url.username or not url.hostname:
        raise ValueError("more or less than an origin")
    if not re.fullmatch(r"[A-Za-z0-9.:\[\]_*-]+", url.netloc) or url.port == 0:
        raise ValueError("no host")
    return url.scheme.lower(), url.netloc.lower()


def origin(text: str) -> str:
    """An origin as browsers write it in `Origin`: lower case, no default port, no slash. Raises: ValueError."""
    scheme, authority = _split_url(text.strip())
    if scheme not in ("http", "https") or "*" in authority:
        raise ValueError("not of the web")
    return f"{scheme}://{authority.removesuffix(':443' if scheme == 'https' else ':80')}"


def _framing_origin(text: str) -> str:
    # A source of CSP's frame-ancestors: an origin, or all hosts under one (`https://*.example.org`).
    wildcard = text.strip().replace("://*.", "://", 1)
    plain = origin(wildcard)
    return plain if wildcard == text.strip() else plain.replace("://", "://*.", 1)


def _network(value: object) -> object:
    return ipaddress.ip_network(value.strip(), strict=False) if isinstance(value, str) else value


def _database_url(value: SecretStr) -> SecretStr:
    url = value.get_secret_value()
    if not re.match(r"sqlite:///.|postgresql://.", url):
        raise ValueError("no database that Parley knows")
    return value


def _bus_url(value: SecretStr) -> SecretStr:
    if not re.match(r"rediss?://.|unix://.", value.get_secret_value()):
        raise ValueError("no bus that Parley knows")
    return value


def _secret(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value().encode()) < SECRET_BYTES_MIN:
        raise ValueError("too short")
    return value


def _jwks_url(text: str) -> str:
    url = urlsplit(text)
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.hostname or "")):
        raise ValueError("not over HTTPS")
    if not url.hostname:
        raise ValueError("no host")
    return text


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`, a name or an address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


Whole = Annotated[int, Field(ge=0, le=2**53), Form("a whole number; 0 switches the limit off")]
Rate = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False), Form("a number; 0 switches the limit off")]
OffSeconds = Annotated[
    float, Field(ge=0, le=_TEN_YEARS_S, allow_inf_nan=False), Form("a number of seconds; 0 switches it off")
]
Lifetime = Annotated[
    float,
    Field(ge=1, le=_TEN_YEARS_S, allow_inf_nan=False),
    Form("a number of seconds, at least 1 and under ten years"),
]
Margin = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False), Form("a number of seconds from 0 to 86400")]
Switch = Annotated[bool, Form("true or false")]
Text = Annotated[str, Field(min_length=1, max_length=1024), Form("a text")]
Networks = Annotated[
    list[Annotated[Network, BeforeValidator(_network)]],
    Form("a comma-separated list of networks, like 10.0.0.0/8, 192.0.2.7, fd00::/8"),
]
Origins = Annotated[
    list[Annotated[str, AfterValidator(origin)]],
    Form("a comma-separated list of origins without a path, like https://example.org, http://localhost:3000"),
]
FramingOrigins = Annotated[
    list[Annotated[str, AfterValidator(_framing_origin)]],
    Form("a comma-separated list of origins without a path, like https://example.org, https://*.example.org"),
]


def _unless_none(check: Callable[[Any], Any]) -> AfterValidator:
    return AfterValidator(lambda value: None if value is None else check(value))


_EMPTY_IS_NONE = BeforeValidator(_none_where_empty)
OptionalText = Annotated[str | None, _EMPTY_IS_NONE, Form("a text")]
OptionalPath = Annotated[Path | None, Form("a path")]
Secret = Annotated[
    SecretStr | None, _EMPTY_IS_NONE, _unless_none(_secret), Form(f"a secret of at least {SECRET_BYTES_MIN} bytes")
]
DatabaseUrl = Annotated[
    SecretStr | None, _EMPTY_IS_NONE, _unless_none(_database_url), Form("sqlite:///FILE or postgresql://…")
]
BusUrl = Annotated[SecretStr | None, _EMPTY_IS_NONE, _unless_none(_bus_url), Form("redis://HOST:PORT")]
PublicUrl = Annotated[
    str | None,
    _EMPTY_IS_NONE,
    _unless_none(origin),
    Form("an origin without a path, like https://chat.example.org"),
]
JwksUrl = Annotated[str | None, _unless_none(_jwks_url), Form("an https:// URL (http:// on loopback only)")]
Roles = Annotated[list[Literal["member", "agent", "admin"]], Form("a list of member, agent, admin")]


def setting(default: Any, doc: str) -> Any:
    """A setting's default and its line in the documentation."""
    return Field(default, description=doc)


class Group(BaseModel):
    """One level of settings."""

    # Errors never quote a value: it may be a secret.
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, frozen=True)


class Limits(Group):
    message_chars: Whole = setting(8000, "Characters of a message, after NFC.")
    request_bytes: Whole = setting(131_072, "Bytes of one incoming message or request body.")
    replay_bytes: Whole = setting(524_288, "Bytes of events in one answer of `room.subscribe` or `event.list`.")
    slow_consumer_bytes: Whole = setting(1_048_576, "Unsent bytes at which a connection is closed with 4420.")
    subscriptions: Whole = setting(100, "Rooms that one connection may be subscribed to.")
    connections: Whole = setting(20, "Connections of one subject; one more closes the one longest silent.")
    service_connections: Whole = setting(1000, "The same for a subject of type `service`.")
    connections_total: Whole = setting(20_000, "Connections of one node; beyond: 503 `overloaded`.")
    pending_connections: Whole = setting(1000, "Accepted connections that have not authenticated yet.")
    pending_per_address: Whole = setting(20, "The same for one address.")
    bad_tokens_per_s: Rate = setting(20, "Bad tokens from one address in a second.")
    messages_per_s: Rate = setting(10, "Messages and edits of one subject in a second, in the long run.")
    messages_burst: Whole = setting(20, "Messages and edits of one subject at once.")
    guest_messages_per_s: Rate = setting(2, "The same rate for a guest.")
    guest_messages_burst: Whole = setting(5, "The same burst for a guest.")
    conversations_per_min: Rate = setting(5, "Conversations started from one address in a minute.")
    login_failures: Whole = setting(
        10, "Failed sign-ins for one account from one address in 10 minutes; five times that for the address."
    )
    links_per_hour: Rate = setting(
        3, "Emailed links for one address and conversation in an hour; nothing is emailed yet."
    )
    ping_interval: OffSeconds = setting(25, "Seconds between two WebSocket pings.")
    ping_timeout: OffSeconds = setting(20, "Seconds of silence after an unanswered ping until a peer counts as dead.")
    connection_lifetime: OffSeconds = setting(86_400, "Seconds until a connection is closed with 1012 `lifetime`.")
    auth_timeout: OffSeconds = setting(5, "Seconds for the first message to authenticate.")


class ExternalIssuer(Group):
    """Somebody else whose tokens are accepted; their subjects are `<name>:<sub>`."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,16}$"), Form("1 to 16 of a-z, 0-9 and -, and not guest")]
    issuer: Text
    audience: Text
    jwks_url: JwksUrl = None
    jwks_file: OptionalPath = None
    secret_file: OptionalPath = None
    algorithms: Annotated[list[Text], Form("a list of algorithm names, like ES256")] = []
    use: Annotated[Literal["access", "identity"], Form("access or identity")] = "access"
    typ: Annotated[list[str], Form('a list of header types, like "at+jwt", "" for none')] = ["at+jwt", "JWT", ""]
    default_kid: OptionalText = None
    roles_claim: OptionalText = None
    allowed_roles: Roles = []
    default_roles: Roles = []
    type: Annotated[Literal["account", "service"], Form("account or service")] = "account"

    @model_validator(mode="after")
    def _consistent(self) -> "ExternalIssuer":
        if self.name == "guest":
            raise ValueError("has the name guest, which is the server's own")
        if sum(key is not None for key in (self.jwks_url, self.jwks_file, self.secret_file)) != 1:
            raise ValueError("needs exactly one of jwks_url, jwks_file and secret_file")
        return self


class Auth(Group):
    carriers: Annotated[
        list[Carrier],
        Field(min_length=1),
        Form("a comma-separated list of header, subprotocol, ticket, message, token_header, query"),
    ] = setting(["header", "subprotocol", "ticket", "message"], "The ways in which a token may arrive.")
    algorithm: Annotated[Literal["ES256", "EdDSA", "RS256", "HS256"], Form("ES256, EdDSA, RS256 or HS256")] = setting(
        "ES256", "What new signing keys are made for."
    )
    secret: Secret = setting(None, "The secret of HS256.")
    issuer: Text = setting("parley", "`iss` of our tokens.")
    audience: Text = setting("parley", "`aud` of our tokens.")
    access_ttl: Lifetime = setting(900, "Seconds that an access token lasts.")
    guest_ttl: Lifetime = setting(3600, "Seconds that a guest's access token lasts.")
    refresh_ttl: Lifetime = setting(2_592_000, "Seconds that a sign-in lasts.")
    ticket_ttl: Lifetime = setting(30, "Seconds that a ticket lasts.")
    refresh_reuse: Margin = setting(60, "Seconds in which a used refresh token still gives its successor.")
    margin: Margin = setting(30, "Seconds before its expiry at which a connection is warned.")
    grace: Margin = setting(25, "Seconds that a connection is held after its token's expiry.")
    issuers: Annotated[list[ExternalIssuer], Form("a JSON list of objects with name, issuer, audience, …")] = setting(
        [], "Other issuers whose tokens are accepted; JSON in the environment."
    )

    @model_validator(mode="after")
    def _issuers_apart(self) -> "Auth":
        for attribute in ("name", "issuer"):
            values = [getattr(issuer, attribute) for issuer in self.issuers]
            if len(values) != len(set(values)):
                raise ValueError(f"ISSUERS: two have the same {attribute}")
        if any(issuer.issuer == self.issuer for issuer in self.issuers):
            raise ValueError("ISSUERS: one has our own ISSUER as its issuer")
        return self


class Policy(Group):
    delete_own: Switch = setting(False, "Whether a plain member may delete their own messages.")


class Helpdesk(Group):
    return_after: OffSeconds = setting(
        120, "Seconds that an agent may be gone or away before their conversations go back to the queue."
    )
    capacity: Annotated[int, Field(ge=0, le=1000), Form("a whole number from 0 to 1000")] = setting(
        10, "Open conversations of an agent who sets no capacity of their own."
    )
    preview: Switch = setting(True, "Whether agents see what a visitor types before it is sent; the visitor is told.")


class Outgoing(Group):
    allow: Networks = setting([], "Private networks that outgoing requests may go to.")


class Settings(BaseSettings):
    """All settings, read and checked; `load` of this package makes one."""

    model_config = SettingsConfigDict(extra="forbid", hide_input_in_errors=True, frozen=True)

    host: Annotated[str, Field(min_length=1), Form("a host name or an address")] = setting(
        "127.0.0.1", "The address to listen on."
    )
    port: Annotated[int, Field(ge=0, le=65535), Form("a whole number from 0 to 65535")] = setting(
        8000, "The port to listen on; 0 is any free one."
    )
    data: Annotated[Path, Form("a directory")] = setting(
        Path("parley-data"), "The directory of the SQLite file and the keys."
    )
    database_url: DatabaseUrl = setting(None, "The database; without it, SQLite in the data directory.")
    bus_url: BusUrl = setting(None, "The bus between workers and nodes.")
    node_url: PublicUrl = setting(
        None, "Where other nodes reach this one, http://HOST:PORT; without it, this machine's address and the port."
    )
    workers: Annotated[int, Field(ge=1, le=256), Form("a whole number from 1 to 256")] = setting(
        1, "Processes that serve; more than one needs a bus and PostgreSQL."
    )
    public_url: PublicUrl = setting(None, "The origin under which browsers reach the server.")
    allowed_origins: Origins = setting([], "Other origins whose pages may call the server.")
    widget_origins: FramingOrigins = setting([], "Origins whose pages may frame the widget.")
    trusted_proxies: Networks = setting([], "Proxies whose `Forwarded` and `X-Forwarded-*` count.")
    metrics_allow: Networks = setting([], "Networks, besides loopback, that may read `/metrics`.")
    log_format: Annotated[Literal["console", "json"], Form("console or json")] = setting(
        "console", "How log lines are written."
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Form("debug, info, warning or error")] = setting(
        "info", "The least severe lines that are logged."
    )
    auth: Auth = Auth()
    limits: Limits = Limits()
    policy: Policy = Policy()
    helpdesk: Helpdesk = Helpdesk()
    outgoing: Outgoing = Outgoing()

    def __init__(self, *sources: PydanticBaseSettingsSource) -> None:
        super().__init__(_build_sources=(sources, {}))

    @property
    def store_url(self) -> str:
        """The database's URL, which may hold a password: never log it."""
        if self.database_url is not None:
            return str(self.database_url.get_secret_value())
        return f"sqlite:///{self.data / 'parley.db'}"

    @property
    def is_postgresql(self) -> bool:
        return self.store_url.startswith("postgresql")
