"""`tokens/adapters/jwks_http.py`: when a JWK set is asked for, what is kept, and verifying with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from parley.tokens import Issuer, KeySet, SigningKey, TokenRefused, TrustedIssuer, Verifier
from parley.tokens.adapters.jwks_http import JwksSource, verify_fetching
from tests.tokens.adapters.elsewhere import LOOPBACK, Elsewhere, Handler
from tests.tokens.forge import KEY, NOW, OTHER_KEY

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    with Elsewhere() as elsewhere:
        publish(elsewhere, KEY)
        yield elsewhere


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source(elsewhere: Elsewhere, clock: Clock) -> JwksSource:
    return JwksSource(elsewhere.url, allow=LOOPBACK, clock_s=clock)


def publish(elsewhere: Elsewhere, *keys: SigningKey) -> None:
    elsewhere.body = json.dumps(KeySet(keys).to_jwks()).encode()


def token(key: SigningKey, issuer: str = "parley") -> str:
    claims = {"sub": "ada", "type": "account", "roles": ["member"], "sid": "s1", "jti": "t1"}
    return Issuer(key, issuer=issuer).issue(**claims, now_s=NOW, ttl_s=900)  # type: ignore[arg-type]


async def test_a_set_is_fetched_once_and_kept(source: JwksSource, elsewhere: Elsewhere, clock: Clock) -> None:
    assert len(source.keys()) == 0
    assert KEY.kid in await source.refresh()
    kept = source.keys()
    clock.now_s += 599
    assert await source.refresh() is kept
    assert len(elsewhere.asked) == 1
    clock.now_s += 1
    assert await source.refresh() is kept, "the same set stays the same object"
    assert len(elsewhere.asked) == 2


async def test_an_unknown_kid_asks_at_most_once_a_minute(
    source: JwksSource, elsewhere: Elsewhere, clock: Clock
) -> None:
    await source.refresh()
    publish(elsewhere, KEY, OTHER_KEY)
    assert OTHER_KEY.kid in await source.refresh(OTHER_KEY.kid), "the fetch of a moment ago was for no `kid`"
    publish(elsewhere, KEY)
    assert OTHER_KEY.kid in await source.refresh("made-up"), "the set at hand"
    assert len(elsewhere.asked) == 2
    clock.now_s += 60
    await source.refresh(OTHER_KEY.kid)
    assert len(elsewhere.asked) == 2, "a known kid asks nothing"
    for made_up in range(100):
        await source.refresh(f"made-up-{made_up}")
    assert len(elsewhere.asked) == 3


async def test_those_who_ask_at_the_same_moment_share_one_request(source: JwksSource, elsewhere: Elsewhere) -> None:
    sets = await asyncio.gather(*(source.refresh(KEY.kid) for _ in range(20)))
    assert all(KEY.kid in keys for keys in sets)
    assert len(elsewhere.asked) == 1


async def test_one_who_no_longer_waits_takes_nothing_from_the_others(source: JwksSource) -> None:
    first, second = asyncio.create_task(source.refresh()), asyncio.create_task(source.refresh())
    await asyncio.sleep(0)
    first.cancel()
    assert KEY.kid in await second


@pytest.mark.parametrize("trouble", ["status", "no JSON", "no set", "no UTF-8", "too large", "away"])
async def test_the_last_good_set_stays_while_its_server_is_in_trouble(
    trouble: str, source: JwksSource, elsewhere: Elsewhere, clock: Clock
) -> None:
    kept = await source.refresh()
    assert source.failure is None
    clock.now_s += 600
    match trouble:
        case "status":
            elsewhere.answer = _unavailable
        case "away":
            source.url = "http://localhost:1/"
        case _:
            bodies = {"no JSON": b"<html>", "no set": b"[]", "no UTF-8": b"\xff", "too large": b" " * 70_000}
            elsewhere.body = bodies[trouble]
    assert await source.refresh() is kept
    assert source.failure is not None
    assert source.is_due is False, "trouble is not asked again for a minute either"
    clock.now_s += 60
    assert source.is_due


async def test_a_key_that_its_issuer_withdrew_is_gone_at_the_next_fetch(
    source: JwksSource, elsewhere: Elsewhere, clock: Clock
) -> None:
    publish(elsewhere, KEY, OTHER_KEY)
    assert len(await source.refresh()) == 2
    publish(elsewhere, OTHER_KEY)
    clock.now_s += 600
    assert KEY.kid not in await source.refresh()


async def test_a_set_on_loopback_needs_leave(elsewhere: Elsewhere) -> None:
    source = JwksSource(elsewhere.url)
    assert len(await source.refresh()) == 0
    assert source.failure == "localhost has no address that is public or allowed"
    assert elsewhere.asked == []


def test_an_url_that_is_none_is_told_when_the_source_is_made() -> None:
    with pytest.raises(ValueError, match="no https: URL"):
        JwksSource("ldap://example.org/")


async def test_a_verifier_without_keys_gets_its_own_from_the_source(source: JwksSource) -> None:
    verifier = Verifier(KeySet())
    claims = await verify_fetching(verifier, token(KEY), NOW, {"parley": source})
    assert claims.sub == "ada"
    assert verifier.keys is source.keys()


async def test_a_rotated_key_of_a_trusted_issuer_is_fetched_when_a_token_names_it(
    source: JwksSource, elsewhere: Elsewhere
) -> None:
    trusted = TrustedIssuer("site", "https://id.example.org", "parley", keys=await source.refresh())
    verifier = Verifier(KeySet(), trusted_issuers=[trusted])
    sources = {trusted.issuer: source}
    assert (await verify_fetching(verifier, token(KEY, trusted.issuer), NOW, sources)).sub == "site:ada"
    publish(elsewhere, OTHER_KEY)
    assert (await verify_fetching(verifier, token(OTHER_KEY, trusted.issuer), NOW, sources)).sub == "site:ada"
    with pytest.raises(TokenRefused, match="token_unknown_key"):
        await verify_fetching(verifier, token(KEY, trusted.issuer), NOW, sources)


async def test_all_who_come_with_a_new_key_at_the_same_moment_come_in(
    source: JwksSource, elsewhere: Elsewhere, clock: Clock
) -> None:
    trusted = TrustedIssuer("site", "https://id.example.org", "parley", keys=await source.refresh())
    verifier = Verifier(KeySet(), trusted_issuers=[trusted])
    publish(elsewhere, OTHER_KEY)
    clock.now_s += 60
    coming = (verify_fetching(verifier, token(OTHER_KEY, trusted.issuer), NOW, {trusted.issuer: source}) for _ in "abc")
    assert [claims.sub for claims in await asyncio.gather(*coming)] == ["site:ada"] * 3


async def test_an_old_set_is_fetched_beside_the_verifying_and_not_before_it(
    source: JwksSource, elsewhere: Elsewhere, clock: Clock
) -> None:
    await source.refresh()
    verifier = Verifier(source.keys())
    publish(elsewhere, OTHER_KEY)
    clock.now_s += 600
    assert (await verify_fetching(verifier, token(KEY), NOW, {"parley": source})).sub == "ada"
    fetching = source.begin()
    assert fetching is not None, "it is under way"
    await fetching
    with pytest.raises(TokenRefused, match="token_unknown_key"):
        await verify_fetching(verifier, token(KEY), NOW, {"parley": source})


async def test_a_token_of_an_issuer_without_a_source_asks_nobody(source: JwksSource, elsewhere: Elsewhere) -> None:
    with pytest.raises(TokenRefused, match="token_unknown_key"):
        await verify_fetching(Verifier(KeySet()), token(KEY, "https://nobody.example"), NOW, {"parley": source})
    assert elsewhere.asked == []


def _unavailable(handler: Handler) -> None:
    handler.send_response(503)
    handler.send_header("Content-Length", "0")
    handler.end_headers()
