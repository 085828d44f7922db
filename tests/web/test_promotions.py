"""The page of a promotion: complete, escaped, closed to strangers; judged by an HTML parser."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from bot.domain.assessment import Assessment, Evidence, assess
from bot.domain.errors import IntegrityError, UnavailableError
from bot.formats.assessment_document import render_assessment
from bot.formats.markdown import plain
from bot.ports.record import StoredEvaluation
from bot.web.health import create_board
from bot.web.promotions import promotion_pages
from tests.evidence_bodies import AT, KEPT, POLICY, scanned
from tests.formats.test_escaping import fuzzed, real
from tests.formats.test_evidence_body import STREWN, crowd, harmless, strewn

ID = "0123456789abcdef0123456789"
VOID = {"meta", "br"}


@dataclass
class Kept:
    """The evaluations of a test; the store's own suite is tests/ports/test_evaluations.py."""

    found: dict[str, StoredEvaluation] = field(default_factory=dict)
    error: Exception | None = None

    def record(self, evaluation: StoredEvaluation) -> None:
        self.found[evaluation.promotion] = evaluation

    def evaluation(self, promotion: str) -> StoredEvaluation | None:
        if self.error:
            raise self.error
        return self.found.get(promotion)


def client_of(kept: Kept) -> FlaskClient:
    board = create_board(lambda: "")
    board.register_blueprint(promotion_pages(kept))
    return board.test_client()


def evaluation(judged: Assessment, application: str = "shop") -> StoredEvaluation:
    document = render_assessment(judged)
    return StoredEvaluation(
        ID, judged.environment, application, AT, judged.verdict.result, document
    )


def shown(judged: Assessment, application: str = "shop") -> TestResponse:
    kept = Kept({ID: evaluation(judged, application)})
    return client_of(kept).get(f"/promotions/{ID}")


def test_where_it_stands_is_said_in_the_words_of_every_other_place() -> None:
    def explain(environment: str, application: str) -> tuple[list[str], dict[str, str]]:
        return [f"{application} in {environment}: held; who can: <b>"], {"acme/other": "502"}

    kept = Kept({ID: evaluation(assess("stage", Evidence(scanned([])), POLICY, AT))})
    board = create_board(lambda: "")
    board.register_blueprint(promotion_pages(kept, explain=explain))
    page = board.test_client().get(f"/promotions/{ID}").text

    assert "shop in" in page
    assert "held; who can: &lt;b&gt;" in page
    assert "acme/other cannot be asked: 502" in page


def test_a_process_that_cannot_look_says_who_can() -> None:
    assert "lockkeeper status" in shown(assess("stage", Evidence(scanned([])), POLICY, AT)).text


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 404),
        ("127.0.0.1:8081", 404),
        ("[::1]:8081", 404),
        ("board.example.com", 404),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:8081", 421),
    ],
)
def test_a_page_of_another_name_reads_nothing_here(host: str, status: int) -> None:
    """A page that somebody opens gives its own name the address 127.0.0.1, and then asks."""
    board = create_board(lambda: "")
    board.register_blueprint(promotion_pages(Kept({}), host="board.example.com"))

    answer = board.test_client().get(f"/promotions/{ID}", headers={"Host": host})

    assert answer.status_code == status


@dataclass
class Page:
    skeleton: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)


class Reader(HTMLParser):
    """Tags with their attributes in order, what people see, and where links lead."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page, self.open = Page(), list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = " ".join(name for name, _ in attrs)
        self.page.skeleton.append(f"<{tag} {names}>")
        self.page.links += [value or "" for name, value in attrs if name == "href"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.page.skeleton.append(f"</{tag}>")

    def handle_comment(self, data: str) -> None:
        self.page.skeleton.append(f"<!--{data}-->")

    def handle_pi(self, data: str) -> None:
        self.page.skeleton.append(f"<?{data}>")

    def unknown_decl(self, data: str) -> None:
        self.page.skeleton.append(f"<![{data}>")

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.page.text.append(data)


def read(html: str) -> Page:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader.page


@pytest.mark.parametrize(
    ("name", "answer"),
    [("blocked", "Blocked"), ("clean", "Passes"), ("degraded", "Blocked: not evaluated")],
)
def test_a_page_says_the_answer_first(name: str, answer: str) -> None:
    page = shown(KEPT[name]())

    text = read(page.text)
    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert f"shop to stage: {answer}" in text.text
    assert text.text.index(answer) < text.text.index("Policy")


def test_every_row_is_there() -> None:
    judged = KEPT["blocked"]()

    text = shown(judged).text

    assert judged.delta is not None
    assert judged.contents is not None
    findings = [*judged.delta.present, *(one.finding for one in judged.delta.fixed)]
    assert all(finding.vulnerability in text for finding in findings)
    assert all(one.reason in text for one in judged.delta.suppressed)
    assert all(change.package.name in text for change in judged.contents.changes)
    assert "BUSL-1.1" in text
    assert "<strong>KEV</strong> since 2026-11-12" in text
    assert "EPSS 91&nbsp;%" in text
    assert "disclosed 2026-11-10, after the last promotion" in text


@pytest.mark.parametrize("policy", [POLICY, None])
def test_nothing_at_all_is_never_clean(policy: object) -> None:
    rules = POLICY if policy else None
    text = shown(assess("stage", Evidence(None, missing=("no scanner answered",)), rules, AT)).text

    assert text.count("<strong>Not evaluated.</strong>") == (2 if policy else 3)
    assert "no scanner answered" in text
    assert "Passes" not in text


def test_many_findings_are_all_listed() -> None:
    judged = crowd(1500, "<&|*_`@#$:>").assessment
    assert judged is not None

    page = read(shown(judged).text)

    rows = page.skeleton.count("<tr >")
    assert rows > 1500 * 3


def test_the_document_itself_can_be_had() -> None:
    kept = Kept({ID: evaluation(KEPT["clean"]())})

    answer = client_of(kept).get(f"/promotions/{ID}.json")

    assert answer.mimetype == "application/json"
    assert json.loads(answer.data)["verdict"] == "pass"


def test_nothing_can_be_run_loaded_or_framed() -> None:
    page = shown(KEPT["blocked"]())

    style = re.search("<style>(.*)</style>", page.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert page.headers["Content-Security-Policy"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Cache-Control"] == "no-store"
    for word in ("<script", " style=", " onload", "http://"):
        assert word not in page.text


@pytest.mark.parametrize("name", ["f" * 26, "f" * 25, "F" * 26, "..", "a%2fb", "x.json", "a" * 999])
def test_what_is_not_there_is_not_found(name: str) -> None:
    assert client_of(Kept()).get(f"/promotions/{name}").status_code == 404


@pytest.mark.parametrize("peer", ["192.0.2.7", "2001:db8::1", "::ffff:192.0.2.7", "", "unix"])
@pytest.mark.parametrize("path", [f"/promotions/{ID}", f"/promotions/{ID}.json", "/promotions/x"])
def test_strangers_see_nothing(peer: str, path: str) -> None:
    client = client_of(Kept({ID: evaluation(KEPT["clean"]())}))

    answer = client.get(
        path,
        environ_base={"REMOTE_ADDR": peer},
        headers={"X-Forwarded-For": "127.0.0.1", "X-Forwarded-User": "admin"},
    )

    assert answer.status_code == 403
    assert b"loopback" in answer.data


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_the_operator_sees_the_page(peer: str) -> None:
    client = client_of(Kept({ID: evaluation(KEPT["clean"]())}))

    answer = client.get(f"/promotions/{ID}", environ_base={"REMOTE_ADDR": peer})

    assert answer.status_code == 200


def test_strangers_may_still_ask_for_health() -> None:
    answer = client_of(Kept()).get("/healthz", environ_base={"REMOTE_ADDR": "192.0.2.7"})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("error", "status"),
    [(UnavailableError("secret"), 503), (IntegrityError("secret"), 500)],
)
def test_an_error_tells_no_more_than_its_kind(error: Exception, status: int) -> None:
    answer = client_of(Kept(error=error)).get(f"/promotions/{ID}")

    assert answer.status_code == status
    assert b"secret" not in answer.data


def test_a_damaged_document_is_said_to_be_damaged() -> None:
    kept = Kept({ID: StoredEvaluation(ID, "stage", "shop", AT, "pass", b"{}")})

    answer = client_of(kept).get(f"/promotions/{ID}")

    assert answer.status_code == 500
    assert b"damaged" in answer.data


def page_of(words: Iterator[str]) -> str:
    judged = strewn(words).assessment
    assert judged is not None
    return shown(judged, next(words)).text


def shape(page: Page) -> str:
    """Tags without reasons: some of these strings are types of packages, and mean something."""
    lost = "<p ><strong ></strong></p>"
    folded = "<details ><summary ></summary><ul >(<li ><span class></span></li>)+</ul></details>"
    return re.sub(folded, "", "".join(page.skeleton)).replace(lost, "")


@pytest.mark.slow
@pytest.mark.parametrize("source", ["fuzzed", "real"])
def test_hostile_strings_change_no_page(source: str) -> None:
    # An identifier of a known form becomes a link, which is another shape.
    known = re.compile(r"CVE-[0-9-]+|GHSA(-[0-9a-z]{4}){3}")
    given = fuzzed() if source == "fuzzed" else real()
    strings = [v for v in given if plain(v) and not known.fullmatch(plain(v))]
    generator = random.Random(3)  # noqa: S311 - the same order in every run
    generator.shuffle(strings)
    expected = read(page_of(harmless()))
    size = STREWN + 1

    for start in range(0, len(strings) - size, size):
        some = strings[start : start + size]
        page = read(page_of(iter(some)))

        assert shape(page) == shape(expected), some
        assert page.links == expected.links
        text = "".join(page.text)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", text)


def test_who_built_it_and_how_long_it_stood_before() -> None:
    said = " ".join("".join(read(shown(KEPT["blocked"]()).text).text).split())

    assert "Build of checkoutrun 19283746501 of acme/checkout, https://github.com/" in said
    assert "vouched for by key of the build" in said
    assert "This build stood in the environment before3 days" in said
    assert "What runs now came2026-11-03" in said


def test_what_is_not_known_of_a_build_says_so() -> None:
    judged = assess("stage", Evidence(scanned([]), notes=("an unsigned SBOM",)), POLICY, AT)

    said = " ".join("".join(read(shown(judged).text).text).split())

    assert "Built bynot known" in said
    assert "This build stood in the environment beforenot known" in said
    assert "Does not countan unsigned SBOM" in said
