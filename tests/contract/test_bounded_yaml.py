"""YAML of strangers costs little, whatever it is."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.contract import bounded_yaml
from latency_sweep.contract.bounded_yaml import MAX_BYTES, YamlError

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {k: v}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 9)}]}}\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, "more than 20000 values with its aliases written out"),
        (MERGES, "more than 20000 values"),
        ("a: &a [*a]", "line 1, column 4: not valid YAML: an alias is inside"),
        ("[" * 5000, "nested too deep"),
        ("{" * 5000, "nested too deep"),
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1: not valid YAML: the key 'a' is repeated"),
        ("!!python/object/apply:os.system [true]", "could not determine a constructor"),
        ("a: !!timestamp 9999-99-99", "not valid YAML"),
        (f"a: {'9' * 5000}", "not valid YAML"),
        ("a: *nowhere", "found undefined alias"),
        ("a\0b", "not valid YAML"),
        ("a: 1\n---\nb: 2\n", "found another document"),
        ("? [a]\n: b", "found unhashable key"),
        (" " * (MAX_BYTES + 1), "is larger than 256 KiB"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else None,
)
def test_a_hostile_text_is_one_sentence(text: str, message: str) -> None:
    with pytest.raises(YamlError, match=message) as raised:
        bounded_yaml.parse(text, source="x.yaml")
    assert str(raised.value).startswith("x.yaml")
    assert "\n" not in str(raised.value)


def test_an_endless_file_is_not_read_to_its_end() -> None:

    with pytest.raises(YamlError, match="/dev/zero: is larger than 256 KiB"):
        bounded_yaml.load(Path("/dev/zero"))


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(b"a: \xff")
    with pytest.raises(YamlError, match="is not UTF-8 text"):
        bounded_yaml.load(file)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(YamlError, match="cannot be read: Is a directory"):
        bounded_yaml.load(tmp_path)


def test_honest_aliases_and_merges_work() -> None:
    text = "base: &base {a: 1}\nmore: {<<: *base, b: 2}\nsame: *base\n"
    assert bounded_yaml.parse(text, source="x") == {
        "base": {"a": 1},
        "more": {"a": 1, "b": 2},
        "same": {"a": 1},
    }


@given(st.text(st.sampled_from("ab:-*&!{}[]<>|?#'\"\n \t%@\0\x85\u2028\U0001f600"), max_size=60))
def test_any_text_is_data_or_one_error(text: str) -> None:
    with suppress(YamlError):
        bounded_yaml.parse(text, source="x")
