# SPDX-License-Identifier: BSD-3-Clause
"""Write the manual pages, of the same source as --help and the parsers of the configuration.

python3 tools/man_pages.py PREFIX/share/man SYSCONFDIR [PAGE]...
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import man_texts  # noqa: E402
from troff import Page  # noqa: E402


def write(directory: Path, sysconfdir: str, names: Iterable[str]) -> list[Path]:
    """Write pages such as `shifter.1` below a directory of manual pages; their paths."""
    written = []
    for name in names:
        path = directory / f"man{name[-1]}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(name, sysconfdir))
        path.chmod(0o644)
        written.append(path)
    return written


def page(name: str, sysconfdir: str = "/etc/shifter") -> str:
    """The source of a page."""
    from shifter_runtime import VERSION

    stem, _, section = name.rpartition(".")
    moment = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    date = time.strftime("%Y-%m-%d", time.gmtime(moment))
    made = Page(
        stem, int(section), man_texts.SUMMARIES[name], date=date, source=f"Shifter {VERSION}"
    )
    PAGES[name](made, stem)
    _end(made, name, sysconfdir)
    return made.text()


def _end(made: Page, name: str, sysconfdir: str) -> None:
    """What every page has: exit status, environment, files, other pages."""
    for title, items in man_texts.ENDS[name].items():
        made.section(title)
        for tag, text in items:
            made.item(tag.replace("@sysconfdir@", sysconfdir), text)
    made.section("see also")
    others = [other for other in man_texts.SEE_ALSO.get(name, man_texts.SUMMARIES) if other != name]
    made.paragraph(", ".join(f"`{other[:-2]}`({other[-1]})" for other in others))


# Pages of click's commands


def _of_click(load: Callable[[], object]) -> Callable[[Page, str], None]:
    def make(made: Page, stem: str) -> None:
        import click

        group = load()
        assert isinstance(group, click.Group)
        context = click.Context(group, info_name=stem)
        made.section("synopsis")
        made.literal([f"{stem} {' '.join(group.collect_usage_pieces(context))}"])
        made.section("description")
        _help(made, group.help or "")
        _options(made, group, context, made.section)
        made.section("commands")
        _commands(made, group, context)
        _epilog(made, group.epilog or "", made.section)

    return make


def _commands(made: Page, group: object, context: object) -> None:
    import click

    assert isinstance(group, click.Group) and isinstance(context, click.Context)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        inside = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            _commands(made, command, inside)
            continue
        words = inside.command_path.partition(" ")[2]
        pieces = command.collect_usage_pieces(inside)
        made.subsection(" ".join([words, *pieces]))
        _help(made, command.help or "")
        _options(made, command, inside, None)
        _epilog(made, command.epilog or "", None)


def _options(
    made: Page, command: object, context: object, section: Callable[[str], None] | None
) -> None:
    import click

    assert isinstance(command, click.Command) and isinstance(context, click.Context)
    options = [one for one in command.get_params(context) if isinstance(one, click.Option)]
    records = [option.get_help_record(context) for option in options]
    shown = [record for record in records if record and not record[0].endswith("--help")]
    if shown and section is not None:
        section("options")
    for names, text in shown:
        made.item(names, text)


def _help(made: Page, text: str) -> None:
    for paragraph in _paragraphs(text):
        if paragraph.startswith("\b\n"):
            made.literal(_dedented(paragraph.split("\n")[1:]))
        else:
            made.paragraph(paragraph)


def _epilog(made: Page, text: str, section: Callable[[str], None] | None) -> None:
    """Examples, whose lines stay, and what else stands below the options."""
    for paragraph in _paragraphs(text):
        if not paragraph.startswith("\b\n"):
            if not paragraph.startswith("Exit status") or section is None:
                made.paragraph(paragraph)
            continue
        title, *lines = paragraph.split("\n")[1:]
        if section is not None:
            section("examples")
        else:
            made.paragraph(title)
        made.literal(_dedented(lines))


def _paragraphs(text: str) -> list[str]:
    import inspect

    clean = inspect.cleandoc(text.partition("\f")[0]) if not text.startswith("\b") else text
    return [part.strip("\n") for part in re.split(r"\n\s*\n", clean) if part.strip()]


def _dedented(lines: Iterable[str]) -> list[str]:
    return [line.removeprefix("  ") for line in lines]


# Pages of programs that parse their options by hand


def _of_shifter(made: Page, stem: str) -> None:
    from shifter_runtime import usage

    made.section("synopsis")
    lines = usage.SHORT.strip("\n").split("\n")[1:]
    made.literal([lines[0], f"{stem} doctor [image] [options]"])
    made.section("options")
    made.literal(line.strip() for line in lines[1:] if line)
    made.section("description")
    body = usage.LONG.removeprefix(usage.SHORT).strip("\n")
    for part in re.split(r"\n\n", body):
        heading, _, rest = part.partition("\n")
        if not heading.startswith(" ") and rest.startswith("  "):
            if heading.lower() != "exit status":
                made.subsection(heading)
            else:
                made.section(heading)
            _mixed(made, _dedented(rest.split("\n")))
        else:
            # The first of a section's further paragraphs is indented as its text is.
            lines = part.split("\n")
            is_inside = all(line.startswith("  ") for line in lines)
            is_example = is_inside and lines[0].startswith("  shifter ")
            if is_example:
                made.literal(_dedented(lines))
            else:
                _mixed(made, _dedented(lines) if is_inside else lines)


def _mixed(made: Page, lines: Iterable[str]) -> None:
    """Lines that begin at the margin are text to be filled, others stay as they are."""
    text: list[str] = []
    kept: list[str] = []
    for line in [*lines, ""]:
        if line.startswith(" "):
            if text:
                made.paragraph(" ".join(text))
                text = []
            kept.append(line.removeprefix("  "))
        else:
            if kept:
                made.literal(kept)
                kept = []
            text.append(line)
    if "".join(text).strip():
        made.paragraph(" ".join(text))


def _of_usage(load: Callable[[], str]) -> Callable[[Page, str], None]:
    def make(made: Page, _: str) -> None:
        synopsis, description, options, examples, *rest = load().strip("\n").split("\n\n")
        made.section("synopsis")
        made.literal(line.removeprefix("usage: ").strip() for line in synopsis.split("\n"))
        made.section("description")
        made.paragraph(description)
        made.section("options")
        for names, text in _listed(options.split("\n")):
            made.item(names, text)
        made.section("examples")
        made.literal(_dedented(examples.split("\n")[1:]))
        made.section("exit status")
        for paragraph in rest:
            made.paragraph(paragraph)

    return make


def _listed(lines: Iterable[str]) -> list[tuple[str, str]]:
    """Options and their texts, which may go on in further lines."""
    found: list[tuple[str, str]] = []
    for line in lines:
        if line.lstrip().startswith("-"):
            names, text = (*re.split(r"\s{2,}", line.strip(), maxsplit=1), "")[:2]
            if not text and " " in names and len(names) > 24:
                names, _, text = names.partition(" ")
            found.append((names, text))
        elif found:
            names, text = found[-1]
            found[-1] = (names, f"{text} {line.strip()}".strip())
    return found


# Pages of configuration files


def _of_udi_root(made: Page, _: str) -> None:
    from config_table import default_text

    from shifter_runtime.config_keys import KEYS, MODULE_KEYS

    made.section("description")
    for paragraph in man_texts.UDI_ROOT:
        made.paragraph(paragraph)
    made.section("keys")
    for key, (_, read, default, meaning) in KEYS.items():
        made.item(f"{key} = {read.__doc__}", f"{meaning}. Default: {default_text(key, default)}.")
    made.section("modules")
    made.paragraph(man_texts.MODULES)
    for part, (read_part, meaning) in MODULE_KEYS.items():
        made.item(f"module_NAME_{part} = {read_part.__doc__}", f"{meaning}.")
    made.section("examples")
    made.literal(man_texts.UDI_ROOT_EXAMPLE.strip("\n").split("\n"))


def _of_image_manager(made: Page, _: str) -> None:
    from config_table import gateway_default_text

    from shifter_imagegw.config.keys import KEYS

    made.section("description")
    for paragraph in man_texts.IMAGE_MANAGER:
        made.paragraph(paragraph)
    made.section("keys")
    for key, (value, default, meaning) in KEYS.items():
        made.item(key, f"{value}: {meaning}. Default: {gateway_default_text(default)}.")
    made.section("examples")
    made.literal(man_texts.IMAGE_MANAGER_EXAMPLE.strip("\n").split("\n"))


def _shifterimg() -> object:
    from shifter_cli.shifterimg import shifterimg

    return shifterimg


def _shifter_admin() -> object:
    from shifter_cli.admin import shifter_admin

    return shifter_admin


def _shifter_gateway() -> object:
    from shifter_imagegw.command import main

    return main


def _setup_usage() -> str:
    from shifter_runtime.job.options import SETUP_USAGE

    return SETUP_USAGE


def _unsetup_usage() -> str:
    from shifter_runtime.job.options import UNSETUP_USAGE

    return UNSETUP_USAGE


def _prologue_usage() -> str:
    from shifter_runtime.job.batch.options import PROLOGUE_USAGE

    return PROLOGUE_USAGE


def _epilogue_usage() -> str:
    from shifter_runtime.job.batch.options import EPILOGUE_USAGE

    return EPILOGUE_USAGE


PAGES: dict[str, Callable[[Page, str], None]] = {
    "shifter.1": _of_shifter,
    "shifterimg.1": _of_click(_shifterimg),
    "udiRoot.conf.5": _of_udi_root,
    "imagemanager.json.5": _of_image_manager,
    "shifter-admin.8": _of_click(_shifter_admin),
    "shifter-gateway.8": _of_click(_shifter_gateway),
    "setupRoot.8": _of_usage(_setup_usage),
    "unsetupRoot.8": _of_usage(_unsetup_usage),
    "shifter-prologue.8": _of_usage(_prologue_usage),
    "shifter-epilogue.8": _of_usage(_epilogue_usage),
}


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2], sys.argv[3:] or PAGES)
