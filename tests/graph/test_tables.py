"""Which loaded table a dbt source reads."""

from __future__ import annotations

import pytest

from dbbtrace.graph import DbtSource, Rules, Table, Tables

LOADED = [
    Table("MDS", "mdm", "Customer"),
    Table("CRM", "dbo", "Customer"),
    Table("Dynamics", "dbo", "cdm_company"),
    Table("SAP", "", "orders"),
]


def source(source_name: str, name: str, *, schema: str | None = None, identifier: str | None = None) -> DbtSource:
    return DbtSource(f"source.dbb.{source_name}.{name}", source_name, name, schema, identifier)


def found(said: DbtSource, rules: Rules | None = None) -> list[str]:
    return [table.name for table in Tables([(table, table) for table in LOADED], rules).of(said)]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (source("mds", "Customer"), ["mdm.Customer"]),
        (source("dbo", "customer"), ["dbo.Customer"]),
        (source("bronze", "MDS__mdm_Customer"), ["mdm.Customer"]),
        (source("dynamics", "Company", identifier="Dynamics__dbo_cdm_company"), ["dbo.cdm_company"]),
        (source("lake", "customers", schema="mdm", identifier="Customer"), ["mdm.Customer"]),
        (source("raw", "orders"), ["orders"]),
        (source("raw", "Customer"), ["mdm.Customer", "dbo.Customer"]),
        (source("raw", "calendar"), []),
    ],
)
def test_names_tell_which_table_a_source_reads(said: DbtSource, expected: list[str]) -> None:
    """The platform's name for it, or its own name: then the system or the schema that the source names decides."""
    assert found(said) == expected


def test_what_somebody_said_decides() -> None:
    """Before any name; and where that table has no load, no other is taken for it."""
    rules = Rules(given={"raw.Customer": "CRM.dbo.Customer", "raw.orders": "SAP.dbo.orders", "raw.o": "SAP..orders"})
    assert found(source("RAW", "customer"), rules) == ["dbo.Customer"]
    assert found(source("raw", "orders"), rules) == []
    assert found(source("raw", "o"), rules) == ["orders"]


def test_the_pattern_can_be_another() -> None:
    """Where the platform's tables are called otherwise."""
    rules = Rules(pattern="{schema}_{table}")
    assert found(source("bronze", "mdm_customer"), rules) == ["mdm.Customer"]
    assert found(source("bronze", "MDS__mdm_Customer"), rules) == []


def test_an_id_alone_tells_its_names() -> None:
    """As rows hold it; a table's name may have dots."""
    assert DbtSource.of_id("source.dbb.mds.Customer")[1:3] == ("mds", "Customer")
    assert DbtSource.of_id("Customer")[1:3] == ("", "Customer")
