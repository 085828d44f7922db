"""CI of an application repository: the same few shell scripts, in the words of four services.

Every script is POSIX sh and takes what differs from its environment, so that a test runs each of
them, and nothing of the pipeline file is executed. An image is pushed by its digest, scanned,
attested and signed, and gets its tag last: who finds the tag finds everything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from textwrap import indent
from typing import Final

from bot.domain.ci_builds import CiBuild, CiImage

CHECKOUT: Final = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1"
QEMU: Final = "docker/setup-qemu-action@29109295f81e9208d7d86ff1c6c12d2833863392 # v3.6.0"
BUILDX: Final = "docker/setup-buildx-action@e468171a9de216ec08956ac3ada2f0791b6bd435 # v3.11.1"
HADOLINT: Final = "hadolint/hadolint-action@54c9adbab1582c2ef04b2016b760714a4bfde3cf # v3.1.0"
TRIVY: Final = "aquasecurity/setup-trivy@3fb12ec12f41e471780db15c232d5dd185dcb514 # v0.2.6"
COSIGN: Final = "sigstore/cosign-installer@7e8b541eb2e61bf99390e1afd4be13a184e9ebc5 # v3.10.1"
PROVENANCE: Final = (
    "actions/attest-build-provenance@977bb373ede98d70efdf65b84cb5f73e068dcc2a # v3.0.0"
)
TRIVY_VERSION: Final = "0.74.0"
_PLATFORMS: Final = "linux/amd64,linux/arm64"

LINT: Final = 'hadolint "$DOCKERFILE"\n'
LOGIN: Final = (
    "printf '%s' \"$REGISTRY_PASSWORD\" |\n"
    '  docker login "$REGISTRY" --username "$REGISTRY_USERNAME" --password-stdin\n'
)
CHECK_BUILD: Final = (
    'docker buildx build --load --file "$DOCKERFILE" --tag checked:here "$CONTEXT"\n'
)
CHECK_SCAN: Final = """\
trivy image --format cyclonedx --output sbom.cdx.json checked:here
trivy image --scanners vuln,secret --severity HIGH,CRITICAL --ignore-unfixed --exit-code 1 \\
  checked:here
"""
_BUILD: Final = """\
{tag}
if docker buildx imagetools inspect "$IMAGE:$tag" >/dev/null 2>&1; then
  echo "$IMAGE:$tag stands there: it is built once and never again"
  digest=$(docker buildx imagetools inspect --format '{{{{.Manifest.Digest}}}}' "$IMAGE:$tag")
else
  docker buildx build --platform "$PLATFORMS" --file "$DOCKERFILE" \\
    --sbom=true --provenance=mode=max \\
    --label "org.opencontainers.image.revision=$COMMIT" \\
    --output "type=image,name=$IMAGE,push=true,push-by-digest=true" \\
    --metadata-file "$NAME.json" "$CONTEXT"
  digest=$(jq -r '."containerimage.digest"' "$NAME.json")
fi
echo "$tag" >"$NAME.tag"
echo "$digest" >"$NAME.digest"
docker buildx imagetools inspect --raw "$IMAGE@$digest" |
  jq -r '.manifests[] | select(.platform.architecture != "unknown") | .digest' >"$NAME.platforms"
test -s "$NAME.platforms"
"""
SCAN: Final = """\
while read -r digest; do
  trivy image --scanners vuln --format cosign-vuln \\
    --output "vulnerabilities-${digest#*:}.json" "$IMAGE@$digest"
  trivy image --format cyclonedx --output "sbom-${digest#*:}.json" "$IMAGE@$digest"
done <"$NAME.platforms"
"""
_SIGN: Final = """\
while read -r digest; do
  cosign attest --yes{key} --type vuln \\
    --predicate "vulnerabilities-${{digest#*:}}.json" "$IMAGE@$digest" </dev/null
  cosign attest --yes{key} --type cyclonedx \\
    --predicate "sbom-${{digest#*:}}.json" "$IMAGE@$digest" </dev/null
done <"$NAME.platforms"
cosign sign --yes{key} --recursive "$IMAGE@$(cat "$NAME.digest")"
"""
_OWN_PROVENANCE: Final = """\
jq -n --arg source "git+$SOURCE" --arg commit "$COMMIT" --arg builder "$BUILDER" '{{
  buildDefinition: {{
    buildType: "https://lockkeeper.dev/ci/buildx/v1", externalParameters: {{}},
    resolvedDependencies: [{{uri: $source, digest: {{gitCommit: $commit}}}}]
  }},
  runDetails: {{builder: {{id: $builder}}}}
}}' >provenance.json
cosign attest --yes{key} --type slsaprovenance1 \\
  --predicate provenance.json "$IMAGE@$(cat "$NAME.digest")"
"""
TAG: Final = """\
tag=$(cat "$NAME.tag")
digest=$(cat "$NAME.digest")
branch="branch-$(printf %s "$BRANCH" | tr -c 'A-Za-z0-9_.-' - | cut -c 1-100)"
there=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$IMAGE:$tag" || true)
if [ "${there:-$digest}" != "$digest" ]; then
  echo "$IMAGE:$tag stands there as $there, and is never moved" >&2
  exit 1
fi
docker buildx imagetools create --tag "$IMAGE:$tag" --tag "$IMAGE:$branch" "$IMAGE@$digest"
test "$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$IMAGE:$tag")" = "$digest"
"""
_KEYLESS: Final = ""
_BY_KEY: Final = ' --key "$COSIGN_KEY"'


def build_script(build: CiBuild) -> str:
    """Build what is not there, push it by its digest, and say which platforms it has."""
    return _BUILD.format(tag=_tag_lines(build))


def sign_script(*, keyless: bool) -> str:
    """Attest each platform's report and SBOM, and sign all of the image."""
    return _SIGN.format(key=_KEYLESS if keyless else _BY_KEY)


def provenance_script(*, keyless: bool) -> str:
    """Attest which commit the image was built from, where the service itself says nothing."""
    return _OWN_PROVENANCE.format(key=_KEYLESS if keyless else _BY_KEY)


def _tag_lines(build: CiBuild) -> str:
    """The immutable tag of the image that is called ``$NAME``."""
    tags = {one.tag for one in build.images}
    if len(tags) == 1:
        return f"tag={_tag(build.images[0])}"
    cases = "\n".join(f"  {label(build, one)}) tag={_tag(one)} ;;" for one in build.images)
    return f'case "$NAME" in\n{cases}\nesac'


def _tag(image: CiImage) -> str:
    """A tag in the shell's words; its texts hold nothing that the shell knows."""
    words = [
        one if isinstance(one, str) else (f'$(printf %.{one}s "$COMMIT")' if one else "$COMMIT")
        for one in image.tag
    ]
    return f'"{"".join(words)}"'


def label(build: CiBuild, image: CiImage) -> str:
    """What an image is called in CI, and its files: its name, as far as a file may be called so."""
    plain = [re.sub(r"[^A-Za-z0-9_.-]", "-", one.name) for one in build.images]
    place = build.images.index(image)
    is_alone = plain.count(plain[place]) == 1
    return plain[place] if is_alone else f"{plain[place]}-{place + 1}"


def quoted(text: str) -> str:
    """A text as YAML and JSON both read it."""
    return json.dumps(text)


def _block(script: str, spaces: int) -> str:
    return indent(script, " " * spaces)


def _header(build: CiBuild, service: str) -> str:
    return (
        f"# CI of {build.source}: images of {build.application} for {build.environment}, as "
        f"`lockkeeper ci snippet --for {service}`\n"
        "# tells it from lockkeeper.yaml. A pull request is checked; a commit of a branch below is "
        "built once, and\n"
        "# Lockkeeper promotes these very bytes. Adjust contexts and Dockerfiles.\n"
    )


# --- GitHub Actions ---


def github(build: CiBuild) -> str:
    """``.github/workflows/image.yml``."""
    return f"""\
{_header(build, "github")}name: image
on:
  push:
{_github_asking(build)}  pull_request:

permissions: {{}}

concurrency:
  group: image-${{{{ github.event_name }}}}-${{{{ github.sha }}}}

jobs:
  check:
    name: Check ${{{{ matrix.name }}}}
    if: github.event_name == 'pull_request'
    runs-on: ubuntu-24.04
    timeout-minutes: 30
    permissions:
      contents: read
    strategy:
      fail-fast: false
      matrix:
        include:
{_matrix(build)}    env:
      CONTEXT: ${{{{ matrix.context }}}}
      DOCKERFILE: ${{{{ matrix.dockerfile }}}}
    steps:
      - uses: {CHECKOUT}
        with:
          persist-credentials: false
      - uses: {HADOLINT}
        with:
          dockerfile: ${{{{ matrix.dockerfile }}}}
      - uses: {BUILDX}
      - uses: {TRIVY}
        with:
          version: v{TRIVY_VERSION}
      - name: Build
        run: |
{_block(CHECK_BUILD, 10)}\
      - name: SBOM and scan
        run: |
{_block(CHECK_SCAN, 10)}\

  image:
    name: Image ${{{{ matrix.name }}}}
    if: github.event_name == 'push'
    runs-on: ubuntu-24.04
    timeout-minutes: 90
    permissions:
      attestations: write # the provenance
      contents: read
      id-token: write # the signature's certificate names this workflow
      packages: write # pushes to ghcr.io; other registries do not need it
    strategy:
      fail-fast: false
      matrix:
        include:
{_matrix(build)}    env:
      BRANCH: ${{{{ github.ref_name }}}}
      COMMIT: ${{{{ github.sha }}}}
      CONTEXT: ${{{{ matrix.context }}}}
      DOCKERFILE: ${{{{ matrix.dockerfile }}}}
      IMAGE: ${{{{ matrix.image }}}}
      NAME: ${{{{ matrix.name }}}}
      PLATFORMS: {_PLATFORMS}
    steps:
      - uses: {CHECKOUT}
        with:
          persist-credentials: false
      - uses: {QEMU}
      - uses: {BUILDX}
      - uses: {TRIVY}
        with:
          version: v{TRIVY_VERSION}
      - uses: {COSIGN}
      - name: Log in
        env:
          REGISTRY: {quoted(build.images[0].host)}
{_github_login(build)}        run: |
{_block(LOGIN, 10)}\
      - name: Build, with SBOM and provenance
        id: build
        run: |
{_block(build_script(build) + 'echo "digest=$digest" >>"$GITHUB_OUTPUT"' + chr(10), 10)}\
      - name: Scan every platform
        run: |
{_block(SCAN, 10)}\
      - name: Attest and sign
        run: |
{_block(sign_script(keyless=True), 10)}\
      - uses: {PROVENANCE}
        with:
          subject-name: ${{{{ matrix.image }}}}
          subject-digest: ${{{{ steps.build.outputs.digest }}}}
          push-to-registry: true
      - name: Tag
        run: |
{_block(TAG, 10)}"""


def _github_asking(build: CiBuild) -> str:
    """Branches, tags and paths of ``on.push``; GitHub asks no paths of a tag."""
    asked = {"branches": build.branches, "tags": build.tags, "paths": build.paths}
    return "".join(
        f"    {key}: [{', '.join(quoted(one) for one in globs)}]\n"
        for key, globs in asked.items()
        if globs
    )


def _matrix(build: CiBuild) -> str:
    """One entry for each image, in block style."""
    return "".join(
        f"          - name: {quoted(label(build, one))}\n"
        f"            image: {quoted(one.repository)}\n"
        "            context: .\n"
        "            dockerfile: Dockerfile\n"
        for one in build.images
    )


def _github_login(build: CiBuild) -> str:
    if build.images[0].host == "ghcr.io":
        user, password = "github.actor", "github.token"
    else:
        user, password = "secrets.REGISTRY_USERNAME", "secrets.REGISTRY_PASSWORD"
    return (
        f"          REGISTRY_USERNAME: ${{{{ {user} }}}}\n"
        f"          REGISTRY_PASSWORD: ${{{{ {password} }}}}\n"
    )


# --- GitLab ---


def gitlab(build: CiBuild) -> str:
    """``.gitlab-ci.yml``; the branches of the GitHub repository reach GitLab by mirroring."""
    return f"""\
{_header(build, "gitlab")}# REGISTRY_USERNAME and REGISTRY_PASSWORD are masked, protected variables.
stages: [check, build, scan, sign]

variables:
  REGISTRY: {quoted(build.images[0].host)}
  SOURCE: {quoted(f"https://github.com/{build.source}")}
  PLATFORMS: {_PLATFORMS}
  COMMIT: $CI_COMMIT_SHA
  BRANCH: $CI_COMMIT_REF_NAME
  BUILDER: $CI_SERVER_URL/$CI_PROJECT_PATH
  DOCKER_TLS_CERTDIR: /certs

.images:
  parallel:
    matrix:
{_gitlab_matrix(build)}
.on-merge-request:
  extends: .images
  stage: check
  rules:
    - if: $CI_PIPELINE_SOURCE == "merge_request_event"

.on-branch:
  extends: .images
  rules:
{_gitlab_rules(build)}
.docker:
  image: docker:29 # pin its digest
  services: [docker:29-dind]

lint:
  extends: .on-merge-request
  image: hadolint/hadolint:v2.14.0-alpine # pin its digest
  script:
    - |
{_block(LINT, 6)}
check:
  extends: [.on-merge-request, .docker]
  before_script:
    - apk add --no-cache trivy
    - docker context create here && docker buildx create --use here
  script:
    - |
{_block(CHECK_BUILD, 6)}\
    - |
{_block(CHECK_SCAN, 6)}
build:
  extends: [.on-branch, .docker]
  stage: build
  before_script:
    - apk add --no-cache jq
    - docker context create here && docker buildx create --use here
  script:
    - |
{_block(LOGIN, 6)}\
    - |
{_block(build_script(build), 6)}\
  artifacts:
    paths: ["*.tag", "*.digest", "*.platforms"]
    expire_in: 1 day

scan:
  extends: .on-branch
  stage: scan
  image: {{ name: "aquasec/trivy:{TRIVY_VERSION}", entrypoint: [""] }} # pin its digest
  variables:
    TRIVY_USERNAME: $REGISTRY_USERNAME
    TRIVY_PASSWORD: $REGISTRY_PASSWORD
  script:
    - |
{_block(SCAN, 6)}\
  artifacts:
    paths: ["*.tag", "*.digest", "*.platforms", "vulnerabilities-*.json", "sbom-*.json"]
    expire_in: 1 day

sign:
  extends: [.on-branch, .docker]
  stage: sign
  id_tokens:
    SIGSTORE_ID_TOKEN: {{ aud: sigstore }} # the signature's certificate names this project
  before_script:
    - apk add --no-cache cosign jq
    - docker context create here && docker buildx create --use here
  script:
    - |
{_block(LOGIN, 6)}\
    - |
{_block(sign_script(keyless=True), 6)}\
    - |
{_block(provenance_script(keyless=True), 6)}\
    - |
{_block(TAG, 6)}"""


def _gitlab_matrix(build: CiBuild) -> str:
    return "".join(
        f"      - NAME: {quoted(label(build, one))}\n"
        f"        IMAGE: {quoted(one.repository)}\n"
        "        CONTEXT: .\n"
        "        DOCKERFILE: Dockerfile\n"
        for one in build.images
    )


def _gitlab_rules(build: CiBuild) -> str:
    paths = ", ".join(quoted(_below(one)) for one in build.paths)
    changes = f"      changes: [{paths}]\n" if paths else ""
    branches = (
        f"    - if: $CI_COMMIT_BRANCH =~ {_slashed(glob)}\n{changes}" for glob in build.branches
    )
    tags = (f"    - if: $CI_COMMIT_TAG =~ {_slashed(glob)}\n" for glob in build.tags)
    return "".join((*branches, *tags))


def _below(glob: str) -> str:
    """A glob over files as GitLab reads it, for whom ``dir/**`` is the folder's own files."""
    return f"{glob}/*" if glob.endswith("/**") else glob


def _slashed(glob: str) -> str:
    return f"/^{as_expression(glob).replace('/', chr(92) + '/')}$/"


def as_expression(glob: str) -> str:
    """A branch's glob as a regular expression (RE2, ECMAScript)."""
    parts = re.split(r"(\*\*|\*)", glob)
    said = {"**": ".*", "*": "[^/]*"}
    return "".join(said.get(part) or re.escape(part).replace("\\-", "-") for part in parts)


# --- Jenkins ---


def jenkins(build: CiBuild) -> str:
    """A declarative ``Jenkinsfile`` of a multibranch pipeline."""
    asked = [("branch", glob) for glob in build.branches] + [("tag", glob) for glob in build.tags]
    when = "\n".join(
        f"              {kind} pattern: {_groovy('^' + as_expression(glob) + '$')}, "
        "comparator: 'REGEXP'"
        for kind, glob in asked
    )
    stages = "\n".join(_jenkins_image(build, one, when) for one in build.images)
    return f"""\
{_header(build, "jenkins").replace("# ", "// ")}\
// The agent has docker with buildx and QEMU, jq, trivy, cosign and hadolint. Credentials:
// `registry` (user and password), `cosign-key` (a secret text: the URI of a key in a KMS).
pipeline {{
  agent {{ label 'docker' }}
  options {{
    disableConcurrentBuilds()
    timeout(time: 90, unit: 'MINUTES')
  }}
  environment {{
    REGISTRY = {_groovy(build.images[0].host)}
    SOURCE = {_groovy(f"https://github.com/{build.source}")}
    PLATFORMS = '{_PLATFORMS}'
    BRANCH = "${{env.BRANCH_NAME}}"
    BUILDER = "${{env.JENKINS_URL}}"
    DOCKER_CONFIG = "${{env.WORKSPACE_TMP}}/docker"
  }}
  stages {{
{stages}
  }}
  post {{
    always {{
      sh 'docker logout "$REGISTRY"'
      deleteDir()
    }}
  }}
}}
"""


def _jenkins_image(build: CiBuild, image: CiImage, when: str) -> str:
    steps = {
        "Check": (CHECK_BUILD, CHECK_SCAN),
        "Build": (LOGIN, build_script(build), SCAN),
        "Sign": (sign_script(keyless=False), provenance_script(keyless=False), TAG),
    }
    return f"""\
    stage({_groovy(label(build, image))}) {{
      environment {{
        COMMIT = sh(script: 'git rev-parse HEAD', returnStdout: true).trim()
        NAME = {_groovy(label(build, image))}
        IMAGE = {_groovy(image.repository)}
        CONTEXT = '.'
        DOCKERFILE = 'Dockerfile'
      }}
      stages {{
        stage('Check') {{
          when {{ changeRequest() }}
          steps {{
{_sh(LINT)}
{_all_sh(steps["Check"])}
          }}
        }}
        stage('Build') {{
          when {{
            anyOf {{
{when}
            }}
          }}
          steps {{
            withCredentials([usernamePassword(credentialsId: 'registry',
                usernameVariable: 'REGISTRY_USERNAME', passwordVariable: 'REGISTRY_PASSWORD')]) {{
{_all_sh(steps["Build"])}
            }}
          }}
        }}
        stage('Sign') {{
          when {{
            anyOf {{
{when}
            }}
          }}
          steps {{
            withCredentials([string(credentialsId: 'cosign-key', variable: 'COSIGN_KEY')]) {{
{_all_sh(steps["Sign"])}
            }}
          }}
        }}
      }}
    }}"""


def _all_sh(scripts: tuple[str, ...]) -> str:
    return "\n".join(_sh(one) for one in scripts)


def _sh(script: str) -> str:
    """A step; Groovy reads a backslash before the shell does."""
    said = script.replace("\\", "\\\\")
    return f"            sh '''set -eu\n{said}'''"


def _groovy(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


# --- Azure Pipelines ---


def azure(build: CiBuild) -> str:
    """``azure-pipelines.yml``."""
    asked = {"branches": build.branches, "tags": build.tags, "paths": build.paths}
    triggers = "".join(
        f"  {key}:\n    include:\n" + "".join(f"      - {quoted(one)}\n" for one in globs)
        for key, globs in asked.items()
        if globs
    )
    return f"""\
{_header(build, "azure")}\
# The variable group `registry` has REGISTRY_USERNAME, REGISTRY_PASSWORD (secret) and COSIGN_KEY
# (the URI of a key in a KMS). The agent has docker with buildx and QEMU, jq, trivy, cosign and
# hadolint.
trigger:
{triggers}
pr:
  branches:
    include: ["*"]

variables:
  - group: registry
  - name: REGISTRY
    value: {quoted(build.images[0].host)}
  - name: SOURCE
    value: {quoted(f"https://github.com/{build.source}")}
  - name: PLATFORMS
    value: {_PLATFORMS}
  - name: COMMIT
    value: $(Build.SourceVersion)
  - name: BRANCH
    value: $[ replace(variables['Build.SourceBranch'], 'refs/heads/', '') ]
  - name: BUILDER
    value: $(System.CollectionUri)$(System.TeamProject)

jobs:
  - job: check
    condition: eq(variables['Build.Reason'], 'PullRequest')
    pool: {{ name: docker }}
    strategy:
      matrix:
{_azure_matrix(build)}    steps:
      - checkout: self
{_azure_step("Lint", LINT)}\
{_azure_step("Build", CHECK_BUILD)}\
{_azure_step("SBOM and scan", CHECK_SCAN)}\

  - job: image
    condition: ne(variables['Build.Reason'], 'PullRequest')
    pool: {{ name: docker }}
    timeoutInMinutes: "90"
    strategy:
      matrix:
{_azure_matrix(build)}    steps:
      - checkout: self
{_azure_step("Log in", LOGIN, {"REGISTRY_PASSWORD": "$(REGISTRY_PASSWORD)"})}\
{_azure_step("Build, with SBOM and provenance", build_script(build))}\
{_azure_step("Scan every platform", SCAN)}\
{_azure_step("Attest and sign", sign_script(keyless=False))}\
{_azure_step("Attest the provenance", provenance_script(keyless=False))}\
{_azure_step("Tag", TAG)}"""


def _azure_matrix(build: CiBuild) -> str:
    return "".join(
        f"        {re.sub(r'[^A-Za-z0-9_]', '_', one.name)}_{number}:\n"
        f"          NAME: {quoted(label(build, one))}\n"
        f"          IMAGE: {quoted(one.repository)}\n"
        "          CONTEXT: .\n"
        "          DOCKERFILE: Dockerfile\n"
        for number, one in enumerate(build.images, 1)
    )


def _azure_step(title: str, script: str, secrets: Mapping[str, str] | None = None) -> str:
    """A step; secret variables reach its environment by name alone."""
    given = "".join(f"          {name}: {value}\n" for name, value in (secrets or {}).items())
    environment = f"        env:\n{given}" if given else ""
    return (
        f"      - displayName: {title}\n{environment}        script: |\n"
        f"{_block('set -eu' + chr(10) + script, 10)}"
    )


SERVICES: Final[Mapping[str, Callable[[CiBuild], str]]] = {
    "github": github,
    "gitlab": gitlab,
    "jenkins": jenkins,
    "azure": azure,
}
"""What ``--for`` takes -> what writes it."""
