"""Whether a licence is denied or allowed: SPDX licence expressions (SPDX 3.0, annex B).

A choice (``OR``) is denied if every alternative is, and allowed if one is; a conjunction (``AND``)
is denied if any part is, and allowed if all are. An exception (``WITH``) does not lift a denial.
What is no expression is taken for the licence that it is a common spelling of; other text breaks
a rule by any word that the rule names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from license_expression import LicenseExpression, Licensing

_LONGEST: Final = 2_000  # characters; longer text is no expression
_WORD: Final = re.compile(r"[^\s(),;/]+")
_UNKNOWN: Final = frozenset(
    {
        *("", "noassertion", "none", "unknown", "unknown license", "other", "n/a", "null"),
        *("osi approved", "licenseref-unknown"),
    }
)
# npm's word for a licence that only a file says (docs.npmjs.com, package.json, "license").
_ELSEWHERE: Final = re.compile(r"\s*see\s+(?:the\s+)?licen[sc]e\b", re.IGNORECASE)
UNKNOWN: Final = "unknown"
"""How a rule names a licence that nobody knows."""
_GNU: Final = re.compile(
    r"(?:the )?(?:gnu[ -]?)?(?P<kind>affero|lesser|library|agpl|lgpl|gpl|general)"
    r"(?: general)?(?: public)?(?: licen[sc]e)?(?: \([al]?gpl\))?"
    r"[ ,-]*(?:version|ver\.?|v)?[ -]?(?P<version>[0-9](?:\.[0-9])?)?(?:\.0)?"
    r"(?P<later>\+|[ -]*or[ -]*(?:any[ -]*)?(?:later|newer|greater)(?: version)?|[ -]*only)?"
    r"(?: \([al]?gpl[^()]*\))?"
    r"(?:,? (?:[0-9]{1,2} )?[a-z]+ [0-9]{4})?"  # 29 June 2007
    r"(?:,? (?:with|w/) .+)?"  # an exception, which lifts nothing
)
_KINDS: Final = {
    "affero": "AGPL",
    "agpl": "AGPL",
    "lesser": "LGPL",
    "lgpl": "LGPL",
    "library": "LGPL",
}
_GNU_NAMES: Final = frozenset({"AGPL", "GPL", "LGPL"})
# Deprecated ids of the SPDX list that name a licence with its exception.
_WITH_EXCEPTION: Final = {
    "GPL-2.0-with-autoconf-exception": "GPL-2.0-only WITH Autoconf-exception-2.0",
    "GPL-2.0-with-bison-exception": "GPL-2.0-or-later WITH Bison-exception-2.2",
    "GPL-2.0-with-classpath-exception": "GPL-2.0-only WITH Classpath-exception-2.0",
    "GPL-2.0-with-font-exception": "GPL-2.0-only WITH Font-exception-2.0",
    "GPL-2.0-with-GCC-exception": "GPL-2.0-or-later WITH GCC-exception-2.0",
    "GPL-3.0-with-autoconf-exception": "GPL-3.0-only WITH Autoconf-exception-3.0",
    "GPL-3.0-with-GCC-exception": "GPL-3.0-only WITH GCC-exception-3.1",
    "eCos-2.0": "GPL-2.0-or-later WITH eCos-exception-2.0",
    "wxWindows": "LGPL-2.0-or-later WITH WxWindows-exception-3.1",
}
_DEPRECATED: Final = {name.lower(): meant for name, meant in _WITH_EXCEPTION.items()}
# Where indexes keep licences: the last part names one (Maven's POM, NuGet, Python's classifiers).
_ADDRESS: Final = re.compile(
    r"https?://(?:www\.)?(?:spdx\.org|opensource\.org|licenses\.nuget\.org|gnu\.org|apache\.org)"
    r"/(?:licen[sc]es?/)?(?:old-licenses/)?(?P<name>[A-Za-z0-9.+-]+?)"
    r"(?:-license)?(?:-standalone)?(?:\.(?:html|txt|php|json|en))*/?",
    re.IGNORECASE,
)
_CLASSIFIER: Final = re.compile(r"license ::(?:.*::)?", re.IGNORECASE)
# How R's packages say it (Writing R Extensions, 1.1.2).
_R_FILE: Final = re.compile(r"\s*[+|]\s*file\s+licen[sc]e\b", re.IGNORECASE)
_R_RANGE: Final = re.compile(r"([A-Za-z]+)\s*\(\s*>=?\s*([0-9][0-9.]*)\s*\)")
_IN_TEXT: Final = re.compile(
    r"\b(?:affero|lesser|library|agpl|lgpl|gpl|general public)\b[a-z0-9 ,.()+-]*", re.IGNORECASE
)
_GNU_FAMILY: Final = re.compile(r"((?:A|L)?GPL|GFDL)-([0-9]+(?:\.[0-9]+)?)-(only|or-later)")
# As people, package indexes and Debian's copyright files write them, without "the" and "license".
_SPELLINGS: Final = {
    **dict.fromkeys(
        (
            *("apache", "apache 2", "apache 2.0", "apache-2", "apache2", "apache2.0", "asl 2.0"),
            *("apache software", "apache software 2.0", "apache v2", "apache v2.0", "asl-2.0"),
            *(
                "apache version 2.0",
                "apache, version 2.0",
                "apache-2.0",
                "apache software, version 2.0",
            ),
        ),
        "Apache-2.0",
    ),
    **dict.fromkeys(("mit", "expat", "mit/x11", "mit-license", "mit x11"), "MIT"),
    **dict.fromkeys(
        (
            *("bsd-3", "bsd 3-clause", "bsd 3 clause", "3-clause bsd", "new bsd", "modified bsd"),
            *("revised bsd", "bsd (3-clause)", "bsd-3-clause", "bsd3", "new bsd (3-clause)"),
        ),
        "BSD-3-Clause",
    ),
    **dict.fromkeys(
        (
            *("bsd-2", "bsd 2-clause", "bsd 2 clause", "2-clause bsd", "simplified bsd"),
            *("freebsd", "bsd (2-clause)", "bsd-2-clause", "bsd2"),
        ),
        "BSD-2-Clause",
    ),
    **dict.fromkeys(("isc", "iscl", "isc (iscl)"), "ISC"),
    **dict.fromkeys(
        (
            "mpl 2.0",
            "mpl2",
            "mpl-2",
            "mpl v2",
            "mozilla public 2.0",
            "mozilla public 2.0 (mpl 2.0)",
        ),
        "MPL-2.0",
    ),
    **dict.fromkeys(("epl 2.0", "eclipse public 2.0", "eclipse public - v 2.0"), "EPL-2.0"),
    **dict.fromkeys(("epl 1.0", "eclipse public 1.0", "eclipse public - v 1.0"), "EPL-1.0"),
    **dict.fromkeys(("unlicense", "un"), "Unlicense"),
    **dict.fromkeys(("cc0", "cc0 1.0", "cc0 1.0 universal"), "CC0-1.0"),
    **dict.fromkeys(("psf", "python software foundation", "psf-2"), "PSF-2.0"),
    **dict.fromkeys(("zlib", "zlib/libpng"), "Zlib"),
    **dict.fromkeys(
        (
            *("sspl", "sspl-1", "server side public", "server side public, v 1"),
            "https://www.mongodb.com/licensing/server-side-public-license",
        ),
        "SSPL-1.0",
    ),
    **dict.fromkeys(
        ("https://www.elastic.co/licensing/elastic-license", "elastic license"), "Elastic-2.0"
    ),
    **dict.fromkeys(
        ("https://mariadb.com/bsl11", "https://mariadb.com/bsl11/", "business source"), "BUSL-1.1"
    ),
    **dict.fromkeys(("busl", "bsl 1.1", "business source 1.1"), "BUSL-1.1"),
    **dict.fromkeys(("bsl-1", "bsl 1.0", "boost", "boost software 1.0"), "BSL-1.0"),
}
# A name and the number of its version, with its short form behind or without.
_NAMED_NUMBER: Final = re.compile(
    r"(?:the )?(?P<words>[a-z][a-z -]*?(?:, )?)(?: license)?(?: \([a-z-]+\))?"
    r"[ ,-]*(?:version|ver\.?|v\.?)? ?(?P<version>[0-9](?:\.[0-9])?)(?:\.0)?\+?"
    r"(?: (?:international|unported|generic|universal))?"
    r"(?: public)?(?: license)?(?: \([a-z -]+[0-9.]*\))?"
)
# Names of licences that are denied more than others, and of those that Maven and PyPI write out.
_FAMILIES: Final = {
    **dict.fromkeys(("eupl", "european union public"), "EUPL"),
    **dict.fromkeys(("elastic", "elasticsearch", "elv"), "Elastic"),
    **dict.fromkeys(("mpl", "mozilla public"), "MPL"),
    **dict.fromkeys(("epl", "eclipse public"), "EPL"),
    **dict.fromkeys(("cddl", "common development and distribution"), "CDDL"),
    **dict.fromkeys(("cpl", "common public"), "CPL"),
    **dict.fromkeys(("osl", "open software"), "OSL"),
    **dict.fromkeys(("sspl", "server side public", "server-side public"), "SSPL"),
    **dict.fromkeys(("busl", "business source"), "BUSL"),
    **dict.fromkeys(("cpal", "common public attribution"), "CPAL"),
    **dict.fromkeys(("afl", "academic free"), "AFL"),
    **dict.fromkeys(("apsl", "apple public source"), "APSL"),
}
_TERMS: Final = (
    (r"\bby\b|attribution", "BY"),
    (r"\bnc\b|non[ -]?commercial", "NC"),
    (r"\bnd\b|no[ -]?deriv", "ND"),
    (r"\bsa\b|share[ -]?alike", "SA"),
)


COMMON: Final = frozenset(
    {
        *("0BSD", "Apache-2.0", "Artistic-1.0-Perl", "Artistic-2.0", "BSD-2-Clause"),
        *("BSD-3-Clause", "BSD-4-Clause", "BSL-1.0", "BUSL-1.1", "CC0-1.0", "CC-BY-4.0"),
        *("EPL-1.0", "EPL-2.0", "ISC", "MIT", "MIT-0", "MPL-1.1", "MPL-2.0", "OpenSSL"),
        *("PostgreSQL", "PSF-2.0", "Python-2.0", "SSPL-1.0", "Unicode-3.0", "Unlicense", "Zlib"),
        *(
            f"{name}-{suffix}"
            for name in (
                *("AGPL-3.0", "GFDL-1.2", "GFDL-1.3", "GPL-1.0", "GPL-2.0", "GPL-3.0"),
                *("LGPL-2.0", "LGPL-2.1", "LGPL-3.0"),
            )
            for suffix in ("only", "or-later")
        ),
    }
)
"""Listed licences that need no library to be read."""


# A choice that somebody wrote, in capitals or not, or as Cargo and R write it.
_CHOICE: Final = re.compile(r"(?<![\w-])or(?![\w-])|[/|]", re.IGNORECASE)
# What stands between the parts of a text: brackets, AND, and a choice that is no "or later".
_BETWEEN: Final = re.compile(
    r"[()]|(?<=[\s)])AND(?=[\s(])|(?<=[\s)])(?P<choice>or)(?=[\s(])"
    r"(?!\s+(?:any|later|newer|greater)\b)",
    re.IGNORECASE,
)
_OPERATOR: Final = re.compile(r"(\s+(?:AND|OR|WITH)\s+|[()])", re.IGNORECASE)
_EITHER: Final = re.compile(r"[/|]")


# What the parser's own parts raise on text that is no expression: `()`, `( AND MIT`.
_RAISED: Final = (
    AssertionError,
    AttributeError,
    IndexError,
    RecursionError,
    TypeError,
    ValueError,
)


class _Name(NamedTuple):
    """One licence of an expression."""

    id: str
    exception: str = ""

    @property
    def text(self) -> str:
        return f"{self.id} WITH {self.exception}" if self.exception else self.id


@lru_cache(8192)
def is_unknown(text: str) -> bool:
    """Whether nobody knows the licence, or one that holds beside those that are named."""
    return any(map(_is_unknown, _members(text)))


def _is_unknown(text: str) -> bool:
    if is_unknown_whole(text):
        return True
    if not any(word.lower() in _UNKNOWN for word in _WORD.findall(text)):
        return False
    parsed = _parsed(text)
    return parsed is not None and bool(
        _unavoidable(parsed, lambda name: name.id if name.id.lower() in _UNKNOWN else None)
    )


def is_unknown_whole(text: str) -> bool:
    """Whether a text says of the licence that nobody knows it, and nothing else."""
    return len(text) > _LONGEST or bool(_ELSEWHERE.match(text)) or _told(text).lower() in _UNKNOWN


def conjunction(licences: Iterable[str]) -> str:
    """Several licences that hold together, each whole: a choice in one is no choice of the rest."""
    each = sorted({one.strip() for one in licences} - {""})
    return " AND ".join(map(enclosed, each)) if len(each) > 1 else "".join(each)


def enclosed(text: str) -> str:
    """A licence as a part of an expression that nothing in it reaches out of.

    Brackets that do not match would: they are left out.
    """
    if _depths(text) is None:
        text = re.sub("[()]", " ", text).strip()
    is_bare = _CHOICE.search(text) and _unwrapped(text) == text
    return f"({text})" if is_bare else text


def _depths(text: str) -> list[tuple[re.Match[str], int]] | None:
    """What stands between the parts, and how deep; None where brackets do not match."""
    found, depth = [], 0
    for match in _BETWEEN.finditer(text):
        if match[0] == "(":
            depth += 1
        found.append((match, depth))
        if match[0] == ")":
            depth -= 1
        if depth < 0:
            return None
    return found if depth == 0 else None


def _unwrapped(text: str) -> str:
    """A text without brackets around the whole of it."""
    if not text.startswith("("):
        return text
    first = next((m for m, deep in _depths(text) or () if m[0] == ")" and deep == 1), None)
    is_whole = first is not None and first.end() == len(text)
    return text[1:-1].strip() if is_whole else text


def _members(text: str) -> list[str]:
    """The parts of a text that hold together, each to be judged alone; itself where it is one.

    They need not all be expressions: free text beside a licence does not hide it.
    """
    if len(text) > _LONGEST:
        return [text]
    members, pending = [], [text.strip()]
    while pending:
        part = pending.pop()
        while (inner := _unwrapped(part)) != part:
            part = inner
        top = [match for match, depth in _depths(part) or () if depth == 0]
        if not top or any(match["choice"] for match in top):
            members.append(part)
            continue
        ends = [match.start() for match in top] + [len(part)]
        starts = [0] + [match.end() for match in top]
        pending += [part[a:b].strip() for a, b in zip(starts, ends, strict=True)][::-1]
    return members


def _told(text: str) -> str:
    """What a classifier, an address or one of R's notations says, in the words of SPDX."""
    text = _CLASSIFIER.sub("", text.strip()).strip()
    address = _ADDRESS.fullmatch(text)
    if address is not None:
        return address["name"]
    text = _R_RANGE.sub(r"\1-\2+", _R_FILE.sub("", text))
    return text.replace(" & ", " AND ")


def denied_by(text: str, denied: Collection[str]) -> str | None:
    """The denied licence that a text makes unavoidable, as the rule names it; None without one."""
    return _denied_by(text, tuple(denied))


@lru_cache(8192)
def _denied_by(text: str, denied: tuple[str, ...]) -> str | None:
    asked = _asked(denied)
    for member in _members(text):
        parsed = _parsed(member)
        if parsed is None:
            found = _by_word(member, asked)
        else:
            found = _unavoidable(parsed, lambda name: _first(asked, name, _is_denied))
        if found is not None:
            return found
    return None


def outside(text: str, allowed: Collection[str]) -> str | None:
    """What of a licence the list does not allow; None where it may be chosen to be inside."""
    return _outside(text, tuple(allowed))


@lru_cache(8192)
def _outside(text: str, allowed: tuple[str, ...]) -> str | None:
    members = _members(text)
    if len(members) > 1:
        return next((found for one in members if (found := _outside(one, allowed))), None)
    asked, text = _asked(allowed), members[0]
    if _told(text).lower() in _UNKNOWN:
        return None if _told(text).lower() in map(str.lower, allowed) else text
    parsed = _parsed(text)
    if parsed is None:
        return None if _by_word(text, asked) == text.strip() else text.strip()[:200]
    return _unavoidable(
        parsed, lambda name: None if _first(asked, name, _is_allowed) else name.text
    )


def is_licence(text: str) -> bool:
    """Whether the SPDX list, ``LicenseRef-`` or the spellings here know a licence."""
    parsed = _parsed(text)
    if parsed is None:
        return False
    return all(
        name.id in COMMON
        or name.id.startswith(("LicenseRef-", "DocumentRef-"))
        or name.id in _licensing().known_symbols
        for name in _names(parsed)
    )


def _first(
    asked: Iterable[tuple[str, _Name]], name: _Name, meets: Callable[[_Name, _Name], bool]
) -> str | None:
    return next((written for written, rule in asked if meets(rule, name)), None)


def outside_for_sure(text: str, allowed: Collection[str]) -> str | None:
    """The same, where it breaks the list whatever the parts are that nobody knows."""
    return None if is_unknown_whole(text) else outside(text, (*allowed, *sorted(_UNKNOWN - {""})))


@lru_cache(512)
def _asked(names: tuple[str, ...]) -> tuple[tuple[str, _Name], ...]:
    """What a rule names, as written and as it is meant."""
    found: list[tuple[str, _Name]] = []
    for written in names:
        parsed = _parsed(written)
        named = _names(parsed) if parsed is not None else []
        found.append((written, named[0] if len(named) == 1 else _Name(written.strip())))
    return tuple(found)


def _is_denied(rule: _Name, name: _Name) -> bool:
    """A version that is denied is denied as the lowest choice of "or later", too.

    A name without a version may be any: nothing says that it is not the denied one.
    """
    if rule.exception and rule.exception.lower() != name.exception.lower():
        return False
    if rule.id.lower() == name.id.lower() or _is_any_version(rule, name):
        return True
    wanted, found = _GNU_FAMILY.fullmatch(rule.id), _GNU_FAMILY.fullmatch(name.id)
    if wanted is None or found is None or wanted[1] != found[1]:
        return False
    if wanted[3] == "or-later":
        return float(found[2]) >= float(wanted[2])
    return found[2] == wanted[2]


def _is_allowed(rule: _Name, name: _Name) -> bool:
    if rule.exception and rule.exception.lower() != name.exception.lower():
        return False
    if rule.id.lower() == name.id.lower():
        return True
    wanted, found = _GNU_FAMILY.fullmatch(rule.id), _GNU_FAMILY.fullmatch(name.id)
    if wanted is None or found is None or wanted[1] != found[1]:
        return False
    allowed, offered = float(wanted[2]), float(found[2])
    if wanted[3] == "or-later":
        return offered >= allowed or found[3] == "or-later"
    return offered <= allowed if found[3] == "or-later" else offered == allowed


def _by_word(text: str, asked: Iterable[tuple[str, _Name]]) -> str | None:
    """Free text: any word of it that a rule names counts."""
    if is_unknown(text):
        return None
    words = {word.lower() for word in _WORD.findall(text)}
    spelled = {
        _spelled(word)
        for word in (*words, *(found.strip(" .,(") for found in _IN_TEXT.findall(text)))
    }
    words |= {word.lower() for word in spelled}
    families = [_Name(word) for word in sorted(spelled & _GNU_NAMES)]
    whole = text.strip().lower()
    for written, rule in asked:
        if whole in {written.lower(), rule.text.lower()}:
            return text.strip()
        if words & {written.lower(), rule.id.lower()}:
            return written
        if any(_is_any_version(rule, name) for name in families):
            return written
    return None


# --- expressions ---


def _unavoidable(
    expression: LicenseExpression, broken: Callable[[_Name], str | None]
) -> str | None:
    """What no choice in an expression avoids."""
    operator = getattr(expression, "operator", "")
    parts = getattr(expression, "args", ())
    if not operator.strip() or not parts:
        return broken(_name(expression))
    found = [_unavoidable(part, broken) for part in parts]
    if operator.strip() == "OR":
        return None if None in found else found[0]
    return next((one for one in found if one), None)


def _name(symbol: LicenseExpression) -> _Name:
    exception = getattr(symbol, "exception_symbol", None)
    if exception is None and symbol.key.lower() in _DEPRECATED:
        return _Name(*_DEPRECATED[symbol.key.lower()].split(" WITH "))
    if exception is not None:
        return _Name(_known(symbol.license_symbol.key), exception.key)
    return _Name(_known(symbol.key))


def _known(key: str) -> str:
    """A licence that is not in the SPDX list, by its spelling."""
    if _is_listed(key):
        return key
    without = key.removesuffix("+")  # "or later" may be read as the version that is named
    return _spelled(key) or (without if _is_listed(without) else key)


def _is_listed(key: str) -> bool:
    return key in COMMON or key in _licensing().known_symbols


def _is_any_version(rule: _Name, name: _Name) -> bool:
    """Whether a name without a version, as `AGPL`, may be the licence that a rule names."""
    rest = rule.id.lower().removeprefix(f"{name.id.lower()}-")
    return rest != rule.id.lower() and rest[:1].isdigit() and not _is_listed(name.id)


def _names(expression: LicenseExpression) -> list[_Name]:
    parts = getattr(expression, "args", ())
    if getattr(expression, "operator", "").strip() and parts:
        return [name for part in parts for name in _names(part)]
    return [_name(expression)]


@lru_cache(8192)
def _parsed(text: str) -> LicenseExpression | None:
    """An expression; None for what is none."""
    text = _told(text) if len(text) <= _LONGEST else text
    return _common(text) or _by_library(text)


class _Leaf(NamedTuple):
    """A listed licence, as the library's parser has it."""

    key: str


class _Branch(NamedTuple):
    """A choice or a conjunction, as the library's parser has it."""

    operator: str
    args: tuple[_Leaf, ...]


def _common(text: str) -> LicenseExpression | None:
    """Most packages are under a few licences, alone or flatly joined: no library is loaded.

    A test holds that the library says the same of each.
    """
    for operator in ("AND", "OR"):
        parts = text.split(f" {operator} ")
        names = [_spelled(part) or part.strip() for part in parts]
        if all(name in COMMON for name in names):
            leaves = tuple(dict.fromkeys(map(_Leaf, names)))
            return leaves[0] if len(leaves) == 1 else _Branch(operator, leaves)
    return None


def _by_library(text: str) -> LicenseExpression | None:
    if text.lower() in _UNKNOWN or len(text) > _LONGEST or text.count("(") > 100:  # noqa: PLR2004 - deeper than any
        return None
    from license_expression import ExpressionError, ExpressionParseError  # noqa: PLC0415 - slow to import

    licensing = _licensing()
    spelled = _spelled(text)
    try:
        parsed = licensing.parse(spelled or _as_expression(text))
    except (ExpressionError, ExpressionParseError, *_RAISED):
        return None
    is_text = any(" " in name.id for name in _names(parsed)) if parsed is not None else True
    return None if is_text else parsed


def _as_expression(text: str) -> str:
    """Cargo's and R's choices (``MIT/Apache-2.0``) as SPDX has them: they bind what they touch."""
    if not _EITHER.search(text):
        return text
    return "".join(map(_either, _OPERATOR.split(text)))


def _either(operand: str) -> str:
    parts = [part.strip() for part in _EITHER.split(operand)]
    if len(parts) == 1 or not all(parts) or "://" in operand or _spelled(operand):
        return operand
    return f"({' OR '.join(_spelled(part) or part for part in parts)})"


def _spelled(text: str) -> str:
    """The identifier that a common spelling means; empty for none."""
    plain = " ".join(text.strip().lower().replace("licence", "license").split())
    key = re.sub(r"^the | license\b|(?<=[a-z])[ -]license$", "", plain).strip(" ,")
    known = _SPELLINGS.get(plain) or _SPELLINGS.get(key)
    if known:
        return known
    found = _GNU.fullmatch(plain)
    if found is None:
        return _numbered(plain)
    kind = _KINDS.get(found["kind"], "GPL")
    if not found["version"]:
        return kind if "gpl" in plain or "public" in plain else ""
    version = found["version"] if "." in found["version"] else f"{found['version']}.0"
    later = (found["later"] or "").strip(" -")
    return f"{kind}-{version}-{'or-later' if later and later != 'only' else 'only'}"


def _numbered(plain: str) -> str:
    """``european union public license 1.2 (eupl 1.2)``, ``creative commons attribution 4.0``."""
    found = _NAMED_NUMBER.fullmatch(plain)
    if found is None:
        return ""
    words, version = found["words"].strip(" ,-"), found["version"]
    version = version if "." in version else f"{version}.0"
    name = _FAMILIES.get(words, "")
    if not name and words.startswith(("cc", "creative commons")):
        terms = [short for pattern, short in _TERMS if re.search(pattern, words)]
        name = "-".join(("CC", *terms)) if terms else ""
    return f"{name}-{version}" if name else ""


@cache
def _licensing() -> Licensing:
    from license_expression import get_spdx_licensing  # noqa: PLC0415 - a tenth of a second

    return get_spdx_licensing()
