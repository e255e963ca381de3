"""An independent reader of the protobuf format: Google's library, the published field numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal import decoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

_PACKAGE = "io.prometheus.client"
_TYPE = descriptor_pb2.FieldDescriptorProto
_DOUBLE, _STRING, _ENUM = _TYPE.TYPE_DOUBLE, _TYPE.TYPE_STRING, _TYPE.TYPE_ENUM
_UINT32, _UINT64, _SINT32, _SINT64 = (
    _TYPE.TYPE_UINT32,
    _TYPE.TYPE_UINT64,
    _TYPE.TYPE_SINT32,
    _TYPE.TYPE_SINT64,
)
# Messages of metrics.proto as far as they are used: name -> (number, type, is it repeated).
_MESSAGES: dict[str, dict[str, tuple[int, int | str, bool]]] = {
    "LabelPair": {"name": (1, _STRING, False), "value": (2, _STRING, False)},
    "Timestamp": {"seconds": (1, _TYPE.TYPE_INT64, False), "nanos": (2, _TYPE.TYPE_INT32, False)},
    "Gauge": {"value": (1, _DOUBLE, False)},
    "Counter": {"value": (1, _DOUBLE, False), "start_timestamp": (3, "Timestamp", False)},
    "Untyped": {"value": (1, _DOUBLE, False)},
    "BucketSpan": {"offset": (1, _SINT32, False), "length": (2, _UINT32, False)},
    "Bucket": {"cumulative_count": (1, _UINT64, False), "upper_bound": (2, _DOUBLE, False)},
    "Histogram": {
        "sample_count": (1, _UINT64, False),
        "sample_sum": (2, _DOUBLE, False),
        "bucket": (3, "Bucket", True),
        "schema": (5, _SINT32, False),
        "zero_threshold": (6, _DOUBLE, False),
        "zero_count": (7, _UINT64, False),
        "negative_span": (9, "BucketSpan", True),
        "negative_delta": (10, _SINT64, True),
        "positive_span": (12, "BucketSpan", True),
        "positive_delta": (13, _SINT64, True),
        "start_timestamp": (15, "Timestamp", False),
    },
    "Metric": {
        "label": (1, "LabelPair", True),
        "gauge": (2, "Gauge", False),
        "counter": (3, "Counter", False),
        "untyped": (5, "Untyped", False),
        "histogram": (7, "Histogram", False),
    },
    "MetricFamily": {
        "name": (1, _STRING, False),
        "help": (2, _STRING, False),
        "type": (3, _ENUM, False),
        "metric": (4, "Metric", True),
        "unit": (5, _STRING, False),
    },
}
_METRIC_TYPES = ("COUNTER", "GAUGE", "SUMMARY", "UNTYPED", "HISTOGRAM", "GAUGE_HISTOGRAM")


def _metric_family_class() -> type[Message]:
    file = descriptor_pb2.FileDescriptorProto(
        name="metrics.proto", package=_PACKAGE, syntax="proto3"
    )
    kinds = file.enum_type.add(name="MetricType")
    for number, name in enumerate(_METRIC_TYPES):
        kinds.value.add(name=name, number=number)
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for name, (number, kind, repeated) in fields.items():
            field: Any = message.field.add(name=name, number=number)
            field.label = _TYPE.LABEL_REPEATED if repeated else _TYPE.LABEL_OPTIONAL
            if isinstance(kind, str):
                field.type, field.type_name = _TYPE.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            else:
                field.type = kind
                if kind == _ENUM:
                    field.type_name = f".{_PACKAGE}.MetricType"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName(f"{_PACKAGE}.MetricFamily")
    return message_factory.GetMessageClass(descriptor)


@pytest.fixture(scope="session")
def decode() -> Callable[[bytes], dict[str, Any]]:
    """Metric families by name, from a delimited stream."""
    family_class = _metric_family_class()

    def read(stream: bytes) -> dict[str, Any]:
        families: dict[str, Any] = {}
        at = 0
        while at < len(stream):
            length, at = decoder._DecodeVarint(stream, at)  # type: ignore[attr-defined]
            family: Any = family_class.FromString(stream[at : at + length])
            assert family.name not in families, "a family may stand in the stream only once"
            families[family.name] = family
            at += length
        return families

    return read
