"""deploy/grafana/ftd.json read as Grafana reads it, by Grafana's own typed model and a PromQL parser."""
import json
import re

from ftd_fixture import REPO
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

FILE = REPO / "deploy/grafana/ftd.json"
WIDTH = 24  # of Grafana's grid
VARIABLE = re.compile(r"\$(?:\{(\w+)[^}]*\}|(\w+))")

register_default_plugins()


def load():
    return json.loads(FILE.read_text())


def lost(before, after, where="$"):
    """What is in one JSON value and not in the other, which came out of the typed model."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key in after:
                yield from lost(value, after[key], f"{where}.{key}")
            elif value not in (None, [], {}):
                yield f"{where}.{key}"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for i, pair in enumerate(zip(before, after)):
            yield from lost(*pair, f"{where}[{i}]")
    elif before != after:
        yield where


def lost_in_the_model(dashboard):
    return list(lost(dashboard, json.loads(json.dumps(Dashboard.from_json(dashboard), cls=JSONEncoder))))


def overlaps(dashboard):
    cells, found = {}, []
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        if at["x"] + at["w"] > WIDTH:
            found.append((panel["title"], "the edge"))
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            if cells.setdefault(cell, panel["title"]) != panel["title"]:
                found.append((panel["title"], cells[cell]))
    return found


def queries(dashboard):
    """Pairs of a panel's title and a query."""
    return [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel.get("targets", [])]


def fill(expression, values):
    """The query with its variables replaced; KeyError for one that nothing declares."""
    return VARIABLE.sub(lambda match: values[match[1] or match[2]], expression)
