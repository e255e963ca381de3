from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_sweep.contract.receive_time import NS_PER_SEC, START, receive_time_ns

SECONDS = st.integers(1_000_000_000, 9_999_999_999)


def read(text: str) -> int:
    found = START.match(f"{text} {{}}".encode())
    assert found is not None, text
    return receive_time_ns(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1723161253937085768", 1_723_161_253_937_085_768),
        ("1723161253937085", 1_723_161_253_937_085_000),
        ("1723161253937", 1_723_161_253_937_000_000),
        ("1633998512.0633569:", 1_633_998_512_063_356_900),
        ("1633998512.5", 1_633_998_512_500_000_000),
        ("1633998512.0:", 1_633_998_512_000_000_000),
        ("2024-08-08T23:54:13.9370850Z", 1_723_161_253_937_085_000),
        ("2024-08-08T23:54:13Z", 1_723_161_253_000_000_000),
        ("2024-08-08 23:54:13.9", 1_723_161_253_900_000_000),
        ("2024-08-09T08:54:13.9+09:00", 1_723_161_253_900_000_000),
        ("2024-08-08T23:54:13.1234567891Z", 1_723_161_253_123_456_789),
    ],
)
def test_every_form_is_read_to_the_nanosecond(text: str, expected: int) -> None:
    assert read(text) == expected


@given(second=SECONDS, nanosecond=st.integers(0, NS_PER_SEC - 1), hours=st.integers(-12, 14))
def test_all_forms_of_a_moment_are_the_same_moment(
    second: int, nanosecond: int, hours: int
) -> None:
    moment = datetime.fromtimestamp(second, timezone(timedelta(hours=hours)))
    forms = (
        f"{second}{nanosecond:09d}",
        f"{second}.{nanosecond:09d}:",
        moment.strftime(f"%Y-%m-%dT%H:%M:%S.{nanosecond:09d}%z"),
        moment.astimezone(UTC).strftime(f"%Y-%m-%dT%H:%M:%S.{nanosecond:09d}Z"),
    )
    assert {read(form) for form in forms} == {second * NS_PER_SEC + nanosecond}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("1723161253", "has 10 digits"),
        ("17231612539370857", "has 17 digits"),
        ("2024-02-30T00:00:00Z", "2024-02-30T00:00:00 is no date"),
    ],
)
def test_what_is_no_time_to_measure_with_is_refused(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        read(text)
