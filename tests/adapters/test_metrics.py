"""The text that Prometheus reads: read again by its own parser."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given, strategies as st
from prometheus_client.parser import text_string_to_metric_families

from bot.adapters.metrics import SERIES_LIMIT, Metrics
from bot.domain.errors import UnavailableError
from bot.domain.metrics import (
    COPIED,
    FINDINGS,
    JOBS,
    LEAD_TIME,
    METRICS,
    OUTBOX,
    PUBLICATIONS,
    Reading,
)

Labels = Mapping[str, str]


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """(name, labels) -> value of every sample."""
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in families
        for one in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(metrics).get((name, frozenset(labels.items())))


def test_what_is_counted_is_told_with_its_labels() -> None:
    metrics = Metrics("1.2.3")

    metrics.count(PUBLICATIONS, "acme/deploy", "prod")
    metrics.count(PUBLICATIONS, "acme/deploy", "prod")
    metrics.count(COPIED, "acme/deploy", "prod", by=1024)
    metrics.observe(LEAD_TIME, "acme/deploy", "prod", seconds=7200)

    place = {"manifests": "acme/deploy", "environment": "prod"}
    assert value(metrics, "lockkeeper_publications_total", **place) == 2
    assert value(metrics, "lockkeeper_copied_bytes_total", **place) == 1024
    assert value(metrics, "lockkeeper_lead_time_seconds_sum", **place) == 7200
    assert value(metrics, "lockkeeper_lead_time_seconds_bucket", **place, le="3600.0") == 0
    assert value(metrics, "lockkeeper_lead_time_seconds_bucket", **place, le="14400.0") == 1
    assert value(metrics, "lockkeeper_build_info", version="1.2.3") == 1


def test_the_same_environment_of_two_manifests_repositories_is_two() -> None:
    metrics = Metrics("1")

    metrics.count(PUBLICATIONS, "acme/deploy", "prod")
    metrics.count(PUBLICATIONS, "other/deploy", "prod", by=5)

    mine = {"manifests": "acme/deploy", "environment": "prod"}
    assert value(metrics, "lockkeeper_publications_total", **mine) == 1


def test_a_source_that_cannot_answer_is_told_and_stops_no_other() -> None:
    metrics = Metrics("1")

    def away() -> Iterable[Reading]:
        raise UnavailableError("the database does not answer")

    metrics.add_source("jobs", away)
    metrics.add_source("outbox", lambda: [Reading(OUTBOX, (), 3)])

    assert value(metrics, "lockkeeper_outbox_reports") == 3
    assert value(metrics, "lockkeeper_metrics_source_failed", source="jobs") == 1
    assert value(metrics, "lockkeeper_metrics_source_failed", source="outbox") == 0
    assert not [name for name, _ in samples(metrics) if name == "lockkeeper_jobs"]


def test_ten_thousand_environments_make_a_bounded_number_of_series() -> None:
    metrics = Metrics("1")

    for number in range(SERIES_LIMIT + 500):
        metrics.count(PUBLICATIONS, "acme/deploy", f"env-{number}")
    read = [Reading(JOBS, ("deliver", f"s{n}"), n) for n in range(SERIES_LIMIT + 7)]
    metrics.add_source("jobs", lambda: read)

    found = samples(metrics)
    counted = [one for one in found if one[0] == "lockkeeper_publications_total"]
    assert len(counted) == SERIES_LIMIT + 1
    assert value(metrics, "lockkeeper_publications_total", manifests="other", environment="other")
    assert len([one for one in found if one[0] == "lockkeeper_jobs"]) == SERIES_LIMIT
    assert value(metrics, "lockkeeper_metrics_series_left_out", metric="lockkeeper_jobs") == 7


@given(st.text(max_size=300))
def test_no_text_of_others_makes_a_line_of_its_own(text: str) -> None:
    """Environments are named by whoever writes the pipeline file."""
    metrics = Metrics("1")
    before = len(samples(metrics))

    metrics.count(PUBLICATIONS, "acme/deploy", text.encode("utf-8", "replace").decode())
    metrics.add_source("x", lambda: [Reading(FINDINGS, ("x", text), 1)])

    assert len(samples(metrics)) == before + 3


def test_every_metric_has_its_meaning_in_the_text() -> None:
    metrics = Metrics("1")
    every = [
        Reading(one, tuple("x" for _ in one.labels), 1)
        for one in METRICS
        if one.kind.value == "gauge"
    ]
    metrics.add_source("all", lambda: every)

    text = metrics.text().decode()

    for one in METRICS:
        name = one.name.removesuffix("_total") if "total" not in text else one.name
        assert f"# HELP {name} {one.meaning}" in text
        assert f"# TYPE {name} {one.kind}" in text


@pytest.mark.parametrize("name", ["process_cpu_seconds_total", "process_resident_memory_bytes"])
def test_the_process_itself_is_measured(name: str) -> None:
    assert value(Metrics("1"), name)
