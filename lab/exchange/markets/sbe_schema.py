"""Simple Binary Encoding: the schema of Binance's market data streams as data, and an encoder.

The facts are those of `stream_1_0.xml`: which fields a message has, of which types, in which
order. Offsets and block lengths follow from them, as the SBE standard says: little-endian, fields
without padding, then the groups, then the variable data.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# What `struct` calls the schema's primitive types.
PRIMITIVES: Final = {"int8": "b", "uint8": "B", "uint16": "H", "uint32": "I", "int64": "q"}


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a fixed length."""

    name: str
    primitive: str


@dataclass(frozen=True, slots=True)
class Composite:
    """The header of a message or a group."""

    fields: tuple[Field, ...]

    def pack(self, values: Sequence[int]) -> bytes:
        """Its bytes."""
        return _pack(self.fields, dict(zip((f.name for f in self.fields), values, strict=True)))


@dataclass(frozen=True, slots=True)
class SbeGroup:
    """Entries that repeat."""

    name: str
    header: Composite
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Message:
    """One template: its block of fields, its groups, and the names of its variable data."""

    name: str
    template_id: int
    fields: tuple[Field, ...]
    groups: tuple[SbeGroup, ...] = ()
    data: tuple[str, ...] = ("symbol",)


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema; `messages` by their names."""

    schema_id: int
    version: int
    header: Composite
    data_length: Field
    messages: Mapping[str, Message]

    def encode(
        self,
        name: str,
        fields: Mapping[str, int],
        groups: Mapping[str, Sequence[Mapping[str, int]]],
        data: Mapping[str, str],
    ) -> bytes:
        """A message with its header.

        Args:
            name: of the message.
            fields: values of its block.
            groups: entries of each of its groups, in order.
            data: texts of its variable data.
        """
        message = self.messages[name]
        block = _pack(message.fields, fields)
        pieces = [
            self.header.pack((len(block), message.template_id, self.schema_id, self.version)),
            block,
        ]
        for group in message.groups:
            entries = groups[group.name]
            pieces.append(group.header.pack((_size(group.fields), len(entries))))
            pieces += [_pack(group.fields, entry) for entry in entries]
        for part in message.data:
            text = data[part].encode()
            pieces += [_pack((self.data_length,), {self.data_length.name: len(text)}), text]
        return b"".join(pieces)


def _pack(fields: tuple[Field, ...], values: Mapping[str, int]) -> bytes:
    return struct.pack(_layout(fields), *(values[field.name] for field in fields))


def _size(fields: tuple[Field, ...]) -> int:
    return struct.calcsize(_layout(fields))


def _layout(fields: tuple[Field, ...]) -> str:
    return "<" + "".join(PRIMITIVES[field.primitive] for field in fields)


_HEADER: Final = Composite(
    (
        Field("blockLength", "uint16"),
        Field("templateId", "uint16"),
        Field("schemaId", "uint16"),
        Field("version", "uint16"),
    )
)
_GROUP_SIZE: Final = Composite((Field("blockLength", "uint16"), Field("numInGroup", "uint32")))
_GROUP_SIZE_16: Final = Composite((Field("blockLength", "uint16"), Field("numInGroup", "uint16")))
_EVENT_TIME: Final = Field("eventTime", "int64")
_EXPONENTS: Final = (Field("priceExponent", "int8"), Field("qtyExponent", "int8"))
_LEVEL: Final = (Field("price", "int64"), Field("qty", "int64"))
_BOOK: Final = (SbeGroup("bids", _GROUP_SIZE_16, _LEVEL), SbeGroup("asks", _GROUP_SIZE_16, _LEVEL))

STREAM_1_0: Final = Schema(
    schema_id=1,
    version=0,
    header=_HEADER,
    data_length=Field("length", "uint8"),
    messages={
        message.name: message
        for message in (
            Message(
                "TradesStreamEvent",
                10000,
                (_EVENT_TIME, Field("transactTime", "int64"), *_EXPONENTS),
                (
                    SbeGroup(
                        "trades",
                        _GROUP_SIZE,
                        # isBestMatch is a constant of the schema and takes no bytes.
                        (Field("id", "int64"), *_LEVEL, Field("isBuyerMaker", "uint8")),
                    ),
                ),
            ),
            Message(
                "BestBidAskStreamEvent",
                10001,
                (
                    _EVENT_TIME,
                    Field("bookUpdateId", "int64"),
                    *_EXPONENTS,
                    Field("bidPrice", "int64"),
                    Field("bidQty", "int64"),
                    Field("askPrice", "int64"),
                    Field("askQty", "int64"),
                ),
            ),
            Message(
                "DepthSnapshotStreamEvent",
                10002,
                (_EVENT_TIME, Field("bookUpdateId", "int64"), *_EXPONENTS),
                _BOOK,
            ),
            Message(
                "DepthDiffStreamEvent",
                10003,
                (
                    _EVENT_TIME,
                    Field("firstBookUpdateId", "int64"),
                    Field("lastBookUpdateId", "int64"),
                    *_EXPONENTS,
                ),
                _BOOK,
            ),
        )
    },
)
