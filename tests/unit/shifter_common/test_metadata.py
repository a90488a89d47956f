# SPDX-License-Identifier: BSD-3-Clause
"""The .meta file, against those that the original wrote and how its runtime read each of them."""

from __future__ import annotations

import json
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifter_common import keyvalue
from shifter_common.errors import InvalidMetadataError
from shifter_common.metadata import ImageMetadata, json_string

GOLDEN = Path(__file__).parents[2] / "golden" / "meta"
META_FILES = sorted(path.stem for path in GOLDEN.glob("*.meta"))
CONFIGURED = [name for name in META_FILES if not name.startswith("r_")]  # r_: made by hand


def read(name: str) -> str:
    return (GOLDEN / f"{name}.meta").read_bytes().decode()


def recorded_runs(command: str) -> dict[str, dict[str, str]]:
    lines = (GOLDEN / "table.tsv").read_text().splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    header, *rows = rows
    runs = [dict(zip(header, row, strict=False)) for row in rows]
    return {run["meta"]: run for run in runs if run["command"] == command}


def configuration(name: str) -> dict:
    """The image configuration (or record) of which the gateway of the original made the file."""
    text = (GOLDEN / f"{name}.txt").read_text()
    lines = text.partition("# == configuration ==\n")[2].splitlines()
    end = next(i for i, line in enumerate(lines) if line in ("# }", "# {}"))
    return json.loads("".join(line[2:] for line in lines[: end + 1]))


def as_list(value):
    return [value] if isinstance(value, str) else value


def from_configuration(name: str) -> ImageMetadata:
    config = {key.lower(): value for key, value in configuration(name).items()}
    private = config.get("private")
    return ImageMetadata(
        format="cramfs" if name == "w_cramfs" else "squashfs",
        entry=as_list(config.get("entrypoint")) or None,
        command=as_list(config.get("cmd")) or None,
        workdir=config.get("workingdir") or config.get("workdir"),
        env=config.get("env"),
        user_acl=config.get("useracl") if private else None,
        group_acl=config.get("groupacl") if private else None,
        user=config.get("user") if name.startswith("w_") else None,
    )


def values(metadata: ImageMetadata) -> dict:
    return {slot: getattr(metadata, slot) for slot in ImageMetadata.__slots__}


# What the original's runtime could not read or read wrongly, and ours reads as it was meant.
BETTER_ARGUMENTS = {
    "aposcmd": ["don't", "x"],
    "aposentry": ["it's", "x"],
    "bothquotes": ['it\'s "x"'],
    "escapes": ["a\\b", "tab\there", "nl\nhere"],
}
BETTER_ENTRY = {"r_json_list": ["/app/show", "a"]}
REFUSED = {
    "r_acl_text": "USERACL must be numeric ids with commas between, not 'abc'",
    "r_acl_negative": "USERACL must be numeric ids with commas between, not '-1'",
    "r_bad_format": "FORMAT must be one of .*, not 'zip'",
    "r_format_case": "FORMAT must be one of .*, not 'SQUASHFS'",
    "r_no_format": "FORMAT is missing",
    "r_key_case": "FORMAT is missing",
    "r_empty_file": "FORMAT is missing",
    "r_no_bracket": "ENTRY is a malformed list: a comma or the closing bracket is missing",
    "r_unbalanced": "ENTRY is a malformed list: the closing quote is missing",
}
READABLE = [name for name in META_FILES if name not in REFUSED]


def test_all_recorded_files_are_here():
    assert len(META_FILES) == 60
    assert set(META_FILES) == set(recorded_runs("--entrypoint"))


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_original_cannot_use_is_refused_with_key_and_reason(name):
    with pytest.raises(InvalidMetadataError, match=REFUSED[name]):
        ImageMetadata.parse(read(name))


@pytest.mark.parametrize("name", REFUSED)
def test_nothing_that_is_refused_ran_in_the_original(name):
    run = recorded_runs("/app/show explicit")[name]

    assert run["exit"] != "0"


@pytest.mark.parametrize("name", READABLE)
def test_entry_and_command_are_what_the_original_ran(name):
    run = recorded_runs("--entrypoint")[name]

    metadata = ImageMetadata.parse(read(name))

    words = [*(metadata.entry or []), *(metadata.command or [])]
    if name in BETTER_ARGUMENTS:
        assert words == ["/app/show", *BETTER_ARGUMENTS[name]]
    elif name in BETTER_ENTRY:
        assert words == BETTER_ENTRY[name]
    elif run["exit"] == "127":
        assert run["stderr"] == f"/opt/shifter/bin/shifter: {metadata.entry[0]}: " + (
            "No such file or directory"
        )
    elif "does not have a defined entrypoint" in run["stderr"]:
        assert metadata.entry is None
    elif name == "shformlist":
        assert words == ["/bin/sh", "-c", '/app/show "$0" $PATH', "zero"]
    elif run["exit"] == "0":
        assert words[1:] == json.loads(run["argv"])
        assert words[0] in ("/app/show", "show")
    else:  # refused for its access list, or because cramfs cannot be mounted
        assert name in ("w_private_acl_denied", "w_cramfs")
        assert words == ["/app/show"]


@pytest.mark.parametrize("name", READABLE)
def test_the_working_directory_is_what_the_original_used(name):
    run = recorded_runs("-w --entrypoint")[name]

    metadata = ImageMetadata.parse(read(name))

    if name == "envkey":  # the line after ENV is the rest of a value, not the image's WORKDIR
        assert metadata.workdir == "/"
    elif name == "wdrelative":
        assert metadata.workdir == "data"
    elif "Failed to switch to working dir" in run["stderr"]:
        assert f"working dir: {metadata.workdir}, staying" in run["stderr"]
    elif "No workdir specified" in run["stderr"]:
        assert metadata.workdir is None
    elif run["exit"] == "0":
        assert metadata.workdir == run["cwd"]


BETTER_ENV = {
    "envbackslash": ["PATH=/bin", "TAIL=dir\\", "AFTER=1", "LAST=2"],
    "envlastbackslash": ["PATH=/bin", "TAIL=dir\\"],
}


@pytest.mark.parametrize("name", READABLE)
def test_the_variables_are_what_the_original_set(name):
    run = recorded_runs("--entrypoint arg1")[name]

    metadata = ImageMetadata.parse(read(name))

    if name in BETTER_ENV:
        assert metadata.env == BETTER_ENV[name]
    elif name != "shformlist" and run.get("env_from_image"):  # there a shell adds its own
        # The original loses empty values and cannot set what has no name and value.
        set_by_us = dict(
            text.split("=", 1) for text in metadata.env if "=" in text and not text.endswith("=")
        )
        set_by_original = dict(text.split("=", 1) for text in run["env_from_image"].split(" | "))
        path = set_by_original.pop("PATH")
        assert path == set_by_us.pop("PATH", "/usr/bin:/bin") + ":/opt/udiImage/bin"
        assert set_by_us == set_by_original


def test_empty_values_of_variables_are_kept():
    assert "EMPTY=" in ImageMetadata.parse(read("envodd")).env


@pytest.mark.parametrize(
    ("name", "user_acl", "group_acl"),
    [
        ("plain", None, None),
        ("w_private_acl", [1001, 5], [7]),
        ("w_private_acl_denied", [5, 6], [7]),
        ("w_private_group_only", [], [1002]),
        ("w_private_empty_lists", [], []),  # open to everybody in the original
        ("w_private_null_lists", None, None),
        ("r_acl_empty", [], []),  # open to everybody in the original
        ("r_acl_mixed", [1001], None),
        ("r_acl_spaces", [5, 1001], None),
    ],
)
def test_access_lists(name, user_acl, group_acl):
    metadata = ImageMetadata.parse(read(name))

    assert (metadata.user_acl, metadata.group_acl) == (user_acl, group_acl)


@pytest.mark.parametrize(
    "line",
    ["USERACL: 4294967295", "GROUPACL: 18446744073709551617", "GROUPACL: ²", "USERACL: 1e3"],
)
def test_an_access_list_without_a_valid_id_is_refused(line):
    with pytest.raises(InvalidMetadataError, match=line.partition(":")[0]):
        ImageMetadata.parse(f"FORMAT: squashfs\n{line}\n")


def test_unknown_keys_are_ignored_and_told():
    metadata = ImageMetadata.parse(read("r_unknown_keys"))

    assert metadata.unknown_keys == ["WHAT", "LABEL"]
    assert metadata.user == "fred"


def test_windows_line_ends_are_read():
    metadata = ImageMetadata.parse("FORMAT: squashfs\r\nENTRY: ['/a']\r\nENV: A=1\r\n")

    assert (metadata.format, metadata.entry, metadata.env) == ("squashfs", ["/a"], ["A=1"])


def test_a_newline_in_env_cannot_widen_an_access_list():
    text = "FORMAT: squashfs\nUSERACL: 5\nENV: X=1\nUSERACL: 6\nGROUPACL: 100\n"

    metadata = ImageMetadata.parse(text)

    assert (metadata.user_acl, metadata.group_acl) == ([5], None)


def test_an_access_list_after_env_still_closes_an_image():
    metadata = ImageMetadata.parse("FORMAT: squashfs\nENV: X=1\nUSERACL: 5\n")

    assert metadata.user_acl == [5]


@pytest.mark.parametrize(
    ("text", "items"),
    [
        (r'["a\u00e9", "\ud83d\ude00", "\/\b\f\n\r\t"]', ["aé", "😀", "/\b\f\n\r\t"]),
        (r'["\udcff"]', ["\udcff"]),  # a byte that is no UTF-8
        (r'["\ud800x"]', ["\ufffdx"]),  # what no file name and no variable can hold
        ("[ ]", []),
        ('["a",]', ["a"]),
        ('[ "a" , "b" ]', ["a", "b"]),
    ],
)
def test_json_lists_are_read(text, items):
    metadata = ImageMetadata.parse(f"FORMAT: squashfs\nENTRY: ['no']\nENTRYJSON: {text}\n")

    assert metadata.entry == items


def test_escapes_as_python_writes_them_are_read():
    metadata = ImageMetadata.parse(
        f"FORMAT: squashfs\nCMD: {['a' + chr(27), chr(0xE0001), 'é']!r}\n"
    )

    assert metadata.command == ["a\x1b", "\U000e0001", "é"]


@pytest.mark.parametrize(
    "text",
    ["", "a", "[", '["a"', '["a" "b"]', '["a"] x', "[1]", r'["\u12"]', r'["\uzzzz"]', "[,]"],
)
def test_malformed_json_lists_are_refused(text):
    with pytest.raises(InvalidMetadataError, match="ENVJSON"):
        ImageMetadata.parse(f"FORMAT: squashfs\nENVJSON: {text}\n")


def test_a_nul_character_is_refused():
    with pytest.raises(InvalidMetadataError, match="CMDJSON holds a NUL"):
        ImageMetadata.parse('FORMAT: squashfs\nCMDJSON: ["\\u0000"]\n')


# Old lines could not hold these; ours adds lines of its own.
GROWN = {
    *("aposcmd", "aposentry", "bothquotes", "escapes"),
    *("envbackslash", "envlastbackslash", "envkey", "envodd"),
}
# The original wrote text that was not a list as it was; one word says the same to both runtimes.
ONE_WORD = {"shellform", "w_entry_string"}


@pytest.mark.parametrize("name", sorted(set(CONFIGURED) - GROWN - ONE_WORD))
def test_we_write_the_bytes_that_the_original_wrote(name):
    assert from_configuration(name).to_text() == read(name)


@pytest.mark.parametrize("name", CONFIGURED)
def test_what_we_write_is_read_as_it_was_meant(name):
    metadata = from_configuration(name)

    again = ImageMetadata.parse(metadata.to_text())

    assert values(again) == values(metadata)


@pytest.mark.parametrize("name", sorted(GROWN))
def test_old_lines_hold_what_the_original_can_read(name):
    text = from_configuration(name).to_text()

    old = dict(keyvalue.parse(text, ":"))

    for key in {"ENTRY", "CMD"} & old.keys():
        assert old_items(old[key])
    assert [key for key, _ in keyvalue.parse(text, ":")].count("WORKDIR") <= 1
    assert f"{'ENV' if name.startswith('env') else 'CMD' if 'cmd' in name else 'ENTRY'}JSON" in old


def old_items(text: str) -> list[str]:
    """A list as the original reads it: the texts between apostrophes, up to the bracket."""
    assert text.startswith("['")
    assert text.endswith("']")
    pieces = text[1:-1].split("'")
    assert len(pieces) % 2 == 1
    assert set(pieces[2:-1:2]) <= {", "}
    return pieces[1::2]


texts = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"])
    | st.sampled_from("'\"\\\n\r\t :,[]#=\udc80\udcff"),
    max_size=20,
)


@given(
    entry=st.lists(texts, min_size=1, max_size=4) | st.none(),
    command=st.lists(texts, min_size=1, max_size=4) | st.none(),
    env=st.lists(texts, max_size=4),
    user_acl=st.lists(st.integers(0, 2**32 - 2), max_size=3) | st.none(),
    group_acl=st.lists(st.integers(0, 2**32 - 2), max_size=3) | st.none(),
)
def test_any_image_survives_writing_and_reading(entry, command, env, user_acl, group_acl):
    metadata = ImageMetadata(
        format="squashfs",
        entry=entry,
        command=command,
        workdir="/w",
        env=env,
        user_acl=user_acl,
        group_acl=group_acl,
    )

    text = metadata.to_text().encode("utf-8").decode("utf-8")

    assert values(ImageMetadata.parse(text)) == values(metadata)
    read_by_original = keyvalue.parse(text, ":")
    old = dict(read_by_original)
    assert old["WORKDIR"] == "/w"
    assert len(read_by_original) == text.count("\n")
    assert ("USERACL" in old, "GROUPACL" in old) == (user_acl is not None, group_acl is not None)
    if entry:
        assert len(old_items(old["ENTRY"])) == len(entry)


@pytest.mark.parametrize("workdir", ["/a\nUSERACL: 1", "/a\\", " /a", "/\udcff"])
def test_a_working_directory_that_no_line_can_hold_is_refused(workdir):
    metadata = ImageMetadata(format="squashfs", workdir=workdir)

    with pytest.raises(InvalidMetadataError, match="WORKDIR"):
        metadata.to_text()


@given(st.text(string.printable + "äé😀", max_size=30))
def test_json_string_is_json(text):
    assert json.loads(json_string(text)) == text
