"""Rules of branches: may the App write the environment refs, is its check required.

Source: GitHub REST API documentation, "Rules", "Branch protection".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bot.domain.doctor.findings import (
    About,
    Finding,
    Look,
    Severity,
    Unknown,
)

CHECK: Final = "lockkeeper"
"""The check on every pull request of a manifests repository."""


@dataclass(frozen=True, slots=True)
class BranchRule:
    """One active rule of a branch, from a ruleset."""

    kind: str
    """GitHub's word: ``update``, ``pull_request``, ``required_status_checks`` ..."""
    bypass: str = ""
    """Whether the App may go past it: ``always``, ``never`` ...; empty where GitHub is silent."""
    approvals: int = 0
    last_push: bool = False
    """Whoever pushed last does not count as approving."""
    checks: Mapping[str, int | None] = field(default_factory=dict)
    """Required check -> id of the App that must set it; None: anybody."""


@dataclass(frozen=True, slots=True)
class BranchRules:
    """What holds for one branch."""

    rules: Sequence[BranchRule] = ()
    classic: bool = False
    """A branch protection rule of the older kind is there, too."""
    classic_checks: Mapping[str, int | None] = field(default_factory=dict)
    exists: bool = True

    def of(self, *kinds: str) -> list[BranchRule]:
        """The rules of these kinds."""
        return [rule for rule in self.rules if rule.kind in kinds]

    def required_checks(self) -> dict[str, int | None]:
        """Every required check; where two rules ask, the one that names an App counts."""
        found = dict(self.classic_checks)
        for rule in self.rules:
            for name, app in rule.checks.items():
                found[name] = found.get(name) or app
        return found


@dataclass(frozen=True, slots=True)
class EnvironmentPlan:
    """What a pipeline file says of an environment, as far as it matters here."""

    name: str
    ref: str
    merges_itself: bool = False
    approvals: int = 0
    signs: bool = False


@dataclass(frozen=True, slots=True)
class RefState:
    """One environment ref and everything that is named like it."""

    environment: EnvironmentPlan
    rules: Look[BranchRules]
    tags: Look[Sequence[str]]
    """Tags with the ref's name."""


# --- rules of branches ---


def _untold(about: About, subject: str, look: Unknown) -> Finding:
    """Rules that GitHub does not tell; where it refuses to, asking again changes nothing."""
    if not look.is_refusal:
        return Finding(about, subject, Severity.UNKNOWN, look.reason)
    remedy = (
        "take this for not protected; on some plans a private repository has no rulesets: change "
        "the plan, or let nobody push there whom you do not trust"
    )
    return Finding(about, subject, Severity.UNKNOWN, look.reason, remedy)


def default_branch_findings(
    name: str,
    look: Look[BranchRules],
    plans: Sequence[EnvironmentPlan],
    merge_methods: frozenset[str] | None,
    app_id: int,
) -> Iterator[Finding]:
    """What the default branch asks: our check, from our App; and what `merge: auto` needs.

    Args:
        name: The manifests repository, ``owner/name``.
        look: The rules of its default branch.
        plans: The environments of its pipeline file.
        merge_methods: How it lets pull requests be merged; None where GitHub does not tell.
        app_id: Ours.
    """
    if isinstance(look, Unknown):
        yield _untold(About.CHECK_REQUIRED, name, look)
        return
    rules = look.value
    yield _required_check(name, rules, app_id)
    automatic = [plan.name for plan in plans if plan.merges_itself]
    if automatic:
        yield _auto_merge(f"{name} {', '.join(automatic)}", rules, merge_methods)
    if any(plan.approvals for plan in plans):
        yield _last_push(name, rules)


def _required_check(name: str, rules: BranchRules, app_id: int) -> Finding:
    required = rules.required_checks()
    ruleset = "in a ruleset for the default branch, with the App as expected source"
    if CHECK not in required:
        fact = f"the check `{CHECK}` is not required: what it refuses can be merged"
        return Finding(About.CHECK_REQUIRED, name, Severity.WARNING, fact, f"require it {ruleset}")
    source = required[CHECK]
    if source is None:
        fact = f"the check `{CHECK}` is required from anybody: whoever may write can set it"
        return Finding(About.CHECK_REQUIRED, name, Severity.WARNING, fact, f"require it {ruleset}")
    if source != app_id:
        fact = f"the check `{CHECK}` is required from App {source}, and App {app_id} sets it"
        return Finding(About.CHECK_REQUIRED, name, Severity.FAILURE, fact, f"require it {ruleset}")
    fact = f"the check `{CHECK}` is required from this App"
    return Finding(About.CHECK_REQUIRED, name, Severity.OK, fact)


def _auto_merge(subject: str, rules: BranchRules, methods: frozenset[str] | None) -> Finding:
    about = About.AUTO_MERGE
    if rules.of("merge_queue"):
        return Finding(
            about,
            subject,
            Severity.FAILURE,
            "the default branch has a merge queue, which Lockkeeper never enters or goes around",
            "write `merge: manual`, or let the queue not apply to this branch",
        )
    waits = [rule for rule in rules.of("pull_request") if rule.approvals]
    if any(rule.bypass not in {"always", "exempt"} for rule in waits):
        count = max(rule.approvals for rule in waits)
        return Finding(
            about,
            subject,
            Severity.WARNING,
            f"`merge: auto` waits each time for the {count} approvals that the ruleset asks for",
            "let the App bypass that rule (for pull requests), or write `merge: manual`",
        )
    if methods == frozenset():
        fact = "the repository allows no way to merge"
        remedy = "allow squash, merge or rebase in its settings, Pull Requests"
        return Finding(about, subject, Severity.FAILURE, fact, remedy)
    return Finding(about, subject, Severity.OK, "`merge: auto` has what it needs")


def _last_push(name: str, rules: BranchRules) -> Finding:
    if any(rule.last_push for rule in rules.of("pull_request")):
        fact = "the approval of whoever pushed last does not count"
        return Finding(About.LAST_PUSH, name, Severity.OK, fact)
    return Finding(
        About.LAST_PUSH,
        name,
        Severity.WARNING,
        "whoever pushed last may approve their own push",
        'turn on "Require approval of the most recent reviewable push" in the default branch\'s '
        "ruleset",
    )


_FOR_WRITING: Final = ("update", "pull_request", "merge_queue", "required_status_checks")
"""Rules that keep the App from moving a ref that exists."""


def ref_findings(member: str, ref: RefState) -> Iterator[Finding]:
    """Is the environment ref protected, may the App move it, and is nothing else called so."""
    subject = f"{member} {ref.environment.ref}"
    if isinstance(ref.rules, Unknown):
        yield _untold(About.REF_PROTECTED, subject, ref.rules)
    else:
        yield _protected(subject, ref.rules.value)
    if isinstance(ref.tags, Unknown):
        yield Finding(About.TAGS, subject, Severity.UNKNOWN, ref.tags.reason)
    elif ref.tags.value:
        yield Finding(
            About.TAGS,
            subject,
            Severity.FAILURE,
            f"there is a tag {ref.tags.value[0]}: a short name may mean it, not the branch",
            f"delete the tag, protect such names, and write refs/heads/{ref.environment.ref} in "
            "Argo CD",
        )
    else:
        yield Finding(About.TAGS, subject, Severity.OK, "no tag is called like it")


def _protected(subject: str, rules: BranchRules) -> Finding:
    about = About.REF_PROTECTED
    kinds = (*_FOR_WRITING, *(() if rules.exists else ("creation",)))
    stopping = rules.of(*kinds)
    stopped = [rule for rule in stopping if rule.bypass in {"never", "pull_requests_only"}]
    if stopped:
        fact = f"the App may not write: the rule `{stopped[0].kind}` has no bypass for it"
        remedy = "add the App to the ruleset's bypass list, for always"
        return Finding(about, subject, Severity.FAILURE, fact, remedy)
    silent = [rule for rule in stopping if not rule.bypass]
    if silent:
        fact = f"the rule `{silent[0].kind}` protects it; GitHub does not say who is let past"
        return Finding(
            about, subject, Severity.UNKNOWN, fact, "see that the App is in its bypass list"
        )
    if rules.classic:
        fact = "protected by an older branch protection rule, whose exceptions an App is not told"
        return Finding(
            about, subject, Severity.UNKNOWN, fact, "use a ruleset with the App in its bypass list"
        )
    if rules.of("update"):
        return Finding(about, subject, Severity.OK, "protected, and the App may write")
    fact = "not protected: whoever may push can change what Argo CD deploys"
    remedy = (
        "make a ruleset for env/** that restricts creations, updates and deletions, with the App "
        "alone in its bypass list"
    )
    return Finding(about, subject, Severity.WARNING, fact, remedy)
