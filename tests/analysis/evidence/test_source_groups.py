"""Properties of attribution, for any labels that a server may have put on its targets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.analysis.evidence.attribution import _groups, _Reader, differing
from latency_sweep.analysis.evidence.label_names import LabelNames
from latency_sweep.analysis.evidence.sources import Labels, Source, SourceQuery

NAMES = LabelNames()
QUERY = SourceQuery("e", "spot", NAMES)
# Few values, so that targets often share some.
LABEL_SETS = st.sets(
    st.fixed_dictionaries(
        {"instance": st.sampled_from(["a:1", "b:1", "localhost:1"])},
        optional={
            name: st.sampled_from(["x", "y"])
            for name in ("region", "az_id", "instance_type", "job", "replica")
        },
    ).map(lambda labels: frozenset(labels.items())),
    min_size=1,
    max_size=8,
)


@given(LABEL_SETS, st.data())
def test_groups_hold_every_source_once_and_a_target_at_most_once(
    found: set[Labels], data: st.DataObject
) -> None:
    ordered = sorted(found, key=sorted)
    sources = [Source(labels, data.draw(st.integers(1, 9)), {}) for labels in ordered]
    starts = {s.labels: frozenset({data.draw(st.sampled_from([1.0, 2.0]))}) for s in sources}
    instances = {
        name: [s for s in sources if s.label("instance") == name]
        for name in sorted({s.label("instance") for s in sources})
    }
    reader = _Reader(NAMES, {}, starts)
    probes = [probe for name, those in instances.items() for probe in reader.probes(name, those)]
    labels = {label for those in instances.values() for label in differing(s.labels for s in those)}
    groups = _groups(QUERY, probes, sorted(labels))

    assert sorted(map(sorted, (s.labels for p in probes for s in p.sources))) == sorted(
        map(sorted, found)
    )
    assert len({probe.target for probe in probes}) == len(probes)
    held = [labels for group in groups for labels in group.sources]
    assert len(held) == len(set(held)) == len(found)
    for group in groups:
        # PromQL keeps the sources of a group apart, and each is one probe's.
        assert len(group.targets) == len(group.sources)
        assert len(set(group.targets.values())) == len(group.targets)
    for probe in probes:
        began = frozenset.intersection(*(starts[s.labels] for s in probe.sources))
        assert began
