"""A dbt project on loaded tables, and its graph, walked by a test itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.graph.graphs import reached, turned
from tests.sources.dbt.projects import made

PROFILE = """
shop:
  target: dev
  outputs: {dev: {type: duckdb, path: shop.duckdb, threads: 2}}
"""
PROJECT = {
    "profiles.yml": PROFILE,
    "dbt_project.yml": "name: shop\nversion: '1.0'\nprofile: shop\n",
    "models/sources.yml": """
version: 2
sources:
  - name: mds
    schema: bronze
    tables:
      - name: Customer
      - name: Company
        identifier: MDS__mdm_Company
  - name: erp
    schema: bronze
    tables:
      - name: orders
        identifier: ERP__dbo_orders
      - name: calendar
        identifier: calendar
""",
    "models/stg_customer.sql": "select * from {{ source('mds', 'Customer') }}",
    "models/stg_company.sql": "{{ config(materialized='table') }} select * from {{ source('mds', 'Company') }}",
    "models/stg_orders.sql": "{{ config(materialized='ephemeral') }} select * from {{ source('erp', 'orders') }}",
    "models/dim_customer.sql": "{{ config(tags=['finance'], materialized='table') }} select c.id, c.name"
    " from {{ ref('stg_customer') }} c left join {{ ref('stg_company') }} o on o.id = c.id",
    "models/dim_company.sql": "{{ config(tags=['finance'], materialized='table') }}"
    " select * from {{ ref('stg_company') }}",
    "models/fct_orders.sql": "{{ config(tags=['finance'], materialized='table') }}"
    " select o.* from {{ ref('stg_orders') }} o join {{ ref('calendar') }} k on k.day = o.day",
    "models/calendar.sql": "{{ config(materialized='table') }} select * from {{ source('erp', 'calendar') }}",
    "models/report.sql": "{{ config(materialized='table') }}"
    " select count(*) as n from {{ ref('dim_customer') }}, {{ ref('fct_orders') }}",
    "models/alone.sql": "select 1 as a",
    "models/schema.yml": """
version: 2
models:
  - name: dim_customer
    columns:
      - name: id
        data_tests: [not_null, {relationships: {to: ref('stg_company'), field: id, config: {severity: warn}}}]
  - name: dim_company
    columns: [{name: id, data_tests: [unique]}]
  - name: fct_orders
    columns:
      - name: id
        data_tests: [{relationships: {to: ref('dim_customer'), field: id, config: {severity: warn}}}]
""",
    "tests/no_orders_without_day.sql": "select * from {{ ref('fct_orders') }} where day is null",
}
LOADED = {
    "Customer": ("MDS", "mdm", "Customer"),
    "MDS__mdm_Company": ("MDS", "mdm", "Company"),
    "ERP__dbo_orders": ("ERP", "dbo", "orders"),
    "calendar": ("Files", "", "calendar"),
}
"""Table in the database → the table that is loaded into it."""


def shop(folder: Path, *parts: dict[str, str]) -> Path:
    """The project in the folder, its database with the loaded tables."""
    made(folder, PROJECT, *parts)
    load(folder, 1)
    return folder


def load(folder: Path, version: int, *tables: str) -> None:
    """Load the tables, all by default; what they hold differs from version to version."""
    import duckdb

    with duckdb.connect(str(folder / "shop.duckdb")) as database:
        database.execute("create schema if not exists bronze")
        for table in tables or LOADED:
            database.execute(
                f'create or replace table bronze."{table}" as select i as id, i * {version} as name, i as day'
                f" from range({version + 3}) as r(i)"
            )


def contents(folder: Path) -> dict[str, list[Any]]:
    """Every table that dbt built, with what it holds."""
    import duckdb

    with duckdb.connect(str(folder / "shop.duckdb"), read_only=True) as database:
        names = database.execute(
            "select table_name from information_schema.tables where table_schema = 'main' order by 1"
        ).fetchall()
        return {name: sorted(database.execute(f'select * from main."{name}"').fetchall()) for (name,) in names}


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "target" / "manifest.json").read_text())
    return found


def below(folder: Path, *names: str) -> set[str]:
    """Everything that is made of these sources, by a walk through all of the manifest."""
    said = manifest(folder)
    edges = {
        unique_id: node.get("depends_on", {}).get("nodes", [])
        for section in ("nodes", "sources", "unit_tests", "exposures")
        for unique_id, node in said.get(section, {}).items()
    }
    start = {unique_id for unique_id in said["sources"] if unique_id.split(".", 2)[2] in names}
    assert len(start) == len(names)
    return reached(turned(edges), start)


def buildable(folder: Path) -> set[str]:
    """Everything that ``dbt build`` builds."""
    said = manifest(folder)
    return {*said["nodes"], *said.get("unit_tests", {})}
