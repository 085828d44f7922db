"""A line of the log says which promotion it is about."""

from __future__ import annotations

import contextvars
import json
import logging
import threading

from bot.cli.log import JsonLines
from bot.domain.promotion import in_hand


def line(**extra: object) -> dict[str, object]:
    record = logging.makeLogRecord({"msg": "effect", "levelname": "INFO", **extra})
    found = json.loads(JsonLines().format(record))
    assert isinstance(found, dict)
    return found


def in_a_job(promotion: str) -> contextvars.Context:
    context = contextvars.copy_context()
    context.run(in_hand, promotion)
    return context


def test_what_a_job_says_names_its_promotion() -> None:
    assert in_a_job("ab12").run(line, effect="copy the image")["promotion"] == "ab12"


def test_what_belongs_to_no_promotion_names_none() -> None:
    assert "promotion" not in contextvars.Context().run(line)
    assert "promotion" not in in_a_job("").run(line)


def test_jobs_side_by_side_do_not_mix_theirs() -> None:
    found: dict[str, object] = {}

    def work(name: str, begun: threading.Barrier) -> None:
        in_hand(name)
        begun.wait(10)
        found[name] = line()["promotion"]

    begun = threading.Barrier(2)
    threads = [threading.Thread(target=work, args=(name, begun)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert found == {"one": "one", "two": "two"}
