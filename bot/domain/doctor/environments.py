"""What the operator granted an environment, and whether it works: registries, keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bot.domain.doctor.findings import EVERYTHING, About, Finding, Look, Severity, Unknown


@dataclass(frozen=True, slots=True)
class Access:
    """What a registry lets an environment do in one image repository."""

    pull: Look[None]
    push: Look[None] | None
    """None: it was not asked, because the environment only reads there."""
    has_referrers: Look[bool]
    """Whether it has the referrers API; without one, referrers tags are used."""


@dataclass(frozen=True, slots=True)
class RegistryState:
    """One image repository that an environment reads or writes."""

    manifests: str
    environment: str
    repository: str
    needs_immutable: bool
    """The environment writes tags that must not move."""
    access: Look[Access]

    @property
    def subject(self) -> str:
        """Whose access, and to what."""
        return f"{self.manifests} {self.environment} {self.repository}"


@dataclass(frozen=True, slots=True)
class KeyState:
    """The keys of one role in one environment."""

    manifests: str
    environment: str
    is_attestation: bool
    signs: bool
    """The environment has `sign`, so the key is needed."""
    fingerprints: Look[Sequence[str]]
    """Of the keys that sign, the first one first."""


@dataclass(frozen=True, slots=True)
class GrantState:
    """The grants of one manifests repository."""

    manifests: str
    environments: Look[Sequence[str]]
    """Those that have a folder."""
    readable: Sequence[str] = ()
    """Secrets that every user of the machine can read, as sentences."""


@dataclass(frozen=True, slots=True)
class GrantsFolder:
    """The folder with all grants."""

    path: str
    exists: bool
    grants: Sequence[GrantState] = ()


def grant_findings(look: Look[GrantsFolder]) -> Iterator[Finding]:
    """Is there a grant for each manifests repository, and is it kept from others."""
    if isinstance(look, Unknown):
        yield Finding(About.GRANTS, "", look.severity, look.reason, stops=EVERYTHING)
        return
    folder = look.value
    if not folder.exists:
        yield Finding(
            About.GRANTS,
            folder.path,
            Severity.FAILURE,
            "this folder does not exist, so no registry, key or source is granted",
            "make it (docs/operating.md, Grants), or name another in LOCKKEEPER_GRANTS_DIR",
            EVERYTHING,
        )
        return
    for grant in folder.grants:
        yield _granted(folder.path, grant)
        for sentence in grant.readable:
            yield Finding(About.SECRETS, grant.manifests, Severity.WARNING, sentence)


def _granted(path: str, grant: GrantState) -> Finding:
    about, name = About.GRANTS, grant.manifests
    if isinstance(grant.environments, Unknown):
        look = grant.environments
        return Finding(about, name, look.severity, look.reason, stops=name)
    if not grant.environments.value:
        fact = f"nothing is granted to it in {path}"
        remedy = "make a folder with a registry.json for each environment (docs/operating.md)"
        return Finding(about, name, Severity.FAILURE, fact, remedy, name)
    names = ", ".join(grant.environments.value)
    return Finding(about, name, Severity.OK, f"grants for {names}")


def registry_findings(state: RegistryState) -> Iterator[Finding]:
    """Can the environment read, write and attach here; nothing lasting was written to know it."""
    if isinstance(state.access, Unknown):
        look = state.access
        yield Finding(About.PULL, state.subject, look.severity, look.reason)
        return
    access = state.access.value
    yield _pull(state, access)
    if isinstance(access.pull, Unknown):
        return
    if access.push is not None:
        yield _push(state, access.push)
        yield _referrers(state, access.has_referrers)
        if state.needs_immutable:
            yield Finding(
                About.IMMUTABLE,
                state.subject,
                Severity.NOT_TRIED,
                "whether a tag can be overwritten is known only by overwriting one",
                "make tags immutable in the registry, except those with `move: true` and sha256-*",
            )


def _pull(state: RegistryState, access: Access) -> Finding:
    if isinstance(access.pull, Unknown):
        return Finding(About.PULL, state.subject, access.pull.severity, access.pull.reason)
    return Finding(About.PULL, state.subject, Severity.OK, "may read")


def _push(state: RegistryState, push: Look[None]) -> Finding:
    if isinstance(push, Unknown):
        return Finding(About.PUSH, state.subject, push.severity, push.reason)
    fact = "an upload could be begun, and was given back"
    return Finding(About.PUSH, state.subject, Severity.OK, fact)


def _referrers(state: RegistryState, has_referrers: Look[bool]) -> Finding:
    about, subject = About.REFERRERS, state.subject
    if isinstance(has_referrers, Unknown):
        return Finding(about, subject, Severity.UNKNOWN, has_referrers.reason)
    if has_referrers.value:
        return Finding(about, subject, Severity.OK, "has the referrers API")
    fact = "has no referrers API: what hangs on an image is listed under tags sha256-<digest>"
    return Finding(about, subject, Severity.OK, fact)


def key_findings(state: KeyState) -> Iterator[Finding]:
    """Is there a key where one is needed, and can it be opened."""
    about = About.ATTESTATION_KEY if state.is_attestation else About.SIGNING_KEY
    role = "attest" if state.is_attestation else "signing"
    subject = f"{state.manifests} {state.environment}"
    if isinstance(state.fingerprints, Unknown):
        reason = state.fingerprints.reason
        remedy = f"check {role}.* and {role}.password in the environment's grant"
        yield Finding(about, subject, state.fingerprints.severity, reason, remedy)
    elif state.fingerprints.value:
        fact = f"signs with {state.fingerprints.value[0]}"
        yield Finding(about, subject, Severity.OK, fact)
    elif state.signs:
        fact = f"the environment has `sign` and no key to sign with ({role}.key, .pem or .uri)"
        remedy = "cosign generate-key-pair, and put the private half into the environment's grant"
        yield Finding(about, subject, Severity.FAILURE, fact, remedy)
