"""Lineage and as of, as functions: warehouse, mapping and manifest as the settings and the caller name them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dbbtrace.answers.asof import asof as ask_asof
from dbbtrace.answers.consumers import Naming
from dbbtrace.answers.earlier import local_zone
from dbbtrace.answers.find import find_run
from dbbtrace.answers.lineage import lineage as ask
from dbbtrace.answers.shown import AsOf
from dbbtrace.answers.things import Lineage
from dbbtrace.errors import UsageError
from dbbtrace.job.context import run_id_in_environment
from dbbtrace.model.identity import normalise_run_id
from dbbtrace.operate.gate import rules_of
from dbbtrace.settings import Settings
from dbbtrace.sources.dbt.manifest import load_manifest
from dbbtrace.tracing import runtime
from dbbtrace.warehouse import open_warehouse

if TYPE_CHECKING:
    from dbbtrace.sources.dbt.manifest import ManifestNode

__all__ = ["asof", "lineage", "manifest_in", "naming_of"]


def lineage(run: object = None, *, manifest: str | Path | None = None) -> Lineage:
    """What a run touched: from its table loads through dbt's sources and models to exposures and semantic models.

    Args:
        run: a run id, its first characters, or last, previous, yesterday or today; else the run id in
            DBBTRACE_ORCHESTRATION_RUN_ID.
        manifest: dbt's manifest.json or its target folder, which knows more than the rows.

    Raises:
        UsageError: there is no such run, or no such manifest.
        ConfigurationError, TransientError: the warehouse can't be asked.
    """
    settings = runtime.current_settings()
    named = normalise_run_id(run) or run_id_in_environment()
    if not named:
        raise UsageError("which run? Name its run id, or set DBBTRACE_ORCHESTRATION_RUN_ID")
    with open_warehouse(create=False) as warehouse:
        return ask(
            warehouse,
            find_run(warehouse, named, zone=settings.timezone),
            manifest=manifest_in(manifest),
            naming=naming_of(settings),
            zone=local_zone(settings.timezone),
        )


def asof(
    name: str | None = None,
    *,
    data_product: str | None = None,
    environment: str | None = None,
    manifest: str | Path | None = None,
    at: datetime | None = None,
) -> AsOf:
    """How old the data is that a semantic model, an exposure, a dbt model or a data product shows, and what is overdue.

    Args:
        name: name or id of a semantic model, name of an exposure or of a dbt model.
        data_product: instead of a name: what all semantic models of the product show.
        environment: TST, ACC, QUAL or PRD; needed where the warehouse has rows of several.
        manifest: dbt's manifest.json or its target folder, which knows more than the rows.
        at: as of when; default now.

    Raises:
        UsageError: there is no such thing, or it is in several environments.
        ConfigurationError, TransientError: the warehouse can't be asked.
    """
    settings = runtime.current_settings()
    with open_warehouse(create=False) as warehouse:
        return ask_asof(
            warehouse,
            name,
            data_product=data_product,
            environment=environment,
            manifest=manifest_in(manifest),
            naming=naming_of(settings),
            at=at,
            zone=local_zone(settings.timezone),
        )


def manifest_in(path: str | Path | None) -> Mapping[str, ManifestNode] | None:
    """The nodes of the manifest in a file or in dbt's target folder; None where none is named.

    Raises:
        UsageError: there is none.
    """
    if path is None:
        return None
    file = Path(path)
    return load_manifest(file / "manifest.json" if file.is_dir() else file).by_id()


def naming_of(settings: Settings) -> Naming:
    """How names go together, as the settings say."""
    return Naming(settings.semantic_models, rules_of(settings))
