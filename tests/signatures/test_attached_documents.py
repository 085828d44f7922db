"""What hangs on an image: who wrote it, about which digest, and whether that counts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import requests

from bot.adapters.signing import load_public_key, load_signing_key
from bot.adapters.signing.keyless import KeylessVerifier
from bot.domain.errors import NotFoundError, RejectedError
from bot.domain.oci import Digest, DigestReference, ImageRepository
from bot.domain.policy import EnvironmentPolicy, Required, Result
from bot.domain.trust import BuiltFrom, IdentityRoot, KeyRoot, TrustRoots
from bot.formats.sigstore_bundle import BUNDLE_TYPE, ENVELOPE_TYPE, SIGN_PREDICATE, STATEMENT_TYPE
from bot.signatures.attached_documents import AttestedEvidence, attested_evidence
from bot.signatures.sign import ensure_signed
from bot.signatures.verify import Trust
from tests.world.attaching import (
    CYCLONEDX,
    OPENVEX,
    PROVENANCE,
    SPDX,
    VULN,
    attach,
    attach_under_tag,
    cyclonedx,
    envelope,
    key_bundle,
    openvex,
    provenance,
    statement,
    vulnerabilities,
)
from tests.world.clients import client
from tests.world.images import (
    INDEX,
    MANIFEST,
    BuiltImage,
    build_image,
    descriptor,
    digest_of,
    encoded,
    push_blob,
    push_manifest,
)
from tests.world.keys import generate_key_pair
from tests.world.registry import Registry, answer
from tests.world.sigstore import COMMIT, sigstore

pytestmark = pytest.mark.slow

IMAGE = build_image()
AMD64, ARM64 = (Digest(IMAGE.child(platform)) for platform in ("linux/amd64", "linux/arm64"))
PAIR, OTHER = (generate_key_pair(cost=32768) for _ in range(2))
CI, STRANGER = load_signing_key(PAIR.private, "ci.key"), load_signing_key(OTHER.private, "x.key")
BUILT = BuiltFrom("acme/api", 4711, COMMIT, ("main",))
EVERY = Required(sbom=True, signature=True, provenance=True)
BY_KEY = EnvironmentPolicy(
    "prod",
    required=EVERY,
    roots=TrustRoots(*[(KeyRoot("ci.pub"),) for _ in range(4)]),
)
BY_WORKFLOW = EnvironmentPolicy("prod", required=EVERY)


@dataclass(frozen=True)
class Scene:
    reference: DigestReference
    trust: Trust

    def at(self, digest: str) -> DigestReference:
        return self.reference.repository.at(Digest(digest))

    def read(
        self,
        policy: EnvironmentPolicy | None = BY_KEY,
        elsewhere: dict[str, Sequence[bytes]] | None = None,
    ) -> AttestedEvidence:
        return attested_evidence(
            client(self.reference.repository.host),
            self.reference,
            self.trust,
            policy,
            elsewhere=lambda digest: (elsewhere or {}).get(digest, ()),
        )


@pytest.fixture
def scene() -> Iterator[Scene]:
    with Registry() as world:
        IMAGE.push(world.host, "dev/api", "v1")
        reference = ImageRepository(world.host, "dev/api").at(Digest(IMAGE.digest))
        yield Scene(reference, Trust(BUILT, {"ci.pub": [load_public_key(PAIR.public, "ci.pub")]}))


@pytest.fixture
def keyless(scene: Scene, tmp_path: Path) -> Scene:
    (tmp_path / "root.json").write_bytes(sigstore().trusted_root)
    certificates = KeylessVerifier(tmp_path / "root.json")
    return Scene(scene.reference, replace(scene.trust, certificates=certificates))


def packages(evidence: AttestedEvidence, platform: Digest) -> set[str]:
    return {name.name for name in evidence.sboms[platform].inventory.versions}


# --- nothing


def test_what_is_not_there_is_not_evaluated(scene: Scene) -> None:
    found = scene.read()

    assert found.inventory is None
    assert found.provenance is None
    assert found.signature.result is Result.NOT_EVALUATED
    assert found.signature.text == "it carries no signature; wanted is one by the key ci.pub"
    assert found.provenance_reason.result is Result.NOT_EVALUATED
    assert found.missing == (
        "no SBOM describes linux/amd64",
        "no SBOM describes linux/arm64",
    )
    assert found.notes == ()


def test_an_image_that_is_gone_is_an_error(scene: Scene) -> None:
    gone = Scene(scene.at("sha256:" + "0" * 64), scene.trust)

    with pytest.raises(NotFoundError):
        gone.read()


# --- SBOMs


def sbom(about: str, *names: str, kind: str = CYCLONEDX) -> bytes:
    return statement(about, kind, cyclonedx(*names))


def test_each_platform_has_its_own_contents(scene: Scene) -> None:
    attach(scene.at(AMD64), key_bundle(CI, sbom(AMD64, "left-pad")))
    attach_under_tag(scene.at(ARM64), envelope(CI, sbom(ARM64, "right-pad")))

    found = scene.read()

    assert (packages(found, AMD64), packages(found, ARM64)) == ({"left-pad"}, {"right-pad"})
    assert {one.by for one in found.sboms.values()} == {"the key ci.pub"}
    assert found.inventory is not None
    assert {name.name for name in found.inventory.versions} == {"left-pad", "right-pad"}
    assert found.missing == ()


def test_a_platform_s_statement_may_hang_on_the_index(scene: Scene) -> None:
    attach(scene.reference, key_bundle(CI, sbom(AMD64, "left-pad")))

    assert packages(scene.read(), AMD64) == {"left-pad"}


@pytest.mark.parametrize(
    ("media_type", "wrap"),
    [
        (STATEMENT_TYPE, lambda payload: payload),
        (ENVELOPE_TYPE, lambda payload: envelope(STRANGER, payload)),
        (BUNDLE_TYPE, lambda payload: key_bundle(STRANGER, payload)),
        ("application/vnd.cyclonedx+json", lambda _: json.dumps(cyclonedx("left-pad")).encode()),
    ],
    ids=["statement", "envelope", "bundle", "bare"],
)
def test_what_nobody_who_counts_signed_is_shown_as_unsigned(
    scene: Scene, media_type: str, wrap: object
) -> None:
    assert callable(wrap)
    attach(scene.at(AMD64), wrap(sbom(AMD64, "left-pad")), media_type)

    shown = scene.read()
    demanded = scene.read(replace(BY_KEY, required=replace(EVERY, vouched_sbom=True)))

    assert packages(shown, AMD64) == {"left-pad"}
    assert shown.sboms[AMD64].by == ""
    assert demanded.sboms == {}
    assert "no SBOM vouched for describes linux/amd64" in demanded.missing


def test_the_one_that_somebody_vouches_for_goes_first(scene: Scene) -> None:
    attach(scene.at(AMD64), sbom(AMD64, "wrong"), STATEMENT_TYPE)
    attach(scene.at(AMD64), key_bundle(STRANGER, sbom(AMD64, "wrong")))
    attach(scene.at(AMD64), key_bundle(CI, sbom(AMD64, "right")))

    assert packages(scene.read(), AMD64) == {"right"}


# --- reports


BY_REPORT = replace(BY_KEY, roots=replace(BY_KEY.roots, scan=(KeyRoot("ci.pub"),)))


def report(*severities: str, image: str = "") -> dict[str, object]:
    """A Trivy report, of the image with this config where one is named."""
    found = [
        {
            "VulnerabilityID": f"CVE-2026-100{number}",
            "PkgName": "zlib",
            "InstalledVersion": "1",
            "Severity": severity,
        }
        for number, severity in enumerate(severities)
    ]
    return {
        "SchemaVersion": 2,
        "Metadata": {"OS": {"Family": "debian", "Name": "12"}, "ImageID": image},
        "Results": [
            {"Target": "os", "Class": "os-pkgs", "Type": "debian", "Vulnerabilities": found}
        ],
    }


def scan(about: str, *severities: str, image: str = "", at: str = "2026-11-20T10:00:00Z") -> bytes:
    return statement(about, VULN, vulnerabilities(report(*severities, image=image), at))


def config_of(platform: str) -> str:
    return str(json.loads(IMAGE.children[platform])["config"]["digest"])


def test_attested_reports_are_what_their_key_says_of_each_platform(scene: Scene) -> None:
    attach(scene.at(AMD64), key_bundle(CI, scan(AMD64, "HIGH", image=config_of("linux/amd64"))))
    attach_under_tag(scene.at(ARM64), envelope(CI, scan(ARM64, "CRITICAL", "LOW")))

    found = scene.read(BY_REPORT)

    assert found.unscanned == ()
    assert found.scan is not None
    assert found.scan.attested_by == "the key ci.pub"
    assert found.scan.platforms == ("linux/amd64", "linux/arm64")
    assert sorted((key.platform, key.vulnerability) for key in found.scan.findings) == [
        ("linux/amd64", "CVE-2026-1000"),
        ("linux/arm64", "CVE-2026-1000"),
        ("linux/arm64", "CVE-2026-1001"),
    ], "each platform with what is in it"
    assert found.scan.finished is not None
    assert f"{found.scan.finished:%Y-%m-%d %H:%M}" == "2026-11-20 10:00"
    assert found.scan.database is None, "the predicate does not say"


def test_one_platform_without_a_report_leaves_the_image_unscanned(scene: Scene) -> None:
    attach(scene.at(AMD64), key_bundle(CI, scan(AMD64, "HIGH")))

    found = scene.read(BY_REPORT)

    assert found.scan is None
    assert found.unscanned == ("linux/arm64",)


def test_without_a_root_for_reports_none_is_read(scene: Scene) -> None:
    attach(scene.at(AMD64), key_bundle(CI, scan(AMD64)))
    attach(scene.at(ARM64), key_bundle(CI, scan(ARM64)))

    found = scene.read(BY_KEY)

    assert (found.scan, found.scans, found.unscanned, found.notes) == (None, {}, (), ())


@pytest.mark.parametrize(
    ("media_type", "content", "words"),
    [
        (STATEMENT_TYPE, scan(AMD64), "its report does not count: unsigned"),
        (BUNDLE_TYPE, key_bundle(STRANGER, scan(AMD64)), "not signed with the key ci.pub"),
        (BUNDLE_TYPE, key_bundle(CI, scan(IMAGE.digest)), "about no single platform"),
        (
            BUNDLE_TYPE,
            key_bundle(CI, scan(AMD64, image=config_of("linux/arm64"))),
            "the report says that it describes another image",
        ),
        (BUNDLE_TYPE, key_bundle(CI, scan(AMD64, at="yesterday")), "when it was made"),
        (BUNDLE_TYPE, key_bundle(CI, statement(AMD64, VULN, vulnerabilities({}))), "no known"),
    ],
    ids=["unsigned", "stranger", "index", "another image", "no time", "nonsense"],
)
def test_a_report_that_does_not_count_is_told_and_clears_nothing(
    scene: Scene, media_type: str, content: bytes, words: str
) -> None:
    attach(scene.at(AMD64), content, media_type)

    found = scene.read(BY_REPORT)

    assert found.scans == {}
    assert found.unscanned == ("linux/amd64", "linux/arm64")
    assert any(words in note for note in found.notes), found.notes


@pytest.mark.parametrize("newest_first", [True, False])
def test_the_newest_report_counts(scene: Scene, *, newest_first: bool) -> None:
    reports = [scan(AMD64), scan(AMD64, "CRITICAL", at="2026-11-21T10:00:00+00:00")]
    for one in reports[::-1] if newest_first else reports:
        attach(scene.at(AMD64), key_bundle(CI, one))

    assert len(scene.read(BY_REPORT).scans[AMD64].findings) == 1


def test_a_report_may_say_how_old_its_database_was(scene: Scene) -> None:
    predicate = vulnerabilities(report(), database="2026-11-20T06:11:00Z")
    attach(scene.at(AMD64), key_bundle(CI, statement(AMD64, VULN, predicate)))

    known = scene.read(BY_REPORT).scans[AMD64].database

    assert known is not None
    assert f"{known:%H:%M}" == "06:11"


def test_an_index_has_no_contents_of_its_own(scene: Scene) -> None:
    attach(scene.reference, key_bundle(CI, sbom(IMAGE.digest, "left-pad")))

    found = scene.read()

    assert found.sboms == {}
    assert any("no single platform" in note for note in found.notes)


def test_an_sbom_that_names_another_image_is_not_this_one_s(scene: Scene) -> None:
    document = cyclonedx("left-pad")
    document["metadata"] = {
        "component": {"type": "container", "name": "api", "version": "sha256:" + "e" * 64}
    }
    attach(scene.at(AMD64), key_bundle(CI, statement(AMD64, CYCLONEDX, document)))

    found = scene.read()

    assert found.sboms == {}
    assert any("describes another image" in note for note in found.notes)


# --- BuildKit


def with_attestations(host: str, about: str, subject: str) -> DigestReference:
    """An index as `docker buildx build --sbom --provenance` leaves it, for one platform."""
    base = f"http://{host}/v2/dev/built"
    contents = [
        (statement(subject, SPDX, spdx("left-pad")), "https://spdx.dev/Document"),
        (statement(subject, "https://slsa.dev/provenance/v0.2", buildkit()), PROVENANCE),
    ]
    layers = [
        descriptor(STATEMENT_TYPE, content, annotations={"in-toto.io/predicate-type": kind})
        for content, kind in contents
    ]
    config = b"{}"
    attestation = encoded(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": layers,
        }
    )
    child = IMAGE.children["linux/amd64"]
    listed = [
        descriptor(MANIFEST, child, platform={"os": "linux", "architecture": "amd64"}),
        descriptor(
            MANIFEST,
            attestation,
            platform={"os": "unknown", "architecture": "unknown"},
            annotations={
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": about,
            },
        ),
    ]
    index = encoded({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed})
    BuiltImage(IMAGE.index, IMAGE.children, IMAGE.blobs).push(host, "dev/built")
    with requests.Session() as session:
        for blob in (config, *(content for content, _ in contents)):
            push_blob(session, base, digest_of(blob), blob)
        push_manifest(session, base, digest_of(attestation), attestation, MANIFEST)
        push_manifest(session, base, "v1", index, INDEX)
    return ImageRepository(host, "dev/built").at(Digest(digest_of(index)))


def spdx(name: str) -> dict[str, object]:
    reference = {
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceType": "purl",
        "referenceLocator": f"pkg:npm/{name}@1",
    }
    package = {"SPDXID": "SPDXRef-1", "name": name, "versionInfo": "1", "externalRefs": [reference]}
    return {"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "packages": [package]}


def buildkit() -> dict[str, object]:
    vcs = {"revision": COMMIT, "source": "git@github.com:acme/api.git"}
    return {
        "builder": {"id": ""},
        "buildType": "https://mobyproject.org/buildkit@v1",
        "materials": [{"uri": "pkg:docker/alpine@3", "digest": {"sha256": "a" * 64}}],
        "metadata": {"https://mobyproject.org/buildkit@v1#metadata": {"vcs": vcs}},
    }


def test_buildkit_s_attestations_are_read_and_shown_as_unsigned(scene: Scene) -> None:
    reference = with_attestations(scene.reference.repository.host, AMD64, AMD64)

    found = Scene(reference, scene.trust).read()

    assert packages(found, AMD64) == {"left-pad"}
    assert found.sboms[AMD64].by == ""
    assert found.provenance is not None
    assert (found.provenance.repository, found.provenance.commit) == ("acme/api", COMMIT)
    assert found.provenance_reason.result is Result.NOT_EVALUATED
    assert "unsigned" in found.provenance_reason.text


@pytest.mark.parametrize(
    ("about", "subject"), [("sha256:" + "0" * 64, AMD64), (AMD64, "sha256:" + "0" * 64)]
)
def test_buildkit_s_annotation_and_subject_must_agree(
    scene: Scene, about: str, subject: str
) -> None:
    reference = with_attestations(scene.reference.repository.host, about, subject)

    found = Scene(reference, scene.trust).read()

    assert found.sboms == {}
    assert found.provenance is None
    assert found.notes != ()


# --- provenance


def test_the_promoted_commit_s_provenance_by_a_key(scene: Scene) -> None:
    attach(scene.reference, key_bundle(CI, statement(IMAGE.digest, PROVENANCE, provenance())))

    found = scene.read()

    assert found.provenance_reason.result is Result.PASS
    assert found.provenance_reason.text == f"acme/api at {COMMIT[:12]}, by the key ci.pub"
    assert found.provenance is not None
    assert found.provenance.builder == "https://github.com/actions/runner/github-hosted"


@pytest.mark.parametrize(
    ("predicate", "why"),
    [
        (provenance("d" * 40), f"it states commit {'d' * 40}, not {COMMIT}"),
        (provenance(repository="acme/other"), "it states acme/other, not acme/api"),
    ],
)
def test_a_trusted_signature_under_another_commit_is_no_provenance(
    scene: Scene, predicate: dict[str, object], why: str
) -> None:
    attach(scene.reference, key_bundle(CI, statement(IMAGE.digest, PROVENANCE, predicate)))

    found = scene.read()

    assert found.provenance_reason.result is Result.FAIL
    assert why in found.provenance_reason.text


def test_a_stranger_s_provenance_is_none_and_hides_none(scene: Scene) -> None:
    payload = statement(IMAGE.digest, PROVENANCE, provenance())
    attach(scene.reference, key_bundle(STRANGER, payload))

    before = scene.read().provenance_reason
    attach(scene.reference, key_bundle(CI, payload))

    assert (before.result, before.text) == (
        Result.FAIL,
        "no provenance counts: it is not signed with the key ci.pub",
    )
    assert scene.read().provenance_reason.result is Result.PASS


def test_provenance_of_another_image_is_none(scene: Scene) -> None:
    payload = statement("sha256:" + "e" * 64, PROVENANCE, provenance())
    attach(scene.reference, key_bundle(CI, payload))

    found = scene.read()

    assert found.provenance is None
    assert any("not for this image" in note for note in found.notes)


def test_the_workflow_s_provenance_is_told_with_its_runner(keyless: Scene) -> None:
    bundle = sigstore().attest(statement(IMAGE.digest, PROVENANCE, provenance()))

    for found in (
        keyless.read(BY_WORKFLOW, {IMAGE.digest: [bundle]}),
        keyless.read(None, {IMAGE.digest: [bundle]}),
    ):
        assert found.provenance_reason.result is Result.PASS
        assert "release.yml@refs/heads/main, on a github-hosted" in found.provenance_reason.text


def test_another_repository_s_workflow_is_refused_by_name(keyless: Scene) -> None:
    payload = statement(IMAGE.digest, PROVENANCE, provenance())
    attach(keyless.reference, sigstore().attest(payload, {"repository_id": "666"}))

    found = keyless.read(BY_WORKFLOW)

    assert found.provenance_reason.result is Result.FAIL
    assert "has the id 666, not 4711" in found.provenance_reason.text


def test_without_the_means_to_verify_nothing_is_judged(scene: Scene) -> None:
    attach(scene.reference, sigstore().attest(statement(IMAGE.digest, PROVENANCE, provenance())))
    ignorant = Scene(scene.reference, replace(scene.trust, built=None))

    assert scene.read(BY_WORKFLOW).provenance_reason.result is Result.NOT_EVALUATED
    assert ignorant.read(BY_WORKFLOW).provenance_reason.result is Result.NOT_EVALUATED


def test_what_github_does_not_send_along_is_told(scene: Scene) -> None:
    found = scene.read(BY_KEY, {IMAGE.digest: [b"null"]})

    assert found.notes == ("GitHub's attestations: it holds no envelope that can be read",)


def test_what_github_refuses_is_told(scene: Scene) -> None:
    def refused(_digest: Digest) -> Sequence[bytes]:
        raise RejectedError("GitHub refused it: needs attestations=read")

    found = attested_evidence(
        client(scene.reference.repository.host),
        scene.reference,
        scene.trust,
        elsewhere=refused,
    )

    assert any("needs attestations=read" in note for note in found.notes)


# --- VEX


def test_vex_counts_by_whom_it_is_signed_not_by_its_author(scene: Scene) -> None:
    attach(scene.reference, key_bundle(CI, statement(AMD64, OPENVEX, openvex("CVE-2026-1"))))

    (found,) = scene.read().vex

    assert found.vulnerabilities == {"CVE-2026-1"}
    assert found.author == "the key ci.pub"
    assert scene.read(replace(BY_KEY, accepts_signed_vex=False)).vex == ()


def test_vex_of_nobody_who_counts_suppresses_nothing(scene: Scene) -> None:
    payload = statement(IMAGE.digest, OPENVEX, openvex("CVE-2026-1"))
    attach(scene.reference, payload, STATEMENT_TYPE)
    attach(scene.reference, key_bundle(STRANGER, payload))

    found = scene.read()

    assert found.vex == ()
    assert sum("its VEX does not count" in note for note in found.notes) == 2


def test_vex_may_be_written_later_and_by_a_named_repository(keyless: Scene) -> None:
    payload = statement(IMAGE.digest, OPENVEX, openvex("CVE-2026-1"))
    security = {"repository": "acme/security", "repository_id": "8", "sha": "d" * 40}
    attach(keyless.reference, sigstore().attest(payload, security))
    attach(keyless.reference, sigstore().attest(payload, {"sha": "e" * 40}))
    named = IdentityRoot(repository="acme/security", repository_id=8)
    trusting = replace(BY_WORKFLOW, roots=TrustRoots(vex=(named, IdentityRoot())))

    assert len(keyless.read(BY_WORKFLOW).vex) == 1
    assert len(keyless.read(trusting).vex) == 2


# --- signatures


def test_a_source_signature_by_a_key_in_either_layout(scene: Scene) -> None:
    registry = client(scene.reference.repository.host)
    ensure_signed(registry, CI, scene.reference, None, {}, [])

    found = scene.read().signature

    assert (found.result, found.text) == (Result.PASS, "by the key ci.pub")


def test_a_stranger_s_signature_fails(scene: Scene) -> None:
    registry = client(scene.reference.repository.host)
    ensure_signed(registry, STRANGER, scene.reference, None, {}, [])

    assert scene.read().signature.result is Result.FAIL


def test_a_workflow_s_signature(keyless: Scene) -> None:
    attach(keyless.reference, sigstore().attest(statement(IMAGE.digest, SIGN_PREDICATE, {})))

    assert keyless.read(BY_WORKFLOW).signature.result is Result.PASS
    assert keyless.read(BY_KEY).signature.result is Result.FAIL


def test_an_attestation_is_no_signature(scene: Scene) -> None:
    attach(scene.reference, key_bundle(CI, statement(IMAGE.digest, PROVENANCE, provenance())))

    assert scene.read().signature.result is Result.NOT_EVALUATED


# --- floods and damage


@pytest.mark.parametrize("content", [b"{}", b"nothing", b'{"mediaType": 1}', b"[" * 1000, b"\xff"])
@pytest.mark.parametrize("media_type", [BUNDLE_TYPE, ENVELOPE_TYPE, STATEMENT_TYPE])
def test_damage_is_told_and_hides_nothing(scene: Scene, content: bytes, media_type: str) -> None:
    attach(scene.reference, content, media_type)
    attach(scene.reference, key_bundle(CI, statement(IMAGE.digest, PROVENANCE, provenance())))

    found = scene.read()

    assert found.provenance_reason.result is Result.PASS
    assert found.notes != ()


def test_a_flood_ends_at_the_limit_and_is_told(scene: Scene) -> None:
    for number in range(60):
        attach(scene.reference, key_bundle(STRANGER, sbom(AMD64, f"p{number}")))

    found = scene.read()

    assert found.notes[0] == "more hangs on the image than is read: 50 documents or 128 MiB"
    assert len(found.notes) <= 20


def test_a_list_that_nobody_can_read_is_told_and_judges_nothing() -> None:
    with Registry(referrers_api=False) as world:
        IMAGE.push(world.host, "dev/api", "v1")
        reference = ImageRepository(world.host, "dev/api").at(Digest(IMAGE.digest))
        scene = Scene(reference, Trust(BUILT, {}))
        garbage = answer(200, b"[1]", {"Content-Type": INDEX})
        world.on("GET", f"/manifests/sha256-{reference.digest.hex}$", garbage, times=99)

        found = scene.read()

    assert found.signature.result is Result.NOT_EVALUATED
    assert found.provenance_reason.result is Result.NOT_EVALUATED
    assert any(note.startswith("what refers to sha256:") for note in found.notes)
