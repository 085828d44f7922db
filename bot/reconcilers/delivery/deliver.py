"""Merged to sealed: authority, admission, copy, read back, sign, tags that move.

Level-triggered: whatever the default branch wishes for an application in an environment and is
not sealed there yet is delivered now. Every step is an "ensure", so that a repeated one is
harmless, and a queue row cannot ask for anything that the default branch does not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from bot.domain.assessment import Assessment
from bot.domain.authority import Authorised
from bot.domain.environments import Environment, tag_values
from bot.domain.errors import (
    IntegrityError,
    LimitExceededError,
    LockkeeperError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from bot.domain.evidence import UnreadableEvidenceError
from bot.domain.gates import Action, Closed, Direction
from bot.domain.history import CheckState
from bot.domain.images import AccessoryPolicy
from bot.domain.jobs import Done, Failed, Job, JobKind, Outcome
from bot.domain.memory import Seal
from bot.domain.oci import Digest
from bot.domain.promotion import in_hand, promotion_id as promotion_of_digests
from bot.domain.trust import TrustRoots
from bot.facts.admission import (
    NotAdmittedError,
    StoppedError,
    admit,
    authorise,
    check_not_revoked,
    stopped_wish,
)
from bot.facts.attribution import merged_pull_request
from bot.facts.desired_images import DesiredImage, desired_images
from bot.facts.evidence import newest_report
from bot.facts.gates import closed, stopped, told
from bot.facts.granted import source_repository
from bot.facts.promotion_story import Promoted, promotion_id, promotion_story
from bot.facts.seals import ENVIRONMENT_ANNOTATION, record_signatures
from bot.facts.snapshot import Ports, View, look
from bot.facts.trust import trust_of
from bot.formats.markdown import code, prose
from bot.formats.promotion_statement import EvidenceEntry
from bot.formats.verdict_statement import SVR_TYPE, PolicyDocument
from bot.ports.keys import Verifier
from bot.ports.registry import ImageRegistry
from bot.reporting.reports import tell_deployment, tell_merge, tell_pull_request, tell_source
from bot.signatures.accessories import verified_accessories
from bot.signatures.copy import ensure_copied
from bot.signatures.envelopes import both, ensure_in_both_layouts
from bot.signatures.promotion_attestation import attested_promotions, said_of as promotion_of
from bot.signatures.sign import ensure_signed
from bot.signatures.verdict_attestation import Judged, attest_vulnerabilities, said_of as verdict_of

_NOTES: Final = 20
"""Remarks on a sealed image that are told."""


def deliver(ports: Ports, manifests: int, environment: str, application: str) -> Outcome:
    """Seal everything that the default branch wishes for one application in one environment."""
    view = look(ports, manifests)
    try:
        view.environment_of(environment, view.application(application))
    except NotFoundError as error:
        return Done(str(error))
    delivered = view.granted_application(application)
    target = view.granted_environment_of(environment, delivered)
    held = closed(view, target, application, Action.DELIVER, Direction.BACK)
    if held is not None:
        return stopped(held)
    wishes = desired_images(view, target, delivered)
    _take_in_hand(view, target, delivered.name)
    failures: list[str] = []
    unavailable: list[UnavailableError] = []
    waiting: list[Closed] = []
    for wish in wishes:
        try:
            failures += [failure] if (failure := _deliver_one(wish)) else []
        except StoppedError as error:
            waiting.append(error.found)
        except UnavailableError as error:
            unavailable.append(error)  # the other images do not wait for this one's registry
    if wishes:
        ports.jobs.put(Job(JobKind.PUBLISH, view.id, environment))
    if unavailable:
        raise _worst(unavailable)
    if failures:
        return Failed("; ".join(dict.fromkeys(failures)))
    if waiting:
        return stopped(waiting[0])
    return Done(f"{len(wishes)} wishes of {application} in {environment} are sealed")


def _take_in_hand(view: View, environment: Environment, application: str) -> None:
    """The log names the promotion as its pull request and page do: by what the place says now."""
    locations = view.locations_of(view.head, environment, application)
    digests = {
        one.image.name: Digest(one.written.digest) for one in locations if one.written.digest
    }
    in_hand(promotion_of_digests(view.id, environment.name, application, digests))


def _worst(errors: Sequence[UnavailableError]) -> UnavailableError:
    """One error for all of them, with the longest wait that was asked for."""
    waits = [one.retry_after for one in errors if one.retry_after is not None]
    words = "; ".join(dict.fromkeys(str(one) for one in errors))
    return UnavailableError(words, retry_after=max(waits, default=None))


def _deliver_one(wish: DesiredImage) -> str:
    """Seal one wish; the reason why it cannot be, told where people look."""
    try:
        check_not_revoked(wish)
        _check_open(wish)
        authorised = authorise(wish)
        if wish.is_sealed:
            _attest(wish, authorised, _tags(wish)[0], None, [])
        else:
            _seal(wish, authorised, admit(wish))
    except (RejectedError, IntegrityError) as error:
        return _refuse(wish, error)
    except StoppedError as error:
        title, words = told(error.found)
        _tell(wish, CheckState.NEUTRAL, f"Merged. {title}", words)
        _tell_merge(wish, CheckState.NEUTRAL, title, words)
        _comment(wish, f"**Not yet delivered to {code(wish.environment.name)}.** {words}")
        raise
    except UnavailableError as error:
        _tell(wish, CheckState.IN_PROGRESS, "Delivery is tried again", prose(str(error), 400))
        raise
    return ""


def _check_open(wish: DesiredImage) -> None:
    """Whether nobody has stopped it; asked again before it is signed.

    Raises:
        StoppedError: somebody has.
    """
    found = stopped_wish(wish)
    if found is not None:
        raise StoppedError(found)


# --- 2. to 5. copy, read back, sign, tag ---


def _seal(wish: DesiredImage, authorised: Authorised, assessment: Assessment) -> None:
    view, environment = wish.view, wish.environment
    registry = view.registry(environment)
    _tell(wish, CheckState.IN_PROGRESS, "Delivering", f"Copying {code(str(wish.reference))}.")
    immutable, moving = _tags(wish)
    notes: list[str] = []
    manifests = _copy(wish, registry, immutable, notes)
    for tag in immutable:
        registry.tag(wish.reference, tag, move=False)
    _check_open(wish)  # a copy takes its time
    signed_by = _sign(wish, registry, immutable, notes)
    _attest_scans(wish, registry, notes)
    _attest(wish, authorised, immutable, assessment, notes)
    _bring_along(wish, registry, notes)
    for tag in moving:
        registry.tag(wish.reference, tag, move=True)
    sealed = f"{code(str(wish.reference))} holds every platform, read back."
    _tell_merge(wish, CheckState.SUCCESS, f"Sealed for {environment.name}", sealed + _listed(notes))
    _record(wish, authorised, manifests, signed_by, assessment)


def _listed(notes: Sequence[str]) -> str:
    """What was sealed with a remark, for people."""
    shown = [f"- {prose(note, 300)}" for note in dict.fromkeys(notes)]
    more = [f"- and {len(shown) - _NOTES} more"] if len(shown) > _NOTES else []
    return "\n\n" + "\n".join([*shown[:_NOTES], *more]) if shown else ""


def _copy(
    wish: DesiredImage, registry: ImageRegistry, tags: Sequence[str], notes: list[str]
) -> int:
    """Have the image in its own repository and read it back; how many manifests it has.

    It gets these tags next.
    """
    view = wish.view
    source = source_repository(view.pipeline, wish.environment, wish.application, wish.image.name)
    if source is None:
        return len(registry.read_back(wish.reference).manifests)
    target = wish.reference.repository
    report, back = ensure_copied(registry, source.at(wish.digest), target, tags=tags)
    notes += [f"{left.name} stays behind: {left.reason}" for left in report.left_behind]
    return len(back.manifests)


def _bring_along(wish: DesiredImage, registry: ImageRegistry, notes: list[str]) -> None:
    """Copy what hangs on the image, behind what is ours.

    Where tags are immutable, only the first write to ``.sig`` and ``.att`` counts.
    """
    view = wish.view
    source = source_repository(view.pipeline, wish.environment, wish.application, wish.image.name)
    if source is None:
        return
    report = registry.copy(
        source.at(wish.digest), wish.reference.repository, accessories=_accessories(wish)
    )
    notes += [f"{left.name} stays behind: {left.reason}" for left in report.left_behind]


def _accessories(wish: DesiredImage) -> AccessoryPolicy:
    """What goes along: where there is `sign`, only what the policy's roots vouch for."""
    view, environment = wish.view, wish.environment
    is_ours = _is_ours(_all_keys(view))
    if not environment.signs:
        return AccessoryPolicy(is_ours=is_ours)
    policy = view.rules.policy(environment.name)
    trust = trust_of(view, wish.application, wish.built_of, view.rules)
    return verified_accessories(trust, policy.roots if policy else TrustRoots(), is_ours)


def _all_keys(view: View) -> Sequence[Verifier]:
    """Every environment's keys of both roles: nothing that they signed is ever copied.

    Another environment whose keys cannot be read keeps nobody here. The own keys were read before,
    so what a copy brings along never says *admitted* where it arrives.
    """
    found: list[Verifier] = []
    for one in view.pipeline.environments.values():
        for keys in (view.signing_keys, view.attestation_keys):
            with contextlib.suppress(LockkeeperError):
                found += keys(one).verifiers
    return found


def _is_ours(keys: Sequence[Verifier]) -> Callable[[bytes, bytes], bool]:
    return lambda message, signature: any(key.verifies(message, signature) for key in keys)


def _tags(wish: DesiredImage) -> tuple[list[str], list[str]]:
    """Tags to write with the copy, and tags to move once all is signed."""
    environment = wish.environment
    source = source_repository(wish.view.pipeline, environment, wish.application, wish.image.name)
    if source is None or not wish.commit:
        return [], []
    values = tag_values(
        wish.application,
        wish.image,
        environment,
        wish.commit,
        wish.built_of,
        wish.ref,
        wish.view.history.commit(wish.merge).committed_at,
    )
    immutable: list[str] = []
    moving: list[str] = []
    for tag in environment.image_tags:
        rendered = tag.template.render(values)
        if rendered is not None:
            _check_tag(wish, rendered, tag.template.text)
            (moving if tag.moves else immutable).append(rendered)
    return immutable, moving


def _check_tag(wish: DesiredImage, rendered: str, template: str) -> None:
    """Whether a registry takes it: what a branch is called may be longer than any tag.

    Raises:
        NotAdmittedError: it does not.
    """
    try:
        wish.reference.repository.tagged(rendered)
    except RejectedError as error:
        raise NotAdmittedError(
            f"the image tag {template!r} of {wish.environment.name} becomes no tag here: {error}",
            "write a length into it, as {branch:60}",
        ) from error


def _sign(
    wish: DesiredImage, registry: ImageRegistry, tags: Sequence[str], notes: list[str]
) -> str:
    """Sign the index, exactly its platforms, and its attestations; the key's fingerprint, if any.

    The attestations, because a policy that is checked while everything is copied asks for a
    signature of each instance (podman, skopeo).
    """
    environment = wish.environment
    if not environment.signs:
        return ""
    description = registry.describe(wish.reference)
    if description.ambiguities:
        raise NotAdmittedError(
            f"the image cannot be evaluated whole: {description.ambiguities[0]}",
            "build an index with one image per platform",
        )
    signer = wish.view.signing_keys(environment).signers[0]
    signed = ensure_signed(
        registry,
        signer,
        wish.reference,
        tags[0] if tags else None,
        {ENVIRONMENT_ANNOTATION: environment.name},
        description.instances,
        at=wish.view.ports.clock.now(),
    )
    record_signatures(wish.view, environment, wish.reference, signed.fingerprint, signed.payloads)
    notes += signed.warnings
    return signer.fingerprint


def _judged(wish: DesiredImage) -> Judged:
    """For which promotion the image was judged, by which files."""
    view, environment = wish.view, wish.environment
    files = [(view.rules.policy_file, view.rules.policy_content)] if view.rules.policy_file else []
    return Judged(
        promotion_id(view, environment, wish.application.name, wish.merge),
        tuple(
            PolicyDocument(f"git+{view.web_url}@{view.rules.commit}#{file}", Digest.of(content))
            for file, content in files
        ),
        view.ports.version,
    )


def _attest_scans(wish: DesiredImage, registry: ImageRegistry, notes: list[str]) -> None:
    """Attest what the scanner said of each platform, where the policy asks for it."""
    view, environment = wish.view, wish.environment
    policy, keys = view.rules.policy(environment.name), view.attestation_keys(environment)
    if policy is None or not policy.attests_scans:
        return
    for platform in registry.describe(wish.reference).platforms:
        reference = wish.reference.repository.at(platform.digest)
        try:
            report = newest_report(view, platform.digest)
            done = attest_vulnerabilities(registry, keys, reference, *report) if report else None
        except (LimitExceededError, UnreadableEvidenceError) as error:
            notes.append(f"the scan of {platform.platform} is not attested: {error}")
            continue
        if done is not None:
            notes += done.warnings


def _attest(
    wish: DesiredImage,
    authorised: Authorised,
    tags: Sequence[str],
    assessment: Assessment | None,
    notes: list[str],
) -> None:
    """Attest who brought the digest here, where the environment has a key for that.

    With an assessment also that it passes. Both are written at once: a registry far away is
    waited for once, and one whose tags are immutable takes one write.
    """
    view, environment, reference = wish.view, wish.environment, wish.reference
    ring = view.attestation_keys(environment)
    if not ring.signers:
        return
    registry = view.registry(environment)
    passes, before = both(
        lambda: (
            verdict_of(registry, ring, reference, assessment, _judged(wish)) if assessment else None
        ),
        lambda: attested_promotions(registry, ring.verifiers, reference),
    )
    evidence = [EvidenceEntry(SVR_TYPE, Digest.of(passes.payload), verified=True)] if passes else []
    promoted = Promoted(
        application=wish.application,
        image=wish.image,
        digest=wish.digest,
        commit=wish.built_of,
        ref=wish.ref,
        merge=wish.merge,
        tag=tags[0] if tags else "",
    )
    story = promotion_of(promotion_story(view, environment, promoted, authorised, evidence), before)
    said = [one for one in (passes, story) if one]
    done = ensure_in_both_layouts(registry, ring.signers[0], reference, *said)
    payloads = [Digest.of(one.payload) for one in said]
    record_signatures(view, environment, reference, ring.signers[0].fingerprint, payloads)
    notes += done.warnings


def _record(
    wish: DesiredImage,
    authorised: Authorised,
    manifests: int,
    signed_by: str,
    assessment: Assessment,
) -> None:
    view, ports = wish.view, wish.view.ports
    scope = view.scope(wish.environment.name, wish.application.name)
    repository = str(wish.reference.repository)
    ports.audit.append(
        "sealed",
        scope,
        {
            "image": wish.image.name,
            "reference": str(wish.reference),
            "commit": wish.commit,
            "merge": wish.merge,
            "pull_request": str(authorised.pull_request),
            "approved_by": ",".join(authorised.approved_by),
            "manifests": str(manifests),
            "signed_by": signed_by,
            "verdict": str(assessment.verdict.result),
            "policy": view.rules.commit if assessment.verdict.has_policy else "",
        },
        once=f"sealed:{scope.manifests}:{scope.environment}:{wish.reference}",
    )
    ports.memory.record_seal(
        Seal(
            scope=scope,
            image=wish.image.name,
            repository=repository,
            digest=wish.digest,
            merge=wish.merge,
            pull_request=authorised.pull_request,
            at=ports.clock.now(),
        )
    )


# --- 7. report ---


def _refuse(wish: DesiredImage, error: RejectedError | IntegrityError) -> str:
    reason = str(error)
    summary = prose(reason, 800)
    heading = f"{wish.application.name} is not delivered to {wish.environment.name}"
    _tell_merge(wish, CheckState.FAILURE, heading, summary)
    _tell(wish, CheckState.FAILURE, "Not delivered", summary)
    _comment(wish, f"**Not delivered to {code(wish.environment.name)}.** {summary}")
    wish.view.ports.audit.append(
        "refused",
        wish.view.scope(wish.environment.name, wish.application.name),
        {"reference": str(wish.reference), "merge": wish.merge, "reason": reason[:500]},
        once=f"refused:{wish.environment.name}:{wish.merge}:{wish.digest}:{reason[:200]}",
    )
    return reason


def _tell_merge(wish: DesiredImage, state: CheckState, heading: str, summary: str) -> None:
    """Say on the merge itself how its delivery ended."""
    view, environment, application = wish.view, wish.environment, wish.application
    tell_merge(view, environment, wish.merge, state, heading, summary, application=application)


def _comment(wish: DesiredImage, body: str) -> None:
    found = merged_pull_request(wish.view.line, wish.merge)
    if found is not None:
        tell_pull_request(wish.view, found.number, body)


def _tell(wish: DesiredImage, state: CheckState, heading: str, summary: str) -> None:
    if not wish.commit:
        return
    scope = wish.view.scope(wish.environment.name, wish.application.name)
    triggers = [one.trigger for one in wish.view.ports.memory.heads_of(scope, wish.commit)]
    commits = [*triggers[-1:], wish.commit]
    tell_source(wish.view, wish.application, wish.environment, commits, state, heading, summary)
    progress = {CheckState.IN_PROGRESS: "in_progress", CheckState.FAILURE: "failure"}
    tell_deployment(
        wish.view,
        wish.application,
        wish.environment,
        wish.commit,
        progress.get(state, "queued"),
        heading,
    )
