"""The body of a promotion pull request: what a reviewer needs to decide in one minute.

The skeleton is final: verdict, identity, policy, vulnerabilities, contents, source changes,
supply chain, what happens on merge. A part without data says so, and never "clean".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from bot.domain.assessment import Assessment
from bot.domain.environments import SHORT_COMMIT, Approvals
from bot.domain.history import Asker, Contribution, GitCommit, WatchedChange
from bot.domain.image_configuration import ImageConfiguration
from bot.domain.images import BaseImage
from bot.domain.issues import IssueKey
from bot.domain.oci import Digest
from bot.domain.policy import words
from bot.formats import contents_section, evidence_body, vulnerability_section
from bot.formats.body_budget import BUDGET, Detail, fitting
from bot.formats.configuration_section import Running, configuration, judged, summary
from bot.formats.evidence_cells import NOT_EVALUATED
from bot.formats.markdown import code, details, moved, plain, text
from bot.formats.source_section import SourceChanges, counted, source_section
from bot.formats.travelling_section import TravellingFacts, travelling_section

_MARKER: Final = re.compile(r"<!-- lockkeeper:promotion v1 id=([0-9a-f]{26})( superseded)? -->")
_EVALUATED: Final = re.compile(r"evaluated [0-9-]{10} [0-9:]{5} UTC</sub>")
_FEW_IMAGES: Final = 10
_FEW_BASES: Final = 3
_NONE: Final = "none"
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9 ._/@:+-]")


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """One image, now and new."""

    name: str
    new: Digest
    now: Digest | None
    new_platforms: tuple[str, ...] = ()
    now_platforms: tuple[str, ...] = ()
    new_size: int | None = None
    """Bytes, compressed, of the largest platform; None: not known."""
    now_size: int | None = None
    new_created: datetime | None = None
    now_created: datetime | None = None
    new_bases: Sequence[BaseImage] = ()
    now_bases: Sequence[BaseImage] = ()
    new_runs: Mapping[str, ImageConfiguration | None] = field(default_factory=dict)
    """How each platform runs; None: it does not say."""
    now_runs: Mapping[str, ImageConfiguration | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BodyFacts:
    """Everything that the body says."""

    promotion: str
    """Its id."""
    application: str
    environment: str
    ref: str
    """The environment ref, as Argo CD tracks it."""
    source_repository: str
    web_url: str
    """Where people read GitHub, for links."""
    branch: str
    commit: str
    now_commit: str | None
    known_by: str
    images: Sequence[ImageFacts]
    source_repositories: Sequence[str]
    """Where the images come from; empty: they stand where they are pushed."""
    target_repositories: Sequence[str]
    commits: Sequence[GitCommit] | None
    """New source commits; None: they cannot be listed."""
    leaving: Sequence[GitCommit]
    """Commits that would leave the environment."""
    signs: bool
    approvals: Approvals
    merges_itself: bool
    newer: str = ""
    """A newer build that this approved pull request does not take by itself."""
    assessment: Assessment | None = None
    """The judged evidence; None: nothing was looked at."""
    report_url: str = ""
    """Where the whole report stands; empty: nowhere."""
    contributions: Mapping[str, Contribution] | None = None
    """How the new commits came; None: nobody knows."""
    asker: Asker | None = None
    """Who brought the branch head that asked; None: nobody looked."""
    issues: Sequence[IssueKey] | None = ()
    """That the new commits and their pull requests name; None: they cannot be listed."""
    watching: Sequence[str] = ()
    """Globs over files that reviewers want to see."""
    watched: Sequence[WatchedChange] | None = ()
    """Those that differ; None: nobody knows."""
    travelling: TravellingFacts = field(default_factory=TravellingFacts)
    """Files that come with the images."""
    before: str = ""
    """The environment that it is promoted from; empty: none."""
    is_cut: bool = False
    """There are more new commits than `commits`, the newest."""


def title(name: str, environment: str, asked: str) -> str:
    """The title: authored text keeps to a fixed character set, interpreters read it."""
    return authored(f"Promote {name} to {environment}: {asked}")


def authored(value: str) -> str:
    """Text for titles, branches, labels and commit messages: ``[A-Za-z0-9 ._/@:+-]`` alone."""
    return _UNSAFE.sub("-", plain(value, 240))


def marked_promotion(body: str) -> tuple[str, bool] | None:
    """The id in a body's marker and whether we closed it; a hint, never a fact."""
    found = _MARKER.search(body)
    return (found[1], bool(found[2])) if found else None


def superseded(body: str) -> str:
    """The same body, marked as closed by Lockkeeper itself."""
    return _MARKER.sub(lambda m: f"<!-- lockkeeper:promotion v1 id={m[1]} superseded -->", body)


def is_same(body: str, other: str) -> bool:
    """Whether two bodies say the same, at whatever time they were evaluated."""
    return without_time(body) == without_time(other)


def without_time(body: str) -> str:
    """What a body says, whenever it was evaluated."""
    return _EVALUATED.sub("", body)


def render(facts: BodyFacts) -> str:
    """The body, within GitHub's limit."""
    return fitting(lambda detail: [_marker(facts.promotion), *_sections(facts, detail)])


def render_group(promotion: str, group: str, members: Sequence[BodyFacts]) -> str:
    """The body of several promotions, one after the other, within the same limit.

    Of many each is said in short, those that a rule stops first; of too many the first ones.
    """
    plural = "promotions" if len(members) > 1 else "promotion"
    head = f"## {code(group)}: {len(members)} {plural}, merged together"
    whole = fitting(
        lambda detail: [
            _marker(promotion),
            head,
            "\n".join(f"- {code(one.application)} {_new_version(one)}" for one in members),
            *(section for one in members for section in ("---", *_sections(one, detail))),
        ]
    )
    if len(whole.encode()) <= BUDGET:
        return whole
    serious = sorted(members, key=_is_let_through)
    shown, body = len(serious), ""
    while not body or (shown and len(body.encode()) > BUDGET):
        body = _shortened([_marker(promotion), head], serious[:shown], len(serious) - shown)
        shown //= 2
    return body


def _is_let_through(facts: BodyFacts) -> bool:
    return not (facts.assessment and facts.assessment.verdict.blocks)


def _shortened(head: Sequence[str], shown: Sequence[BodyFacts], left: int) -> str:
    """Promotions in short, and how many are not shown at all."""
    more = f"…and {left} more: each has its own page, and stands in the commit's message."
    return fitting(
        lambda detail: [
            *head,
            *(part for one in shown for part in _in_short(one, detail)),
            more if left else "",
        ]
    )


def _in_short(facts: BodyFacts, detail: Detail) -> list[str]:
    """The verdict, what breaks a rule, the version, and where the rest is read."""
    blocking = vulnerability_section.blocking(facts.assessment, detail) if facts.assessment else ""
    heading = f"### {code(facts.application)} → {code(facts.environment)}"
    version = f"**Version** {_now_version(facts)} → {_new_version(facts)}"
    return ["---", heading, _verdict(facts), blocking, version, _foot(facts)]


def _marker(promotion: str) -> str:
    return f"<!-- lockkeeper:promotion v1 id={promotion} -->"


def _sections(facts: BodyFacts, detail: Detail) -> list[str]:
    """What is said of one promotion."""
    assessed = facts.assessment
    return [
        _verdict(facts),
        vulnerability_section.blocking(assessed, detail) if assessed else "",
        _identity(facts, detail),
        configuration(_running(facts)),
        travelling_section(facts.travelling, 4 * detail.commits),
        evidence_body.policy(assessed, detail) if assessed else _policy(),
        vulnerability_section.vulnerabilities(assessed, detail) if assessed else _vulnerabilities(),
        contents_section.contents(assessed, detail) if assessed else _contents(),
        source_section(_source_changes(facts), detail.commits),
        _supply_chain(facts),
        _on_merge(facts),
        _foot(facts),
    ]


def _verdict(facts: BodyFacts) -> str:
    lines = evidence_body.verdict(facts.assessment) if facts.assessment else _no_verdict(facts)
    if facts.leaving:
        first, _, rest = lines.partition("\n")
        # The more serious of the two colours stays.
        first = first if first in {"> [!CAUTION]", "> [!WARNING]"} else "> [!WARNING]"
        diverging = (
            f"> **Diverging: {counted(facts.leaving, 'commit')} of {code(facts.environment)} "
            "would leave with this build.** Lockkeeper does not merge it by itself."
        )
        lines = f"{first}\n{diverging}\n{rest}"
    if facts.newer:
        lines += f"\n> A newer build is available: {text(facts.newer)}."
    return lines


def _no_verdict(facts: BodyFacts) -> str:
    return (
        f"> [!NOTE]\n> **Policy: not evaluated for {code(facts.environment)}.** "
        "No policy is configured, so nothing gates this promotion; nothing was scanned either."
    )


def _identity(facts: BodyFacts, detail: Detail) -> str:
    """Which version and which bytes, in two lines; the rest is folded, one column on a phone."""
    heading = f"### {code(facts.application)} → {code(facts.environment)}"
    shown = facts.images if detail.commits else facts.images[:_FEW_IMAGES]
    lines = [f"**Version** {_now_version(facts)} → {_new_version(facts)}"]
    lines += [
        f"**Image**{_of_image(facts, image)} {_digest(image.now)} → {_digest(image.new)}"
        for image in shown
    ]
    left = len(facts.images) - len(shown)
    lines += [f"…and {left} more images"] if left else []
    lines += [*_asked(facts), *_standing(facts)]
    rows = [row for image in shown for row in _image_rows(facts, image)]
    rows.append(["**User, entrypoint, ports, variables**", _how_it_runs(facts)])
    header = f"In {code(facts.environment)} now → this promotion:"
    listed = "\n".join(f"- {name}: {said}" for name, said in rows)
    folded = details("Platforms, base image, size and time of build", f"{header}\n\n{listed}")
    return "\n\n".join([heading, *lines, folded])


def _of_image(facts: BodyFacts, image: ImageFacts) -> str:
    return f" {code(image.name)}" if len(facts.images) > 1 else ""


def _image_rows(facts: BodyFacts, image: ImageFacts) -> list[list[str]]:
    name = _of_image(facts, image)
    return [
        [
            f"**Platforms**{name}",
            moved(_now(image, _listed(image.now_platforms)), _listed(image.new_platforms)),
        ],
        *([[f"**Base image**{name}", moved(*_bases(image))]] if _has_base(image) else []),
        [f"**Size**{name} (compressed)", moved(_now(image, _size(image.now_size)), _grown(image))],
        [
            f"**Built**{name}",
            moved(_now(image, _time(image.now_created)), _time(image.new_created)),
        ],
    ]


def _running(facts: BodyFacts) -> list[Running]:
    """How the images run: by the registry, else by the scanner's reports."""
    sides = [
        Running(image.name, platform, image.now_runs[platform], new)
        for image in facts.images
        for platform, new in image.new_runs.items()
        if platform in image.now_runs
    ]
    return sides or (judged(facts.assessment) if facts.assessment else [])


def _how_it_runs(facts: BodyFacts) -> str:
    if not any(image.now for image in facts.images):
        return "nothing runs yet"
    return summary(_running(facts))


def _asked(facts: BodyFacts) -> list[str]:
    """Which branch head asked, and whose it is."""
    asker = facts.asker
    if asker is None:
        return []
    who = code(asker.login, 60) if asker.login else f"{text(asker.name, 60)} (by the commit's name)"
    if not (asker.login or asker.name):
        who = "somebody whom nobody knows"
    brought = ""
    if asker.pull_request:
        brought = f" with {_source_changes(facts).pull_request_link(asker.pull_request)}"
    head = _version_link(facts, asker.commit)
    return [f"**Asked by** {who}, who moved {code(asker.branch)} to {head}{brought}"]


def _standing(facts: BodyFacts) -> list[str]:
    """How long the running version has run, and this one stood before; what a rollback takes."""
    assessed = facts.assessment
    if assessed is None:
        return []
    parts = [_stood_before(facts, assessed), _since_when(facts, assessed)]
    return [" ".join(part for part in parts if part)]


def _stood_before(facts: BodyFacts, assessed: Assessment) -> str:
    if not facts.before:
        return ""
    stood = assessed.evidence.soaked
    if stood is None:
        return f"How long this build stood in {code(facts.before)} is not known."
    return f"This build has stood in {code(facts.before)} for {words(stood)}."


def _since_when(facts: BodyFacts, assessed: Assessment) -> str:
    if not any(image.now for image in facts.images):
        return "Nothing runs there yet: there is nothing that a rollback could go back to."
    since = assessed.evidence.last_promotion
    went = "Since when the running version runs is not known."
    if since is not None:
        days = max(0, (assessed.at.date() - since).days)
        ago = f"{counted_days(days)} ago" if days else "today"
        went = f"The running version came on {since} ({ago})."
    return f"{went} A rollback goes back to it: {_goes_back_to(facts)}."


def _goes_back_to(facts: BodyFacts) -> str:
    digests = [_digest(image.now) for image in facts.images if image.now]
    shown = digests[0] if len(digests) == 1 else f"{len(digests)} images"
    if facts.now_commit is None:
        return f"{shown}, whose commit is not known"
    return f"{_version_link(facts, facts.now_commit)}, {shown}"


def counted_days(days: int) -> str:
    """``1 day``, ``17 days``."""
    return f"{days} day{'' if days == 1 else 's'}"


def _now_version(facts: BodyFacts) -> str:
    if facts.now_commit is None:
        is_something = any(image.now for image in facts.images)
        return "not known" if is_something else "nothing yet"
    return _version(facts, facts.now_commit, "")


def _new_version(facts: BodyFacts) -> str:
    """The commit, what is between the two, and by what it is known."""
    compare = ""
    if facts.now_commit is not None:
        span = f"{facts.now_commit[:SHORT_COMMIT]}...{facts.commit[:SHORT_COMMIT]}"
        url = (
            f"{facts.web_url}/{facts.source_repository}/compare/{facts.now_commit}...{facts.commit}"
        )
        compare = f", [compare {span}]({url})"
    known = f", known by {text(facts.known_by)}" if facts.known_by else ""
    return f"{_version(facts, facts.commit, facts.branch)}{compare}{known}"


def _version(facts: BodyFacts, commit: str, branch: str) -> str:
    link = _version_link(facts, commit)
    return f"{code(branch)} · {link}" if branch else link


def _version_link(facts: BodyFacts, commit: str) -> str:
    shown = f"{code(commit[:SHORT_COMMIT])}"
    return f"[{shown}]({facts.web_url}/{facts.source_repository}/commit/{commit})"


def _digest(digest: Digest | None) -> str:
    return code(f"{digest[:15]}…{digest[-4:]}") if digest else _NONE


def _now(image: ImageFacts, words: str) -> str:
    """Of the image that runs: nobody has to know anything where none does."""
    return words if image.now else _NONE


def _listed(platforms: Sequence[str]) -> str:
    return text(", ".join(platforms)) or "not known"


def _has_base(image: ImageFacts) -> bool:
    """Most builders say nothing; then there is nothing to compare."""
    return bool(image.new_bases or image.now_bases)


def _bases(image: ImageFacts) -> list[str]:
    now, new = _base(image.now_bases), _base(image.new_bases)
    is_known = image.now is not None and bool(image.now_bases and image.new_bases)
    changed = is_known and set(image.now_bases) != set(image.new_bases)
    return [_now(image, now), f"{new} (changed)" if changed else new]


def _base(bases: Sequence[BaseImage]) -> str:
    """What people call it; digests of one name are those of its platforms."""
    names: dict[str, list[str]] = {}
    for base in bases:
        # What everybody leaves out: distribution/reference, "familiar names".
        name = base.name.removeprefix("docker.io/library/")
        names.setdefault(name, []).append(base.digest)
    shown = [
        " ".join(part for part in (code(name, 80), _base_digests(digests)) if part)
        for name, digests in names.items()
    ]
    return ", ".join(shown[:_FEW_BASES]) or "not known"


def _base_digests(digests: Sequence[str]) -> str:
    known = [digest for digest in digests if digest]
    if len(known) > 1:
        return f"({len(known)} platforms)"
    return code(f"{known[0][:15]}…{known[0][-4:]}") if known else ""


def _size(size: int | None) -> str:
    return f"{size / 2**20:.1f} MiB" if size is not None else "not known"


def _grown(image: ImageFacts) -> str:
    if not image.now_size or image.new_size is None:
        return _size(image.new_size)
    growth = image.new_size - image.now_size
    share = 100 * growth / image.now_size
    return f"{_size(image.new_size)} ({growth / 2**20:+.1f} MiB, {share:+.1f} %)"


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC" if at else "not known"


def _policy() -> str:
    return f"### Policy\n\n{NOT_EVALUATED} No policy file is configured."


def _vulnerabilities() -> str:
    words = "No scanner is configured; this says nothing about the image."
    return f"### Vulnerabilities\n\n{NOT_EVALUATED} {words}"


def _contents() -> str:
    words = "No SBOM was read; this says nothing about the image."
    return f"### Contents (SBOM)\n\n{NOT_EVALUATED} {words}"


def _source_changes(facts: BodyFacts) -> SourceChanges:
    return SourceChanges(
        environment=facts.environment,
        repository=facts.source_repository,
        web_url=facts.web_url,
        commits=facts.commits,
        leaving=facts.leaving,
        is_first=not any(image.now for image in facts.images),
        contributions=facts.contributions,
        is_cut=facts.is_cut,
        issues=facts.issues,
        watching=facts.watching,
        watched=facts.watched,
    )


def _supply_chain(facts: BodyFacts) -> str:
    known = {
        "label": "the image's label names this commit; labels are claims of whoever built it",
        "tag only": "⚠️ only the tag ties the image to this commit",
    }
    rows = [["Source commit", text(known.get(facts.known_by, facts.known_by))]]
    if facts.assessment:
        rows += evidence_body.supply_chain(facts.assessment, facts.source_repository, facts.web_url)
    else:
        rows += [[name, "not evaluated"] for name in ("Signature", "Provenance", "SBOM", "Scan")]
    return evidence_body.supply_chain_section(rows)


def _on_merge(facts: BodyFacts) -> str:
    targets = ", ".join(code(name) for name in facts.target_repositories)
    if not facts.source_repositories:
        action = f"Lockkeeper checks that the image stands in {targets}"
    else:
        sources = ", ".join(code(name) for name in facts.source_repositories)
        action = (
            f"Lockkeeper copies every platform by digest from {sources} to {targets}, reads it back"
        )
    signs = ", signs it" if facts.signs else ""
    approvals = _approvals(facts.approvals)
    merged = "Lockkeeper merges it by itself." if facts.merges_itself and not facts.leaving else ""
    return (
        f"**When this merges**, {action}{signs}, and only then publishes it on "
        f"{code(facts.ref)}. {approvals} {merged}".rstrip()
    )


def _foot(facts: BodyFacts) -> str:
    report = f"[Full report]({facts.report_url})" if facts.report_url else ""
    at = f"evaluated {_time(facts.assessment.at)}" if facts.assessment else ""
    shown = " · ".join(word for word in (report, at) if word)
    return f"<sub>{shown}</sub>" if shown else ""


def _approvals(approvals: Approvals) -> str:
    if not approvals.count:
        return "No approval is needed."
    teams = " or ".join(code(team) for team in approvals.teams) or "people with write access"
    plural = "s" if approvals.count > 1 else ""
    return f"It needs {approvals.count} approval{plural} of {teams}."
