"""External issuers as the token library knows them: from their settings, and from the key files that those name.

Fetches nothing: keys by URL are `service/issuers.py`. Used by the server and by `parley token verify` alike.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from parley.config.settings import ExternalIssuer
from parley.config.sources import SettingsError
from parley.tokens import KeySet, KeyUnusable, TrustedIssuer, VerifyingKey
from parley.tokens.algorithms import ALGORITHMS, ASYMMETRIC_ALGORITHMS, canonical_algorithm

FILE_BYTES_MAX: Final = 1_048_576
_SECRET_ALGORITHMS: Final = frozenset(ALGORITHMS) - ASYMMETRIC_ALGORITHMS


def trusted_issuer(external: ExternalIssuer, keys: KeySet | None = None) -> TrustedIssuer:
    """The issuer, with the keys that are at hand. Raises: SettingsError."""
    try:
        return TrustedIssuer(
            name=external.name,
            issuer=external.issuer,
            audience=external.audience,
            keys=KeySet() if keys is None else keys,
            algorithms=tuple(external.algorithms) or None,
            use=external.use,
            typ=tuple(external.typ),
            default_kid=external.default_kid,
            roles_claim=external.roles_claim,
            allowed_roles=tuple(external.allowed_roles),
            default_roles=tuple(external.default_roles),
            type=external.type,
        )
    except ValueError as problem:
        raise SettingsError(f"PARLEY_AUTH__ISSUERS: {external.name}: {problem}.") from None


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The file that holds an issuer's keys: a JWK set, or a shared secret."""

    external: ExternalIssuer
    path: Path

    @classmethod
    def of(cls, external: ExternalIssuer) -> "KeyFile | None":
        """None for an issuer whose keys are fetched."""
        path = external.jwks_file or external.secret_file
        return None if path is None else cls(external, path)

    def mark(self) -> object:
        """Something that differs once the file has changed. Cheap: it does not read it."""
        try:
            stat = self.path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    def read(self) -> KeySet:
        """The keys that the file holds now. Raises: SettingsError, in one line that quotes nothing of it."""
        external = self.external
        setting = "secret_file" if external.jwks_file is None else "jwks_file"
        try:
            with self.path.open("rb") as file:
                octets = file.read(FILE_BYTES_MAX)
            if external.jwks_file is None:
                return _secret(octets, external)
            keys = KeySet.from_jwks(octets.decode("utf-8"))
            if not len(keys):
                raise KeyUnusable("; ".join(keys.unusable) or "it has no keys")
        except OSError as problem:
            told = f"{self.path} can't be read: {problem.strerror}"
        except UnicodeDecodeError:
            told = f"{self.path} is not UTF-8"
        except KeyUnusable as problem:
            told = f"{self.path} can't be used: {problem}"
        else:
            return keys
        raise SettingsError(f"PARLEY_AUTH__ISSUERS: {external.name}: {setting}: {told}.")


def _secret(octets: bytes, external: ExternalIssuer) -> KeySet:
    """The file's bytes without their last newline, as a key for HS256, or for the algorithms that are listed."""
    secret = octets.removesuffix(b"\n").removesuffix(b"\r") if octets.endswith(b"\n") else octets
    named = [canonical_algorithm(name) for name in external.algorithms] or ["HS256"]
    if wrong := [name for name in named if name not in _SECRET_ALGORITHMS]:
        raise KeyUnusable(f"{', '.join(wrong)} does not sign with a secret")
    # Each by itself, for each wants its own length.
    keys = [VerifyingKey.from_secret(secret, algorithm=name, kid=external.default_kid) for name in named]
    return KeySet([replace(keys[0], algorithms=frozenset(named))])
