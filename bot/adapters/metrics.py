"""The figures of one process in Prometheus' text format; the only user of its client library.

Contract. Counters and histograms are counted here as things happen; gauges are read from their
sources when somebody asks. A source that cannot answer is told as failed and its metrics are
absent: what is not known is never 0. A metric has at most `SERIES_LIMIT` series: what is beyond
is counted together as ``other`` or, read, left out and told as left out. Safe from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import prometheus_client
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from bot.domain.errors import LockkeeperError
from bot.domain.metrics import (
    BUILD,
    METRICS,
    SERIES_LEFT_OUT,
    SOURCE_FAILED,
    Metric,
    MetricKind,
    Reading,
)

SERIES_LIMIT: Final = 1000
"""Series of one metric."""
CONTENT_TYPE: Final = prometheus_client.CONTENT_TYPE_LATEST
_OTHER: Final = "other"
_LONGEST_LABEL: Final = 200

Source = Callable[[], Iterable[Reading]]


class Metrics:
    """What one process counts and reads."""

    def __init__(self, version: str) -> None:
        """Count nothing yet; ``version`` is Lockkeeper's."""
        # A second series for each counter, with the time of its birth, is of no use here.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's
        self._registry = prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self._registry)
        self._counters = {
            one: prometheus_client.Counter(
                one.name, one.meaning, one.labels, registry=self._registry
            )
            for one in METRICS
            if one.kind is MetricKind.COUNTER
        }
        self._histograms = {
            one: prometheus_client.Histogram(
                one.name, one.meaning, one.labels, buckets=one.buckets, registry=self._registry
            )
            for one in METRICS
            if one.kind is MetricKind.HISTOGRAM
        }
        self._known: dict[Metric, set[tuple[str, ...]]] = {}
        self._guard = threading.Lock()
        self._gauges = _Gauges({"build": lambda: [Reading(BUILD, (version,), 1.0)]})
        self._registry.register(self._gauges)

    def count(self, metric: Metric, *labels: str, by: float = 1.0) -> None:
        """Something happened, ``by`` so much."""
        counter = self._counters[metric]
        child = counter.labels(*self._bounded(metric, labels)) if metric.labels else counter
        child.inc(by)

    def observe(self, metric: Metric, *labels: str, seconds: float) -> None:
        """Something took so long."""
        histogram = self._histograms[metric]
        child = histogram.labels(*self._bounded(metric, labels)) if metric.labels else histogram
        child.observe(seconds)

    def add_source(self, name: str, read: Source) -> None:
        """Read these gauges, too, whenever somebody asks."""
        self._gauges.sources[name] = read

    def text(self) -> bytes:
        """Everything, as it is now."""
        return prometheus_client.generate_latest(self._registry)

    def _bounded(self, metric: Metric, labels: tuple[str, ...]) -> tuple[str, ...]:
        """The labels, or ``other`` in place of each where there are too many series already."""
        short = _short(labels)
        with self._guard:
            known = self._known.setdefault(metric, set())
            if short not in known and len(known) >= SERIES_LIMIT:
                return tuple(_OTHER for _ in labels)
            known.add(short)
        return short


class _Gauges(Collector):
    """Reads the sources when Prometheus asks."""

    def __init__(self, sources: dict[str, Source]) -> None:
        self.sources = sources

    def describe(self) -> Iterable[prometheus_client.Metric]:
        """Nothing: registering would read the sources."""
        return ()

    def collect(self) -> Iterator[prometheus_client.Metric]:
        readings: dict[Metric, dict[tuple[str, ...], float]] = {}
        for name, read in list(self.sources.items()):
            found = _answer(read)
            failed = Reading(SOURCE_FAILED, (name,), float(found is None))
            for one in (failed, *(found or ())):
                readings.setdefault(one.metric, {})[_short(one.labels)] = one.value
        beyond = {one: len(series) - SERIES_LIMIT for one, series in readings.items()}
        readings[SERIES_LEFT_OUT] = {
            (metric.name,): float(count) for metric, count in beyond.items() if count > 0
        }
        for metric, series in readings.items():
            family = GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)
            for labels, value in sorted(series.items())[:SERIES_LIMIT]:
                family.add_metric(labels, value)
            yield family


def _answer(read: Source) -> Sequence[Reading] | None:
    """What a source says; None: it cannot say anything now."""
    try:
        return list(read())
    except LockkeeperError:
        return None


def _short(labels: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(label[:_LONGEST_LABEL] for label in labels)
