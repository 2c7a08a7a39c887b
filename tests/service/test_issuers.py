"""An unknown `kid`: whose key it should be is told by the `iss`, and made-up ones cost no look at our own keys each."""

import base64
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from parley.service import issuers
from parley.service.issuers import OWN_LOOK_S, Issuers
from parley.store.keyring import FollowedKeyring, Keyring, rotate
from parley.tokens import Issuer, KeySet, SigningKey, TrustedIssuer, Verifier

NOW_MS = 1_800_000_000_000
MADE_UP = SigningKey.generate("ES256")


class Node:
    """A node's keys in a directory, its verifier, and time that passes when the test says so."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.looks = 0
        self.said: list[str] = []
        self._due: list[tuple[float, Callable[[], None]]] = []
        load = partial(Keyring.load, directory, "ES256", None, now_ms=NOW_MS, random_bytes=os.urandom)
        self.keys = FollowedKeyring(load, directory, lambda: NOW_MS, self._changed)
        foreign = TrustedIssuer(
            "kc", issuer="https://id.example", audience="chat", keys=KeySet([SigningKey.generate()])
        )
        self.verifier = Verifier(self.keys.keyring.keyset, trusted_issuers=[foreign])
        self.issuers = Issuers(
            self.verifier, {}, {}, look_for_own=self._look, call_later=lambda s, then: self._due.append((s, then))
        )

    def _changed(self, keyring: Keyring) -> None:
        self.verifier.replace(keys=keyring.keyset)

    def _look(self) -> None:
        self.looks += 1
        self.keys.look()

    def ask(self, token: str, name: str = "told") -> bool:
        return self.issuers.ask(token, lambda: self.said.append(name))

    def pass_time(self, s: float) -> None:
        """Whatever is due within `s` happens, what that makes due included."""
        while due := [one for one in self._due if one[0] <= s]:
            self._due.remove(due[0])
            due[0][1]()

    def rotated(self) -> str:
        """A token that another node signs with a key that is new."""
        file = rotate(self.directory, "ES256", now_ms=NOW_MS, signs_from_ms=NOW_MS)
        return token(SigningKey.from_jwk(file.jwk))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "keys")


def token(key: SigningKey = MADE_UP, iss: str = "parley") -> str:
    claims: dict[str, Any] = {"type": "account", "roles": [], "sid": "s", "jti": "j"}
    return Issuer(key, issuer=iss).issue(sub="ada", now_s=NOW_MS / 1000, ttl_s=60, **claims)


def test_a_token_of_ours_has_our_keys_looked_at_and_is_told_at_once(node: Node) -> None:
    new = node.rotated()
    assert node.ask(new)
    assert node.said == ["told"]
    node.verifier.verify(new, NOW_MS / 1000)


@pytest.mark.parametrize("iss", ["https://id.example", "https://nobody.example", ""])
def test_what_another_is_said_to_have_signed_has_nothing_looked_at(node: Node, iss: str) -> None:
    assert not node.ask(token(iss=iss))
    assert node.looks == 0


def test_what_names_no_key_has_nothing_looked_at(node: Node) -> None:
    _, _, rest = token().partition(".")
    header = base64.urlsafe_b64encode(b'{"typ":"at+jwt","alg":"ES256"}').decode().rstrip("=")
    assert not node.ask(f"{header}.{rest}")
    assert node.looks == 0


def test_of_a_flood_of_made_up_keys_the_first_costs_a_look_and_all_others_one_together(node: Node) -> None:
    assert not node.ask(token())
    for number in range(100):
        assert node.ask(token(), str(number))
    assert (node.looks, node.said) == (1, [])
    node.pass_time(OWN_LOOK_S)
    assert (node.looks, node.said) == (2, [str(number) for number in range(100)])


def test_a_true_token_amid_the_flood_waits_for_the_next_look_and_is_not_refused(node: Node) -> None:
    node.ask(token())
    node.ask(token(), "made up")
    new = node.rotated()
    assert node.ask(new, "true")
    assert node.said == []
    node.pass_time(OWN_LOOK_S)
    assert node.said == ["made up", "true"]
    node.verifier.verify(new, NOW_MS / 1000)


def test_after_a_rest_the_first_is_looked_for_at_once(node: Node) -> None:
    node.ask(token())
    node.pass_time(OWN_LOOK_S)
    assert node.ask(node.rotated())
    assert (node.looks, node.said) == (2, ["told"])


def test_more_than_may_wait_bring_the_look_forward(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issuers, "WAITING_MAX", 3)
    node.ask(token())
    for _ in range(3):
        assert node.ask(token(), "made up")
    assert node.ask(node.rotated(), "true")
    node.pass_time(0)
    assert (node.looks, sorted(node.said)) == (2, ["made up", "made up", "made up", "true"])
