"""The demo as a visitor runs it, and its result as other people's tools see it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from tests.demo import __main__ as demo
from tests.demo.bodies import GOLDEN, SHOWN, normalised
from tests.world.attaching import CYCLONEDX, PROVENANCE, VULN
from tests.world.tools import attempt, run, tool

ROOT = Path(__file__).parents[1]
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
"""Tests may run beside each other, and each worker has a demo of its own."""
KEPT, PLAIN, WRONG = (
    ROOT / "build" / f"demo-{name}{WORKER}" for name in ("kept", "plain", "wrong")
)
RESULT = KEPT / "result.json"
NARROW, WIDE = 80, 120


@dataclass(frozen=True)
class Kept:
    """The demo, kept up, in a narrow terminal."""

    result: dict[str, Any]
    said: list[str]

    @property
    def commands(self) -> dict[str, str]:
        """What each printed command shows -> the command, as it would be pasted."""
        found: dict[str, str] = {}
        shows = ""
        for line in self.said:
            if line.startswith("# "):
                shows = line.removeprefix("# ")
                found[shows] = ""
            elif shows and line and "Ctrl-C" not in line:
                found[shows] += f"{line}\n"
        return found


@pytest.fixture(scope="module")
def kept() -> Iterator[Kept]:
    """With every tool that there is."""
    for name in ("registry", "crane", "cosign2", "cosign3", "kustomize"):
        tool(name)
    RESULT.unlink(missing_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.demo", "--keep"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": str(NARROW), "DEMO_BUILD": KEPT.name},
    )
    try:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line.rstrip("\n"))
            if "until you press Ctrl-C" in line:
                break
        assert RESULT.exists(), "\n".join(said)
        assert "three registries: registry" in "\n".join(said)
        yield Kept(json.loads(RESULT.read_text()), said)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.fixture
def result(kept: Kept) -> dict[str, Any]:
    return kept.result


def fits(lines: list[str], width: int) -> None:
    """Nothing wraps, and nothing is cut but digests that are shortened on purpose."""
    for line in lines:
        assert cell_len(line) <= width, f"{cell_len(line)} columns: {line}"
        assert "…" not in re.sub(r"sha256:[0-9a-f]{12}…", "", line), f"cut: {line}"
        inside = re.match(r"│ {12}(.*)│", line)
        assert inside is None or inside[1][:2] in {"✗ ", "! ", "  "}, f"wrapped: {line}"


def test_in_80_columns_nothing_wraps_and_nothing_is_cut(kept: Kept) -> None:
    fits(kept.said, NARROW)


def test_every_printed_command_works_as_it_is_pasted(kept: Kept, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(
        f"#!{sys.executable}\nimport sys, urllib.request\n"
        "print(urllib.request.urlopen(sys.argv[1]).read().decode())\n"
    )
    browser.chmod(0o755)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("LOCKKEEPER_")
    }
    outputs: dict[str, str] = {}
    for shows, command in kept.commands.items():
        done = subprocess.run(
            ["bash", "-e"],
            input=command,
            cwd=ROOT,
            env={**environment, "BROWSER": f"{browser} %s"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        outputs[shows] = done.stdout

    last = kept.result["second_release"][-1]
    told = list(outputs.values())
    assert 5 <= len(told) <= 8
    status, pull, page, history, signature, passport = told
    for name in ("dev", "stage", "prod"):
        assert re.search(rf"{name}.*{last['digest'][:15]}", status), status
    assert "all 10 checks pass for" in pull
    assert "Blocked" in page
    assert "CVE-2019-10744" in page
    assert last["environment_ref_commit"][:7] in history
    assert last["digest"] in signature
    assert "approved by rita" in passport
    assert any(command.startswith(".tools/bin/cosign3 ") for command in kept.commands.values())


def test_the_digests_are_shown_in_full(kept: Kept) -> None:
    said = "\n".join(kept.said)

    for digest in (
        kept.result["blocked"],
        kept.result["environments"][0]["digest"],
        kept.result["second_release"][0]["digest"],
    ):
        assert digest in said


def test_the_second_release_went_on_only_when_it_was_mended(result: dict[str, Any]) -> None:
    second = result["second_release"]

    assert [one["name"] for one in second] == ["dev", "stage", "prod"]
    assert [one["verdict"] for one in second[1:]] == ["pass", "pass"]
    assert [one["signed"] for one in second] == [False, False, True]
    for one in second:
        assert run("crane", "digest", one["target"]).strip() == one["digest"]
    for one in second[1:]:
        blocked = one["target"].replace(one["digest"], result["blocked"])
        assert attempt("crane", "digest", blocked).returncode != 0


def test_cosign_reads_what_ci_attests_and_what_went_along_to_prod(result: dict[str, Any]) -> None:
    flags = ["--key", str(KEPT / "ci.pub"), "--insecure-ignore-tlog=true"]
    for name in (0, -1):
        target = result["second_release"][name]["target"]
        index = json.loads(run("crane", "manifest", target))
        child = target.partition("@")[0] + "@" + index["manifests"][0]["digest"]
        for kind, reference in ((PROVENANCE, target), (CYCLONEDX, child), (VULN, child)):
            run(
                *("cosign3", "verify-attestation", *flags, "--type", kind),
                *("--allow-http-registry", reference),
            )


def test_a_second_demo_does_not_tread_on_one_that_is_up(kept: Kept) -> None:
    again = subprocess.run(
        [sys.executable, "-m", "tests.demo"],
        cwd=ROOT,
        env={**os.environ, "DEMO_BUILD": KEPT.name},
        capture_output=True,
        text=True,
        check=False,
    )

    assert again.returncode == 1
    assert "A demo is still up" in again.stdout
    assert RESULT.exists()
    assert kept.result["application"] == "payments"


def test_without_any_tool_the_reports_of_ci_count() -> None:
    """As on a machine with Python and git alone, in a wide terminal."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.demo", "--no-tools"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "COLUMNS": str(WIDE),
            "PATH": "/usr/bin:/bin",
            "DEMO_BUILD": PLAIN.name,
        },
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "the reports that CI attests are taken" in done.stdout
    fits(done.stdout.splitlines(), WIDE)
    for name in SHOWN:
        body = (PLAIN / f"{name}.md").read_text(encoding="utf-8")
        golden = (GOLDEN / f"demo-{name}.md").read_text(encoding="utf-8")
        assert normalised(body) == golden, "run: python -m tests.demo.pictures"
        page = (PLAIN / f"{name}.html").read_text(encoding="utf-8")
        assert "<table>" in page
        assert "&lt;details" not in page


def test_what_goes_wrong_is_said_and_ends_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    strict = demo.POLICY.replace("warn: introduced", "deny: introduced")
    monkeypatch.setattr(demo, "POLICY", strict)
    monkeypatch.setattr(demo, "BUILD", WRONG)
    monkeypatch.setattr(sys, "argv", ["tests.demo", "--no-tools"])

    assert demo.main() == 1
    assert "The demo failed: the verdict on pull request 2 is fail" in capsys.readouterr().out


def environment(result: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in result["environments"] if one["name"] == name)


def test_the_same_digest_stands_in_three_registries(result: dict[str, Any]) -> None:
    for one in result["environments"]:
        assert run("crane", "digest", one["target"]).strip() == one["digest"]
        for reference in one["tag_references"]:
            assert run("crane", "digest", reference).strip() == one["digest"]
        assert one["platforms"] == ["linux/amd64", "linux/arm64"]
    assert len({one["digest"] for one in result["environments"]}) == 1
    assert [one["signed"] for one in result["environments"]] == [False, False, True]
    assert environment(result, "dev")["source"] == environment(result, "dev")["target"]


@pytest.mark.parametrize("cosign", ["cosign2", "cosign3"])
def test_cosign_accepts_prod_and_refuses_dev(
    result: dict[str, Any], cosign: str, tmp_path: Path
) -> None:
    key = tmp_path / "cosign.pub"
    key.write_text(result["public_key"])
    flags = ["verify", "--key", str(key), "--insecure-ignore-tlog=true", "--allow-http-registry"]

    accepted = attempt(cosign, *flags, environment(result, "prod")["target"])
    refused = attempt(cosign, *flags, environment(result, "dev")["target"])

    assert accepted.returncode == 0, accepted.stderr
    assert refused.returncode != 0


@pytest.mark.parametrize("cosign", ["cosign2", "cosign3"])
def test_cosign_reads_the_story_under_its_own_key_alone(
    result: dict[str, Any], cosign: str, tmp_path: Path
) -> None:
    flags = ["--type=https://lockkeeper.dev/promotion/v1", "--insecure-ignore-tlog=true"]
    target = environment(result, "prod")["target"]
    codes = []
    for name in ("attestation_public_key", "public_key"):
        (tmp_path / name).write_text(result[name])
        key = f"--key={tmp_path}/{name}"
        done = attempt(cosign, "verify-attestation", key, "--allow-http-registry", *flags, target)
        codes.append(done.returncode == 0)

    assert codes == [True, False]


def test_the_published_overlay_renders_exactly_the_prod_reference(
    result: dict[str, Any], tmp_path: Path
) -> None:
    prod = environment(result, "prod")
    clone = tmp_path / "deploy"
    url = result["manifests_repository"]["clone_url"]
    subprocess.run(["git", "clone", "-q", url, str(clone)], check=True)
    subprocess.run(["git", "checkout", "-q", prod["environment_ref_commit"]], cwd=clone, check=True)

    rendered = run("kustomize", "build", str(clone / "envs" / "prod"))

    images = [line.split("image:")[1].strip() for line in rendered.splitlines() if "image:" in line]
    assert images == [prod["target"]]
    assert not (clone / ".github").exists()


def test_each_promotion_touches_only_the_planned_lines(
    result: dict[str, Any], tmp_path: Path
) -> None:
    clone = tmp_path / "deploy"
    url = result["manifests_repository"]["clone_url"]
    subprocess.run(["git", "clone", "-q", url, str(clone)], check=True)
    for one in result["environments"]:
        diff = subprocess.run(
            ["git", "diff", "--numstat", f"{one['merge_commit']}^1", one["merge_commit"]],
            cwd=clone,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
        assert diff == ["1", "0", f"envs/{one['name']}/kustomization.yaml"]
