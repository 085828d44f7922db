from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.github import permissions
from bot.domain.doctor.app import WANTED_EVENTS, WANTED_PERMISSIONS
from bot.formats.webhook import HANDLED
from bot.formats.yaml_tree import compose_all, plain
from tests.contract import published

MANIFEST = Path(__file__).parents[1] / "app.yml"
LEVELS = ("read", "write")
OF_EVENTS = {"merge_queues": "read", "issues": "read"}
"""Permissions that no request needs and an event does: merge_group, issue_comment (GitHub,
"Webhook events")."""


def manifest() -> dict[str, Any]:
    value = plain(compose_all(MANIFEST.read_text(), "app.yml")[0], "app.yml").value
    assert isinstance(value, dict)
    return value


def published_names() -> dict[str, list[str]]:
    """Permission -> levels, as GitHub's OpenAPI description has them."""
    rest = json.loads((published.required() / "rest.json").read_bytes())
    properties = rest["schemas"]["app-permissions"]["properties"]
    return {name: described["enum"] for name, described in properties.items()}


def section(name: str) -> list[str]:
    """The lines below a key of the file, up to the next one."""
    _, _, rest = MANIFEST.read_text().partition(f"{name}:\n")
    return [line for line in re.split(r"\n(?=\S)", rest)[0].splitlines() if line.strip()]


def test_the_app_asks_for_what_its_requests_and_events_need_and_for_no_more() -> None:
    needed = dict(OF_EVENTS)
    for one in permissions.ALL:
        for name, level in one.items():
            needed[name] = max(level, needed.get(name, level), key=LEVELS.index)

    assert manifest()["default_permissions"] == needed


def test_the_doctor_looks_for_what_the_app_asks_for() -> None:
    assert manifest()["default_permissions"] == WANTED_PERMISSIONS
    assert set(manifest()["default_events"]) == WANTED_EVENTS


def test_every_kind_of_request_is_in_the_union() -> None:
    kinds = [value for name, value in vars(permissions).items() if name.isupper() and name != "ALL"]

    assert [kind for kind in kinds if kind not in permissions.ALL] == []


def test_permissions_are_github_s_names_and_levels() -> None:
    known = published_names()

    asked = manifest()["default_permissions"]

    assert {name: level for name, level in asked.items() if level not in known.get(name, [])} == {}


def test_events_are_handled_by_the_intake() -> None:
    events = manifest()["default_events"]

    assert len(set(events)) == len(events)
    assert set(events) <= HANDLED


def test_events_are_github_s_names() -> None:
    webhooks = json.loads((published.required() / "webhooks.json").read_bytes())
    known = {name.partition(" ")[0] for name in webhooks["events"]}

    assert set(manifest()["default_events"]) <= known


@pytest.mark.parametrize("name", ["default_permissions", "default_events"])
def test_each_line_has_its_reason(name: str) -> None:
    lines = section(name)

    assert len(lines) == len(manifest()[name])
    assert [line for line in lines if not re.search(r"\S +# \S.{10,}", line)] == []


def test_the_app_of_the_file_is_nobody_s_yet() -> None:
    """Names that must be changed are under `.invalid`, which nobody can own (RFC 6761, 6.4)."""
    hosts = re.findall(r"https://([^/\s]+)", MANIFEST.read_text())

    assert hosts
    assert all(host.endswith(".invalid") for host in hosts)
    assert manifest()["public"] is False
