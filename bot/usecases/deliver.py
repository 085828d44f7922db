"""Merged to sealed: authority, admission, copy, read back, sign, tags that move.

Level-triggered: whatever the default branch wishes for an application in an environment and is
not sealed there yet is delivered now. Every step is an "ensure", so that a repeated one is
harmless, and a queue row cannot ask for anything that the default branch does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bot.domain.assessment import Assessment
from bot.domain.authority import Attribution, Authorised, Unauthorised, authority, stricter
from bot.domain.environments import Application, Approvals, Environment, Image, tag_values
from bot.domain.errors import (
    IntegrityError,
    LimitExceededError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from bot.domain.history import CheckState, PullRequest
from bot.domain.images import AccessoryPolicy
from bot.domain.jobs import Done, Failed, Job, JobKind, Outcome
from bot.domain.memory import Resolution, Seal
from bot.domain.oci import Digest, DigestReference
from bot.formats.manifest_file import Spot
from bot.formats.markdown import code, text
from bot.formats.promotion_statement import EvidenceEntry
from bot.formats.verdict_statement import SVR_TYPE, PolicyDocument
from bot.ports import GitHistory, ImageRegistry, Verifier
from bot.usecases.attest_promotion import ensure_attested
from bot.usecases.attest_verdict import Judged, attest_verdict
from bot.usecases.copy_image import ensure_copied
from bot.usecases.desk import Ports, View, is_held, look, pipeline_at, source_repository
from bot.usecases.evidence import evaluate, said_by
from bot.usecases.promotion_story import Promoted, promotion_id, promotion_story
from bot.usecases.resolve import Contradicted, Missing, is_in_source, is_published, resolve
from bot.usecases.rules import Rules, rules_at
from bot.usecases.seals import (
    ENVIRONMENT_ANNOTATION,
    REPOSITORY_ANNOTATION,
    is_sealed,
    needs_attestation,
    record_signatures,
)
from bot.usecases.sign_image import ensure_signed
from bot.usecases.told import tell_deployment, tell_merge, tell_pull_request, tell_source

_HISTORY = 1000
"""First-parent commits that are searched for the merge that brought a digest."""
_TRIGGERS = 300


@dataclass(frozen=True, slots=True)
class Wish:
    """What the default branch wants of one image, and what brought it."""

    view: View
    environment: Environment
    application: Application
    image: Image
    digest: Digest
    merge: str
    """The first-parent commit that brought the digest."""
    resolution: Resolution | None
    """Which commit's image it is, if the record knows."""
    is_sealed: bool
    """It is sealed already by an earlier promotion; this one is still to be attested."""

    @property
    def reference(self) -> DigestReference:
        """Where it should stand."""
        return self.environment.repository_of(self.application, self.image.name).at(self.digest)

    @property
    def commit(self) -> str:
        """Its source commit; empty if nobody knows."""
        return self.resolution.commit if self.resolution else ""


class NotAdmittedError(RejectedError):
    """A wish that may not be delivered as things are."""

    def __init__(self, reason: str, remedy: str) -> None:
        """Say why, and who must do what."""
        super().__init__(f"{reason}; {remedy}")
        self.reason, self.remedy = reason, remedy


def deliver(ports: Ports, manifests: int, environment: str, application: str) -> Outcome:
    """Seal everything that the default branch wishes for one application in one environment."""
    view = look(ports, manifests)
    try:
        target, delivered = view.environment(environment), view.application(application)
    except NotFoundError as error:
        return Done(str(error))
    held = is_held(view, environment, application)
    if held:
        return Done(held)
    wishes = _wishes(view, target, delivered)
    failures = [failure for wish in wishes if (failure := _deliver_one(wish))]
    if wishes:
        ports.jobs.put(Job(JobKind.PUBLISH, view.id, environment))
    if failures:
        return Failed("; ".join(dict.fromkeys(failures)))
    return Done(f"{len(wishes)} wishes of {application} in {environment} are sealed")


def _wishes(view: View, environment: Environment, application: Application) -> list[Wish]:
    """Digests at the application's places that lack a seal or an attestation, each once."""
    images = {image.name: image for image in application.images}
    wishes: dict[tuple[str, Digest, str], Wish] = {}
    for spot in view.spots(view.head, environment):
        if spot.place.image not in images:
            continue
        reference = spot.written.reference()
        if reference is None or reference.digest is None:
            continue  # cannot be sealed; its publication says so
        expected = environment.repository_of(application, spot.place.image)
        if reference.repository != expected:
            continue
        image = images[spot.place.image]
        wish = _wish(view, environment, application, image, reference.digest, spot)
        wishes.setdefault((image.name, wish.digest, wish.merge), wish)
    return [wish for wish in wishes.values() if not wish.is_sealed or _lacks_attestation(wish)]


def _lacks_attestation(wish: Wish) -> bool:
    application = wish.application.name
    return needs_attestation(wish.view, wish.environment, application, wish.reference, wish.merge)


def _wish(
    view: View,
    environment: Environment,
    application: Application,
    image: Image,
    digest: Digest,
    spot: Spot,
) -> Wish:
    memory = view.ports.memory
    record = memory.resolution_of(view.id, application.name, image.name, digest)
    merge = _merge_that_brought(view, environment, spot)
    sealed = is_sealed(view, environment, image.name, digest)
    return Wish(view, environment, application, image, digest, merge, record, sealed)


def _merge_that_brought(view: View, environment: Environment, spot: Spot) -> str:
    """The oldest first-parent commit since when the place has said what it says now."""
    commits = view.history.first_parents(view.head, limit=_HISTORY)
    for commit, parent in zip(commits, [*commits[1:], None], strict=True):
        path = spot.place.path
        if parent is None and commit.parents:
            raise LimitExceededError(f"history of {path}", f"{_HISTORY} merges")
        if parent is None:
            return commit.id
        changed = path in view.history.changes(parent.id, commit.id)
        if changed and _says(view, environment, parent.id, spot) != spot.written.digest:
            return commit.id
    return view.head


def _says(view: View, environment: Environment, commit: str, spot: Spot) -> str:
    found = (s for s in view.spots(commit, environment) if s.place == spot.place)
    return next((one.written.digest for one in found), "")


def _deliver_one(wish: Wish) -> str:
    """Seal one wish; the reason why it cannot be, told where people look."""
    try:
        authorised = _authorise(wish)
        if wish.is_sealed:
            _attest(wish, authorised, _tags(wish)[0], ())
        else:
            _seal(wish, authorised, _admit(wish))
    except (RejectedError, IntegrityError) as error:
        return _refuse(wish, error)
    except UnavailableError as error:
        _tell_retry(wish, error)
        raise
    return ""


# --- 0. authority ---


def _authorise(wish: Wish) -> Authorised:
    """Who caused it, under the rules before the merge and today's."""
    today, before = wish.environment, _rules_before(wish).environment
    needed = today.needs_authority or before.needs_authority
    required = stricter(before.approvals, today.approvals)
    verdict = authority(_attribution(wish, required, needed=needed), required, needed=needed)
    if isinstance(verdict, Unauthorised):
        raise NotAdmittedError(verdict.reason, verdict.remedy)
    return verdict


@dataclass(frozen=True, slots=True)
class _RulesBefore:
    """What held at the first parent of the merge that brought a digest."""

    environment: Environment
    rules: Rules


def _rules_before(wish: Wish) -> _RulesBefore:
    """The pipeline file and the policy as they were at the merge's first parent.

    An environment that needs authority never falls back to the rules of today alone.
    """
    view, environment = wish.view, wish.environment
    today = _RulesBefore(environment, view.rules)
    lacking = NotAdmittedError(
        f"merge {wish.merge[:7]} brought digests of {environment.name} before or together with "
        "the rules that judge them",
        f"an operator runs `lockkeeper adopt {environment.name}`, or the digest is promoted anew",
    )
    before = _rules_at_parent(wish)
    if before is None and environment.needs_authority:
        raise lacking
    return before or today


def _rules_at_parent(wish: Wish) -> _RulesBefore | None:
    """None: there was no environment of that name, or nothing valid that described it."""
    view, parents = wish.view, wish.view.history.commit(wish.merge).parents
    if not parents:
        return None
    try:
        pipeline = pipeline_at(view.ports, view.repository, view.history, parents[0])
        rules = rules_at(view.history, pipeline, parents[0])
    except RejectedError:
        return None
    environment = pipeline.environments.get(wish.environment.name)
    return None if environment is None else _RulesBefore(environment, rules)


def _attribution(wish: Wish, required: Approvals, *, needed: bool) -> Attribution:
    view, github = wish.view, wish.view.ports.github
    found = _merged_as(wish)
    if found is None:
        return Attribution(wish.merge, None)
    pull_request = github.pull_request(view.repository, found.number)
    if not needed:
        return Attribution(wish.merge, pull_request)
    reviews = github.reviews(view.repository, pull_request.number)
    approving = {r.author.login for r in reviews if r.state == "APPROVED" and r.author.is_person}
    return Attribution(
        merge=wish.merge,
        pull_request=pull_request,
        reviews=reviews,
        commits=github.contributed(view.repository, pull_request.number),
        asked_by=_asked_by(wish),
        teams={
            team: frozenset(
                login for login in approving if github.in_team(view.repository, team, login)
            )
            for team in required.teams
        },
        writers=frozenset(login for login in approving if github.can_write(view.repository, login)),
    )


def _merged_as(wish: Wish) -> PullRequest | None:
    """The pull request that GitHub merged as this commit; a rebase may end in a later one."""
    view = wish.view
    for pull_request in view.ports.github.pull_requests_of(view.repository, wish.merge):
        merge = pull_request.merge_commit
        if not pull_request.merged or merge is None:
            continue
        if (
            pull_request.base_branch == view.default_branch
            and view.history.is_ancestor(wish.merge, merge)
            and view.history.is_ancestor(merge, view.head)
        ):
            return pull_request
    return None


def _asked_by(wish: Wish) -> frozenset[str]:
    """Who merged or pushed the source branch: read from git and GitHub, not from memory alone."""
    github, source = wish.view.ports.github, wish.application.source
    history = wish.view.ports.mirrors.of(source)
    asked: set[str] = set()
    for trigger in _triggers(wish, history):
        merged = [
            pull_request
            for pull_request in github.pull_requests_of(source, trigger)
            if pull_request.merged and pull_request.merge_commit == trigger
        ]
        for pull_request in merged:
            details = github.pull_request(source, pull_request.number)
            if details.merged_by is not None:
                asked.add(details.merged_by.login)
        if not merged:
            asked |= github.author_of(source, trigger)
    return frozenset(asked)


def _triggers(wish: Wish, history: GitHistory) -> list[str]:
    """The branch heads that asked: our own record, and the commits with the image's tree."""
    scope = wish.view.scope(wish.environment.name, wish.application.name)
    recorded = {
        head.trigger
        for head in wish.view.ports.memory.written_heads(scope)
        if head.source == wish.commit
    }
    if wish.commit and history.fetch_commit(wish.commit):
        tree = history.commit(wish.commit).tree
        for branch, head in history.heads().items():
            if wish.environment.fed_by(branch):
                commits = history.first_parents(head, limit=_TRIGGERS)
                recorded |= {next((c.id for c in commits if c.tree == tree), "")}
    return sorted(trigger for trigger in recorded if trigger and history.fetch_commit(trigger))


# --- 1. admission ---


def _admit(wish: Wish) -> Assessment:
    """The digest is its commit's, where the environment takes it from, and passes the rules."""
    view, environment, image = wish.view, wish.environment, wish.image.name
    if not is_in_source(view, environment, wish.application, image, wish.digest):
        source = environment.source_environment or "the registry that CI pushes to"
        raise NotAdmittedError(
            f"{image} {wish.digest.short} is not in {source}",
            f"promote it to {source} first, or revert the merge",
        )
    if wish.resolution is None and environment.is_entry:
        _check_stands_under_its_tag(wish)
    assessment = _evaluate(wish)
    held = is_held(view, environment.name, wish.application.name)
    if held:
        raise NotAdmittedError(held, "whoever holds it releases it")
    return assessment


def _evaluate(wish: Wish) -> Assessment:
    """What the rules before the merge and today's say of it now; both must let it pass."""
    view, environment, image = wish.view, wish.environment, wish.image.name
    wanted, before = {image: wish.digest}, _rules_before(wish).rules
    today = evaluate(view, environment, wish.application, wanted, view.rules)
    for job in today.jobs:
        view.ports.jobs.put(job)
    judged = [today]
    if not before.say_the_same(view.rules, environment.name):
        judged.append(evaluate(view, environment, wish.application, wanted, before))
    blocking = next((one for one in judged if one.assessment.verdict.blocks), None)
    if blocking is None or is_published(view, environment, image, wish.digest):
        # What was published here before may come back: new findings about it are warnings.
        return today.assessment
    if blocking.waits:
        raise UnavailableError(f"{image} {wish.digest.short} is being scanned")
    rules = "today's policy" if blocking is today else "the policy as it was before the merge"
    raise NotAdmittedError(
        f"{image} {wish.digest.short} does not pass {rules}: {said_by(blocking.assessment)}",
        "promote a build that passes, or revert the merge",
    )


def _check_stands_under_its_tag(wish: Wish) -> None:
    """A digest that nobody resolved must be what a commit's tag names: the label says which."""
    labels = wish.view.registry(wish.environment).describe(wish.reference).labels
    commit = labels.get("org.opencontainers.image.revision", "").strip().lower()
    found = (
        resolve(wish.view, wish.environment, wish.application, commit)
        if len(commit) == 40 and commit.isalnum()  # noqa: PLR2004 - a full git commit id
        else None
    )
    resolved = None if found is None or isinstance(found, Missing | Contradicted) else found
    if resolved is None or dict(resolved.digests).get(wish.image.name) != wish.digest:
        raise NotAdmittedError(
            f"{wish.image.name} {wish.digest.short} does not stand under the tag of a commit",
            "promote an image that CI tagged, or revert the merge",
        )


# --- 2. to 5. copy, read back, sign, tag ---


def _seal(wish: Wish, authorised: Authorised, assessment: Assessment) -> None:
    view, environment = wish.view, wish.environment
    registry = view.registry(environment)
    _tell(wish, CheckState.IN_PROGRESS, "Delivering", f"Copying {code(str(wish.reference))}.")
    immutable, moving = _tags(wish)
    source = source_repository(view.pipeline, environment, wish.application, wish.image.name)
    if source is not None:
        policy = AccessoryPolicy(is_ours=_is_ours(_all_keys(view)))
        _, back = ensure_copied(
            registry, source.at(wish.digest), wish.reference.repository, accessories=policy
        )
    else:
        back = registry.read_back(wish.reference)
    for tag in immutable:
        registry.tag(wish.reference, tag, move=False)
    signed_by = _sign(wish, registry, immutable)
    _attest(wish, authorised, immutable, _attest_verdict(wish, assessment))
    for tag in moving:
        registry.tag(wish.reference, tag, move=True)
    sealed = f"{code(str(wish.reference))} holds every platform, read back."
    _tell_merge(wish, CheckState.SUCCESS, f"Sealed for {environment.name}", sealed)
    _record(wish, authorised, len(back.manifests), signed_by, assessment)


def _all_keys(view: View) -> Sequence[Verifier]:
    """Every environment's keys of both roles: nothing that they signed is ever copied."""
    rings = [
        ring
        for one in view.pipeline.environments.values()
        for ring in (view.signing_keys(one), view.attestation_keys(one))
    ]
    return [key for ring in rings for key in ring.verifiers]


def _is_ours(keys: Sequence[Verifier]) -> Callable[[bytes, bytes], bool]:
    return lambda message, signature: any(key.verifies(message, signature) for key in keys)


def _tags(wish: Wish) -> tuple[list[str], list[str]]:
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
        _branch(wish),
        wish.view.history.commit(wish.merge).committed_at,
    )
    immutable: list[str] = []
    moving: list[str] = []
    for tag in environment.image_tags:
        rendered = tag.template.render(values)
        if rendered is not None:
            (moving if tag.moves else immutable).append(rendered)
    return immutable, moving


def _branch(wish: Wish) -> str:
    scope = wish.view.scope(wish.environment.name, wish.application.name)
    heads = reversed(wish.view.ports.memory.written_heads(scope))
    return next((head.trigger_branch for head in heads if head.source == wish.commit), "")


def _sign(wish: Wish, registry: ImageRegistry, tags: Sequence[str]) -> str:
    """Sign the index and exactly its platforms; the fingerprint of the key, if any."""
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
    platforms = [platform.digest for platform in description.platforms]
    signed = ensure_signed(
        registry,
        signer,
        wish.reference,
        tags[0] if tags else None,
        {
            ENVIRONMENT_ANNOTATION: environment.name,
            REPOSITORY_ANNOTATION: str(wish.reference.repository),
        },
        [digest for digest in platforms if digest != wish.digest],
        at=wish.view.ports.clock.now(),
    )
    record_signatures(wish.view, environment, wish.reference, signed.fingerprint, signed.payloads)
    return signer.fingerprint


def _attest_verdict(wish: Wish, assessment: Assessment) -> Sequence[EvidenceEntry]:
    """Attest that it passes, where the environment has a key for that; what was attested."""
    view, environment = wish.view, wish.environment
    name = wish.application.name
    files = [(view.rules.policy_file, view.rules.policy_content)] if view.rules.policy_file else []
    done = attest_verdict(
        view.registry(environment),
        view.attestation_keys(environment),
        wish.reference,
        assessment,
        Judged(
            promotion_id(view, environment, name, wish.merge),
            tuple(
                PolicyDocument(f"git+{view.web_url}@{view.rules.commit}#{file}", Digest.of(content))
                for file, content in files
            ),
            view.ports.version,
        ),
    )
    if done is None:
        return ()
    record_signatures(view, environment, wish.reference, done.fingerprint, [done.payload])
    return (EvidenceEntry(SVR_TYPE, done.payload, verified=True),)


def _attest(
    wish: Wish,
    authorised: Authorised,
    tags: Sequence[str],
    evidence: Sequence[EvidenceEntry],
) -> None:
    """Attest who brought the digest here, where the environment has a key for that."""
    view, environment = wish.view, wish.environment
    ring = view.attestation_keys(environment)
    if not ring.signers:
        return
    promoted = Promoted(
        application=wish.application,
        image=wish.image,
        digest=wish.digest,
        commit=wish.commit,
        branch=_branch(wish),
        merge=wish.merge,
        tag=tags[0] if tags else "",
    )
    story = promotion_story(view, environment, promoted, authorised, evidence)
    done = ensure_attested(view.registry(environment), ring.signers[0], ring.verifiers, story)
    record_signatures(view, environment, wish.reference, done.fingerprint, [done.payload])


def _record(
    wish: Wish,
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


def _refuse(wish: Wish, error: RejectedError | IntegrityError) -> str:
    reason = str(error)
    summary = text(reason, 800)
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


def _tell_merge(wish: Wish, state: CheckState, heading: str, summary: str) -> None:
    """Say on the merge itself how its delivery ended."""
    view, environment, application = wish.view, wish.environment, wish.application
    tell_merge(view, environment, wish.merge, state, heading, summary, application=application)


def _tell_retry(wish: Wish, error: UnavailableError) -> None:
    """Say that it is tried again; that GitHub is away must not hide the first cause."""
    try:
        _tell(wish, CheckState.IN_PROGRESS, "Delivery is tried again", text(str(error), 400))
    except UnavailableError:
        return


def _comment(wish: Wish, body: str) -> None:
    found = _merged_as(wish)
    if found is not None:
        tell_pull_request(wish.view, found.number, body)


def _tell(wish: Wish, state: CheckState, heading: str, summary: str) -> None:
    if not wish.commit:
        return
    scope = wish.view.scope(wish.environment.name, wish.application.name)
    triggers = [
        head.trigger
        for head in wish.view.ports.memory.written_heads(scope)
        if head.source == wish.commit
    ]
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
