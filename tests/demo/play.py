"""The play: who does what, in which order, and what has to come of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import requests

from bot.adapters.clock import SystemClock, pause
from bot.adapters.registry import Registry
from bot.adapters.signing import load_public_key
from bot.domain.oci import Digest, DigestReference, ImageRepository
from bot.formats.assessment_document import AssessmentDocument, read_assessment
from bot.formats.docker_config import parse_registry_grant
from bot.formats.pull_request_body import marked_promotion
from bot.ports.keys import Signer
from bot.signatures.sign import verify_image
from tests.demo import bodies, builds
from tests.demo.builds import BLOCKED, FIRST, MENDED, REPOSITORY, Build
from tests.demo.screen import Screen, facts
from tests.world.github.gitstore import FileChanges
from tests.world.github.records import PullRequest
from tests.world.images import BuiltImage
from tests.world.stage import NeverHappenedError, Stage

T = TypeVar("T")
_FROM: Final = {"dev": "dev", "stage": "dev", "prod": "stage"}
_WORDS: Final = {"fail": "blocks", "warn": "warns", "pass": "passes"}
_UNKNOWN: Final = ("ot evaluated", "ot known")
"""What no body of the demo says in the end; while it says so, the scanner is at work."""
_COLOURS: Final = {"fail": "red", "warn": "yellow", "pass": "green"}


@dataclass(frozen=True)
class Promotion:
    """One digest that reached one environment."""

    environment: str
    version: str
    image: BuiltImage
    pull: PullRequest
    verdict: str
    ref: str
    """The environment ref's commit then."""
    signed: bool
    seconds: float


@dataclass
class Play:
    """The stage, the screen, and what was written down."""

    stage: Stage
    screen: Screen
    ci: Signer
    """CI's key."""
    promotions: list[Promotion] = field(default_factory=list)
    kept: dict[str, bodies.Kept] = field(default_factory=dict)
    """Bodies by name."""
    blocked: str = ""
    """The digest that the policy stopped."""
    _rows: list[tuple[str, ...]] = field(default_factory=list)
    """Of the table at the end."""
    _seen: set[int] = field(default_factory=set)
    """Pull requests that were shown before."""

    def perform(self) -> None:
        """Both acts."""
        self.screen.title("Act one: build once, promote the same bytes")
        commit, image = self._build(FIRST, greet=True)
        self._release(FIRST, commit)
        self._promote("stage", FIRST, image)
        self._merge_to_main(FIRST)
        self._promote("prod", FIRST, image, keep="first-release")

        self.screen.title("Act two: the policy stops a release, and lets the next one through")
        commit, image = self._build(BLOCKED)
        self.blocked = image.digest
        self._release(BLOCKED, commit)
        self._refused("stage", image)
        commit, image = self._build(MENDED)
        self.stage.dana.push(self.stage.source, f"release/{MENDED.version}", parent=commit)
        self.screen.say("dana", f"moves [b]release/{MENDED.version}[/] to it")
        self._promote("stage", MENDED, image, keep="passing")
        self._merge_to_main(MENDED)
        self._promote("prod", MENDED, image)

    # --- scenes ---

    def _build(self, build: Build, *, greet: bool = False) -> tuple[str, BuiltImage]:
        """A commit on develop, until its image is in dev."""
        began = time.monotonic()
        commit = self._change(build)
        self.screen.say("dana", f"merges [cyan]{commit[:7]}[/] to develop: {build.message}")
        if greet:
            self._wait_for_check(commit, "dev", "Waiting for image")
            self.screen.note("the check on the commit says: Waiting for image")
        image = build.image(commit)
        builds.push(build, image, self.stage.hosts["dev"], commit, self.ci)
        self.stage.github.complete_checks(self.stage.source, commit)
        self.screen.say("CI", f"builds {' and '.join(image.children)}: {_digest(image)}")
        self.screen.note("signs it; attests SBOM, vulnerability report and provenance")
        pull = self._wait(lambda: self._merged("dev", image), "a merge for dev")
        self.screen.say("Lockkeeper", f"opens and merges pull request {pull.number} by itself")
        self._published("dev", build, image, pull, "", began)
        return commit, image

    def _change(self, build: Build) -> str:
        """A pull request into develop, merged; the commit there."""
        dana, source = self.stage.dana, self.stage.source
        branch = f"change-{len(self.promotions)}"
        files: FileChanges = {"app.py": f"print({build.message!r})\n"}
        dana.push(source, branch, files, message=build.message, parent=source.head("develop"))
        pull = dana.open_pull_request(source, branch, "develop", title=build.message)
        return dana.merge(pull, "squash", message=build.message)

    def _release(self, build: Build, commit: str) -> None:
        self.stage.dana.push(self.stage.source, f"release/{build.version}", parent=commit)
        branch = f"[b]release/{build.version}[/]"
        self.screen.say("dana", f"cuts {branch} from that commit: nothing is rebuilt")

    def _merge_to_main(self, build: Build) -> None:
        title = f"Release {build.version}"
        branch = f"release/{build.version}"
        pull = self.stage.dana.open_pull_request(self.stage.source, branch, "main", title=title)
        merge = self.stage.dana.merge(pull, "merge")
        self.screen.say("dana", f"merges {branch} into [b]main[/] ([cyan]{merge[:7]}[/])")

    def _promote(
        self, environment: str, build: Build, image: BuiltImage, *, keep: str = ""
    ) -> None:
        pull, found = self._judged(environment, image, {"pass", "warn"})
        if keep:
            self._show(keep, pull, found)
        if environment == "prod":
            self.stage.rita.approve(pull)
            self.screen.say("rita", "of acme/release-managers approves it")
        began = time.monotonic()
        self.stage.dana.merge(pull)
        self.screen.say("dana", "merges it")
        self._published(environment, build, image, pull, found.verdict, began)

    def _refused(self, environment: str, image: BuiltImage) -> None:
        pull, found = self._judged(environment, image, {"fail"})
        self._show("blocked", pull, found)
        self._note(BLOCKED, environment, pull, found.verdict, image)
        self._rows[-1] += ("-", "-", "-")
        self.screen.say("dana", "reads why, and mends it")

    def _judged(
        self, environment: str, image: BuiltImage, verdicts: set[str]
    ) -> tuple[PullRequest, AssessmentDocument]:
        """The promotion of this image, once its verdict is one of these."""
        pull = self._wait(
            lambda: self._proposed(environment, image), f"a pull request for {environment}"
        )
        wanted = f"the verdict on pull request {pull.number}"
        found = self._wait(lambda: self._assessment(pull, image), wanted)
        if found.verdict not in verdicts:
            raise NeverHappenedError(f"{wanted} is {found.verdict}, not {' or '.join(verdicts)}")
        state = "failure" if found.verdict == "fail" else "success"
        self._wait(lambda: self._state(pull) == state, f"the check on {pull.number}: {state}")
        verb = "renews" if pull.number in self._seen else "opens"
        self._seen.add(pull.number)
        title = pull.title.removeprefix("Promote payments to ")
        self.screen.say("Lockkeeper", f"{verb} pull request {pull.number} to {title}")
        self.screen.note(f"its check says: {state}, the policy {_said(found)}")
        return pull, found

    def _show(self, name: str, pull: PullRequest, found: AssessmentDocument) -> None:
        """The panel of a pull request, and its whole body as a page."""
        body = pull.body or ""
        title = f"Pull request {pull.number}: {pull.title}"
        self.kept[name] = bodies.keep(name, title, body)
        rows = facts(found, bodies.base_images(body))
        page = self.kept[name].page
        self.screen.panel(title, [*rows, ("whole", page)], _COLOURS.get(found.verdict, "red"))

    def _published(
        self,
        environment: str,
        build: Build,
        image: BuiltImage,
        pull: PullRequest,
        verdict: str,
        began: float,
    ) -> None:
        """From the merge to the environment ref."""
        self._wait(lambda: self.stage.published(environment) == image.digest, f"env/{environment}")
        signed = self._is_signed(environment, image)
        words = {"dev": "checked"}.get(environment, "copied, read back")
        words += ", signed" if signed else ""
        ref = self.stage.ref(environment) or ""
        self.screen.say(
            f"✓ {environment}",
            f"{words}; only then [b]env/{environment}[/] → [cyan]{ref[:7]}[/]",
            "green",
        )
        seconds = time.monotonic() - began
        self._note(build, environment, pull, verdict, image)
        self._rows[-1] += ("✓" if signed else "-", ref[:7], f"{seconds:.1f}")
        self.promotions.append(
            Promotion(environment, build.version, image, pull, verdict, ref, signed, seconds)
        )

    # --- looks ---

    def _proposed(self, environment: str, image: BuiltImage) -> PullRequest | None:
        found = self.stage.open_promotion(environment)
        if found is None:
            return None
        wished = self.stage.file(found.head, f"envs/{environment}/kustomization.yaml")
        return found if image.digest in wished else None

    def _assessment(self, pull: PullRequest, image: BuiltImage) -> AssessmentDocument | None:
        """What the board keeps of the promotion, once its body knows as much of this image."""
        body = pull.body or ""
        marked = marked_promotion(body)
        if not marked or image.digest[-4:] not in body or any(map(body.__contains__, _UNKNOWN)):
            return None
        url = f"http://{self.stage.bot.board}/promotions/{marked[0]}.json"
        answer = requests.get(url, timeout=10)
        if not answer.ok:
            return None
        found = read_assessment(answer.content)
        digests = found.scan.digests if found.scan else []
        return found if found.verdict in _WORDS and image.digest in digests else None

    def _state(self, pull: PullRequest) -> str:
        return self.stage.checks(self.stage.manifests, pull.head).get("lockkeeper", ("",))[0]

    def _merged(self, environment: str, image: BuiltImage) -> PullRequest | None:
        branch = f"lockkeeper/{environment}/payments"
        path = f"envs/{environment}/kustomization.yaml"
        for pull in self.stage.manifests.pulls.values():
            merge = pull.merge_commit if pull.merged and pull.head_ref == branch else None
            if merge and image.digest in self.stage.file(merge, path):
                return pull
        return None

    def _is_signed(self, environment: str, image: BuiltImage) -> bool:
        """By prod's own key."""
        host = self.stage.hosts[environment]
        grant = parse_registry_grant(json.dumps({"auths": {host: {}}}), "demo")
        registry = Registry(grant, clock=SystemClock(None), sleep=pause)
        reference = DigestReference(ImageRepository(host, REPOSITORY), Digest(image.digest))
        key = load_public_key(self.stage.public_key, "cosign.pub")
        return verify_image(registry, [key], reference, {}).complete

    def _wait(self, look: Callable[[], T | None], what: str) -> T:
        with self.screen.waiting(what):
            return self.stage.eventually(look, what)

    def _wait_for_check(self, commit: str, environment: str, title: str) -> None:
        name = f"lockkeeper: payments -> {environment}"
        self._wait(
            lambda: self.stage.checks(self.stage.source, commit).get(name, ("", ""))[1] == title,
            f"the check on {commit[:7]}",
        )

    # --- the end ---

    def check(self) -> None:
        """Look once more at what was promised."""
        wrong = [*self._wrong_digests(), *self._wrong_signatures(), *self._wrong_bodies()]
        if wrong:
            raise NeverHappenedError("; ".join(wrong))

    def _wrong_digests(self) -> list[str]:
        wrong = []
        for build in (FIRST, MENDED):
            digests = {
                self.stage.resolve(one.environment, one.image.digest)
                for one in self.promotions
                if one.version == build.version and one.image.digest != self.blocked
            }
            if len(digests) != 1 or None in digests:
                wrong.append(f"{build.version} is not one digest in three registries: {digests}")
        wrong += [
            f"{environment} has the digest that the policy blocked"
            for environment in ("stage", "prod")
            if self.stage.resolve(environment, self.blocked)
        ]
        return wrong

    def _wrong_signatures(self) -> list[str]:
        signed = {one.environment for one in self.promotions if one.signed}
        return [] if signed == {"prod"} else [f"signed in {sorted(signed)}, expected prod alone"]

    def _wrong_bodies(self) -> list[str]:
        return [
            f"the body {name} says {words!r}"
            for name, kept in self.kept.items()
            for words in _UNKNOWN
            if words in kept.markdown
        ]

    def result(self) -> dict[str, object]:
        """``result.json``."""
        return {
            "application": "payments",
            "public_key": self.stage.public_key.decode(),
            "attestation_public_key": self.stage.attestation_key.decode(),
            "manifests_repository": {"clone_url": f"{self.stage.github.url}/acme/deploy.git"},
            "blocked": self.blocked,
            "environments": [
                self._result_of(one) for one in self.promotions if one.version == FIRST.version
            ],
            "second_release": [
                self._result_of(one)
                for one in self.promotions
                if one.version == MENDED.version and one.image.digest != self.blocked
            ],
        }

    def _result_of(self, one: Promotion) -> Mapping[str, Any]:
        target = f"{self.stage.hosts[one.environment]}/{REPOSITORY}"
        return {
            "name": one.environment,
            "version": one.version,
            "pull_request": one.pull.number,
            "merge_commit": one.pull.merge_commit,
            "verdict": one.verdict,
            "source": f"{self.stage.hosts[_FROM[one.environment]]}/{REPOSITORY}@{one.image.digest}",
            "target": f"{target}@{one.image.digest}",
            "tag_references": [f"{target}:{tag}" for tag in self._tags(one)],
            "digest": one.image.digest,
            "platforms": list(one.image.children),
            "signed": one.signed,
            "environment_ref": f"refs/heads/env/{one.environment}",
            "environment_ref_commit": one.ref,
            "seconds": round(one.seconds, 2),
        }

    def _tags(self, one: Promotion) -> list[str]:
        """Every tag of the digest, as the registry lists them."""
        url = f"http://{self.stage.hosts[one.environment]}/v2/{REPOSITORY}/tags/list"
        tags = requests.get(url, timeout=10).json().get("tags") or []
        return [
            tag
            for tag in sorted(tags)
            if not tag.startswith("sha256-")
            and self.stage.resolve(one.environment, tag) == one.image.digest
        ]

    def _note(
        self, build: Build, environment: str, pull: PullRequest, verdict: str, image: BuiltImage
    ) -> None:
        """A row of the table at the end, as far as it goes."""
        short = image.digest.removeprefix("sha256:")[:12]
        number = str(pull.number)
        self._rows.append((build.version, environment, number, _WORDS.get(verdict, "-"), short))

    def summary(self) -> None:
        """What came of it, and the digests in full."""
        header = ("release", "to", "PR", "policy", "sha256", "signed", "env ref", "seconds")
        self.screen.console.print()
        self.screen.table(header, self._rows)
        for name, digest in self.digests().items():
            self.screen.line(f"{name:<8} {digest}")

    def digests(self) -> dict[str, str]:
        """The real ones, by what became of them."""
        last = {one.version: one.image.digest for one in self.promotions}
        return {**last, "blocked": self.blocked}


def _digest(image: BuiltImage) -> str:
    return f"[magenta]{image.digest[:19]}…[/]"


def _said(found: AssessmentDocument) -> str:
    return _WORDS.get(found.verdict, found.verdict)
