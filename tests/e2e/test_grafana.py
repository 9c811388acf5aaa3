"""The dashboards are what Grafana's own schema allows, in the version of the image in docker-compose.yml."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from tests.e2e.npm import installed
from tests.e2e.programs import CONFIG, ROOT

SOURCE = Path(__file__).parent / "grafana"
RAW = "node_modules/@grafana/schema/dist/types/raw"
DASHBOARDS = sorted(path.name for path in (CONFIG / "grafana").glob("*.json"))
Json = dict[str, Any]


@pytest.fixture(scope="session")
def schema() -> Callable[[str], Draft7Validator]:
    """Makes the JSON Schema of one of Grafana's types from the package that it publishes."""
    directory = installed(SOURCE)

    def made(file: str, name: str) -> Draft7Validator:
        generator = ["node_modules/.bin/ts-json-schema-generator", "--tsconfig", "tsconfig.json", "--no-type-check"]
        command = [*generator, "--path", file, "--type", name]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True, timeout=120)
        return Draft7Validator(json.loads(done.stdout))

    validators = {
        "Dashboard": made(f"{RAW}/dashboard/x/types.gen.d.ts", "Dashboard"),
        "Panels": made("panels.ts", "Panels"),
    }
    return validators.__getitem__


def dashboard(name: str) -> Json:
    """The file."""
    read: Json = json.loads((CONFIG / "grafana" / name).read_text())
    return read


def faults(schema: Callable[[str], Draft7Validator], written: Json) -> Iterator[str]:
    """What Grafana's schema does not allow in the dashboard, and in what its panels set for themselves."""
    yield from (f"{fault.json_path}: {fault.message}" for fault in schema("Dashboard").iter_errors(written))
    for panel in written["panels"]:
        fields = panel.get("fieldConfig", {"defaults": {}, "overrides": []})
        custom = dict(fields["defaults"].get("custom", {}))
        for override in fields["overrides"]:
            for one in override["properties"]:
                if one["id"].startswith("custom."):
                    custom[one["id"].removeprefix("custom.")] = one["value"]
        said = {panel["type"]: {"options": panel.get("options", {}), "custom": custom}}
        others = {kind: {} for kind in ("barchart", "stat", "table", "timeseries") if kind != panel["type"]}
        yield from (f"{panel['title']}: {fault.message}" for fault in schema("Panels").iter_errors({**others, **said}))


@pytest.mark.parametrize("name", DASHBOARDS)
def test_dashboards_are_what_grafana_allows(schema: Callable[[str], Draft7Validator], name: str) -> None:
    """Dashboard, variables, panels, their options and fields: no unknown key, no value of another type."""
    assert list(faults(schema, dashboard(name))) == []


def test_a_mistake_is_noticed(schema: Callable[[str], Draft7Validator]) -> None:
    """In the dashboard, in a variable, in a panel, and in what a panel sets."""
    good = dashboard("runs.json")
    for change in (
        lambda one: one.update(refresh=60),
        lambda one: one["templating"]["list"][0].update(refresh=9),
        lambda one: one["panels"][0].update(gridpos=one["panels"][0].pop("gridPos")),
        lambda one: one["panels"][0].update(options={"colourMode": "value"}),
        lambda one: one["panels"][3]["fieldConfig"]["overrides"][0]["properties"][1].update(value={"type": "text"}),
    ):
        broken = copy.deepcopy(good)
        change(broken)
        assert list(faults(schema, broken))


def test_the_schema_is_of_the_version_that_runs() -> None:
    """The package and the image have one version."""
    image = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["grafana"]["image"]
    package = json.loads((SOURCE / "package.json").read_text())["dependencies"]["@grafana/schema"]
    assert image == f"grafana/grafana:{package}"


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_lie_side_by_side(name: str) -> None:
    """24 columns wide, none over another, each with an id of its own."""
    taken: set[tuple[int, int]] = set()
    panels = dashboard(name)["panels"]
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)
