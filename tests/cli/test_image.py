"""``lockkeeper image`` against registries, as a person runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bot.cli.image import image
from bot.domain.oci import Digest
from tests.world import registry as world
from tests.world.images import build_image
from tests.world.keys import generate_key_pair
from tests.world.registry import Registry
from tests.world.tools import attempt

pytestmark = pytest.mark.slow

IMAGE = build_image(layer_size=200_000)
PAIR = generate_key_pair(b"pass")


@pytest.fixture
def source() -> Iterator[Registry]:
    with Registry() as registry:
        IMAGE.push(registry.host, "dev/api", "v1")
        yield registry


@pytest.fixture
def target() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    (tmp_path / "k.key").write_bytes(PAIR.private)
    (tmp_path / "k.pub").write_bytes(PAIR.public)
    (tmp_path / "password").write_text("pass\n")
    return tmp_path


def lockkeeper(*words: str) -> Result:
    return CliRunner().invoke(image, words)


# --- resolve


def test_resolve_prints_the_digest(source: Registry) -> None:
    done = lockkeeper("resolve", f"{source.host}/dev/api:v1")

    assert (done.exit_code, done.stdout) == (0, f"{IMAGE.digest}\n")


def test_resolve_as_json(source: Registry) -> None:
    reference = f"{source.host}/dev/api:v1"

    done = lockkeeper("resolve", reference, "--json")

    assert json.loads(done.stdout) == {"reference": reference, "digest": IMAGE.digest}


@pytest.mark.parametrize("reference", ["dev/api:v2", f"dev/api@sha256:{'0' * 64}"])
def test_what_does_not_exist_fails_with_its_name(source: Registry, reference: str) -> None:
    done = lockkeeper("resolve", f"{source.host}/{reference}")

    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
    assert "does not exist" in done.stderr


def test_a_failure_as_json_names_its_kind(source: Registry) -> None:
    done = lockkeeper("resolve", f"{source.host}/dev/api:v2", "--json")

    assert json.loads(done.stdout)["error"]["kind"] == "NotFoundError"


@pytest.mark.parametrize("words", [["resolve", "api"], ["resolve"], ["copy", "a.example/b:c"]])
def test_wrong_usage_is_2(words: list[str]) -> None:
    assert lockkeeper(*words).exit_code == 2


def test_a_reference_without_tag_and_digest_is_wrong_usage(source: Registry) -> None:
    assert lockkeeper("resolve", f"{source.host}/dev/api").exit_code == 2


# --- copy


def test_copy_moves_the_image_and_tags_it(source: Registry, target: Registry) -> None:
    done = lockkeeper("copy", f"{source.host}/dev/api:v1", f"{target.host}/prod/api:v1")

    assert done.exit_code == 0, done.output
    assert done.stdout == f"{target.host}/prod/api@{IMAGE.digest}\n"
    assert target.repository("prod/api").tags == {"v1": IMAGE.digest}


def test_copy_without_a_terminal_says_how_far_it_is_in_lines(
    source: Registry, target: Registry
) -> None:
    done = lockkeeper("copy", f"{source.host}/dev/api:v1", f"{target.host}/prod/api")

    assert f"100% of {IMAGE.size} bytes" in done.stderr
    assert "\x1b" not in done.stderr


def test_copy_as_json_reports_bytes_and_tag(source: Registry, target: Registry) -> None:
    done = lockkeeper("copy", f"{source.host}/dev/api:v1", f"{target.host}/prod/api:v1", "--json")

    report = json.loads(done.stdout)
    assert report["digest"] == IMAGE.digest
    assert report["tag_outcome"] == "created"
    assert report["bytes"] == {"moved": IMAGE.size, "mounted": 0, "present": 0}
    assert done.stderr == ""


def test_copy_does_not_move_a_tag_unless_told(source: Registry, target: Registry) -> None:
    other = build_image(seed=2)
    other.push(target.host, "prod/api", "v1")
    words = ("copy", f"{source.host}/dev/api:v1", f"{target.host}/prod/api:v1")

    refused, moved = lockkeeper(*words), lockkeeper(*words, "--move")

    assert refused.exit_code == 1
    assert other.digest in refused.stderr
    assert moved.exit_code == 0
    assert target.repository("prod/api").tags["v1"] == IMAGE.digest


def test_copy_takes_signatures_along_unless_told(
    source: Registry, target: Registry, keys: Path
) -> None:
    reference = f"{source.host}/dev/api:v1"
    lockkeeper("sign", reference, f"--key={keys}/k.key", f"--password-file={keys}/password")

    lockkeeper("copy", reference, f"{target.host}/without/api:v1", "--no-referrers")
    lockkeeper("copy", reference, f"{target.host}/with/api:v1")

    assert set(target.repository("without/api").tags) == {"v1"}
    assert len(target.repository("with/api").tags) == 4


def test_a_digest_as_the_target_is_wrong_usage(source: Registry, target: Registry) -> None:
    done = lockkeeper("copy", f"{source.host}/dev/api:v1", f"{target.host}/prod/api@{IMAGE.digest}")

    assert done.exit_code == 2


def test_a_damaged_source_leaves_no_tag(source: Registry, target: Registry) -> None:
    largest = max(IMAGE.blobs, key=lambda digest: len(IMAGE.blobs[digest]))
    source.on("GET", largest, world.flip_bit(), times=99)

    done = lockkeeper("copy", f"{source.host}/dev/api:v1", f"{target.host}/prod/api:v1")

    assert done.exit_code == 1
    assert largest in done.stderr
    assert target.repository("prod/api").tags == {}


def test_ctrl_c_leaves_nothing_half_tagged(source: Registry, target: Registry) -> None:
    arrived = threading.Event()

    def stall(_handler: world.Handler) -> bool:
        arrived.set()
        threading.Event().wait(2)
        return False

    source.on("GET", "/blobs/", stall, times=99)
    # A shell's background job ignores SIGINT, and so does whatever a test starts there.
    listens = "import signal as s; s.signal(s.SIGINT, s.default_int_handler)"
    command = [
        *(sys.executable, "-c", f"{listens}; from bot.cli.image import image; image()"),
        *("copy", f"{source.host}/dev/api:v1", f"{target.host}/prod/api:v1"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert arrived.wait(20)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=18)

    assert process.returncode == 1, said
    assert b"Traceback" not in said
    assert target.repository("prod/api").tags == {}
    assert target.repository("prod/api").manifests == {}


# --- sign and verify


def test_sign_and_verify(source: Registry, keys: Path) -> None:
    reference = f"{source.host}/dev/api:v1"

    before = lockkeeper("verify", reference, f"--key={keys}/k.pub")
    signed = lockkeeper(
        *("sign", reference, f"--key={keys}/k.key", f"--password-file={keys}/password"),
        *("-a", "team=payments", "--json"),
    )
    after = lockkeeper("verify", reference, f"--key={keys}/k.pub", "-a", "team=payments", "--json")
    other = lockkeeper("verify", reference, f"--key={keys}/k.pub", "-a", "team=other")

    assert before.exit_code == 1
    assert signed.exit_code == 0, signed.output
    assert json.loads(signed.stdout)["digests"] == [*IMAGE.child_digests, IMAGE.digest]
    assert after.exit_code == 0
    assert json.loads(after.stdout)["tag_layout"]
    assert json.loads(after.stdout)["bundle_layout"]
    assert other.exit_code == 1
    assert "team" in other.stderr


def test_a_signature_that_was_brought_along_counts_only_for_those_who_ask(
    source: Registry, target: Registry, keys: Path
) -> None:
    lockkeeper(
        *("sign", f"{source.host}/dev/api:v1"),
        *(f"--key={keys}/k.key", f"--password-file={keys}/password"),
    )
    copied = f"{target.host}/prod/api:v1"
    lockkeeper("copy", f"{source.host}/dev/api:v1", copied)

    strict = lockkeeper("verify", copied, f"--key={keys}/k.pub", "--json")
    asked = lockkeeper("verify", copied, f"--key={keys}/k.pub", "--any-repository", "--json")

    assert (strict.exit_code, asked.exit_code) == (1, 0)
    assert f"{source.host}/dev/api" in strict.stderr
    assert [json.loads(asked.stdout)[one] for one in ("tag_layout", "bundle_layout")] == [True] * 2


def test_any_repository_is_about_signatures_by_keys(source: Registry, keys: Path) -> None:
    words = ("verify", f"{source.host}/dev/api:v1", "--any-repository")

    typed = lockkeeper(*words, f"--key={keys}/k.pub", "--type=x")
    keyless = lockkeeper(*words, "--repository=a/b", "--repository-id=1")

    assert (typed.exit_code, keyless.exit_code) == (2, 2)


def test_the_repository_that_is_signed_cannot_be_another(source: Registry, keys: Path) -> None:
    done = lockkeeper(
        *("sign", f"{source.host}/dev/api:v1", "-a", "dev.lockkeeper/repository=r.example.com/x"),
        *(f"--key={keys}/k.key", f"--password-file={keys}/password"),
    )

    assert done.exit_code == 2
    assert source.requests("PUT", "sig") == []


def test_cosign_accepts_what_the_command_signed(source: Registry, keys: Path) -> None:
    reference = f"{source.host}/dev/api:v1"
    lockkeeper("sign", reference, f"--key={keys}/k.key", f"--password-file={keys}/password")

    done = attempt(
        "cosign3",
        *("verify", f"--key={keys}/k.pub", "--insecure-ignore-tlog=true"),
        f"{source.host}/dev/api@{IMAGE.digest}",
    )

    assert done.returncode == 0, done.stderr


def test_a_wrong_password_is_wrong_configuration(source: Registry, keys: Path) -> None:
    (keys / "password").write_text("wrong")

    done = lockkeeper(
        *("sign", f"{source.host}/dev/api:v1"),
        *(f"--key={keys}/k.key", f"--password-file={keys}/password"),
    )

    assert done.exit_code == 2
    assert "password does not open this key" in done.stderr
    assert source.requests("PUT", "sig") == []


def test_an_ambiguous_image_is_not_signed(source: Registry, keys: Path) -> None:
    twice = json.loads(IMAGE.index)
    twice["manifests"][1]["platform"] = twice["manifests"][0]["platform"]
    content = json.dumps(twice).encode()
    repository = source.repository("dev/api")
    repository.manifests[Digest.of(content)] = (twice["mediaType"], content)
    repository.tags["odd"] = Digest.of(content)

    done = lockkeeper(
        *("sign", f"{source.host}/dev/api:odd"),
        *(f"--key={keys}/k.key", f"--password-file={keys}/password"),
    )

    assert done.exit_code == 1
    assert "linux/amd64 is there 2 times" in done.stderr


# --- registries


def test_credentials_come_from_the_configuration(source: Registry, tmp_path: Path) -> None:
    source.login, source.users = "bearer", {"ci": "secret"}
    login = {"username": "ci", "password": "secret"}
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"auths": {source.host: login}}))
    reference = f"{source.host}/dev/api:v1"

    without = lockkeeper("resolve", reference)
    within = lockkeeper("resolve", reference, f"--registry-config={config}")

    assert without.exit_code == 1
    assert within.exit_code == 0, within.output


def test_a_wrong_configuration_is_2(source: Registry, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"auths": []}')

    done = lockkeeper("resolve", f"{source.host}/dev/api:v1", f"--registry-config={config}")

    assert done.exit_code == 2
    assert "'auths' is not an object" in done.stderr
