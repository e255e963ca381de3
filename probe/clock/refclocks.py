"""The reference clocks of chronyd's configuration: what is behind a reference id.

A reference id says nothing of the clock: `refid` may call a receiver PHC0 and a network card GPS.
chronyd's default is the first three letters of the driver and the number of the directive, counted
over all drivers (chrony.conf(5), `refclock`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PHC_DRIVER: Final = "PHC"
# Amazon Linux and Red Hat, Debian, Arch.
FILES: Final = (Path("/etc/chrony.conf"), Path("/etc/chrony/chrony.conf"))
_COMMENTS: Final = ("#", "%", ";", "!")
_INCLUDES: Final = ("include", "confdir")
_MAX_DEPTH: Final = 10  # chronyd's own limit of nested files
_DRIVER_LETTERS: Final = 3
_ID_LETTERS: Final = 4


@dataclass(frozen=True, slots=True)
class Refclock:
    """One `refclock` directive.

    Attributes:
        driver: PHC, PPS, SHM, SOCK, RTC, in capitals.
        parameter: what the driver reads, of PHC the device.
    """

    driver: str
    parameter: str


def configured(files: Sequence[Path] = FILES) -> Mapping[str, Refclock]:
    """The directives by reference id; none of what cannot be read."""
    found: dict[str, Refclock] = {}
    for number, words in enumerate(_directives(files)):
        driver, parameter, *options = words
        driver = driver.upper()
        name = f"{driver[:_DRIVER_LETTERS]}{number % 10}"
        for option, value in pairwise(options):
            if option.lower() == "refid":
                name = value[:_ID_LETTERS]
        # What follows a colon are options of the driver.
        found[name] = Refclock(driver, parameter.partition(":")[0])
    return found


def _directives(files: Sequence[Path], depth: int = 0) -> Iterator[list[str]]:
    """The words of each `refclock` after the first, in the order in which chronyd reads them."""
    for file in files:
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        for line in text.splitlines():
            words = line.split()
            if len(words) < 2 or words[0].startswith(_COMMENTS):  # noqa: PLR2004 - name and value
                continue
            directive, *rest = words
            if directive.lower() == "refclock" and len(rest) > 1:
                yield rest
            elif directive.lower() in _INCLUDES and depth < _MAX_DEPTH:
                yield from _directives(_included(directive.lower(), rest), depth + 1)


def _included(directive: str, arguments: Sequence[str]) -> list[Path]:
    if directive == "include":
        pattern = Path(arguments[0])
        return sorted(pattern.parent.glob(pattern.name))
    # Of files of one name the folder named first wins; all are read in the order of their names.
    by_name: dict[str, Path] = {}
    for folder in arguments:
        for file in Path(folder).glob("*.conf"):
            by_name.setdefault(file.name, file)
    return [by_name[name] for name in sorted(by_name)]
