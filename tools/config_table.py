# SPDX-License-Identifier: BSD-3-Clause
"""Write the tables of etc/README.md that explain udiRoot.conf, from the table that parses it.

python3 tools/config_table.py
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from shifter_runtime.config_keys import KEYS, MODULE_KEYS, REQUIRED  # noqa: E402

README = ROOT / "etc/README.md"
_START = "<!-- written by tools/config_table.py -->\n"
_END = "<!-- end -->\n"


def tables() -> str:
    """Both tables, as they stand between the marks."""
    keys = "".join(
        f"| `{key}` | {read.__doc__} | {_default(key, default)} | {meaning} |\n"
        for key, (_, read, default, meaning) in KEYS.items()
    )
    parts = "".join(
        f"| `module_<name>_{part}` | {read.__doc__} | {meaning} |\n"
        for part, (read, meaning) in MODULE_KEYS.items()
    )
    return (
        f"| key | value | default | meaning |\n| --- | --- | --- | --- |\n{keys}\n"
        "A module's name is made of letters, digits and `.+-`; users choose it with `--module`.\n\n"
        f"| key of a module | value | meaning |\n| --- | --- | --- |\n{parts}"
    )


def written(text: str) -> str:
    """The text of a README with the tables between its marks."""
    before, _, rest = text.partition(_START)
    _, _, after = rest.partition(_END)
    return f"{before}{_START}{tables()}{_END}{after}"


def _default(key: str, default: object) -> str:
    if key in REQUIRED:
        return "must be given"
    if isinstance(default, bool):
        return f"`{int(default)}`"
    if isinstance(default, tuple):
        return f"`{' '.join(default)}`"
    if isinstance(default, (int, float)):
        return f"`{default:g}`"
    return f"`{default}`" if default else "none"


if __name__ == "__main__":
    README.write_text(written(README.read_text()))
