"""Where a credential rides on a request: finding the one that counts, and the WebSocket subprotocol beside it.

Reads no socket and verifies nothing: headers, query and message are handed in, and what is found goes to `Verifier`.

A place (`Endpoint`) says which carriers are looked at there; the settings say which of them are on. A credential by a
carrier that is off is refused by name, not missed silently. What is checked first is reported:

    unsupported_subprotocol, ambiguous_credentials, carrier_disabled, token_missing
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal
from urllib.parse import parse_qsl

from parley.tokens.errors import TokenRefused

CARRIERS: Final = ("header", "subprotocol", "ticket", "message", "token_header", "query")
DEFAULT_CARRIERS: Final = frozenset({"header", "subprotocol", "ticket", "message"})
BEARER_SUBPROTOCOL: Final = "bearer."

# What a page can use for a WebSocket, whose refusal by HTTP it cannot read.
_BROWSER_CARRIERS: Final = frozenset({"subprotocol", "ticket"})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A place where a credential may come.

    `carriers` are those looked at; `message` among them means that a first message may bring the credential.
    `subprotocols` are those spoken there; empty means that none is looked at. `credential_optional`: None is an answer.
    `closes_to_refuse`: a page's credential is refused on an accepted socket, closed with the code as its reason.
    """

    carriers: frozenset[str] = frozenset({"header"})
    subprotocols: tuple[str, ...] = ()
    subprotocol_required: bool = False
    credential_optional: bool = False
    closes_to_refuse: bool = False


@dataclass(frozen=True, slots=True)
class Credential:
    """A token or a ticket, not verified. Its `repr` does not show it."""

    kind: Literal["token", "ticket"]
    secret: str = field(repr=False)
    carrier: str

    def is_same_as(self, other: Credential) -> bool:
        """The same credential, by whichever carriers the two came."""
        return (self.kind, self.secret) == (other.kind, other.secret)


@dataclass(frozen=True, slots=True)
class Presented:
    """What a request presents: its credential, if it has one, and the subprotocol to select, if one is to be."""

    credential: Credential | None
    subprotocol: str | None = None
    endpoint: Endpoint = field(default_factory=Endpoint, repr=False)

    @property
    def refused_by_http(self) -> bool:
        """How to refuse the credential, should it be bad: by HTTP, or by closing a socket that was accepted first."""
        by_page = self.credential is not None and self.credential.carrier in _BROWSER_CARRIERS
        return not (by_page and self.endpoint.closes_to_refuse)


_UPGRADE: Final = frozenset({"header", "subprotocol", "ticket", "message", "token_header", "query"})

PLAIN: Final = Endpoint()
NATIVE_SOCKET: Final = Endpoint(_UPGRADE, ("parley.v1",), closes_to_refuse=True)
GRAPHQL_SOCKET: Final = Endpoint(_UPGRADE, ("graphql-transport-ws",), subprotocol_required=True, closes_to_refuse=True)
STREAM_SOCKET: Final = Endpoint(_UPGRADE, ("parley.stream.v1",), closes_to_refuse=True)
STREAM_LISTEN_SOCKET: Final = replace(STREAM_SOCKET, credential_optional=True)
STREAM_AUDIO: Final = Endpoint(frozenset({"header", "ticket"}), credential_optional=True)
SOCKETIO_UPGRADE: Final = Endpoint(_UPGRADE - {"subprotocol"})
SOCKETIO_POLLING: Final = Endpoint(frozenset({"header", "ticket", "message", "query"}))
CONVERSATION_START: Final = Endpoint(credential_optional=True)


def find_credential(
    headers: Iterable[tuple[str, str]],
    *,
    query: str = "",
    endpoint: Endpoint = PLAIN,
    carriers: Collection[str] = DEFAULT_CARRIERS,
) -> Presented:
    """Find the one credential of a request; `carriers` are those that are on.

    The same credential by two carriers is one, and counts as the first of CARRIERS. `Authorization` of another scheme
    is none. Without a credential, and where a first message may not bring it, that is `token_missing`.

    Raises: TokenRefused (`unsupported_subprotocol`, `ambiguous_credentials`, `carrier_disabled`, `token_missing`).
    """
    authorizations: list[str] = []
    token_headers: list[str] = []
    offered: list[str] = []
    for name, value in headers:
        match name.lower():
            case "authorization":
                authorizations.append(value)
            case "token":
                token_headers.append(value)
            case "sec-websocket-protocol":
                offered += [one.strip() for one in value.split(",")]
    in_query = _query_parameters(query)
    found: list[Credential] = []
    if "header" in endpoint.carriers:
        tokens = (bearer_token(value) for value in authorizations)
        found += [Credential("token", token, "header") for token in tokens if token is not None]
    subprotocol: str | None = None
    if endpoint.subprotocols:
        subprotocol, tokens_offered = _select_subprotocol([one for one in offered if one], endpoint)
        found += [Credential("token", token, "subprotocol") for token in tokens_offered]
    if "ticket" in endpoint.carriers:
        found += [Credential("ticket", value, "ticket") for name, value in in_query if name == "ticket"]
    if "token_header" in endpoint.carriers:
        found += [Credential("token", value.strip(), "token_header") for value in token_headers]
    if "query" in endpoint.carriers:
        found += [Credential("token", value, "query") for name, value in in_query if name == "token"]
    credential = _only_one(found, carriers)
    if credential is None and not endpoint.credential_optional:
        _require_later_message(endpoint, carriers)
    return Presented(credential, subprotocol, endpoint)


def credential_in_authenticate(params: object, carriers: Collection[str] = DEFAULT_CARRIERS) -> Credential | None:
    """The token in the parameters of `session.authenticate`, `{"token": …}`; None where there is none.

    Raises: TokenRefused (`carrier_disabled`; `token_malformed` for a token that is no string).
    """
    return _only_one(_token_member(params), carriers)


def credential_in_socketio_auth(
    auth: object, carriers: Collection[str] = DEFAULT_CARRIERS, *, beside: Credential | None = None
) -> Credential | None:
    """The token in a Socket.IO CONNECT packet's `auth`, `{"token": …}`, or `beside`, the handshake's own.

    Raises: TokenRefused (`ambiguous_credentials`, `carrier_disabled`; `token_malformed` for one that is no string).
    """
    return _only_one(_token_member(auth), carriers, beside=beside)


def credential_in_connection_init(
    payload: object, carriers: Collection[str] = DEFAULT_CARRIERS, *, beside: Credential | None = None
) -> Credential | None:
    """The token in the payload of GraphQL's `connection_init`, or `beside`, the handshake's own.

    It is `{"authorization": "Bearer …"}` or `{"token": …}`; other members are the client's affair.

    Raises: TokenRefused (`ambiguous_credentials`, `carrier_disabled`; `token_malformed` for one that is no string).
    """
    found = _token_member(payload)
    if isinstance(payload, Mapping):
        for name, value in payload.items():
            if isinstance(name, str) and name.lower() == "authorization" and value is not None:
                if not isinstance(value, str):
                    raise TokenRefused("token_malformed", carrier="message")
                if (token := bearer_token(value)) is not None:
                    found.append(Credential("token", token, "message"))
    return _only_one(found, carriers, beside=beside)


def bearer_token(authorization: str) -> str | None:
    """The token of an `Authorization` header, None for another scheme (RFC 6750 §2.1; schemes ignore case)."""
    scheme, _, rest = authorization.strip().partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else None


def challenge(refusal: TokenRefused, *, realm: str = "parley") -> str:
    """The value of `WWW-Authenticate` for an answer with status 401.

    Source: RFC 6750 §3: no error code for a request that brought no credential.
    """
    if refusal.code == "token_missing":
        return f'Bearer realm="{realm}"'
    return f'Bearer realm="{realm}", error="invalid_token", error_description="{refusal.code}"'


def _select_subprotocol(offered: list[str], endpoint: Endpoint) -> tuple[str | None, list[str]]:
    """The subprotocol to select, None where none was offered, and the tokens offered beside it."""
    selected = next((one for one in offered if one in endpoint.subprotocols), None)
    if selected is None and (offered or endpoint.subprotocol_required):
        raise TokenRefused("unsupported_subprotocol")
    tokens = [one.removeprefix(BEARER_SUBPROTOCOL) for one in offered if one.startswith(BEARER_SUBPROTOCOL)]
    return selected, tokens if "subprotocol" in endpoint.carriers else []


def _only_one(
    found: list[Credential], carriers: Collection[str], *, beside: Credential | None = None
) -> Credential | None:
    """`beside` has passed before, so of it only that it is the same is asked."""
    first = found[0] if beside is None and found else beside
    if first is None:
        return None
    if not all(one.is_same_as(first) for one in found):
        raise TokenRefused("ambiguous_credentials")
    for one in found:
        if one.carrier not in carriers:
            raise TokenRefused("carrier_disabled", carrier=one.carrier)
    return first


def _require_later_message(endpoint: Endpoint, carriers: Collection[str]) -> None:
    if not ("message" in endpoint.carriers and "message" in carriers):
        raise TokenRefused("token_missing")


def _token_member(message: object) -> list[Credential]:
    token = message.get("token") if isinstance(message, Mapping) else None
    if token is None:
        return []
    if not isinstance(token, str):
        raise TokenRefused("token_malformed", carrier="message")
    return [Credential("token", token, "message")]


def _query_parameters(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True) if query else []
