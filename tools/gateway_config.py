# SPDX-License-Identifier: BSD-3-Clause
"""Write the imagemanager.json of quickstart, or bring the one that is there up to date.

What somebody changed in it stays; only what is missing is added, and the location that is asked
for. The file is replaced whole, and only when it changes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--system", required=True, help="the cluster's name")
    parser.add_argument("--directory", type=Path, required=True, help="holds cache, images, …")
    parser.add_argument("--munge-socket", type=Path, required=True)
    parser.add_argument("--location", nargs=2, metavar=("NAME", "URL"))
    parser.add_argument("--ca", help="certificate authority of the location")
    arguments = parser.parse_args()
    old = arguments.file.read_text() if arguments.file.exists() else "{}"
    try:
        config = json.loads(old)
    except ValueError as error:
        sys.exit(f"{arguments.file} is not JSON: {error}")
    for key, value in defaults(arguments).items():
        config.setdefault(key, value)
    if arguments.location:
        name, url = arguments.location
        location = config["Locations"].setdefault(name, {"remotetype": "dockerv2"})
        location["url"] = url
        if arguments.ca:
            location["sslcacert"] = arguments.ca
    replace(arguments.file, json.dumps(config, indent=2) + "\n", old)


def defaults(arguments: argparse.Namespace) -> dict[str, Any]:
    directory = arguments.directory
    return {
        "DefaultImageLocation": "docker.io",
        "DefaultImageFormat": "squashfs",
        "WorkerThreads": 2,
        "PullUpdateTimeout": 300,
        "ImageExpirationTimeout": "90:00:00:00",
        "CacheDirectory": str(directory / "cache"),
        "ExpandDirectory": str(directory / "expand"),
        "Locations": {
            "docker.io": {"remotetype": "dockerv2", "url": "https://registry-1.docker.io"},
        },
        "Platforms": {
            arguments.system: {
                "mungeSocketPath": str(arguments.munge_socket),
                "accesstype": "local",
                "admins": ["root"],
                "local": {"imageDir": str(directory / "images")},
            }
        },
    }


def replace(file: Path, text: str, old: str) -> None:
    if text == old:
        return
    new = file.with_name(f".{file.name}.new")
    new.write_text(text)
    os.replace(new, file)


if __name__ == "__main__":
    main()
