# SPDX-License-Identifier: BSD-3-Clause
"""Every message has its entry in docs/errors.md, and every entry is a message of some program."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tools import error_messages, messages_in_c, messages_in_python

PAGE = error_messages.PAGE.read_text()
HINT = "run: python3 tools/error_messages.py"


@pytest.fixture(scope="module")
def said() -> dict[str, set[str]]:
    return error_messages.said()


def sections(page: str) -> list[tuple[str, list[str], str]]:
    """Each heading, the messages below it, and the words below these."""
    found = []
    for part in re.split(r"^##+ ", page, flags=re.MULTILINE)[1:]:
        heading, _, rest = part.partition("\n")
        messages = error_messages.listed(rest)
        lines = [line for line in rest.split("\n") if not line.startswith("- ")]
        found.append((heading, messages, " ".join(" ".join(lines).split())))
    return found


def test_every_message_is_on_the_page(said):
    missing = set(said) - set(error_messages.listed(PAGE))

    assert not missing, HINT


def test_every_entry_of_the_page_is_said_by_some_program(said):
    stale = set(error_messages.listed(PAGE)) - set(said)

    assert not stale, HINT


def test_no_message_is_on_the_page_twice():
    twice = [text for text, count in Counter(error_messages.listed(PAGE)).items() if count > 1]

    assert not twice


# Names, which keep their capital; and two sentences that are the original's and the system's.
NAMES = {"FORMAT", "GPUs", "MongoDB", "MongoDBURI", "Redis", "Slurm", "TLS", "TYPE"}
NAMES |= {"Broker", "ConverterOptions", "DefaultImageFormat", "DefaultOstCount", "KeyFile"}
NAMES |= {"Platforms", "WebPage", "WebUrl"}
NOT_OURS = ("Failed to switch to working dir: ", "No such file or directory")


def test_messages_have_one_voice(said):
    """Lower case, no full stop, nobody shouts or says please."""
    ours = [text for text in said if not text.startswith(NOT_OURS)]

    shouting = {text for text in ours if text.endswith((".", "!")) or "please" in text.split()}
    capital = {text for text in ours if text[0].isupper()}

    assert shouting == set()
    assert {t for t in capital if re.match("[A-Za-z]+", t)[0] not in NAMES} == set()


@pytest.mark.parametrize(
    ("heading", "messages", "words"),
    [pytest.param(*section, id=section[0]) for section in sections(PAGE) if section[1]],
)
def test_every_list_of_messages_has_a_cause_and_an_advice(heading, messages, words):
    assert len(words) >= 60
    assert words.endswith(".")
    # Few enough that what stands below can be true of each.
    assert len(messages) <= 45


def test_headings_can_be_linked_to_one_by_one():
    headings = [heading for heading, _, _ in sections(PAGE)]

    assert [name for name, count in Counter(headings).items() if count > 1] == []


def test_links_lead_to_headings_of_the_page():
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h, _, _ in sections(PAGE)
    }

    assert {link for link in re.findall(r"\]\(#([^)]+)\)", PAGE) if link not in anchors} == set()


CODE = """
class SetupError(ShifterError): ...
class _Own(SetupError):
    def __init__(self, name):
        super().__init__(f"the thing {name} is of no use")

_ADVICE = "ask somebody"
_TABLE = {1: "one thing was wrong", **dict.fromkeys((2, 3), "two things were wrong")}

def fail(path, error):
    raise SetupError(f"cannot use {path!r}: {error.strerror}")

def refuse(what, doing="open"):
    return SetupError(f"cannot {doing} {what}, so {_ADVICE}")

def choose(text, found):
    if found:
        raise refuse("the first of them")
    reason = "it was not there" if text else "it was there already"
    raise SetupError(f"{text}: {reason}")

def outer(number):
    raise SetupError(_TABLE[number] + ": try again")

def why(text) -> str:
    return f"{text} was never wanted here"

def told(text):
    raise SetupError(why(text))

def silent(log):
    log.warning("nobody reads this line here")
    return "no message is made of this"
"""


@pytest.fixture
def found(tmp_path: Path) -> set[str]:
    """What is found in a package of a few lines."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package/module.py").write_text(CODE)
    return set(messages_in_python.messages(tmp_path, ("package",)))


@pytest.mark.parametrize(
    "text",
    [
        "cannot use …: …",
        "the thing … is of no use",
        "cannot …, so ask somebody",
        "the first of them",
        "…: it was not there",
        "…: it was there already",
        "one thing was wrong: try again",
        "two things were wrong: try again",
        "… was never wanted here",
    ],
)
def test_a_message_is_followed_back_to_its_words(found, text):
    assert text in found


def test_what_no_person_reads_is_no_message(found):
    assert not [text for text in found if "nobody reads" in text or "no message" in text]


def test_messages_in_c_are_found_across_lines(tmp_path):
    (tmp_path / "plugin").mkdir()
    (tmp_path / "plugin/node.c").write_text(
        '/* "not a message in a comment" */\n'
        '#error "nor what the compiler says"\n'
        '\tslurm_error("shifter: cannot do %s for job %u, "\n\t\t"so it is left out: %m", a, b);\n'
        '\terr(EXIT_FAILURE, "out of memory");\n'
    )

    found = messages_in_c.messages(tmp_path, ("plugin",))

    assert found == {
        "cannot do … for job …, so it is left out: …": {"plugin/node.c:3"},
        "out of memory": {"plugin/node.c:5"},
    }


def test_the_tool_names_what_is_missing_and_what_is_said_nowhere(tmp_path, monkeypatch, capsys):
    page = tmp_path / "errors.md"
    page.write_text(PAGE.replace("- `must specify a mode; …`", "- `an old message of … years ago`"))
    monkeypatch.setattr(error_messages, "PAGE", page)

    status = error_messages.main([])

    assert status == 1
    assert capsys.readouterr().out.splitlines()[1:] == [
        "- `must specify a mode; …`",
        "said nowhere:",
        "- `an old message of … years ago`",
    ]


def test_the_tool_says_where_a_message_is_made(capsys):
    status = error_messages.main(["--where", "must specify a mode"])

    assert status == 0
    assert "shifter_cli/shifterimg.py:" in capsys.readouterr().out
