"""The kinds of panels, each with what every panel must have: unit, description, "no data yet"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import (
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import heatmap as heatmap_model
from grafana_foundation_sdk.models.dashboard import (
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from latency_sweep.contract.regions import CITIES
from latency_sweep.grafana.promql import CANDIDATE_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Referred to by variable, so that one dashboard serves any number of Prometheus servers.
DATASOURCE: Final = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
NO_DATA: Final = "no data yet"
_LOG_AXIS: Final = " Logarithmic axis."
_HEAT_MAP_COLUMNS: Final = 150
_EMPTY_CELL: Final = 1e-9
GOOD, BAD, UNSURE, NEUTRAL = "green", "red", "yellow", "text"

Panel = timeseries.Panel | heatmap.Panel | stat.Panel | table.Panel | statetimeline.Panel
P = TypeVar("P", timeseries.Panel, heatmap.Panel, stat.Panel, table.Panel, statetimeline.Panel)


@dataclass(frozen=True, slots=True)
class Query:
    """A query and the name of its series.

    Attributes:
        expr: PromQL.
        legend: name of each series, with `{{label}}`.
    """

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column of a table: an instant query with one value per row.

    Attributes:
        title: its heading.
        expr: PromQL.
        unit: of the values.
        steps: colours of the cell's background by value, or none.
        decimals: digits shown, or None for as many as needed.
    """

    title: str
    expr: str
    unit: str
    steps: tuple[Threshold, ...] = ()
    decimals: int | None = None


def upper_limit(value: float) -> tuple[Threshold, ...]:
    """Good below a value, bad from there on."""
    return Threshold(color=GOOD), Threshold(value=value, color=BAD)


def lower_limit(value: float) -> tuple[Threshold, ...]:
    """Not enough below a value, good from there on."""
    return Threshold(color=UNSURE), Threshold(value=value, color=GOOD)


def flag() -> tuple[Threshold, ...]:
    """Bad at zero, good at one."""
    return Threshold(color=BAD), Threshold(value=1, color=GOOD)


def none_wanted() -> tuple[Threshold, ...]:
    """Good at zero, bad from one on."""
    return upper_limit(1)


def states(*names: tuple[str, str]) -> ValueMap:
    """Text and colour of the values 0, 1, 2 and so on."""
    return ValueMap(
        {
            str(value): ValueMappingResult(text=text, color=color, index=value)
            for value, (text, color) in enumerate(names)
        }
    )


def graph(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    steps: Sequence[Threshold] = (),
    stacked: bool = False,
    floor: float | None = 0,
    band: tuple[str, str] | None = None,
    logarithmic: bool = False,
) -> timeseries.Panel:
    """Lines over time.

    Args:
        title: of the panel.
        description: what it shows and how to read it.
        unit: of the values.
        queries: range queries.
        steps: limits, drawn as dashed lines.
        stacked: bars on top of one another, for counts of events.
        floor: smallest value of the axis, or None.
        band: names of an upper and a lower series, between which it is shaded.
        logarithmic: a logarithmic axis, for positive values that differ by tens of times.
    """
    legend = (
        common_builders.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.TABLE)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(show_legend=True)
        .calcs(["lastNotNull", "max"])
    )
    tooltip = (
        common_builders.VizTooltipOptions()
        .mode(common.TooltipDisplayMode.MULTI)
        .sort(common.SortOrder.DESCENDING)
    )
    described = description + (_LOG_AXIS if logarithmic else "")
    panel = _described(timeseries.Panel(), title, described, unit)
    panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
    panel.legend(legend).tooltip(tooltip).fill_opacity(0).show_points(common.VisibilityMode.NEVER)
    if steps:
        # Only the limit is drawn.
        bounds = [Threshold(color="transparent"), *steps[1:]]
        panel.thresholds(dashboard.ThresholdsConfig().steps(bounds))
        style = common_builders.GraphThresholdsStyleConfig()
        panel.thresholds_style(style.mode(common.GraphThresholdsStyleMode.DASHED))
    if stacked:
        panel.draw_style(common.GraphDrawStyle.BARS).fill_opacity(60)
        panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL))
    if logarithmic:
        # Without a floor: zero is not on such an axis.
        scale = common_builders.ScaleDistributionConfig()
        panel.scale_distribution(scale.type(common.ScaleDistribution.LOG).log(10))
    elif floor is not None:
        panel.min(floor)
    if band:
        upper, lower = band
        outline = {
            "color": {"mode": FieldColorModeId.FIXED, "fixedColor": NEUTRAL},
            "custom.lineStyle": {"fill": "dash", "dash": [6, 6]},
            "custom.fillOpacity": 10,
        }
        panel.override_by_name(upper, _properties({**outline, "custom.fillBelowTo": lower}))
        panel.override_by_name(lower, _properties({**outline, "custom.fillOpacity": 0}))
    for number, query in enumerate(queries):
        panel.with_target(_target(number, query).range())
    if any(CANDIDATE_NAME in query.legend for query in queries):
        panel.transformations(_with_cities())
    return panel


def _with_cities() -> list[DataTransformerConfig]:
    """Puts cities in place of the regions that series' names begin with."""
    return [
        DataTransformerConfig(
            id_val="renameByRegex",
            options={"regex": f"/^{region} /", "renamePattern": f"{city}, "},
        )
        for region, city in CITIES.items()
    ]


def heat_map(title: str, description: str, histogram: str) -> heatmap.Panel:
    """Heat map of one native histogram; Grafana reads its buckets and computes nothing."""
    colors = (
        heatmap.HeatmapColorOptions()
        .mode(heatmap_model.HeatmapColorMode.SCHEME)
        .scheme("Turbo")
        .scale(heatmap_model.HeatmapColorScale.EXPONENTIAL)
        .exponent(0.5)
        .steps(64)
    )
    query = Query(histogram, "latency")
    panel = _described(heatmap.Panel(), title, description, "s")
    panel.calculate(calculate=False).color(colors).y_axis(heatmap.YAxisConfig().unit("s"))
    panel.filter_values(heatmap.FilterValueRange().le(_EMPTY_CELL)).show_legend()
    # A histogram of this resolution can take tens of kB; more columns would be slow.
    panel.max_data_points(_HEAT_MAP_COLUMNS)
    return panel.with_target(_target(0, query).range())


def tile(
    title: str,
    description: str,
    unit: str,
    query: Query,
    *,
    steps: Sequence[Threshold] = (),
    name_only: bool = False,
    decimals: int | None = None,
) -> stat.Panel:
    """One number, or with `name_only` the names of the series that there are."""
    panel = _described(stat.Panel(), title, description, unit)
    panel.color_mode(common.BigValueColorMode.VALUE).graph_mode(common.BigValueGraphMode.NONE)
    panel.reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
    panel.thresholds(dashboard.ThresholdsConfig().steps(list(steps) or [Threshold(color=NEUTRAL)]))
    if name_only:
        panel.text_mode(common.BigValueTextMode.NAME)
    if decimals is not None:
        panel.decimals(decimals)
    return panel.with_target(_target(0, query).instant())


def timeline(
    title: str,
    description: str,
    query: Query,
    *,
    mapping: ValueMap,
    steps: Sequence[Threshold] = (),
) -> statetimeline.Panel:
    """States over time, one row for each series."""
    legend = common_builders.VizLegendOptions().display_mode(common.LegendDisplayMode.LIST)
    legend.placement(common.LegendPlacement.BOTTOM).show_legend(show_legend=True)
    panel = _described(statetimeline.Panel(), title, description, "none")
    panel.legend(legend).merge_values(merge_values=True).show_value(common.VisibilityMode.AUTO)
    panel.mappings([mapping]).row_height(0.8)
    panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
    panel.thresholds(dashboard.ThresholdsConfig().steps(list(steps) or [Threshold(color=NEUTRAL)]))
    if CANDIDATE_NAME in query.legend:
        panel.transformations(_with_cities())
    return panel.with_target(_target(0, query).range())


def ranking(
    title: str,
    description: str,
    *columns: TableColumn,
    labels: Mapping[str, str],
    sort_by: str,
    hidden: Sequence[str] = (),
    links: Sequence[dashboard.DashboardLink] = (),
) -> table.Panel:
    """A table with a row for each combination of labels that the columns' queries share.

    Args:
        title: of the panel.
        description: what it shows and how to read it.
        columns: the values.
        labels: heading by label.
        sort_by: heading of the column that it is sorted by, smallest first.
        hidden: headings of columns that only bring their labels along.
        links: where a row leads.
    """
    panel = _described(table.Panel(), title, description, "none")
    names = {f"Value #{_ref(number)}": column.title for number, column in enumerate(columns)}
    unseen = [name for name, heading in names.items() if heading in hidden]
    order = {name: index for index, name in enumerate([*labels, *names])}
    organize = {
        "excludeByName": {"Time": True, **dict.fromkeys(unseen, True)},
        "indexByName": order,
        "renameByName": {**labels, **names},
    }
    panel.transformations(
        [
            DataTransformerConfig(id_val="merge", options={}),
            DataTransformerConfig(id_val="organize", options=organize),
        ]
    )
    panel.sort_by([common_builders.TableSortByFieldState().display_name(sort_by).desc(desc=False)])
    for number, column in enumerate(columns):
        query = Query(column.expr, column.title)
        panel.with_target(_target(number, query).instant().format(PromQueryFormat.TABLE))
        panel.override_by_name(column.title, _column_properties(column))
    if "city" in labels:
        cities = {code: ValueMappingResult(text=city) for code, city in CITIES.items()}
        panel.override_by_name(labels["city"], _properties({"mappings": [ValueMap(cities)]}))
    panel.data_links(list(links))
    return panel


def _column_properties(column: TableColumn) -> list[DynamicConfigValue]:
    properties: dict[str, Any] = {"unit": column.unit}
    if column.decimals is not None:
        properties["decimals"] = column.decimals
    if column.steps:
        thresholds = dashboard.ThresholdsConfig().steps(list(column.steps)).build()
        properties["thresholds"] = thresholds
        properties["color"] = {"mode": FieldColorModeId.THRESHOLDS}
        properties["custom.cellOptions"] = {"type": "color-background", "mode": "basic"}
    return _properties(properties)


def _properties(values: Mapping[str, Any]) -> list[DynamicConfigValue]:
    return [DynamicConfigValue(id_val=name, value=value) for name, value in values.items()]


def _described(panel: P, title: str, description: str, unit: str) -> P:
    return (
        panel.title(title)
        .description(description)
        .unit(unit)
        .datasource(DATASOURCE)
        .no_value(NO_DATA)
    )


def _target(number: int, query: Query) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .ref_id(_ref(number))
        .datasource(DATASOURCE)
        .expr(query.expr)
        .legend_format(query.legend)
    )


def _ref(number: int) -> str:
    return chr(ord("A") + number)
