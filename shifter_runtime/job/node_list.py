# SPDX-License-Identifier: BSD-3-Clause
"""Lists of nodes and of tasks as batch systems shorten them: `n[1-3,07-10],m1` and `2(x3),1`.

Whoever submits a job may have a say in these, so what they stand for is counted before it is made.
"""

from __future__ import annotations

from shifter_runtime.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_HOSTS = 1 << 18
_LONGEST_HOST = 253
_MOST_DIGITS = 9
_MOST_BRACKETS = 8  # in one name
_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


class _MalformedError(Exception):
    """Text that is no such list; the argument is the part that is none."""


def expand(text: str, option: str) -> list[str]:
    """Every host name that a list stands for, in its order; `option` is where it was given."""
    hosts: list[str] = []
    try:
        for element in _elements(text):
            hosts += _hosts_of(element, MOST_HOSTS - len(hosts))
    except _MalformedError as error:
        raise UsageError(
            f"{option}: {_shown(str(error))} is no list of host names such as n[1-3,07-10],m1"
        ) from error
    except OverflowError as error:
        raise UsageError(f"{option}: more than {MOST_HOSTS} nodes") from error
    return hosts


def expand_numbers(text: str, option: str) -> list[int]:
    """The number for each node of a list such as `2(x3),1`."""
    numbers: list[int] = []
    for word in text.split(","):
        count, separator, repeated = word.partition("(x")
        if not separator:
            repeated = "1)"
        times = repeated[:-1]
        if not (repeated.endswith(")") and _is_number(count) and _is_number(times)):
            raise UsageError(f"{option}: {_shown(word)} is not of the form 2(x3),1")
        if int(times) > MOST_HOSTS - len(numbers):
            raise UsageError(f"{option}: more than {MOST_HOSTS} nodes")
        numbers += [int(count)] * int(times)
    return numbers


def _elements(text: str) -> Iterator[str]:
    """What stands between those commas that are in no brackets."""
    begin = 0
    is_inside = False
    for position, character in enumerate(text):
        if character == "," and not is_inside:
            yield text[begin:position]
            begin = position + 1
        elif character in "[]":
            if is_inside == (character == "["):
                raise _MalformedError(text[begin:])
            is_inside = not is_inside
    if is_inside:
        raise _MalformedError(text[begin:])
    yield text[begin:]


def _hosts_of(element: str, most: int) -> list[str]:
    """The names of one element, each bracket of which stands for several."""
    if element.count("[") > _MOST_BRACKETS:
        raise _MalformedError(element)
    names = [""]
    rest = element
    while rest:
        literal, bracket, rest = rest.partition("[")
        names = [name + literal for name in names]
        if bracket:
            inside, _, rest = rest.partition("]")
            values = _values(inside, most // len(names))
            names = [name + value for name in names for value in values]
        # The first is as long as any, but where a number grows by a digit.
        if len(names[0]) > _LONGEST_HOST:
            break
    if len(names) > most:
        raise OverflowError
    if not all(map(_is_host, names)):
        raise _MalformedError(element)
    return names


def _values(text: str, most: int) -> list[str]:
    """What a bracket stands for; as many digits as the first of a range has, at least."""
    values: list[str] = []
    for word in text.split(","):
        first, separator, last = word.partition("-")
        last = last if separator else first
        if not (_is_number(first) and _is_number(last)) or int(last) < int(first):
            raise _MalformedError(f"[{text}]")
        if int(last) - int(first) + 1 > most - len(values):
            raise OverflowError
        width = len(first)
        values += [str(number).zfill(width) for number in range(int(first), int(last) + 1)]
    return values


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS


def _is_host(text: str) -> bool:
    return 0 < len(text) <= _LONGEST_HOST and text[0] not in "._-" and _CHARACTERS.issuperset(text)


def _shown(text: str) -> str:
    return repr(text[:300])
