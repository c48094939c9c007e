"""A dashboard as Grafana's JSON. Grafana's own library makes it, so that Grafana can read it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TypeAlias

from grafana_foundation_sdk.builders import (
    common as common_builders,
)
from grafana_foundation_sdk.builders import (
    dashboard as builders,
)
from grafana_foundation_sdk.builders import gauge, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from otel_prom_bridge.dashboards.model import Dashboard, Panel, PanelQuery, Variable

_Panel: TypeAlias = timeseries.Panel | stat.Panel | heatmap.Panel | gauge.Panel | table.Panel

# The user chooses the data source in Grafana, so the file can be used anywhere.
_DATASOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
_COLUMNS = 24
_COLOURS = ("yellow", "orange", "red")
# These panels show one number per series, that of now. Over a range of time it would be the last number,
# also of a series that ended long ago.
_NOW = ("stat", "gauge")


def as_json(dashboard: Dashboard) -> str:
    """The dashboard's JSON, to be imported or provisioned."""
    builder = (
        builders.Dashboard(dashboard.title)
        .uid(dashboard.uid)
        .description(dashboard.description)
        .tags(list(dashboard.tags))
        .refresh(dashboard.refresh)
        .time(f"now-{dashboard.span}", "now")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .editable()
    )
    builder.with_variable(builders.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    for variable in dashboard.variables:
        builder.with_variable(_variable(variable))
    made = builder.build()
    made.panels = list(_placed(dashboard))
    return json.dumps(made, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _variable(variable: Variable) -> builders.QueryVariable:
    return (
        builders.QueryVariable(variable.name)
        .label(variable.label or variable.name)
        .datasource(_DATASOURCE)
        .query(variable.query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")  # this matches also series without the label
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
    )


def _placed(dashboard: Dashboard) -> Iterator[models.Panel | models.RowPanel]:
    """The panels from left to right, each row below its heading. A panel that does not fit starts a line."""
    x = y = height = number = 0
    row = ""
    for panel in dashboard.panels:
        if panel.row != row or x + panel.width > _COLUMNS:
            x, y, height = 0, y + height, 0
        if panel.row != row:
            row, number = panel.row, number + 1
            yield models.RowPanel(
                title=row, id_val=number, grid_pos=models.GridPos(x=0, y=y, w=_COLUMNS, h=1), panels=[]
            )
            y += 1
        number += 1
        made = _panel(panel)
        made.id_val = number
        made.options = made.options or {}
        made.grid_pos = models.GridPos(x=x, y=y, w=panel.width, h=panel.height)
        yield made
        x, height = x + panel.width, max(height, panel.height)


def _panel(panel: Panel) -> models.Panel:
    builder = _TYPES[panel.type](panel)
    builder.title(panel.title).description(panel.description).datasource(_DATASOURCE).unit(panel.unit)
    if panel.max is not None:
        builder.min(0).max(panel.max)
    builder.thresholds(_thresholds(panel))
    for number, query in enumerate(panel.queries):
        builder.with_target(_target(panel, query, chr(ord("A") + number)))
    return builder.build()


def _thresholds(panel: Panel) -> builders.ThresholdsConfig:
    # Without thresholds Grafana uses one of its own: everything from 80 on is red, whatever is counted.
    colours = _COLOURS[-len(panel.thresholds) :]
    steps = [models.Threshold(value=None, color="green")]
    for number, value in enumerate(panel.thresholds):
        steps.append(models.Threshold(value=value, color=colours[min(number, len(colours) - 1)]))
    return builders.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _target(panel: Panel, query: PanelQuery, ref: str) -> prometheus.Dataquery:
    target = (
        prometheus.Dataquery()
        .datasource(_DATASOURCE)
        .expr(query.expr.strip())
        .ref_id(ref)
        .exemplar(panel.exemplars)
        .legend_format(query.legend or "__auto")
    )
    if panel.type == "table":
        return target.instant().format(PromQueryFormat.TABLE)
    if panel.type in _NOW:
        return target.instant()
    if panel.type == "heatmap":
        return target.range().format(PromQueryFormat.HEATMAP)
    return target.range()


def _timeseries(panel: Panel) -> _Panel:
    mode = common_models.GraphTresholdsStyleMode
    lines = mode.DASHED if panel.thresholds else mode.OFF
    return (
        timeseries.Panel()
        .thresholds_style(common_builders.GraphThresholdsStyleConfig().mode(lines))
        .fill_opacity(10)
        .show_points(common_models.VisibilityMode.NEVER)
        .legend(
            common_builders.VizLegendOptions()
            .display_mode(common_models.LegendDisplayMode.LIST)
            .placement(common_models.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common_builders.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
    )


def _heatmap(panel: Panel) -> _Panel:
    colour = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
    return (
        heatmap.Panel()
        .calculate(False)  # Prometheus has buckets already
        .color(colour)
        .y_axis(heatmap.YAxisConfig().unit(panel.unit))
        .exemplars_color("rgba(31, 96, 196, 0.9)")
        .show_tooltip()
    )


def _last() -> common_builders.ReduceDataOptions:
    return common_builders.ReduceDataOptions().calcs(["lastNotNull"])


_TYPES: dict[str, Callable[[Panel], _Panel]] = {
    "timeseries": _timeseries,
    "heatmap": _heatmap,
    "stat": lambda _: stat.Panel().graph_mode(common_models.BigValueGraphMode.NONE).reduce_options(_last()),
    "gauge": lambda _: gauge.Panel().reduce_options(_last()),
    "table": lambda _: table.Panel(),
}
