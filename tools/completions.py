# SPDX-License-Identifier: BSD-3-Clause
"""Write what shells load to complete our commands to where they look for it.

python3 tools/completions.py PREFIX/share [PROGRAM]...
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from shifter_cli.completion import scripts  # noqa: E402


def write(directory: Path, programs: tuple[str, ...] = scripts.PROGRAMS) -> list[Path]:
    """Write a file for each shell and program; their paths."""
    written = []
    for shell in scripts.SHELLS:
        for program in programs:
            path = directory / scripts.PLACES[shell].format(program=program)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(scripts.script(shell, program))
            path.chmod(0o644)
            written.append(path)
    return written


if __name__ == "__main__":
    write(Path(sys.argv[1]), tuple(sys.argv[2:]) or scripts.PROGRAMS)
