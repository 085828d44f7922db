"""What we ship for Prometheus and Grafana speaks of metrics that exist, and does what it says."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from bot.adapters.metrics import Metrics
from bot.domain.doctor.findings import About, Severity
from bot.domain.jobs import JobKind
from bot.domain.metrics import METRICS, Metric, MetricKind, Reading
from bot.domain.standing import State
from bot.formats.yaml_tree import compose_all, plain
from tests.world.tools import attempt, tool

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "deploy" / "monitoring"
PAGE: Final = ROOT / "docs" / "metrics.md"
_SUFFIX: Final = re.compile(r"_(bucket|sum|count)$")
_KNOWN: Final = {
    "state": {*State, "queued", "running", "waiting", "failed"},
    "severity": set(Severity),
    "kind": set(JobKind),
    "finding": set(About),
    "outcome": {"sealed", "refused", "sent", "waited", "limited"},
    "how": {"held", "rolled back"},
    "status": {"401", "202"},
}


def rules() -> list[dict[str, Any]]:
    text = (FOLDER / "alerts.yaml").read_text()
    value = plain(compose_all(text, "alerts.yaml")[0], "alerts.yaml").value
    assert isinstance(value, dict)
    return [rule for group in value["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    assert isinstance(found, list)
    return [panel for panel in found if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


EXPRESSIONS: Final = list(expressions())


def used(expression: str) -> list[tuple[str, str]]:
    """(metric, what stands in braces behind it) of an expression."""
    return re.findall(r"\b(lockkeeper_[a-z_]+)(?:\{([^}]*)\})?", expression)


def known(name: str) -> Metric | None:
    by_name = {metric.name: metric for metric in METRICS}
    found = by_name.get(name)
    if found is not None and found.kind is not MetricKind.HISTOGRAM:
        return found
    base = by_name.get(_SUFFIX.sub("", name))
    return base if base and base.kind is MetricKind.HISTOGRAM and base.name != name else None


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS, ids=lambda text: text[:40])
def test_every_expression_asks_for_metrics_and_labels_that_exist(
    where: str, expression: str
) -> None:
    assert used(expression), where
    for name, braces in used(expression):
        metric = known(name)
        assert metric is not None, f"{where}: {name}"
        for label, value in re.findall(r'(\w+)\s*(?:=~|!=|=)\s*"([^"]*)"', braces):
            assert label in (*metric.labels, "le"), f"{where}: {name} has no label {label}"
            if "$" not in value:
                assert value in _KNOWN[label], f"{where}: {label} is never {value}"


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS, ids=lambda text: text[:40])
def test_labels_that_are_grouped_by_exist(where: str, expression: str) -> None:
    metrics = [metric for name, _ in used(expression) if (metric := known(name))]
    has = {label for metric in metrics for label in metric.labels}

    for listed in re.findall(r"\bby \(([^)]*)\)", expression):
        assert {one.strip() for one in listed.split(",")} <= has | {"le"}, where


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS, ids=lambda text: text[:40])
def test_a_counter_is_never_read_as_it_stands(where: str, expression: str) -> None:
    """It begins at 0 with each process: only its growth means something."""
    for name, _ in used(expression):
        metric = known(name)
        if metric is not None and metric.kind is not MetricKind.GAUGE:
            growth = rf"(?:rate|increase)\({name}(?:\{{[^}}]*\}})?\["
            assert re.search(growth, expression), f"{where}: {name}"


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS, ids=lambda text: text[:40])
def test_what_every_process_tells_alike_is_never_added_up(where: str, expression: str) -> None:
    for name in ("lockkeeper_promotions", "lockkeeper_jobs", "lockkeeper_outbox_reports"):
        assert not re.search(rf"\bsum[^(]*(?:\([^)]*\))?\s*\({name}\b", expression), where


def test_the_dashboard_shows_every_metric() -> None:
    shown = {
        m.name
        for p in panels()
        for t in p["targets"]
        for n, _ in used(t["expr"])
        if (m := known(n))
    }

    assert shown == {metric.name for metric in METRICS}


def test_no_two_panels_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads((FOLDER / "dashboard.json").read_text())["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert taken.isdisjoint(cells), panel["title"]
        assert all(x < 24 for x, _ in cells)
        taken |= cells


def test_panels_have_numbers_of_their_own_and_say_what_they_show() -> None:
    everything = json.loads((FOLDER / "dashboard.json").read_text())["panels"]

    numbers = [panel["id"] for panel in everything]
    assert len(set(numbers)) == len(numbers)
    assert all(panel["description"] for panel in panels())


def test_every_alert_is_tried() -> None:
    tried = (FOLDER / "alerts.test.yaml").read_text()

    fires = set(re.findall(r"^ {8}alertname: (\w+)$", tried, re.MULTILINE))

    assert fires == {rule["alert"] for rule in rules()}


def test_every_alert_says_what_is_the_matter_and_what_to_do() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert {"summary", "description"} <= rule["annotations"].keys()


# --- by the real thing ---


def test_promtool_reads_the_rules() -> None:
    done = attempt(
        "promtool", "check", "rules", "--lint=all", "--lint-fatal", str(FOLDER / "alerts.yaml")
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_fire_when_they_should_and_only_then() -> None:
    done = attempt("promtool", "test", "rules", str(FOLDER / "alerts.test.yaml"))

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS, ids=lambda text: text[:40])
def test_every_expression_is_promql(where: str, expression: str) -> None:
    query = re.sub(r"\$\w+", "x", expression)

    done = attempt("promtool", "--experimental", "promql", "format", query)

    assert done.returncode == 0, where + done.stderr


def test_promtool_finds_nothing_to_say_about_the_text_of_metrics() -> None:
    metrics = Metrics("1.0.0")
    metrics.add_source("all", _one_of_each_gauge)
    for metric in METRICS:
        labels = tuple("x" for _ in metric.labels)
        if metric.kind is MetricKind.COUNTER:
            metrics.count(metric, *labels)
        if metric.kind is MetricKind.HISTOGRAM:
            metrics.observe(metric, *labels, seconds=3)

    done = subprocess.run(
        [tool("promtool"), "check", "metrics"],
        input=metrics.text(),
        capture_output=True,
        check=False,
        timeout=60,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def _one_of_each_gauge() -> list[Reading]:
    gauges = [metric for metric in METRICS if metric.kind is MetricKind.GAUGE]
    return [Reading(one, tuple("x" for _ in one.labels), 1) for one in gauges]


# --- the page ---


def line(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.meaning} |"


def test_the_page_has_every_metric_and_no_other() -> None:
    rows = [row for row in PAGE.read_text().splitlines() if row.startswith("| `lockkeeper_")]

    assert sorted(rows) == sorted(line(metric) for metric in METRICS)


def test_the_page_has_every_alert_and_no_other() -> None:
    named = re.findall(r"^\| `(Lockkeeper\w+)` \|", PAGE.read_text(), re.MULTILINE)

    assert sorted(named) == sorted(rule["alert"] for rule in rules())
