"""The reference pages say what the code says."""

from __future__ import annotations

import re

import pytest

import dbbtrace
from dbbtrace.model import attributes
from dbbtrace.settings import SETTINGS
from tests.docs.pages import PAGES, REPOSITORY
from tests.docs.python_reference import SECTIONS
from tests.docs.reference import DOCS, GENERATED, attributes_table, regenerated

ATTRIBUTES = {
    value for name, value in vars(attributes).items() if name.isupper() and isinstance(value, str) and "." in value
}


@pytest.mark.parametrize("page", GENERATED)
def test_the_reference_is_up_to_date(page: str) -> None:
    """The page is what ``python -m tests.docs.reference`` writes."""
    assert (DOCS / page).read_text(encoding="utf-8") == regenerated(page)


def test_every_attribute_is_documented() -> None:
    """attributes.md's table has a row for each attribute, and for no other."""
    generated = attributes_table()
    assert sorted(re.findall(r"^\| `([a-z_.]+)` \|", generated, re.M)) == sorted(ATTRIBUTES)


def test_every_public_name_is_in_the_python_reference_once() -> None:
    """A name that is added to ``dbbtrace`` finds its section, and has a docstring."""
    shown = [name for names in SECTIONS.values() for name in names]
    assert sorted(shown) == sorted(name for name in dbbtrace.__all__ if name != "__version__")
    assert [name for name in shown if not getattr(dbbtrace, name).__doc__] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page) -> None:
    """Every relative link of the page names a file that is there, and a heading that is in it."""
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)\s]*)\)", text):
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.M)
            assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}, (
                target
            )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_names_in_the_pages_exist(page) -> None:
    """Every DBBTRACE_* variable and dbb.* attribute that a page names is one that dbbtrace knows."""
    text = page.read_text(encoding="utf-8")
    variables = {variable for setting in SETTINGS for variable in setting.variables} | {"DBBTRACE_CONFIG"}
    assert {name for name in re.findall(r"\bDBBTRACE_[A-Z_]+\b", text) if "_TEST_" not in name} <= variables
    named = {name.rstrip(".") for name in re.findall(r"(?<![\w/])dbb\.[a-z_.]+", text)}
    assert named <= ATTRIBUTES


def test_the_index_leads_to_every_page() -> None:
    """docs/README.md links each page of docs/."""
    linked = set(re.findall(r"\]\(([\w/-]+\.md)\)", (DOCS / "README.md").read_text(encoding="utf-8")))
    assert linked == {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")} - {"README.md"}
