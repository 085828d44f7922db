"""The CI files that we print and ship: as each service's linter or schema wants them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, strategies as st

from bot.cli.main import lockkeeper
from bot.domain.ci_builds import CiBuild, CiImage
from bot.domain.environments import matches
from bot.formats.ci_snippet import SERVICES, as_expression, label
from bot.formats.yaml_tree import compose_all, plain
from tests.schemas import mistakes_in_file
from tests.walked.pages import files
from tests.world.tools import run

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
FILES: Final = {
    "github": "github.yml",
    "gitlab": "gitlab-ci.yml",
    "jenkins": "Jenkinsfile",
    "azure": "azure-pipelines.yml",
}
SEVERAL: Final = CiBuild(
    "payments",
    "acme/payments",
    "dev",
    (
        CiImage("team/api", "ghcr.io", "ghcr.io/acme/team/api", ("sha-", 7)),
        CiImage("team-api", "ghcr.io", "ghcr.io/acme/team-api", ("sha-", 7)),
        CiImage("migrate", "ghcr.io", "ghcr.io/acme/migrate", ("migrate-", 12)),
    ),
    ("develop", "release/*", "team/**"),
)


def printed(service: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command prints for the pipeline file of the guide."""
    file = tmp_path / "lockkeeper.yaml"
    file.write_text(files(DOCS / "getting-started.md")["lockkeeper.yaml"])
    lockkeeper.main(
        ["ci", "snippet", "--for", service, "--config", str(file)], standalone_mode=False
    )
    return capsys.readouterr().out


def read(text: str) -> Any:  # noqa: ANN401 - YAML of any shape
    return plain(compose_all(text, "ci.yml")[0], "ci.yml").value


EVERY: Final = [
    *((service, (DOCS / "ci" / name).read_text()) for service, name in FILES.items()),
    *((service, write(SEVERAL)) for service, write in SERVICES.items()),
]
WHO: Final = [f"{service}-{kind}" for kind in ("docs", "several") for service in FILES]


@pytest.mark.parametrize("service", FILES)
def test_the_files_in_the_docs_are_what_the_command_prints(
    service: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (DOCS / "ci" / FILES[service]).read_text() == printed(service, tmp_path, capsys)


def of(service: str) -> list[Any]:
    return [
        pytest.param(text, id=who)
        for who, (name, text) in zip(WHO, EVERY, strict=True)
        if name == service
    ]


@pytest.mark.parametrize("text", of("github"))
def test_github_s_file_passes_actionlint_and_zizmor(text: str, tmp_path: Path) -> None:
    workflow = tmp_path / ".github" / "workflows" / "image.yml"
    workflow.parent.mkdir(parents=True)
    workflow.write_text(text)

    done = subprocess.run(
        [Path(sys.executable).with_name("zizmor"), "--offline", "--quiet", ".github"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert run("actionlint", "-no-color", "-shellcheck=", "-pyflakes=", str(workflow)) == ""
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("text", of("github"))
def test_github_s_actions_are_pinned_and_a_pull_request_may_do_nothing(text: str) -> None:
    workflow = read(text)

    used = re.findall(r"uses: (.+)", text)
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", one) for one in used)
    assert workflow["permissions"] == {}
    assert workflow["jobs"]["check"]["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in text
    assert "${{" not in "".join(
        step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]
    )


@pytest.mark.parametrize("text", of("gitlab"))
def test_gitlab_s_file_holds_against_its_published_schema(text: str) -> None:
    assert mistakes_in_file("gitlab-ci", read(text)) == []


@pytest.mark.parametrize("text", of("azure"))
def test_azure_s_file_holds_against_its_published_schema(text: str) -> None:
    assert mistakes_in_file("azure-pipelines", read(text)) == []


def test_the_schemas_find_what_is_wrong() -> None:
    gitlab = read((DOCS / "ci" / "gitlab-ci.yml").read_text())
    azure = read((DOCS / "ci" / "azure-pipelines.yml").read_text())

    assert mistakes_in_file("gitlab-ci", {**gitlab, "sign": {**gitlab["sign"], "scrpt": []}})
    assert mistakes_in_file("azure-pipelines", {**azure, "jobs": [{"job": "x", "stepz": []}]})


_JENKINS: Final = re.compile(
    r"""'{3}.*?'{3}|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|//[^\n]*|[{}()\[\],=]|[\w.:]+|\s+""",
    re.DOTALL,
)
_SECTIONS: Final = {
    "": {"pipeline"},
    "pipeline": {"agent", "options", "environment", "stages", "post"},
    "stages": {"stage"},
    "stage": {"environment", "stages", "when", "steps"},
    "when": {"anyOf"},
    "steps": {"withCredentials"},
    "post": {"always"},
}
"""Which section may stand in which: https://www.jenkins.io/doc/book/pipeline/syntax/."""


@pytest.mark.parametrize("text", of("jenkins"))
def test_jenkins_s_file_is_declarative_to_the_last_brace(text: str) -> None:
    opened, parentheses, name, read_to = [""], 0, "", 0
    for match in _JENKINS.finditer(text):
        assert match.start() == read_to, text[read_to : read_to + 80]
        read_to, word = match.end(), match[0]
        parentheses += (word in "([") - (word in ")]")
        if word == "{":
            assert name in _SECTIONS.get(opened[-1], {name}), f"{name} in {opened[-1]}"
            opened.append(name)
        elif word == "}":
            opened.pop()
        elif not parentheses and re.fullmatch(r"[a-zA-Z]+", word):
            name = word
    assert (read_to, opened, parentheses) == (len(text), [""], 0)


def test_a_section_in_a_wrong_place_would_be_found() -> None:
    text = (DOCS / "ci" / "Jenkinsfile").read_text()

    for broken in (text.replace("steps {", "stpes {", 1), text[: text.rindex("}")], f"{text}}}"):
        with pytest.raises((AssertionError, IndexError)):
            test_jenkins_s_file_is_declarative_to_the_last_brace(broken)


@pytest.mark.parametrize("service", FILES)
def test_no_secret_is_ever_an_argument(service: str) -> None:
    text = SERVICES[service](SEVERAL)

    lines = [line for line in text.splitlines() if 'REGISTRY_PASSWORD"' in line]

    assert lines
    assert all(line.strip().startswith("printf '%s' \"$REGISTRY_PASSWORD\" |") for line in lines)


def test_images_whose_names_look_alike_have_files_of_their_own() -> None:
    names = [label(SEVERAL, one) for one in SEVERAL.images]

    assert names == ["team-api-1", "team-api-2", "migrate"]


_SEGMENT = st.text("ab.-_*", min_size=1, max_size=4)


@given(
    st.lists(_SEGMENT, min_size=1, max_size=3).map("/".join),
    st.lists(st.text("ab.-_", min_size=1, max_size=4), min_size=1, max_size=3).map("/".join),
)
def test_a_branch_is_built_exactly_where_the_pipeline_file_says_so(glob: str, branch: str) -> None:
    assert bool(re.fullmatch(as_expression(glob), branch)) == matches(glob, branch)
