"""Whose word about an image counts: roots of trust, and what a certificate has to say.

A root is a key, or an identity: the workflow that a certificate of Fulcio names. What an identity
leaves open is the application's own, so that no other repository vouches for its images:

>>> built = BuiltFrom("acme/api", 4711, "c" * 40, ("main", "release/*"))
>>> IdentityRoot(hosted=True).objection(
...     Certificate(issuer=GITHUB_ACTIONS, repository="https://github.com/evil/api"), built
... )
'it was made in https://github.com/evil/api, not in https://github.com/acme/api'
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from bot.domain.environments import matches
from bot.domain.errors import IntegrityError

GITHUB_ACTIONS: Final = "https://token.actions.githubusercontent.com"
"""Who issues the tokens of GitHub Actions: what a certificate names as its issuer."""
_GITHUB: Final = "https://github.com"
_HOSTED: Final = "github-hosted"
# What only who may write to the repository starts, or time. All else (a pull request, a comment, an
# issue, the end of another run, whatever is invented next) may be started from outside.
# Source: docs.github.com, "Events that trigger workflows"; GitLab's CI_PIPELINE_SOURCE.
_OWN_TRIGGERS: Final = frozenset(
    {
        *("push", "create", "release", "merge_group", "schedule"),
        *("workflow_dispatch", "repository_dispatch"),
        *("web", "api", "trigger", "pipeline"),
    }
)
_LONGEST: Final = 200  # characters of a certificate that an objection quotes


class NotCertifiedError(IntegrityError):
    """No certificate authority and log that are trusted vouch for a bundle."""

    def __init__(self, fact: str) -> None:
        """Say what is wrong with it."""
        super().__init__(f"its certificate does not hold: {fact}")
        self.fact = fact


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate of Fulcio says about who signed; empty where it says nothing.

    Source: sigstore/fulcio, docs/oid-info.md; the number behind 1.3.6.1.4.1.57264.1 stands by.
    """

    issuer: str = ""
    """.8: who issued the token."""
    subject: str = ""
    """The subject alternative name."""
    repository: str = ""
    """.12: the URI of the source repository."""
    repository_id: str = ""
    """.15: a name can be taken over, its id cannot."""
    commit: str = ""
    """.13: the digest of the source repository."""
    ref: str = ""
    """.14: ``refs/heads/main``."""
    trigger: str = ""
    """.20: ``push``."""
    runner: str = ""
    """.11: ``github-hosted`` or ``self-hosted``."""
    workflow: str = ""
    """.18: the URI of the workflow that ran, with ``@`` and its ref."""

    @property
    def name(self) -> str:
        """Who signed, for people."""
        return _shown(self.workflow or self.subject)


@dataclass(frozen=True, slots=True)
class CertifiedEnvelope:
    """The content of a bundle, and the certificate that vouches for it."""

    certificate: Certificate
    payload_type: str
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class BuiltFrom:
    """The promoted commit, and the repository and branches that its build belongs to."""

    repository: str
    """``owner/name``."""
    repository_id: int
    commit: str
    branches: tuple[str, ...]
    """Globs: the ``on`` of every environment."""
    web_url: str = _GITHUB
    issuer: str = GITHUB_ACTIONS

    @property
    def uri(self) -> str:
        """The repository, as certificates name it."""
        return f"{self.web_url}/{self.repository}"


@dataclass(frozen=True, slots=True)
class KeyRoot:
    """``{key: FILE}``: the signature of this key counts, and nothing else."""

    file: str
    """Relative to the policy file."""

    def __str__(self) -> str:
        return f"the key {self.file}"


@dataclass(frozen=True, slots=True)
class IdentityRoot:
    """``{issuer, repository, workflow, ref}``: a run of a workflow; empty is the application's."""

    issuer: str = ""
    repository: str = ""
    """``owner/name``; without wildcards."""
    repository_id: int | None = None
    workflow: str = ""
    """The path in its repository; empty: each one there."""
    ref: str = ""
    """A glob over ``refs/heads/...``; a short one is a branch."""
    hosted: bool = False
    """GitHub's own runners only."""

    def __str__(self) -> str:
        if not self.repository:
            return "a workflow of the application's repository"
        return f"{self.workflow or 'a workflow'} of {self.repository}"

    def objection(
        self, certificate: Certificate, built: BuiltFrom, *, of_commit: bool = True
    ) -> str:
        """Why the certificate's word does not count; empty if it does.

        Args:
            certificate: whose chain and log entries were verified before.
            built: whose image is spoken of.
            of_commit: a run of the application's repository must be one of the promoted commit.
        """
        return next(self._objections(certificate, built, of_commit=of_commit), "")

    def _objections(
        self, found: Certificate, built: BuiltFrom, *, of_commit: bool
    ) -> Iterator[str]:
        own = not self.repository or self.repository.lower() == built.repository.lower()
        issuer = self.issuer or built.issuer
        uri = built.uri if own else f"{built.web_url}/{self.repository}"
        number = built.repository_id if own else self.repository_id
        if found.issuer != issuer:
            yield f"its token was issued by {_shown(found.issuer)}, not by {issuer}"
        if found.repository.lower() != uri.lower():
            yield f"it was made in {_shown(found.repository)}, not in {uri}"
        if number is not None and found.repository_id != str(number):
            other = f"the id {_shown(found.repository_id)}, not {number}"
            yield f"the {uri} that it was made in has {other}: another repository of that name"
        if own and of_commit and found.commit != built.commit:
            yield f"it is about commit {_shown(found.commit)}, not {built.commit}"
        yield from self._objections_to_run(found, built, uri)

    def _objections_to_run(self, found: Certificate, built: BuiltFrom, uri: str) -> Iterator[str]:
        refs = [_full(self.ref)] if self.ref else [_full(glob) for glob in built.branches]
        if not any(matches(glob, found.ref) for glob in refs):
            wanted = " or ".join(refs) or "a branch that feeds an environment"
            yield f"it was made on {_shown(found.ref)}, not on {wanted}"
        if found.trigger not in _OWN_TRIGGERS:
            yield f"it was made by a run that {_shown(found.trigger)} triggered"
        if self.hosted and found.runner != _HOSTED:
            yield f"it was made on a runner that is {_shown(found.runner)}, not {_HOSTED}"
        expected = f"{uri}/{self.workflow}"
        if self.workflow and found.workflow.partition("@")[0].lower() != expected.lower():
            yield f"it was made by {_shown(found.workflow)}, not by {expected}"


Root = KeyRoot | IdentityRoot


@dataclass(frozen=True, slots=True)
class TrustRoots:
    """Whose word counts for what; by default that of the application's own workflows."""

    signature: tuple[Root, ...] = (IdentityRoot(),)
    provenance: tuple[Root, ...] = (IdentityRoot(),)
    sbom: tuple[Root, ...] = (IdentityRoot(),)
    vex: tuple[Root, ...] = (IdentityRoot(),)
    scan: tuple[Root, ...] = ()
    """For vulnerability reports; nobody's by default: they stand in a scanner's place."""

    @property
    def files(self) -> frozenset[str]:
        """Every key file that is named."""
        every = (*self.signature, *self.provenance, *self.sbom, *self.vex, *self.scan)
        return frozenset(root.file for root in every if isinstance(root, KeyRoot))


def _full(ref: str) -> str:
    return ref if ref.startswith("refs/") else f"refs/heads/{ref}"


def _shown(text: str) -> str:
    """A text of a certificate, for a sentence."""
    shown = "".join(c if c.isprintable() else "\ufffd" for c in text[:_LONGEST])
    return shown or "nothing that it names"
