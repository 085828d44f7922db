"""Whoever writes what the bot reads: any text is read or refused, and never costs more than it is.

Every reader of text from outside gets mutations of what it reads for real: no error that nobody
foresaw, whatever stands there. What it does is counted in calls, not timed: four times the text is
at most about four times the work.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from bot.domain.errors import LockkeeperError
from bot.formats.assessment_document import read_assessment
from bot.formats.composition import composed, composing_files, fetched, writes_images
from bot.formats.cyclonedx import read_cyclonedx, read_cyclonedx_scan, read_cyclonedx_vex
from bot.formats.docker_config import parse_registry_grant
from bot.formats.exploitation_feeds import read_epss, read_kev
from bot.formats.grant_floor import read_floor
from bot.formats.grype import read_grype
from bot.formats.image_manifest import parse_config, parse_manifest
from bot.formats.image_names import names_of
from bot.formats.in_toto import read_statement
from bot.formats.manifest_file import read_file
from bot.formats.openvex import read_openvex
from bot.formats.pipeline_file import mistakes, read_pipeline
from bot.formats.policy_file import read_exceptions, read_policy
from bot.formats.promotion_statement import parse_promotion
from bot.formats.reports import read_sbom, read_scan, read_vex
from bot.formats.sigstore_bundle import parse_bundle, parse_envelope, parse_statement
from bot.formats.simple_signing import parse_payload
from bot.formats.slsa import read_provenance
from bot.formats.spdx import read_spdx, read_spdx_3
from bot.formats.trivy import read_trivy
from bot.formats.verdict_statement import parse_verdict
from bot.formats.webhook import parse_webhook, read_hint
from bot.formats.www_authenticate import parse_challenges
from tests.samples import SAMPLES

PIPELINE = """\
version: 1
policy: policy.yaml
environments:
  prod:
    on: { branches: [main, "release/*"] }
    image_repository: registry.example.com/acme/{image}
    manifests: [envs/prod/**]
    approvals: { count: 1, teams: [acme/x] }
    sign: true
defaults: { source: "acme/{application}", images: ["{application}"] }
applications: { payments: {} }
"""
POLICY = """\
version: 1
environments:
  prod:
    exceptions: exceptions.yaml
    require: { signature: { key: ci.pub } }
    rules: [{ id: critical, deny: introduced, severity: ">= critical", package: "pkg:npm/*" }]
"""
EXCEPTIONS = """\
- { vulnerability: CVE-2026-1, package: pkg:npm/lodash, reason: none, expires: 2026-12-01 }
"""
KUSTOMIZATION = """\
resources: [dep.yaml, https://example.com/x]
images: [{ name: payments, newName: registry.example.com/acme/payments, newTag: v1 }]
replacements:
- source: { kind: Deployment, fieldPath: metadata.name }
  targets: [{ select: { kind: Deployment }, fieldPaths: [spec.template.spec] }]
configurations: [c.yaml]
helmCharts: [{ name: x, version: 1 }]
"""
MANIFEST = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.index.v1+json",
    "manifests": [
        {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": "sha256:" + "a" * 64,
            "size": 3,
            "platform": {"os": "linux", "architecture": "amd64"},
        }
    ],
}
CONFIG = {
    "os": "linux",
    "architecture": "amd64",
    "config": {"User": "0", "Labels": {"a": "b"}, "ExposedPorts": {"80/tcp": {}}},
}
ENVELOPE = {
    "payloadType": "application/vnd.in-toto+json",
    "payload": "e30=",
    "signatures": [{"sig": "AA=="}],
}
STATEMENT = {
    "_type": "https://in-toto.io/Statement/v1",
    "subject": [{"name": "x", "digest": {"sha256": "a" * 64}}],
    "predicateType": "https://slsa.dev/provenance/v1",
    "predicate": {"buildDefinition": {}, "runDetails": {}},
}
PAYLOAD = {
    "critical": {
        "identity": {"docker-reference": "r.example.com/x"},
        "image": {"docker-manifest-digest": "sha256:" + "a" * 64},
        "type": "cosign container image signature",
    },
    "optional": None,
}
HOOK = {
    "action": "opened",
    "ref": "refs/heads/main",
    "after": "b" * 40,
    "repository": {"id": 7, "full_name": "acme/payments"},
    "pull_request": {"number": 3},
    "sender": {"login": "ada"},
}
GRANT = {"auths": {"r.example.com": {"auth": "YTpi"}}}
NAMES = names_of(
    read_pipeline(PIPELINE, commit="0" * 40), read_pipeline(PIPELINE).environments["prod"]
)
ENVIRONMENTS = read_pipeline(PIPELINE).environments
Reader = Callable[[bytes], object]


def text(read: Callable[[str], object]) -> Reader:
    """A reader of characters, as it gets them from git: undecodable bytes are surrogates."""
    return lambda content: read(content.decode("utf-8", "surrogateescape"))


def kustomized(content: str) -> object:
    found = json.loads(content)
    if not isinstance(found, dict):
        return None
    inline = [composing_files(found), list(composed(found)), list(fetched(found, "envs"))]
    return inline, writes_images(found)


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


READERS: Mapping[str, tuple[Reader, bytes | str]] = {
    "pipeline": (text(lambda said: read_pipeline(said, commit="0" * 40)), PIPELINE.encode()),
    "mistakes": (text(mistakes), PIPELINE.encode()),
    "policy": (
        text(lambda said: read_policy(said, file="p.yaml", environments=ENVIRONMENTS)),
        POLICY.encode(),
    ),
    "exceptions": (text(lambda said: read_exceptions(said, file="e.yaml")), EXCEPTIONS.encode()),
    "kustomization": (
        text(lambda said: read_file("envs/prod/kustomization.yaml", said, NAMES)),
        KUSTOMIZATION.encode(),
    ),
    "workload": (
        text(lambda said: read_file("envs/prod/dep.yaml", said, NAMES)),
        b"kind: Pod\nspec: {containers: [{image: registry.example.com/acme/payments:v1}]}\n",
    ),
    "values": (
        text(lambda said: read_file("envs/prod/values.yaml", said, NAMES, is_values=True)),
        b"image: {repository: registry.example.com/acme/payments, tag: v1}\n",
    ),
    "compositions": (text(kustomized), b'{"resources": ["x"], "vars": [{"a": 1}]}'),
    "webhook": (lambda body: parse_webhook("pull_request", body), encoded(HOOK)),
    "hint": (text(read_hint), b"{}"),
    "challenges": (
        text(lambda said: parse_challenges([said])),
        b'Bearer realm="https://a.example.com/t",service="x",scope="y", Basic realm="z"',
    ),
    "index": (lambda c: parse_manifest(c, str(MANIFEST["mediaType"]), "x"), encoded(MANIFEST)),
    "configuration": (lambda content: parse_config(content, "x"), encoded(CONFIG)),
    "bundle": (parse_bundle, "attestations/sigstore-bundle-v0.3-oci.json"),
    "envelope": (parse_envelope, encoded(ENVELOPE)),
    "statement": (parse_statement, encoded(STATEMENT)),
    "in-toto": (lambda content: read_statement(content, "s"), encoded(STATEMENT)),
    "promotion": (parse_promotion, encoded(STATEMENT)),
    "verdict": (parse_verdict, encoded(STATEMENT)),
    "payload": (parse_payload, encoded(PAYLOAD)),
    "provenance": (lambda c: read_provenance(c, "s"), encoded(STATEMENT["predicate"])),
    "registry grant": (text(lambda said: parse_registry_grant(said, "g")), encoded(GRANT)),
    "floor": (lambda content: read_floor(content, "floor.json"), b'{"sign": true}'),
    "scan": (lambda content: read_scan(content, "s"), "trivy/secrets.json"),
    "trivy": (lambda content: read_trivy(content, "s"), "trivy/distroless-python27.json"),
    "grype": (lambda content: read_grype(content, "s"), "grype/dd-no-vuln.json"),
    "sbom": (lambda content: read_sbom(content, "s"), "spdx/syft-alpine-3.10.json"),
    "spdx": (lambda content: read_spdx(content, "s"), "spdx/SPDXJSONExample-v2.3.json"),
    "spdx 3": (lambda c: read_spdx_3(c, "s"), b'{"@context": "x", "@graph": [{"type": "x"}]}'),
    "cyclonedx": (lambda c: read_cyclonedx(c, "s"), "cyclonedx/spec-valid-bom-1.7.json"),
    "cyclonedx scan": (
        lambda c: read_cyclonedx_scan(c, "s"),
        "cyclonedx/spec-vulnerability-1.7.json",
    ),
    "cyclonedx vex": (lambda c: read_cyclonedx_vex(c, "s"), "vex/cyclonedx-vex.json"),
    "openvex": (lambda content: read_openvex(content, "s"), "vex/openvex-all-statuses.json"),
    "vex": (lambda content: read_vex(content, "s"), "vex/openvex-v0.0.1.json"),
    "kev": (lambda content: read_kev(content, "s"), "feeds/kev-small.json"),
    "epss": (lambda content: read_epss(content, "s"), "feeds/epss-small.json"),
    "assessment": (read_assessment, b'{"version": 1}'),
}
_MOST = 40_000
"""Bytes of a seed: mutations of more cost more than they find."""
_ANY = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        [
            *("", "\0", "\ud800", "é", "9" * 60, "-1", "1e999", "0x10", "sha256:", "pkg:npm/%00"),
            *("https://[", "http://a:b", "2026-13-99", "9999-12-31T23:59:60Z", "../..", "{image}"),
            *("CVE-0-0", "CVSS:3.1/AV:N", "CVSS:9.9/", "(A OR B", "A AND", "*", "**/x", "<<"),
            *([], {}, [[]], [None], {"": None}, [1, [2, [3]]], {"id": {"id": {}}}),
        ]
    ),
)
_PIECES = st.sampled_from(
    [
        *(b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\n", b"\r", b"\t", b"&a ", b"*a", b"<<: *a\n"),
        *(b"!!binary ", b"!!set ", b"---\n", b"...\n", b"%TAG ! x\n", b"? ", b"- ", b"{", b"}"),
        *(b"[", b"]", b'"', b"'", b"|\n", b">-\n", b"#", b": ", b"${x}", b"{{", b"\\u0000"),
        *(b"\\ud800", b"1e400", b"0o17", b"~", b"NaN", b"\xc2\x85", b"\xe2\x80\xa8"),
    ]
)


def seed(given_seed: bytes | str) -> bytes:
    if isinstance(given_seed, bytes):
        return given_seed
    path = SAMPLES / given_seed
    if not path.exists():
        pytest.skip(f"sample {given_seed} is missing")
    return path.read_bytes()


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a JSON document, the outermost first."""
    found = [path]
    items = value.items() if isinstance(value, dict) else ()
    pairs = list(enumerate(value)) if isinstance(value, list) else items
    for key, one in pairs:
        found += places(one, (*path, key))
    return found


def replaced(document: object, path: tuple[Any, ...], new: object) -> object:
    """A document with one place replaced."""
    if not path:
        return new
    key, *rest = path
    if isinstance(document, dict):
        return {**document, key: replaced(document[key], tuple(rest), new)}
    assert isinstance(document, list)
    return [replaced(one, tuple(rest), new) if i == key else one for i, one in enumerate(document)]


def survives(read: Reader, content: bytes) -> None:
    """It is read or refused; what is no JSON ends the test's own reader of kustomizations."""
    with contextlib.suppress(LockkeeperError, json.JSONDecodeError):
        read(content)


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=40, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_no_text_ends_in_an_error_that_nobody_foresaw(name: str, data: st.DataObject) -> None:
    read, from_where = READERS[name]
    content = seed(from_where)[:_MOST]
    try:
        document = json.loads(seed(from_where))
        known = places(document)
        for _ in range(data.draw(st.integers(1, 3))):
            known = places(document)
            path = known[data.draw(st.integers(0, min(len(known), 3000) - 1))]
            document = replaced(document, path, data.draw(_ANY))
        content = json.dumps(document).encode("utf-8", "surrogatepass")
    except json.JSONDecodeError:
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(content)))
            drop = data.draw(st.integers(0, 12))
            content = content[:at] + data.draw(_PIECES) + content[at + drop :]

    survives(read, content)


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=25, suppress_health_check=list(HealthCheck), derandomize=True)
@given(content=st.one_of(st.binary(max_size=60), st.lists(_PIECES, max_size=12).map(b"".join)))
def test_no_bytes_do(name: str, content: bytes) -> None:
    survives(READERS[name][0], content)


# --- the cost of a text ---

BOMBS: Mapping[str, Callable[[int], bytes]] = {
    "brackets": lambda n: b"[" * n,
    "braces": lambda n: b'{"a":' * n,
    "a list of lists": lambda n: b"[" + b"[]," * n + b"0]",
    "a list of objects": lambda n: b"[" + b'{"id":1},' * n + b"0]",
    "keys": lambda n: b"{" + b",".join(b'"k%d":1' % i for i in range(n)) + b"}",
    "escapes": lambda n: b'"' + b"\\u0061" * n + b'"',
    "aliases": lambda n: b"a: &a [x]\nb: [" + b"*a," * n + b"]\n",
    "merge keys": lambda n: b"a: &a {x: 1}\nb:\n  <<: [" + b"*a," * n + b"]\n",
    "lines": lambda n: b"a: b\n" * n,
    "comments": lambda n: b"# registry.example.com/acme/payments\n" * n,
    "stars": lambda n: b'"' + b"*" * n + b'"',
    "commas": lambda n: b"a=b," * n,
    "quotes": lambda n: b'"' * n,
}


def work(read: Reader, content: bytes) -> int:
    """Calls that reading makes, of Python and of C."""
    count = 0

    def note(_frame: FrameType, event: str, _of: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(note)
    try:
        survives(read, content)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("name", READERS)
def test_four_times_the_text_is_four_times_the_work(name: str) -> None:
    read = READERS[name][0]
    for bomb, made in BOMBS.items():
        short, long = work(read, made(100)), work(read, made(400))
        assert long <= 5 * short + 5_000, (bomb, short, long)
