"""The keyring: a directory of files with the keys that sign tokens and the secrets beside them.

Files are made whole or not at all, with mode 0600 in a directory of 0700, and once however many processes start at
once. What a key does with a token is `parley.tokens`.
"""

import contextlib
import fcntl
import hashlib
import hmac
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Self

import msgspec
from msgspec import Struct

from parley.store.problems import StoreProblem
from parley.tokens import KeySet, KeyUnusable, SigningKey

log = logging.getLogger(__name__)

SECRET_BYTES: Final = 32
#: How long a running server may go on signing with a key after another took over: it looks every half second, and the
#: clocks of two machines differ.
FOLLOWED_MS: Final = 5_000
_PREFIX: Final = "signing-"
_SUFFIX: Final = ".json"


class KeyFile(Struct, kw_only=True):
    """What a signing key's file says: the private JWK, and the key's life in Unix milliseconds.

    Published from the first moment, it signs from `signs_from_ms` until a later key does. Retired at `retired_at_ms`,
    it verifies until `verifies_until_ms`. `tokens_until_ms` is the latest `exp` it signed by hand for longer than the
    server's tokens last.
    """

    kid: str
    algorithm: str
    created_at_ms: int
    signs_from_ms: int
    jwk: dict[str, Any]
    retired_at_ms: int | None = None
    verifies_until_ms: int | None = None
    tokens_until_ms: int | None = None

    def __repr__(self) -> str:
        return f"KeyFile({self.kid!r}, {self.algorithm!r})"

    def is_out(self, now_ms: int) -> bool:
        """Whether every token that the key signed has expired, or counts as if it had."""
        return self.verifies_until_ms is not None and self.verifies_until_ms <= now_ms


class Keyring:
    """The keys as they are at one moment; load it anew to follow the files.

    `fingerprint` is the same on every node that may serve beside this one, and gives nothing away. `mark` changes with
    the files (`mark_of`). At `changes_at_ms`, where it is not None, another key begins to sign, or one is out.
    """

    __slots__ = ("changes_at_ms", "files", "fingerprint", "keyset", "mark", "refresh_key", "signing_key")

    def __init__(
        self,
        signing_key: SigningKey,
        keyset: KeySet,
        refresh_key: bytes,
        *,
        files: Sequence[KeyFile],
        mark: object,
        changes_at_ms: int | None,
    ) -> None:
        self.signing_key = signing_key
        self.keyset = keyset
        self.refresh_key = refresh_key
        self.files = files
        self.mark = mark
        self.changes_at_ms = changes_at_ms
        kids = ",".join(sorted(str(key.kid) for key in keyset))
        self.fingerprint = hmac.digest(refresh_key, f"fingerprint|{kids}".encode(), hashlib.sha256).hex()[:32]

    @classmethod
    def load(
        cls,
        directory: Path,
        algorithm: str,
        secret: str | bytes | None,
        *,
        now_ms: int | None = None,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> Self:
        """Read the files, making those that are missing. With HS256 `secret` signs, and no key file counts.

        `now_ms` is the time in Unix milliseconds, else the clock's.

        Raises: StoreProblem, in one line that quotes no key.
        """
        now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
        try:
            mark = mark_of(directory)
            refresh_key = _secret(directory, "refresh", random_bytes)
            if algorithm == "HS256":
                if secret is None:
                    raise StoreProblem("HS256 needs PARLEY_AUTH__SECRET.")
                files: list[KeyFile] = []
                key = SigningKey.from_secret(secret)
                return cls(key, KeySet([key]), refresh_key, files=files, mark=mark, changes_at_ms=None)
            files = _key_files(directory)
            if not any(_may_sign(file, algorithm) for file in files):
                files = _with_first_key(directory, algorithm, now_ms)
                mark = mark_of(directory)
        except OSError as problem:
            raise StoreProblem(f"The keys in {directory} can't be used: {problem.strerror}.") from None
        except KeyUnusable as problem:
            raise StoreProblem(f"PARLEY_AUTH__SECRET can't be used: {problem}.") from None
        able = [file for file in files if _may_sign(file, algorithm)]
        signing = _signing_file(able, now_ms)
        assert signing is not None, "one was made, where there was none"
        published = [file for file in files if not file.is_out(now_ms)]
        moments = [file.signs_from_ms for file in able] + [f.verifies_until_ms or 0 for f in published]
        return cls(
            _signing_key(signing),
            # The one that signs first: it is what most tokens name.
            KeySet([_signing_key(signing), *(_signing_key(file) for file in published if file is not signing)]),
            refresh_key,
            files=files,
            mark=mark,
            changes_at_ms=min((at for at in moments if at > now_ms), default=None),
        )

    def __repr__(self) -> str:
        return f"Keyring(signs={self.signing_key.kid!r}, {len(self.keyset)} keys)"


class FollowedKeyring:
    """A keyring that follows its files: `rotate` and `retire` take effect on a running server.

    `load` reads the files anew. `changed(keyring)` is called after each time that found something else.
    """

    def __init__(
        self,
        load: Callable[[], Keyring],
        directory: Path,
        clock_ms: Callable[[], int],
        changed: Callable[[Keyring], None],
    ) -> None:
        self._load = load
        self._directory = directory
        self._clock_ms = clock_ms
        self._changed = changed
        self.keyring = load()

    def look(self) -> None:
        """Read again where the files have changed, or a key's moment has come. Cheap where neither is so."""
        due_at_ms = self.keyring.changes_at_ms
        if mark_of(self._directory) != self.keyring.mark or (due_at_ms is not None and self._clock_ms() >= due_at_ms):
            self.read_again()

    def read_again(self) -> None:
        """Read the files now. What can't be read is logged, and the keys stay as they were."""
        try:
            keyring = self._load()
        except StoreProblem as problem:
            log.error("the keys stay as they were: %s", problem)
            return
        self.keyring = keyring
        self._changed(keyring)


def mark_of(directory: Path) -> object:
    """Something that differs once a file of the keyring was added, changed or removed. Cheap: it reads no file."""
    try:
        with os.scandir(directory) as entries:
            return frozenset(
                (entry.name, stat.st_mtime_ns, stat.st_size, stat.st_ino)
                for entry in entries
                if not entry.name.startswith(".") and (stat := entry.stat())
            )
    except FileNotFoundError:
        return frozenset()


def note_long_token(directory: Path, kid: str, exp_ms: int) -> None:
    """Remember that `kid` signed a token until `exp_ms`, so that the key is not out before it. Raises: StoreProblem."""
    try:
        with _locked(directory):
            for file in _key_files(directory):
                if file.kid == kid and (file.tokens_until_ms or 0) < exp_ms:
                    file.tokens_until_ms = exp_ms
                    _write(directory, file)
    except OSError as problem:
        raise StoreProblem(f"The keys in {directory} can't be written: {problem.strerror}.") from None


def rotate(directory: Path, algorithm: str, *, now_ms: int, signs_from_ms: int) -> KeyFile:
    """Make a key that is published from now on and signs from `signs_from_ms`. Raises: StoreProblem."""
    try:
        with _locked(directory):
            taken = {file.signs_from_ms for file in _key_files(directory)}
            while signs_from_ms in taken:  # two that begin in one millisecond would not be sure of their order
                signs_from_ms += 1
            file = _new_key(algorithm, now_ms, signs_from_ms)
            _write(directory, file)
            return file
    except OSError as problem:
        raise StoreProblem(f"The keys in {directory} can't be written: {problem.strerror}.") from None


def retire(directory: Path, algorithm: str, kid: str, *, now_ms: int, token_ms: int) -> KeyFile:
    """Let a key sign nothing any more, and verify until the last token that it signed is out.

    `token_ms` is the longest life of a token that the server issues. A key retired before stays as it was.
    Raises: StoreProblem, also for a key that is not there, or the one that signs.
    """
    try:
        with _locked(directory):
            files = _key_files(directory)
            file = next((one for one in files if one.kid == kid), None)
            if file is None:
                raise StoreProblem(f"There is no key {kid[:80]!r}; `parley key list` shows those there are.")
            if file.retired_at_ms is not None:
                return file
            able = [one for one in files if _may_sign(one, algorithm)]
            if file is _signing_file(able, now_ms):
                raise StoreProblem("This key signs: `parley key rotate` first, and retire it once the new one signs.")
            file.retired_at_ms = now_ms
            file.verifies_until_ms = _last_token_ms(file, able, now_ms, token_ms)
            _write(directory, file)
            return file
    except OSError as problem:
        raise StoreProblem(f"The keys in {directory} can't be written: {problem.strerror}.") from None


def _last_token_ms(file: KeyFile, able: Sequence[KeyFile], now_ms: int, token_ms: int) -> int:
    """When the last token that a key has signed is out, Unix milliseconds."""
    if file.signs_from_ms > now_ms:
        return now_ms  # it never signed
    # Of another algorithm: nobody knows when that was given up, so it counts as if that were now.
    followers = [one.signs_from_ms for one in able if file in able and _since(file) < _since(one)]
    stopped_at_ms = min((at for at in followers if at <= now_ms), default=now_ms)
    return max(stopped_at_ms + FOLLOWED_MS + token_ms, file.tokens_until_ms or 0)


def _signing_file(able: Sequence[KeyFile], now_ms: int) -> KeyFile | None:
    """Which of the keys that may sign does: the latest to begin, or the first that will. None without any."""
    begun = [file for file in able if file.signs_from_ms <= now_ms]
    return max(begun, key=_since) if begun else min(able, key=_since, default=None)


def _since(file: KeyFile) -> tuple[int, str]:
    return file.signs_from_ms, file.kid


def _may_sign(file: KeyFile, algorithm: str) -> bool:
    return file.algorithm == algorithm and file.retired_at_ms is None


def _signing_key(file: KeyFile) -> SigningKey:
    try:
        return SigningKey.from_jwk(file.jwk)
    except KeyUnusable as problem:
        raise StoreProblem(f"The key file {_PREFIX}{file.kid}{_SUFFIX} can't be used: {problem}.") from None


def _with_first_key(directory: Path, algorithm: str, now_ms: int) -> list[KeyFile]:
    """Every key, one that signs with `algorithm` among them."""
    with _locked(directory):
        files = _key_files(directory)
        if not any(_may_sign(file, algorithm) for file in files):
            file = _new_key(algorithm, now_ms, now_ms)
            _write(directory, file)
            files.append(file)
    return files


def _new_key(algorithm: str, now_ms: int, signs_from_ms: int) -> KeyFile:
    key = SigningKey.generate(algorithm)
    while key.kid.startswith("-"):  # one in 64: a command line would take it for an option
        key = SigningKey.generate(algorithm)
    return KeyFile(
        kid=key.kid, algorithm=algorithm, created_at_ms=now_ms, signs_from_ms=signs_from_ms, jwk=key.to_jwk()
    )


def _key_files(directory: Path) -> list[KeyFile]:
    files = []
    for path in sorted(directory.glob(f"{_PREFIX}*{_SUFFIX}")):
        try:
            file = msgspec.json.decode(path.read_bytes(), type=KeyFile)
        except FileNotFoundError:  # removed since it was listed
            continue
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise StoreProblem(f"The key file {path} is damaged: restore it, or move it away.") from None
        files.append(file)
    return files


def _secret(directory: Path, name: str, random_bytes: Callable[[int], bytes]) -> bytes:
    path = directory / name
    try:
        text = path.read_text(encoding="ascii")
    except UnicodeDecodeError:
        text = ""
    except FileNotFoundError:
        with _locked(directory):
            if not path.exists():
                _replace(path, random_bytes(SECRET_BYTES).hex().encode() + b"\n")
            text = path.read_text(encoding="ascii")
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise StoreProblem(f"The key file {path} is damaged: restore it, or move it away to sign everybody out.")
    return secret


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """One process at a time; the lock goes with its process, so nobody waits for the dead."""
    _make(directory)
    lock = os.open(directory / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _make(directory: Path) -> None:
    # One at a time, for makedirs gives its mode to the last directory only.
    for path in (*reversed(directory.parents), directory):
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)


def _write(directory: Path, file: KeyFile) -> None:
    text = msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n"
    _replace(directory / f"{_PREFIX}{file.kid}{_SUFFIX}", text)


def _replace(path: Path, content: bytes) -> None:
    """The whole content under the name, on the disk, or nothing. Only under the lock: the name aside is one for all."""
    aside = path.with_name(".new")
    with contextlib.suppress(FileNotFoundError):  # of a process that was killed
        aside.unlink()
    file = os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(file, 0o600)
        os.write(file, content)
        os.fsync(file)
    finally:
        os.close(file)
    aside.rename(path)
    listing = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(listing)
    finally:
        os.close(listing)
