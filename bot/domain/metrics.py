"""What is measured: every metric by its name, kind, unit and labels, and the values between them.

Names follow Prometheus' conventions (https://prometheus.io/docs/practices/naming/): base units,
``_total`` for what only grows. A label is one of a fixed list or named by the operator and the
pipeline file; applications, commits and people are in none, so that a thousand applications
make no more series than one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from bot.domain.memory import Scope


class MetricKind(StrEnum):
    """The types of Prometheus that are used."""

    GAUGE = "gauge"
    """Goes up and down; the value of now."""
    COUNTER = "counter"
    """What this process has done since it started."""
    HISTOGRAM = "histogram"
    """How long something took, each time that this process saw it."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric."""

    name: str
    kind: MetricKind
    meaning: str
    """For people; also ``# HELP``."""
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram, in seconds."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of a gauge or counter, as it is now."""

    metric: Metric
    labels: tuple[str, ...]
    """In the order of the metric's."""
    value: float


_PLACE: Final = ("manifests", "environment")
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86_400.0
_RUN: Final = (0.1, 0.5, 1.0, 5.0, 15.0, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR)
_MACHINE: Final = (
    5.0,
    15.0,
    30.0,
    _MINUTE,
    2 * _MINUTE,
    5 * _MINUTE,
    15 * _MINUTE,
    _HOUR,
    4 * _HOUR,
)
_PEOPLE: Final = (
    *(_MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 4 * _HOUR, _DAY),
    *(2 * _DAY, 4 * _DAY, 7 * _DAY, 14 * _DAY, 30 * _DAY),
)


def _gauge(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(name, MetricKind.GAUGE, meaning, labels)


def _counter(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(name, MetricKind.COUNTER, meaning, labels)


def _seconds(name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Metric:
    return Metric(name, MetricKind.HISTOGRAM, meaning, labels, buckets)


BUILD: Final = _gauge("lockkeeper_build_info", "Always 1; which version runs.", "version")
READY: Final = _gauge("lockkeeper_ready", "1 where this process can work, as /readyz says; else 0.")
FINDINGS: Final = _gauge(
    "lockkeeper_findings",
    "What doctor finds that is not in order, by the id of the finding.",
    *("finding", "severity"),
)
SOURCE_FAILED: Final = _gauge(
    "lockkeeper_metrics_source_failed",
    "1 where a part of these figures cannot be told now, so that its metrics are absent; else 0.",
    "source",
)
SERIES_LEFT_OUT: Final = _gauge(
    "lockkeeper_metrics_series_left_out",
    "Series of a metric beyond the limit, which are not told.",
    "metric",
)
JOBS: Final = _gauge("lockkeeper_jobs", "Jobs that are not over.", "kind", "state")
JOBS_OLDEST: Final = _gauge(
    "lockkeeper_jobs_oldest_age_seconds",
    "How long ago the oldest job of these was asked for.",
    *("kind", "state"),
)
JOB_RUNS: Final = _counter(
    "lockkeeper_job_runs_total", "Runs of jobs that this process ended.", "kind", "outcome"
)
JOB_SECONDS: Final = _seconds(
    "lockkeeper_job_run_duration_seconds", "How long one run of a job took.", _RUN, "kind"
)
WEBHOOKS: Final = _counter(
    "lockkeeper_webhook_answers_total", "Answers of the public listener, by status.", "status"
)
OUTBOX: Final = _gauge("lockkeeper_outbox_reports", "Reports that wait to be told on GitHub.")
OUTBOX_OLDEST: Final = _gauge(
    "lockkeeper_outbox_oldest_age_seconds", "How long the oldest of them waits; 0: none does."
)
PROMOTIONS: Final = _gauge(
    "lockkeeper_promotions",
    "Applications in an environment by their state, as `status` says it.",
    *(*_PLACE, "state"),
)
PROMOTIONS_OLDEST: Final = _gauge(
    "lockkeeper_promotions_oldest_state_age_seconds",
    "How long the application that is longest in that state is in it, where that is known.",
    *(*_PLACE, "state"),
)
OPEN_VERDICTS: Final = _gauge(
    "lockkeeper_open_promotions",
    "Open promotions by the policy's newest verdict.",
    *(*_PLACE, "verdict"),
)
LOOKED: Final = _gauge(
    "lockkeeper_promotions_looked_timestamp_seconds",
    "When the states of a manifests repository were last looked at, in Unix time; 0: not yet.",
    "manifests",
)
DELIVERIES: Final = _counter(
    "lockkeeper_deliveries_total",
    "Images that were sealed for an environment, or refused.",
    *(*_PLACE, "outcome"),
)
VERDICTS: Final = _counter(
    "lockkeeper_verdicts_total",
    "Verdicts with which images were sealed.",
    *(*_PLACE, "verdict"),
)
COPIED: Final = _counter(
    "lockkeeper_copied_bytes_total",
    "Bytes of blobs that went through this process, by the environment they were copied into.",
    *_PLACE,
)
PUBLICATIONS: Final = _counter(
    "lockkeeper_publications_total", "Publications on environment refs.", *_PLACE
)
CHANGES: Final = _counter(
    "lockkeeper_published_changes_total",
    "Applications that publications changed.",
    *_PLACE,
)
CHANGE_FAILURES: Final = _counter(
    "lockkeeper_change_failures_total",
    "Changes that failed: held, or replaced by what stood there before (rolled back).",
    *(*_PLACE, "how"),
)
LEAD_TIME: Final = _seconds(
    "lockkeeper_lead_time_seconds",
    "From the committer's time of the source commit to its publication in the environment.",
    _PEOPLE,
    *_PLACE,
)
APPROVAL_WAIT: Final = _seconds(
    "lockkeeper_approval_wait_seconds",
    "From the newest head of a promotion pull request to its merge.",
    _PEOPLE,
    *_PLACE,
)
DELIVERY_SECONDS: Final = _seconds(
    "lockkeeper_merge_to_publication_seconds",
    "From the merge of a promotion to its publication: copy, signature and ref.",
    _MACHINE,
    *_PLACE,
)
GITHUB_REQUESTS: Final = _counter(
    "lockkeeper_github_requests_total",
    "Requests to GitHub's API: sent, kept back by our own pace, or answered with a rate limit.",
    *("account", "outcome"),
)
GITHUB_REMAINING: Final = _gauge(
    "lockkeeper_github_budget_remaining_ratio",
    "Share of the hour's requests that was left at the last answer.",
    "account",
)
GITHUB_RESETS: Final = _gauge(
    "lockkeeper_github_budget_reset_timestamp_seconds",
    "When that budget is whole again, in Unix time.",
    "account",
)
GITHUB_SILENCE: Final = _gauge(
    "lockkeeper_github_silence_seconds",
    "For how long GitHub still wants no request of ours.",
    "account",
)
REGISTRY_REQUESTS: Final = _counter(
    "lockkeeper_registry_requests_total",
    "Requests to a registry host: sent, waited for by our own pace, or answered with 429.",
    *("host", "outcome"),
)
REGISTRY_RATE: Final = _gauge(
    "lockkeeper_registry_pace_requests_per_second",
    "How often the host is asked at most, as it has shown what it bears.",
    "host",
)
REGISTRY_SILENCE: Final = _gauge(
    "lockkeeper_registry_silence_seconds", "For how long the host still wants no request.", "host"
)

METRICS: Final = tuple(one for one in list(globals().values()) if isinstance(one, Metric))
"""All of them, in the order of this file."""


# --- what a publication means ---


@dataclass(frozen=True, slots=True)
class PublishedChange:
    """An application that a publication changed, as the record tells it."""

    application: str
    commit: str
    """Source commit; empty: nobody knows."""
    merge: str
    """Of the manifests repository; empty: it came without one, as what was adopted."""
    proposed_at: datetime | None
    """When the newest head of its pull request was written; None: the bot wrote none."""
    published_at: datetime
    comes_back: bool = False
    """Whether earlier publications had brought all of it."""
    goes_back: bool = False
    """Whether it takes the place of something that came after it: a rollback."""


_GRAIN: Final = timedelta(seconds=1)
"""Git knows whole seconds: a merge in the second of its head is not before it."""


def timings(
    change: PublishedChange, committed_at: datetime | None, merged_at: datetime | None
) -> Mapping[Metric, timedelta]:
    """How long a change took; what nobody knows, or two clocks contradict, is left out.

    What comes back made its way long ago, and the record names the merges of then.

    Args:
        change: what was published.
        committed_at: of its source commit.
        merged_at: of the merge that brought it.
    """
    if change.comes_back:
        return {}
    way = {
        LEAD_TIME: (committed_at, change.published_at),
        APPROVAL_WAIT: (change.proposed_at, merged_at),
        DELIVERY_SECONDS: (merged_at, change.published_at),
    }
    return {
        metric: max(end - begin, timedelta(0))
        for metric, (begin, end) in way.items()
        if begin is not None and end is not None and end > begin - _GRAIN
    }


# --- where promotions stand ---


@dataclass(frozen=True, slots=True)
class Stands:
    """Where an application stands in an environment."""

    environment: str
    state: str
    since: datetime | None
    verdict: str
    """Of its open promotion; empty: none is open, or nobody asked."""
    application: str = ""
    waits_for: str = ""
    link: str = ""
    published: tuple[str, ...] = ()
    """The digests that the environment ref shows."""
    awaits_people: bool = False
    """Its open promotion is merged by people, not by the bot."""


def standing_readings(manifests: str, stands: Iterable[Stands], now: datetime) -> Sequence[Reading]:
    """States, the longest time in each, and verdicts of one manifests repository."""
    counts: dict[tuple[Metric, tuple[str, ...]], float] = {}
    oldest: dict[tuple[str, ...], float] = {}
    for one in stands:
        place = manifests, one.environment, one.state
        counts[PROMOTIONS, place] = counts.get((PROMOTIONS, place), 0.0) + 1
        if one.verdict:
            verdict = OPEN_VERDICTS, (manifests, one.environment, one.verdict)
            counts[verdict] = counts.get(verdict, 0.0) + 1
        if one.since is not None:
            age = max(0.0, (now - one.since).total_seconds())
            oldest[place] = max(oldest.get(place, 0.0), age)
    return [
        *(Reading(metric, labels, value) for (metric, labels), value in counts.items()),
        *(Reading(PROMOTIONS_OLDEST, labels, age) for labels, age in oldest.items()),
    ]


@dataclass(frozen=True, slots=True)
class Noted:
    """An entry that was added to the audit, as far as it is counted."""

    kind: str
    scope: Scope
    facts: Mapping[str, str]
