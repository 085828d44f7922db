from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path

import pytest

from bot.adapters.feeds import FileFeeds


def write_kev(path: Path, count: int, at: int) -> None:
    rows = [
        {"cveID": f"CVE-2026-{number:04}", "dateAdded": "2026-01-02"} for number in range(count)
    ]
    catalogue = {"dateReleased": "2026-11-20T00:00:00Z", "count": count, "vulnerabilities": rows}
    path.write_text(json.dumps(catalogue))
    os.utime(path, (at, at))


def write_epss(path: Path, count: int, at: int) -> None:
    rows = "".join(f"CVE-2026-{number:04},0.{number:03},0.5\n" for number in range(count))
    path.write_text(
        f"#model_version:v1,score_date:2026-11-20T00:00:00Z\ncve,epss,percentile\n{rows}"
    )
    os.utime(path, (at, at))


@pytest.fixture
def feeds(tmp_path: Path) -> FileFeeds:
    write_kev(tmp_path / "kev.json", 100, 1)
    write_epss(tmp_path / "epss.csv", 100, 1)
    return FileFeeds(tmp_path / "kev.json", tmp_path / "epss.csv")


def test_both_are_read_for_what_is_wanted(feeds: FileFeeds) -> None:
    found = feeds.exploitation({"CVE-2026-0007"})

    assert found.kev is not None
    assert len(found.kev) == 100
    assert found.epss == {"CVE-2026-0007": 0.007}
    assert (found.kev_date, found.epss_date) == (date(2026, 11, 20), date(2026, 11, 20))


def test_what_nobody_set_is_not_known() -> None:
    found = FileFeeds(None, None).exploitation({"CVE-2026-0007"})

    assert (found.kev, found.epss) == (None, None)


def test_a_newer_file_is_taken_over(feeds: FileFeeds, tmp_path: Path) -> None:
    feeds.exploitation(())
    write_kev(tmp_path / "kev.json", 150, 2)

    assert len(feeds.exploitation(()).kev or {}) == 150


@pytest.mark.parametrize("defect", ["shrunken", "broken", "empty", "gone"])
def test_a_file_that_lost_something_is_not_taken_over(
    feeds: FileFeeds, tmp_path: Path, defect: str, caplog: pytest.LogCaptureFixture
) -> None:
    feeds.exploitation(())
    kev = tmp_path / "kev.json"
    if defect == "shrunken":
        write_kev(kev, 89, 2)
    elif defect == "gone":
        kev.unlink()
    else:
        kev.write_text("{" if defect == "broken" else '{"vulnerabilities": []}')

    assert len(feeds.exploitation(()).kev or {}) == 100
    assert "feed not taken over" in caplog.text


def test_a_first_file_that_cannot_be_read_is_no_catalogue(tmp_path: Path) -> None:
    (tmp_path / "kev.json").write_text("no JSON")

    assert FileFeeds(tmp_path / "kev.json", None).exploitation(()).kev is None
