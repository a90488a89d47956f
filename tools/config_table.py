# SPDX-License-Identifier: BSD-3-Clause
"""Write the tables of etc/README.md that explain both configuration files, from those in the code.

python3 tools/config_table.py
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from shifter_imagegw.config import keys as gateway_keys  # noqa: E402
from shifter_runtime.config_keys import KEYS, MODULE_KEYS, REQUIRED  # noqa: E402

README = ROOT / "etc/README.md"
_START = "<!-- written by tools/config_table.py: {} -->\n"
_END = "<!-- end -->\n"


def gateway_table() -> str:
    """The keys of imagemanager.json."""
    rows = "".join(
        f"| `{key}` | {value} | {gateway_default_text(default)} | {meaning} |\n"
        for key, (value, default, meaning) in gateway_keys.KEYS.items()
    )
    return f"| key | value | default | meaning |\n| --- | --- | --- | --- |\n{rows}"


def runtime_tables() -> str:
    """The keys of udiRoot.conf, and those of modules in it."""
    keys = "".join(
        f"| `{key}` | {read.__doc__} | {default_text(key, default)} | {meaning} |\n"
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
    for name, table in (("imagemanager.json", gateway_table()), ("udiRoot.conf", runtime_tables())):
        start = _START.format(name)
        before, _, rest = text.partition(start)
        _, _, after = rest.partition(_END)
        text = f"{before}{start}{table}{_END}{after}"
    return text


def gateway_default_text(default: str) -> str:
    if default == gateway_keys.REQUIRED:
        return default
    if default.startswith("("):
        return default[1:-1]
    return f"`{default}`" if default else "none"


def default_text(key: str, default: object) -> str:
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
