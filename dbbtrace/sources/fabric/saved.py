"""Saved responses in place of the service: one JSON file, or a folder of them. A document says itself what it is.

A list of activity runs (bare, or as ``value``), a job instance or a list of them, a list of items. One file may hold
several documents, one a line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dbbtrace.errors import UsageError
from dbbtrace.model.identity import normalise_guid
from dbbtrace.model.text_files import decoded
from dbbtrace.sources.fabric.fields import Fields
from dbbtrace.sources.fabric.service import GoneError, Json

__all__ = ["SavedResponses"]


class SavedResponses:
    """A ``Service`` that answers from files.

    Raises:
        UsageError: a file can't be read, or none holds an activity run.
    """

    def __init__(self, path: str | Path) -> None:
        self._runs: dict[str, list[Json]] = {}
        self._jobs: dict[str, Json] = {}
        self._items: dict[str, str] = {}
        path = Path(path)
        files = sorted(path.rglob("*.json*")) if path.is_dir() else [path]
        for file in files:
            for document in _documents(file):
                self._take(document)
        if not self._runs:
            raise UsageError(f"{path} holds no activity runs: save what queryactivityruns answers")

    def _take(self, document: object) -> None:
        entries = document.get("value", [document]) if isinstance(document, Mapping) else document
        for entry in entries if isinstance(entries, list) else []:
            if not isinstance(entry, Mapping):
                continue
            fields = Fields(entry)
            if "activityName" in fields or "activityRunId" in fields:
                self._runs.setdefault(normalise_guid(fields.text("pipelineRunId") or ""), []).append(entry)
            elif "jobType" in fields or "invokeType" in fields:
                self._jobs[normalise_guid(fields.text("id") or "")] = entry
            elif "displayName" in fields:
                self._items[fields.text("displayName") or ""] = normalise_guid(fields.text("id") or "")

    def only_run(self) -> str | None:
        """The one run that no other of the files invoked; None: there are several."""
        texts = {
            run: json.dumps([activity.get("output") for activity in activities]).lower()
            for run, activities in self._runs.items()
        }
        tops = [run for run in self._runs if not any(run in text for other, text in texts.items() if other != run)]
        return tops[0] if len(tops) == 1 else None

    def activity_runs(self, workspace: str, run_id: str) -> Sequence[Json]:
        try:
            return self._runs[run_id]
        except KeyError:
            raise GoneError(f"no file holds the activity runs of {run_id}") from None

    def job(self, workspace: str, item: str, run_id: str) -> Json:
        try:
            return self._jobs[run_id]
        except KeyError:
            raise GoneError(f"no file holds the job instance {run_id}") from None

    def pipelines(self, workspace: str) -> Mapping[str, str]:
        return self._items

    def jobs(self, workspace: str, item: str) -> Sequence[Json]:
        return [job for job in self._jobs.values() if normalise_guid(str(job.get("itemId") or "")) == item]


def _documents(file: Path) -> Iterator[Any]:
    try:
        text = decoded(file.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} can't be read: {error}") from None
    decoder, place = json.JSONDecoder(), 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        try:
            document, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{file} is not JSON: {error}") from None
        yield document
