"""YAML that somebody else may have written: plain data only, and no more of it than is sane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from pathlib import Path

# The shipped experiment has 4 kB and 200 nodes.
MAX_BYTES: Final = 256 * 1024
# Counted with every alias written out: nested aliases grow a few lines to billions of nodes.
MAX_NODES: Final = 20_000


class YamlError(Exception):
    """A file that cannot be used; the message is one sentence that names it, where and why."""


class _Loader(yaml.SafeLoader):
    """Rejects duplicate keys, which the plain loader accepts silently."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - as overridden
        seen = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else id(key)
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is repeated", key.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep=deep)


def load(path: Path) -> Any:
    """The document in a file; None if it is empty.

    Raises:
        YamlError: unreadable, too large or too intricate, or not YAML of plain data.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise YamlError(f"{path}: cannot be read: {error.strerror}.") from error
    if len(content) > MAX_BYTES:
        raise YamlError(f"{path}: is larger than {MAX_BYTES // 1024} KiB.")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise YamlError(f"{path}: is not UTF-8 text.") from error
    return parse(text, source=str(path))


def parse(text: str, *, source: str) -> Any:
    """The document in a text; see `load`.

    Args:
        text: the YAML.
        source: what errors call it.
    """
    if len(text) > MAX_BYTES:
        raise YamlError(f"{source}: is larger than {MAX_BYTES // 1024} KiB.")
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            if _written_out(node, {}) > MAX_NODES:
                raise YamlError(
                    f"{source}: has more than {MAX_NODES} values with its aliases written out."
                )
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "cannot be parsed"
        raise YamlError(f"{source}{where}: not valid YAML: {problem}.") from error
    except RecursionError as error:
        raise YamlError(f"{source}: not valid YAML: it is nested too deep.") from error
    except ValueError as error:
        raise YamlError(f"{source}: not valid YAML: {error}.") from error


_Sizes = dict[int, int | None]


def _written_out(node: Any, sizes: _Sizes) -> int:
    """Number of nodes with every alias replaced by what it stands for."""
    known = sizes.get(id(node), 0)
    if known is None:
        raise yaml.composer.ComposerError(
            None, None, "an alias is inside the node that it names", node.start_mark
        )
    if known:
        return known
    sizes[id(node)] = None
    size = 1
    if isinstance(node, yaml.MappingNode):
        size += sum(_written_out(part, sizes) for pair in node.value for part in pair)
    elif isinstance(node, yaml.SequenceNode):
        size += sum(_written_out(part, sizes) for part in node.value)
    sizes[id(node)] = size
    return size
