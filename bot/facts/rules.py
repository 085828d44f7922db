"""The rules about evidence that stand beside the pipeline file, at one commit.

They are read with the pipeline file and judged with it: where one of them is wrong, the newest
version in which all are valid stays in force.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from bot.domain.environments import Pipeline
from bot.domain.errors import ConfigurationError
from bot.domain.evidence import UnreadableEvidenceError
from bot.domain.oci import Digest
from bot.domain.pipeline_rules import did_you_mean
from bot.domain.policy import EnvironmentPolicy, RiskException
from bot.domain.vex import VexStatement
from bot.formats.pipeline_file import PIPELINE_FILE, mistakes, read_pipeline
from bot.formats.policy_file import (
    exception_mistakes,
    policy_mistakes,
    read_exceptions,
    read_policy,
    read_revoked,
)
from bot.formats.reports import read_vex
from bot.ports.git import GitHistory


@dataclass(frozen=True, slots=True)
class Rules:
    """What the manifests repository asks of images at one commit."""

    commit: str = ""
    policies: Mapping[str, EnvironmentPolicy] = field(default_factory=dict)
    """By environment; one that is not there has no policy, and nothing gates it."""
    exceptions: Mapping[str, tuple[RiskException, ...]] = field(default_factory=dict)
    """By environment."""
    vex: Mapping[str, tuple[VexStatement, ...]] = field(default_factory=dict)
    """By environment: statements that count because they stand beside the policy."""
    files: frozenset[str] = frozenset()
    """Every file that they were read from."""
    key_files: Mapping[str, bytes] = field(default_factory=dict)
    """Public keys that roots of trust name, by the name that the policy gives them."""
    policy_file: str = ""
    """Path of the policy file; empty: there is none."""
    policy_content: bytes = b""
    revoked: Mapping[Digest, str] = field(default_factory=dict)
    """Digests that never come anywhere, however often they were there -> why."""

    def policy(self, environment: str) -> EnvironmentPolicy | None:
        """The environment's policy, if it has one."""
        return self.policies.get(environment)

    def say_the_same(self, other: Rules, environment: str) -> bool:
        """Whether two versions judge an environment alike."""
        return (
            self.policy(environment) == other.policy(environment)
            and self.exceptions.get(environment) == other.exceptions.get(environment)
            and self.vex.get(environment) == other.vex.get(environment)
            and self.key_files == other.key_files
            and self.revoked == other.revoked
        )


def rules_at(history: GitHistory, pipeline: Pipeline, commit: str) -> Rules:
    """The policy file that a pipeline file names, and its exceptions, at a commit.

    Raises:
        ConfigurationError: one of them is not there, or wrong: file, line, what, the way out.
    """
    return rules_of(pipeline, _content_at(history, commit), commit)


def _content_at(history: GitHistory, commit: str) -> Callable[[str], bytes | None]:
    def content(path: str) -> bytes | None:
        entry = history.paths(commit).get(path)
        return history.read(entry.blob) if entry is not None and entry.is_file else None

    return content


def mistakes_of(
    pipeline: Pipeline, content: Callable[[str], bytes | None]
) -> Sequence[ConfigurationError]:
    """Everything that is wrong with the policy that a pipeline file names, file by file.

    The exceptions are read where the policy is right: it names them.
    """
    try:
        rules_of(pipeline, content)
    except ConfigurationError as error:
        return _in_policy(pipeline, content) or _in_exceptions(pipeline, content) or [error]
    return []


def _in_policy(
    pipeline: Pipeline, content: Callable[[str], bytes | None]
) -> Sequence[ConfigurationError]:
    file, text = pipeline.policy_file, _text(content, pipeline.policy_file)
    return policy_mistakes(text, file=file, environments=pipeline.environments) if text else []


def _in_exceptions(
    pipeline: Pipeline, content: Callable[[str], bytes | None]
) -> Sequence[ConfigurationError]:
    file, text = pipeline.policy_file, _text(content, pipeline.policy_file)
    if not text:
        return []
    policies = read_policy(text, file=file, environments=pipeline.environments).values()
    paths = [beside(file, one.exceptions_file) for one in policies if one.exceptions_file]
    return [
        mistake
        for path in dict.fromkeys(paths)
        for mistake in exception_mistakes(_text(content, path), file=path)
    ]


def _text(content: Callable[[str], bytes | None], path: str) -> str:
    """A file as far as it can be read; what cannot be is `rules_of`'s to say."""
    try:
        return (content(path) or b"").decode()
    except UnicodeDecodeError:
        return ""


def all_mistakes(history: GitHistory, commit: str) -> Sequence[ConfigurationError]:
    """Everything that is wrong with the pipeline file, or else with the policy that it names.

    Raises:
        RejectedError: one of them is too large to be read.
    """
    content = _content_at(history, commit)
    text = _text(content, PIPELINE_FILE)
    found = mistakes(text)
    return found or mistakes_of(read_pipeline(text, commit=commit), content)


def rules_of(pipeline: Pipeline, content: Callable[[str], bytes | None], commit: str = "") -> Rules:
    """The same, from wherever ``content`` finds a file by its path; None: there is none."""
    if not pipeline.policy_file:
        return Rules(commit)

    def there(path: str, named_in: str) -> bytes:
        found = content(path)
        if found is None:
            fact = f"{named_in} names it, and it is no file beside it"
            raise ConfigurationError(path, None, fact, f"add it, or take it out of {named_in}")
        return found

    def text(path: str, named_in: str) -> str:
        try:
            return there(path, named_in).decode()
        except UnicodeDecodeError as error:
            raise ConfigurationError(path, None, "not UTF-8") from error

    def said(document: str) -> Sequence[VexStatement]:
        path = beside(file, document)
        try:
            return read_vex(there(path, file), path)
        except UnreadableEvidenceError as error:
            raise ConfigurationError(
                path, None, error.defect, "write OpenVEX or CycloneDX"
            ) from error

    file = pipeline.policy_file
    policies = read_policy(text(file, PIPELINE_FILE), file=file, environments=pipeline.environments)
    for name in policies:
        if name not in pipeline.environments:
            hint = did_you_mean(name, list(pipeline.environments))
            fact = f"{PIPELINE_FILE} has no environment {name!r}"
            raise ConfigurationError(file, None, fact, hint or "remove its rules")
    exceptions = {
        name: read_exceptions(text(path, file), file=path)
        for name, policy in policies.items()
        if policy.exceptions_file
        for path in [beside(file, policy.exceptions_file)]
    }
    vex = {
        name: tuple(statement for document in policy.vex_documents for statement in said(document))
        for name, policy in policies.items()
    }
    keys = {name for policy in policies.values() for name in policy.roots.files}
    named = {p.exceptions_file for p in policies.values() if p.exceptions_file} | keys
    named |= {document for policy in policies.values() for document in policy.vex_documents}
    return Rules(
        commit,
        policies,
        exceptions,
        vex,
        frozenset({file, *(beside(file, name) for name in named)}),
        {name: there(beside(file, name), file) for name in sorted(keys)},
        file,
        there(file, PIPELINE_FILE),
        read_revoked(text(file, PIPELINE_FILE), file=file),
    )


def beside(policy_file: str, named: str) -> str:
    """The path of a file that the policy file names."""
    return str(PurePosixPath(policy_file).parent / named)
