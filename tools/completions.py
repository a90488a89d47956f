# SPDX-License-Identifier: BSD-3-Clause
"""Write what shells load to complete our commands to where they look for it.

python3 tools/completions.py PREFIX/share [PROGRAM]...

shifter-gateway, which may be on a host without the others, has what click has for every program;
click has to be there for that.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_GATEWAY = "shifter-gateway"
sys.path.insert(0, str(ROOT))

from shifter_cli.completion import scripts  # noqa: E402


def write(directory: Path, programs: tuple[str, ...] = scripts.PROGRAMS) -> list[Path]:
    """Write a file for each shell and program; their paths."""
    written = []
    for shell in scripts.SHELLS:
        for program in programs:
            path = directory / scripts.PLACES[shell].format(program=program)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_script(shell, program))
            path.chmod(0o644)
            written.append(path)
    return written


def _script(shell: str, program: str) -> str:
    if program != _GATEWAY:
        return scripts.script(shell, program)
    import click
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    question = f"_{program.replace('-', '_').upper()}_COMPLETE"
    return kind(click.Group(), {}, program, question).source()


if __name__ == "__main__":
    write(Path(sys.argv[1]), tuple(sys.argv[2:]) or scripts.PROGRAMS)
