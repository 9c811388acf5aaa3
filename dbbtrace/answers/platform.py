"""Reads the platform's other tables: what it validated, which models a product has. Each may be missing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from dbbtrace.answers.read import moment_of_row
from dbbtrace.warehouse import Warehouse
from dbbtrace.warehouse.dialects import SQLITE
from dbbtrace.warehouse.schema import SCHEMA, VALIDATIONS

__all__ = ["Validation", "active_models", "columns_of", "model_titles", "validations"]

MODELS = "data_product_models"
_SEMANTIC_MODELS = "semantic_models"


class Validation(NamedTuple):
    """How many rows readers found in a table."""

    source: str
    table: str
    """``schema.table``, in lower case."""
    rows: int
    at: datetime


def columns_of(warehouse: Warehouse, table: str) -> dict[str, str]:
    """Column in lower case → the column as the table spells it; empty where the table is missing."""
    if warehouse.dialect is SQLITE:
        rows = warehouse.query(f"SELECT name FROM pragma_table_info('{table}', '{SCHEMA}')").rows
    else:
        rows = warehouse.query(
            "SELECT COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS"
            f" WHERE TABLE_SCHEMA = '{SCHEMA}' AND LOWER(TABLE_NAME) = '{table}'"
        ).rows
    return {str(name).lower(): str(name) for (name,) in rows}


def _select(warehouse: Warehouse, table: str, wanted: Sequence[str], where: str = "", *values: Any) -> list[Any]:
    """Rows of these columns; none where the table or a column is missing."""
    there = columns_of(warehouse, table)
    if any(name not in there for name in wanted):
        return []
    quote = warehouse.dialect.quote
    columns = ", ".join(quote(there[name]) for name in wanted)
    return warehouse.query(f"SELECT {columns} FROM {warehouse.dialect.target(table)}{where}", values).rows


def validations(warehouse: Warehouse, since: datetime) -> list[Validation]:
    """What was counted since then, oldest first."""
    quote = warehouse.dialect.quote
    rows = _select(
        warehouse,
        VALIDATIONS.name,
        ("source_name", "schema_table_name", "row_count", "timestamp"),
        f" WHERE {quote('timestamp')} >= ?",
        since.strftime("%Y-%m-%d %H:%M:%S"),
    )
    found = [
        Validation(str(source or ""), str(table or "").lower(), int(count), at)
        for source, table, count, when in rows
        if count is not None and (at := moment_of_row(when)) is not None
    ]
    return sorted(found, key=lambda one: one.at)


def active_models(warehouse: Warehouse, data_product: str, environment: str | None) -> dict[str, str]:
    """Id → name of the semantic models that the product must refresh, as meta.data_product_models says."""
    rows = _select(warehouse, MODELS, ("data_product", "environment", "model_id", "is_active"))
    found = {
        str(model).lower(): str(model).lower()
        for product, place, model, active in rows
        if product == data_product
        and str(place or "").upper() == (environment or "").upper()
        and str(active).strip().lower() in ("1", "true", "yes")
    }
    if found:
        titles = model_titles(warehouse)
        found = {model: titles.get(model, name) for model, name in found.items()}
    return found


def model_titles(warehouse: Warehouse) -> dict[str, str]:
    """Id → name of the semantic models, as meta.semantic_models says."""
    rows = _select(warehouse, _SEMANTIC_MODELS, ("semantic_model_name", "model_id"))
    return {str(model).lower(): str(name) for name, model in rows if name}
