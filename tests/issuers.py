"""Other people's token issuers, as a test has them: keys, tokens by an independent library, and a JWKS server.

The tokens have the shapes that Keycloak, Auth0, Firebase and PHP back ends document; nothing here is ours.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

PHP_SECRET: Final = "a secret that both back ends know, in 40 b"


class Key:
    """One signing key of an issuer's."""

    def __init__(self, kid: str, algorithm: str = "ES256") -> None:
        self.kid = kid
        self.algorithm = algorithm
        self.private: Any
        if algorithm == "ES256":
            self.private = ec.generate_private_key(ec.SECP256R1())
            public = json.loads(ECAlgorithm.to_jwk(self.private.public_key()))
        else:
            self.private = rsa.generate_private_key(65537, 2048)
            public = json.loads(RSAAlgorithm.to_jwk(self.private.public_key()))
        self.jwk = {**public, "kid": kid, "alg": algorithm, "use": "sig"}
        self.jwk.pop("key_ops", None)

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        return jwt.encode(claims, self.private, self.algorithm, headers={"kid": self.kid, **header})


class JwksServer:
    """A web server on loopback that publishes `keys`, slowly if it is told to, or not at all."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.requests = 0
        self.is_down = False
        #: Cleared, it keeps every answer back.
        self.answers = asyncio.Event()
        self.answers.set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/realms/acme/protocol/openid-connect/certs"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.requests += 1
            await self.answers.wait()
            body = json.dumps({"keys": self.keys}).encode()
            status = b"503 Service Unavailable" if self.is_down else b"200 OK"
            writer.write(
                b"HTTP/1.1 %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (status, len(body), body)
            )
            await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def publishing(*keys: Key) -> AsyncIterator[JwksServer]:
    published = JwksServer()
    published.keys = [key.jwk for key in keys]
    server = await asyncio.start_server(published._serve, "127.0.0.1", 0)
    published.port = server.sockets[0].getsockname()[1]
    try:
        yield published
    finally:
        published.answers.set()
        server.close()


def keycloak(key: Key, *, now_s: float | None = None, **claims: Any) -> str:
    """An access token of a Keycloak realm: `typ` is JWT in the header and Bearer in the payload, roles lie two deep."""
    now = int(time.time() if now_s is None else now_s)
    return key.sign(
        {
            "exp": now + 300,
            "iat": now,
            "auth_time": now - 100,
            "jti": "onrtac:0a8f8f0c-4d7e-4b5e-9f5e-9d6c1e1b1f11",
            "iss": "https://sso.example/realms/acme",
            "aud": ["chat", "account"],
            "sub": "f0f0f0f0-8e6f-4c3a-8a53-2f1f0d8a2b11",
            "typ": "Bearer",
            "azp": "web",
            "sid": "6f2b9a54-8e6f-4c3a-8a53-2f1f0d8a2b11",
            "acr": "1",
            "realm_access": {"roles": ["offline_access", "uma_authorization", "agent"]},
            "resource_access": {"account": {"roles": ["manage-account"]}},
            "scope": "openid profile email",
            "email_verified": True,
            "name": "Ada Lovelace",
            "preferred_username": "ada",
            **claims,
        }
    )


KEYCLOAK: Final[dict[str, Any]] = {
    "name": "kc",
    "issuer": "https://sso.example/realms/acme",
    "audience": "chat",
    "algorithms": ["RS256", "ES256"],
    "roles_claim": "realm_access.roles",
    "allowed_roles": ["member", "agent"],
    "default_roles": ["member"],
}


def auth0(key: Key, **claims: Any) -> str:
    """An access token of Auth0 for an API: subjects have a bar, added claims are named by URLs, there is no `jti`."""
    now = int(time.time())
    return key.sign(
        {
            "https://chat.example/roles": ["member", "admin"],
            "iss": "https://acme.eu.auth0.com/",
            "sub": "auth0|5f7c8ec7c33c6c004bbafe82",
            "aud": ["https://chat.example/api", "https://acme.eu.auth0.com/userinfo"],
            "iat": now,
            "exp": now + 86_400,
            "azp": "my_client_id",
            "scope": "openid profile",
            **claims,
        }
    )


AUTH0: Final[dict[str, Any]] = {
    "name": "auth0",
    "issuer": "https://acme.eu.auth0.com/",
    "audience": "https://chat.example/api",
    "roles_claim": "https://chat.example/roles",
    "allowed_roles": ["member"],
}


def firebase(key: Key, **claims: Any) -> str:
    """An ID token of Firebase Authentication: the project is the audience, `sub` is the user's id."""
    now = int(time.time())
    return key.sign(
        {
            "name": "Ben",
            "iss": "https://securetoken.google.com/acme-chat",
            "aud": "acme-chat",
            "auth_time": now - 5,
            "user_id": "JKeQ2kkF3dNqTGoLzdpPyC",
            "sub": "JKeQ2kkF3dNqTGoLzdpPyC",
            "iat": now,
            "exp": now + 3600,
            "email": "ben@acme.example",
            "email_verified": False,
            "firebase": {"identities": {"email": ["ben@acme.example"]}, "sign_in_provider": "password"},
            **claims,
        }
    )


FIREBASE: Final[dict[str, Any]] = {
    "name": "fb",
    "issuer": "https://securetoken.google.com/acme-chat",
    "audience": "acme-chat",
    "algorithms": ["RS256"],
    "default_roles": ["member"],
}


def php(secret: str = PHP_SECRET, **claims: Any) -> str:
    """As `JWT::encode($payload, $secret, 'HS256')` of firebase/php-jwt makes it: no `kid`, and only what was put in."""
    now = int(time.time())
    payload = {"iss": "shop", "aud": "chat", "iat": now, "exp": now + 600, "sub": "1042", "name": "Cy", **claims}
    return jwt.encode(payload, secret, "HS256")


PHP: Final[dict[str, Any]] = {"name": "shop", "issuer": "shop", "audience": "chat", "default_roles": ["member"]}
