from __future__ import annotations

import pytest

from bot.formats.www_authenticate import Challenge, parse_challenges


@pytest.mark.parametrize(
    ("header", "challenges"),
    [
        (
            'Bearer realm="https://a.example/token",service="r",scope="repository:x:pull,push"',
            [
                Challenge(
                    "bearer",
                    {
                        "realm": "https://a.example/token",
                        "service": "r",
                        "scope": "repository:x:pull,push",
                    },
                )
            ],
        ),
        ("Basic realm=registry", [Challenge("basic", {"realm": "registry"})]),
        (
            r'BASIC realm="a \"quoted\" name"',
            [Challenge("basic", {"realm": 'a "quoted" name'})],
        ),
        ("Negotiate", [Challenge("negotiate", {})]),
        (
            'Negotiate, Basic realm="x"',
            [Challenge("negotiate", {}), Challenge("basic", {"realm": "x"})],
        ),
        (
            "NTLM abc=, Bearer realm=y , service = z",
            [Challenge("ntlm", {}), Challenge("bearer", {"realm": "y", "service": "z"})],
        ),
        ("", []),
        ("  ,,", []),
    ],
)
def test_challenges_are_read_as_rfc_9110_writes_them(
    header: str, challenges: list[Challenge]
) -> None:
    assert list(parse_challenges([header])) == challenges


def test_several_header_lines_are_several_challenges() -> None:
    found = parse_challenges(["Negotiate", 'Basic realm="x"'])

    assert [challenge.scheme for challenge in found] == ["negotiate", "basic"]
