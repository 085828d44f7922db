"""What the running bot answered, as tables and sentences for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

Answer = Mapping[str, Any]
_DIGEST: Final = 19
"""Characters of a digest that people compare: ``sha256:`` and twelve more."""


def words_of(verb: str, answer: Answer) -> str:
    """The answer to a verb; a refusal is one line."""
    if "error" in answer:
        return f"error: {answer['error']['text']}"
    unread = [] if verb == "status" else _problems(answer.get("problems", {}))
    return "\n".join([_WORDS[verb](answer), *unread])


def _problems(problems: Mapping[str, str]) -> list[str]:
    return [f"{name} cannot be read: {why}" for name, why in problems.items()]


def _status(answer: Answer) -> str:
    problems = _problems(answer["problems"])
    findings = ["\n".join(finding["line"] for finding in answer["findings"])]
    parts = [*_places(answer["places"]), *problems, *_jobs(answer), *filter(None, findings)]
    return "\n\n".join(parts) or "nothing is promoted anywhere yet"


def _places(places: Sequence[Answer]) -> list[str]:
    header = ("ENVIRONMENT", "APPLICATION", "IMAGE", "PUBLISHED", "STATE")
    parts: list[str] = []
    for manifests, group in groupby(places, key=lambda one: str(one["manifests"])):
        rows = list(group)
        cells = [
            (
                one["environment"],
                one["application"],
                one["image"],
                (one["published"] or "-")[:_DIGEST],
                one["state"],
            )
            for one in rows
        ]
        lines = table([header, *cells])
        below = [lines[0]]
        for one, line in zip(rows, lines[1:], strict=True):
            below += [line, *_waits(one)]
        parts.append("\n".join([manifests, *below]))
    return parts


def _waits(one: Answer) -> list[str]:
    lines: list[str] = []
    if one["waits_for"] or one["revoked"]:
        lines.append(f"  {one['sentence']}")
    if one["link"]:
        lines.append(f"  {one['link']}")
    return lines


def _jobs(answer: Answer) -> list[str]:
    jobs: Sequence[Answer] = answer["jobs"]
    if not jobs:
        return []
    lines = table([("JOB", "STATE", "TRIES", "SINCE", "DUE"), *(_job_cells(job) for job in jobs)])
    below = [lines[0]]
    for job, line in zip(jobs, lines[1:], strict=True):
        below += [line, *([f"  {job['summary']}"] if job["summary"] else [])]
    return ["\n".join(below)]


def _job_cells(job: Answer) -> tuple[str, ...]:
    since, due = job["since"] or "-", job["due"] or "-"
    return (job["key"], job["state"], str(job["attempts"]), since, due)


def _hold(answer: Answer) -> str:
    return f"{_subject(answer)} is held; `lockkeeper unhold {_name(answer)}` lets it go on"


def _unhold(answer: Answer) -> str:
    left = [_left(one) for one in answer.get("left", ())]
    if not answer.get("was_held", True):
        first = f"{_subject(answer)} was not held; nothing has changed"
    elif left:
        first = f"{_subject(answer)}: one hold is ended, and it is not the only one"
    else:
        first = f"{_subject(answer)} goes on"
    return "\n".join([first, *left])


def _left(one: Answer) -> str:
    verb, until = ("frozen", f" until {one['until']}") if one["until"] else ("held", "")
    return f"still {verb} by {one['by']}{until}: {one['reason']}"


def _promote(answer: Answer) -> str:
    return f"{_subject(answer)}: {answer['commit'][:7]} is on its way, by a pull request"


def _rollback(answer: Answer) -> str:
    way = f"{_subject(answer)}: back to {answer['commit'][:7]}, by a pull request"
    until = f"nothing newer comes until `lockkeeper unhold {_name(answer)}`"
    images = [f"  {name} {digest}" for name, digest in answer["images"].items()]
    return "\n".join([f"{way}; {until}", *images])


def _freeze(answer: Answer) -> str:
    name = answer["environment"]
    until = f"nothing new comes into {name} until {answer['until']}"
    return f"{answer['manifests']}: {until}; `lockkeeper unfreeze {name}` ends it"


def _subject(answer: Answer) -> str:
    application, environment = answer["application"], answer["environment"]
    subject = f"{application} in {environment}" if application else f"environment {environment}"
    return f"{answer['manifests']}: {subject}"


def _name(answer: Answer) -> str:
    return " ".join(part for part in (answer["environment"], answer["application"]) if part)


def _adopt(answer: Answer) -> str:
    digests: Sequence[str] = answer["adopted"]
    first = (
        f"{answer['manifests']}: {answer['ref']}: {_count(digests, 'digest')} taken over unsealed"
    )
    return "\n".join([first, *(f"  {digest}" for digest in digests)])


def _accept(answer: Answer) -> str:
    return f"{answer['manifests']}: the rules of {answer['commit'][:7]} are in force"


def _reseal(answer: Answer) -> str:
    digests: Sequence[str] = answer["digests"]
    done = f"{_count(digests, 'published digest')}, {answer['written']} written"
    lines = [
        f"{answer['manifests']}: {answer['environment']}: {done}",
        *(f"  {digest}" for digest in digests),
        *(f"not resealed: {one}" for one in answer["left"]),
        *(f"key that may leave: {one}" for one in answer["may_leave"]),
        *(f"warning: {one}" for one in answer["warnings"]),
    ]
    return "\n".join(lines)


def _resume(answer: Answer) -> str:
    resumed: Sequence[Answer] = answer["resumed"]
    lines = [f"{one['manifests']} goes on: {', '.join(one['environments'])}" for one in resumed]
    return "\n".join(lines) or "nothing was stopped; nothing has changed"


def _trust_source(answer: Answer) -> str:
    places = ", ".join(answer["manifests"])
    return f"{places}: {answer['source']} is the repository of id {answer['id']} from now on"


def _retry(answer: Answer) -> str:
    return f"{answer['job']} runs again"


def _count(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}" + ("" if len(things) == 1 else "s")


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with aligned columns, two spaces between them, nothing behind the last."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


_WORDS: Final[Mapping[str, Callable[[Answer], str]]] = {
    "accept": _accept,
    "adopt": _adopt,
    "freeze": _freeze,
    "hold": _hold,
    "promote": _promote,
    "reseal": _reseal,
    "resume": _resume,
    "retry": _retry,
    "rollback": _rollback,
    "status": _status,
    "trust-source": _trust_source,
    "unfreeze": _unhold,
    "unhold": _unhold,
}
