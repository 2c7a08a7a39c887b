"""`service/limits.py`: buckets refill, windows slide, and neither grows without end."""

import math

import pytest

from parley.service.limits import Buckets, Failures


def test_a_full_bucket_gives_its_burst_at_once_and_then_says_when_the_next_token_comes() -> None:
    buckets = Buckets(rate_per_s=10, burst=20)
    assert [buckets.take("ada", 100.0) for _ in range(20)] == [0.0] * 20
    assert buckets.take("ada", 100.0) == pytest.approx(0.1)
    assert buckets.take("ada", 100.04) == pytest.approx(0.06)


def test_waiting_as_long_as_the_bucket_said_is_enough() -> None:
    buckets = Buckets(rate_per_s=3, burst=2)
    now = 7.0
    for _ in range(1000):
        wait = buckets.take("ada", now)
        now += wait
        if wait:
            assert buckets.take("ada", now) == 0.0


def test_over_a_minute_a_bucket_gives_its_burst_and_its_rate_and_no_more() -> None:
    buckets = Buckets(rate_per_s=10, burst=20)
    taken = sum(buckets.take("ada", n / 100) == 0.0 for n in range(6000))
    assert 619 <= taken <= 621


def test_a_refusal_takes_no_token() -> None:
    buckets = Buckets(rate_per_s=1, burst=1)
    assert buckets.take("ada", 0.0) == 0.0
    for n in range(9):
        assert buckets.take("ada", n / 10) > 0
    assert buckets.take("ada", 1.0) == 0.0


def test_each_key_has_a_bucket_of_its_own() -> None:
    buckets = Buckets(rate_per_s=1, burst=1)
    assert buckets.take("ada", 0.0) == 0.0
    assert buckets.take("ben", 0.0) == 0.0
    assert buckets.take("ada", 0.0) > 0


@pytest.mark.parametrize(("rate", "burst"), [(0, 20), (10, 0), (0, 0)])
def test_a_bucket_of_zero_is_off_and_keeps_nothing(rate: float, burst: float) -> None:
    buckets = Buckets(rate, burst)
    assert {buckets.take("ada", 0.0) for _ in range(1000)} == {0.0}
    assert len(buckets) == 0


def test_buckets_keep_at_most_keys_max_and_forget_the_key_longest_unseen() -> None:
    buckets = Buckets(rate_per_s=0.001, burst=1, keys_max=3)
    for key in ("a", "b", "c"):
        buckets.take(key, 0.0)
    assert buckets.take("a", 1.0) > 0  # seen again, though refused
    buckets.take("d", 1.0)
    assert len(buckets) == 3
    assert buckets.take("a", 1.0) > 0
    assert buckets.take("b", 1.0) == 0.0
    for n in range(10_000):
        buckets.take(n, 2.0)
    assert len(buckets) == 3


def test_the_attempt_after_the_last_allowed_failure_waits_until_the_first_is_out_of_the_window() -> None:
    failures = Failures(limit=3, window_s=600)
    for now in (0.0, 10.0, 20.0):
        assert failures.retry_after("ada", now) == 0.0
        failures.add("ada", now)
    assert failures.retry_after("ada", 30.0) == pytest.approx(570)
    assert failures.retry_after("ada", 599.9) == pytest.approx(0.1)
    assert failures.retry_after("ada", 600.0) == 0.0
    failures.add("ada", 600.0)
    assert failures.retry_after("ada", 600.0) == pytest.approx(10)
    assert failures.retry_after("ben", 30.0) == 0.0


def test_failures_say_how_many_more_may_follow() -> None:
    failures = Failures(limit=2, window_s=600)
    assert failures.left("ada", 0.0) == 2
    failures.add("ada", 1.0)
    assert failures.left("ada", 2.0) == 1
    failures.add("ada", 2.0)
    assert failures.left("ada", 3.0) == 0
    assert failures.left("ada", 601.0) == 1
    assert Failures(limit=0, window_s=600).left("ada", 0.0) == math.inf


def test_failures_out_of_their_window_are_forgotten_when_asked_for() -> None:
    failures = Failures(limit=2, window_s=600)
    failures.add("ada", 1.0)
    assert failures.retry_after("ada", 700.0) == 0.0
    assert len(failures) == 0


def test_a_limit_of_zero_failures_is_off_and_keeps_nothing() -> None:
    failures = Failures(limit=0, window_s=600)
    for n in range(100):
        failures.add("ada", float(n))
    assert failures.retry_after("ada", 100.0) == 0.0
    assert len(failures) == 0


def test_failures_keep_at_most_keys_max_and_forget_the_key_longest_unseen() -> None:
    failures = Failures(limit=1, window_s=600, keys_max=2)
    failures.add("a", 0.0)
    failures.add("b", 0.0)
    failures.add("a", 1.0)
    failures.add("c", 2.0)
    assert len(failures) == 2
    assert failures.retry_after("b", 2.0) == 0.0
    assert failures.retry_after("a", 2.0) > 0
    for n in range(10_000):
        failures.add(n, 3.0)
    assert len(failures) == 2
