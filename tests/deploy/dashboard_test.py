"""The dashboard without a Grafana and without a Prometheus: keys, panels, variables and queries; then planted mistakes."""
import dashboard as reader
import promql_parser
import pytest

BUILT_IN = {"__rate_interval": "1m", "__range": "1h"}


@pytest.fixture
def dashboard():
    return reader.load()


def panels(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def problems(dashboard):
    """The queries that do not parse, or use what is not declared."""
    declared = {variable["name"]: ".+" for variable in dashboard["templating"]["list"]} | BUILT_IN
    for title, expression in reader.queries(dashboard):
        try:
            promql_parser.parse(reader.fill(expression, declared))
        except (KeyError, ValueError) as error:
            yield f"{title}: {error}"


def test_grafana_knows_every_key(dashboard):
    assert reader.lost_in_the_model(dashboard) == []
    dashboard["panels"][1]["fieldConfg"] = {"defaults": {"unit": "s"}}
    assert reader.lost_in_the_model(dashboard) == ["$.panels[1].fieldConfg"]


def test_every_query_parses_and_knows_its_variables(dashboard):
    assert list(problems(dashboard)) == []
    panels(dashboard)[0]["targets"][0]["expr"] = 'min(up{job="ftd", instance=~"$machine"})'
    panels(dashboard)[1]["targets"][0]["expr"] = "max(ftd_worker_up{)"
    assert len(list(problems(dashboard))) == 2


def test_panels(dashboard):
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids) and len(panels(dashboard)) >= 20
    assert reader.overlaps(dashboard) == []
    for panel in panels(dashboard):
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert references and len(set(references)) == len(references), panel["title"]
    dashboard["panels"][2]["gridPos"] = dashboard["panels"][1]["gridPos"]
    assert reader.overlaps(dashboard) != []


def test_it_can_be_imported_twice_and_linked_to(dashboard):
    assert dashboard["uid"] == "ftd" and "id" not in dashboard and dashboard["schemaVersion"] >= 36
