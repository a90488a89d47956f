# SPDX-License-Identifier: BSD-3-Clause
"""Bars of what reports say, as SVG, for the documentation: `python plot.py REPORT… --into DIR`.

Runs in any Python that has matplotlib, such as the one that `imports` installs for its tree; it
imports nothing of the project.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

OURS = "#2a6f97"
OTHERS = "#a9b4bd"
WIDTH, BAR_HEIGHT, MARGIN = 8.0, 0.32, 1.1  # inches
ROOM = 1.45  # of the longest bar, for the words behind it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reports", nargs="+", type=Path, help="written by --json")
    parser.add_argument("--into", required=True, type=Path, help="a directory")
    given = parser.parse_args()
    given.into.mkdir(parents=True, exist_ok=True)
    for path in given.reports:
        draw(json.loads(path.read_text()), given.into / f"{path.stem}.svg")


def draw(report: dict[str, Any], path: Path) -> None:
    """One horizontal bar for each contender that has a median, in the report's order."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text
    matplotlib.rcParams["svg.hashsalt"] = path.stem  # the same report gives the same file
    shown = [one for one in report["measurements"] if one["median"]][::-1]
    figure, axes = pyplot.subplots(figsize=(WIDTH, MARGIN + BAR_HEIGHT * len(shown)))
    names = [one["name"] for one in shown]
    bars = axes.barh(names, [one["median"] for one in shown], height=0.7)
    for bar, one in zip(bars, shown, strict=True):
        bar.set_color(OURS if is_ours(one["name"]) else OTHERS)
        ratio = "" if one["ratio"] in (None, 1) else f"  (× {one['ratio']:.2g})"
        axes.text(
            bar.get_width(), bar.get_y() + 0.35, f" {time(one['median'])}{ratio}", va="center"
        )
    axes.set_title(report["title"], loc="left", fontsize=10)
    axes.set_xlim(0, max(one["median"] for one in shown) * ROOM)
    axes.xaxis.set_visible(False)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def is_ours(name: str) -> bool:
    return name.startswith(("shifter", "perNodeCache")) or ", image" in name


def time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


if __name__ == "__main__":
    main()
