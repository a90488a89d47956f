# SPDX-License-Identifier: BSD-3-Clause
"""What the gateway tells the runtime about an image, in the file `<id>.meta` beside it.

The lines are the original's, so that its runtime reads our files and ours reads its files. Where
they cannot carry a value (an apostrophe in ENTRY or CMD, a newline in ENV, …), the line holds
the closest text that the original reads, and a second key (`ENTRYJSON`, `CMDJSON`, `ENVJSON`: a
JSON list of strings) holds the value itself and is preferred by ours.
"""

from __future__ import annotations

from shifter_common import keyvalue
from shifter_common.errors import InvalidMetadataError

IMAGE_FORMATS = ("squashfs", "xfs", "ext4", "cramfs", "VFS")

_KNOWN_KEYS = frozenset(
    (
        *("FORMAT", "ENTRY", "CMD", "WORKDIR", "USERACL", "GROUPACL", "ENV", "USER", "VOLUME"),
        *("ENTRYJSON", "CMDJSON", "ENVJSON"),
    )
)
_ACLS = frozenset(("USERACL", "GROUPACL"))
_HIGHEST_ID = 0xFFFFFFFE  # the id above means "no id" to the kernel
_SIMPLE_ESCAPES = {
    **{"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"},
    **{"\\": "\\", "'": "'", '"': '"', "/": "/"},
}
_NUMERIC_ESCAPES = {"x": 2, "u": 4, "U": 8}  # count of hexadecimal digits
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")


class ImageMetadata:
    """How to mount an image, who may use it, and what its configuration asks for.

    An access list of None means that the file has none: by it, nobody is kept out. An empty list
    lets nobody in. `env` holds `NAME=value` texts as the image gives them.
    """

    __slots__ = (
        "command",
        "entry",
        "env",
        "format",
        "group_acl",
        "unknown_keys",
        "user",
        "user_acl",
        "workdir",
    )

    def __init__(
        self,
        *,
        format: str,  # noqa: A002 - the word of the file
        entry: list[str] | None = None,
        command: list[str] | None = None,
        workdir: str | None = None,
        env: list[str] | None = None,
        user_acl: list[int] | None = None,
        group_acl: list[int] | None = None,
        user: str | None = None,
        unknown_keys: list[str] | None = None,
    ) -> None:
        self.format = format
        self.entry = entry
        self.command = command
        self.workdir = workdir
        self.env = env or []
        self.user_acl = user_acl
        self.group_acl = group_acl
        self.user = user  # who imported the image
        self.unknown_keys = unknown_keys or []  # keys that were read and ignored

    @classmethod
    def parse(cls, text: str) -> ImageMetadata:
        """Read the text of a .meta file, by whichever gateway it was written."""
        values, env, unknown_keys = _read(text)
        image_format = values.get("FORMAT", "")
        if image_format not in IMAGE_FORMATS:
            raise InvalidMetadataError(
                f"FORMAT must be one of {', '.join(IMAGE_FORMATS)}, not {image_format!r}"
                if image_format
                else "FORMAT is missing"
            )
        if "ENVJSON" in values:
            env = _parse_list("ENVJSON", values["ENVJSON"])
        return cls(
            format=image_format,
            entry=_parse_arguments("ENTRY", values),
            command=_parse_arguments("CMD", values),
            workdir=values.get("WORKDIR") or None,
            env=env,
            user_acl=_parse_acl("USERACL", values),
            group_acl=_parse_acl("GROUPACL", values),
            user=values.get("USER") or None,
            unknown_keys=unknown_keys,
        )

    def to_text(self) -> str:
        """The text of the .meta file; it can always be encoded as UTF-8."""
        lines = [f"FORMAT: {_one_line('FORMAT', self.format)}"]
        lines += _argument_lines("ENTRY", self.entry)
        lines += _argument_lines("CMD", self.command)
        if self.workdir:
            lines.append(f"WORKDIR: {_one_line('WORKDIR', self.workdir)}")
        if self.user_acl is not None:
            lines.append(f"USERACL: {','.join(map(str, self.user_acl))}")
        if self.group_acl is not None:
            lines.append(f"GROUPACL: {','.join(map(str, self.group_acl))}")
        lines += [f"ENV: {_old_value(variable)}" for variable in self.env]
        if any(_old_value(variable) != variable for variable in self.env):
            lines.append(f"ENVJSON: {_json_list(self.env)}")
        if self.user:
            lines.append(f"USER: {_one_line('USER', self.user)}")
        return "\n".join(lines) + "\n"


def json_string(text: str) -> str:
    """`text` as a JSON string; bytes that were not UTF-8 (surrogate escapes) become `\\udcXX`."""
    quoted = []
    for character in text:
        if character in '"\\':
            quoted.append("\\" + character)
        elif character < " " or character == "\x7f" or "\udc80" <= character <= "\udcff":
            quoted.append(f"\\u{ord(character):04x}")
        elif "\ud800" <= character <= "\udfff":
            quoted.append("\ufffd")
        else:
            quoted.append(character)
    return f'"{"".join(quoted)}"'


def _read(text: str) -> tuple[dict[str, str], list[str], list[str]]:
    """The last value of each key, the ENV values, and the keys that nobody knows.

    The original wrote a newline inside an ENV value as it was, so what looks like a line of its
    own after the first ENV may be text of the image. It must not replace what stands before, nor
    widen an access list. A backslash at the end of such a value is part of the value, too.
    """
    values: dict[str, str] = {}
    env: list[str] = []
    unknown_keys: list[str] = []
    settled: frozenset[str] | None = None
    for entry in keyvalue.entries(text, ":", continued=False):
        key, value = entry.key, entry.value
        if value is None:
            continue
        if key not in _KNOWN_KEYS:
            unknown_keys.append(key)
            continue
        if key == "ENV":
            if settled is None:
                settled = frozenset(values)
                if not settled.isdisjoint(_ACLS):
                    settled |= _ACLS
            env.append(value)
        elif settled is None or key not in settled:
            values[key] = value
    return values, env, unknown_keys


def _parse_arguments(key: str, values: dict[str, str]) -> list[str] | None:
    """The words of ENTRY or CMD; text that is no list is one word."""
    json = values.get(f"{key}JSON")
    if json is not None:
        return _parse_list(f"{key}JSON", json)
    text = values.get(key, "")
    if not text:
        return None
    if text.startswith(("['", '["', "[u'", '[u"')) or text == "[]":
        return _parse_list(key, text) or None
    return [text]


def _parse_acl(key: str, values: dict[str, str]) -> list[int] | None:
    """The ids of a comma list. What is no id is skipped, but a list of nothing else is refused."""
    text = values.get(key)
    if text is None:
        return None
    ids = [
        int(item)
        for item in (part.strip(keyvalue.WHITE_SPACE) for part in text.split(","))
        if item.isascii() and item.isdigit() and len(item) <= 10 and int(item) <= _HIGHEST_ID
    ]
    if text and not ids:
        raise InvalidMetadataError(f"{key} must be numeric ids with commas between, not {text!r}")
    return ids


def _parse_list(key: str, text: str) -> list[str]:
    """The strings of a list as JSON or Python write it."""
    items: list[str] = []
    position = 1
    if not text.startswith("["):
        raise InvalidMetadataError(f"{key} must be a list of strings, not {text!r}")
    while True:
        position = _skip_blanks(text, position)
        if text[position : position + 1] == "]" and not text[position + 1 :]:
            return items
        item, position = _parse_string(key, text, position)
        items.append(item)
        position = _skip_blanks(text, position)
        if text[position : position + 1] == ",":
            position += 1
        elif text[position : position + 1] != "]":
            raise _malformed(key, text, position, "a comma or the closing bracket")


def _parse_string(key: str, text: str, position: int) -> tuple[str, int]:
    if text[position : position + 1] == "u":
        position += 1
    quote = text[position : position + 1]
    if not quote or quote not in "'\"":
        raise _malformed(key, text, position, "a quoted string")
    position += 1
    characters: list[str] = []
    while text[position : position + 1] != quote:
        character = text[position : position + 1]
        if not character:
            raise _malformed(key, text, position, "the closing quote")
        position += 1
        if character == "\\":
            character, position = _parse_escape(key, text, position)
        characters.append(character)
    return _whole_characters(key, "".join(characters)), position + 1


def _parse_escape(key: str, text: str, position: int) -> tuple[str, int]:
    letter = text[position : position + 1]
    if letter in _NUMERIC_ESCAPES:
        end = position + 1 + _NUMERIC_ESCAPES[letter]
        digits = text[position + 1 : end]
        if len(digits) == _NUMERIC_ESCAPES[letter] and _HEX_DIGITS.issuperset(digits):
            number = int(digits, 16)
            if number <= 0x10FFFF:
                return chr(number), end
        raise _malformed(key, text, position, "hexadecimal digits of a character")
    if letter in _SIMPLE_ESCAPES:
        return _SIMPLE_ESCAPES[letter], position + 1
    return "\\" + letter, position + 1  # an unknown escape stands for itself, as in Python


def _whole_characters(key: str, text: str) -> str:
    """Join what JSON wrote as surrogate pairs; nothing that is left may trouble `os.fsencode`."""
    if "\0" in text:
        raise InvalidMetadataError(f"{key} holds a NUL character, which no program can be given")
    if not any("\ud800" <= character <= "\udfff" for character in text):
        return text
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return "".join(
        "\ufffd" if "\ud800" <= c <= "\udc7f" or "\udd00" <= c <= "\udfff" else c for c in text
    )


def _skip_blanks(text: str, position: int) -> int:
    while text[position : position + 1] in (" ", "\t"):
        position += 1
    return position


def _malformed(key: str, text: str, position: int, expected: str) -> InvalidMetadataError:
    return InvalidMetadataError(
        f"{key} is a malformed list: {expected} is missing at character {position + 1} of {text!r}"
    )


def _argument_lines(key: str, words: list[str] | None) -> list[str]:
    if not words:
        return []
    old_words = ", ".join(f"'{_old_word(word)}'" for word in words)
    lines = [f"{key}: [{old_words}]"]
    if any("\\" in word or _old_word(word) != word for word in words):
        lines.append(f"{key}JSON: {_json_list(words)}")
    return lines


def _old_word(word: str) -> str:
    """The closest the original can read: it takes what stands between two apostrophes."""
    return _printable(word).replace("'", '"')


def _old_value(variable: str) -> str:
    """The closest the original can read: a trailing backslash would swallow the next line."""
    return _printable(variable).strip(keyvalue.WHITE_SPACE).rstrip("\\" + keyvalue.WHITE_SPACE)


def _printable(text: str) -> str:
    if not any(c < " " or "\ud800" <= c <= "\udfff" for c in text):
        return text
    return "".join(" " if c < " " else "?" if "\ud800" <= c <= "\udfff" else c for c in text)


def _json_list(items: list[str]) -> str:
    return f"[{', '.join(map(json_string, items))}]"


def _one_line(key: str, value: str) -> str:
    """`value`, if a line can hold it: nothing an image says may become a line of its own."""
    if _old_value(value) != value:
        raise InvalidMetadataError(f"{key} {value!r} cannot be written in a line of metadata")
    return value
