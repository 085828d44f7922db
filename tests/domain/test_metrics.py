"""Names as Prometheus wants them, and times that nobody has to doubt."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from bot.domain.metrics import (
    APPROVAL_WAIT,
    DELIVERY_SECONDS,
    LEAD_TIME,
    METRICS,
    OPEN_VERDICTS,
    PROMOTIONS,
    PROMOTIONS_OLDEST,
    Metric,
    MetricKind,
    PublishedChange,
    Reading,
    Stands,
    standing_readings,
    timings,
)

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
CHANGE = PublishedChange(
    "payments", "a" * 40, "b" * 40, NOON + timedelta(hours=1), NOON + timedelta(hours=4)
)
MERGED = NOON + timedelta(hours=3)
PEOPLE_AND_CODE = {"application", "image", "commit", "digest", "login", "pull_request", "branch"}


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_name_is_ours_and_ends_in_its_unit(metric: Metric) -> None:
    """``... should have a suffix describing the unit, in plural form ... an accumulating count
    has total as a suffix`` (Prometheus, metric and label naming)."""
    assert re.fullmatch(r"lockkeeper(_[a-z]+)+", metric.name)
    assert (metric.kind is MetricKind.COUNTER) == metric.name.endswith("_total")
    if metric.kind is MetricKind.HISTOGRAM:
        assert metric.name.endswith("_seconds")
        assert list(metric.buckets) == sorted(set(metric.buckets))
    assert not re.search(r"_(ms|minutes|hours|days|kb|percent)(_|$)", metric.name)


def test_names_are_given_once() -> None:
    names = [metric.name for metric in METRICS]

    assert len(names) == len(set(names)) > 20


def test_no_label_grows_with_code_or_people() -> None:
    assert PEOPLE_AND_CODE.isdisjoint({label for metric in METRICS for label in metric.labels})


def test_a_change_takes_its_time_from_commit_over_approval_to_publication() -> None:
    taken = timings(CHANGE, NOON, MERGED)

    assert taken == {
        LEAD_TIME: timedelta(hours=4),
        APPROVAL_WAIT: timedelta(hours=2),
        DELIVERY_SECONDS: timedelta(hours=1),
    }


def test_what_nobody_knows_is_no_time_and_not_zero() -> None:
    assert timings(replace(CHANGE, proposed_at=None), None, MERGED).keys() == {DELIVERY_SECONDS}
    assert timings(CHANGE, None, None) == {}


def test_a_merge_within_the_second_of_its_head_took_no_time_and_is_counted() -> None:
    proposed = NOON + timedelta(microseconds=900_000)
    change = replace(CHANGE, proposed_at=proposed)

    assert timings(change, None, NOON)[APPROVAL_WAIT] == timedelta(0)
    assert APPROVAL_WAIT not in timings(change, None, NOON - timedelta(seconds=1))


def test_what_comes_back_made_its_way_long_ago() -> None:
    assert timings(replace(CHANGE, comes_back=True), NOON, MERGED) == {}


@given(
    st.one_of(st.none(), st.datetimes(timezones=st.just(UTC))),
    st.one_of(st.none(), st.datetimes(timezones=st.just(UTC))),
)
def test_no_clock_makes_a_time_negative(
    committed: datetime | None, merged: datetime | None
) -> None:
    taken = timings(CHANGE, committed, merged)

    assert all(passed >= timedelta(0) for passed in taken.values())


def test_states_are_counted_by_environment_with_the_longest_time_in_each() -> None:
    stands = [
        Stands("prod", "proposed", NOON - timedelta(hours=5), "fail"),
        Stands("prod", "proposed", NOON - timedelta(hours=2), ""),
        Stands("prod", "published", None, ""),
        Stands("dev", "held", NOON + timedelta(hours=1), ""),
    ]

    assert set(standing_readings("acme/deploy", stands, NOON)) == {
        Reading(PROMOTIONS, ("acme/deploy", "prod", "proposed"), 2),
        Reading(PROMOTIONS, ("acme/deploy", "prod", "published"), 1),
        Reading(PROMOTIONS, ("acme/deploy", "dev", "held"), 1),
        Reading(PROMOTIONS_OLDEST, ("acme/deploy", "prod", "proposed"), 5 * 3600),
        Reading(PROMOTIONS_OLDEST, ("acme/deploy", "dev", "held"), 0),
        Reading(OPEN_VERDICTS, ("acme/deploy", "prod", "fail"), 1),
    }
