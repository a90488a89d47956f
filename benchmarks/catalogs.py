# SPDX-License-Identifier: BSD-3-Clause
"""Catalogs with so many READY images that a lookup has something to find."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pymongo
from bson import ObjectId

from benchmarks.installation import SYSTEM
from benchmarks.production import DATABASE
from benchmarks.programs import BenchmarkError
from shifter_imagegw.catalog import Catalog
from shifter_imagegw.catalog.mongo import MongoCatalog
from shifter_imagegw.catalog.sqlite import SqliteCatalog
from shifter_imagegw.records import NewPull, PublishedImage

MEMORY = Path("/dev/shm")
EXPIRATION = 90 * 86400.0  # seconds, as the gateway is configured
AT_ONCE = 1000  # documents


def fill_sqlite(path: Path, records: int) -> None:
    """Made in memory, because each step waits for its disk."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory:
        made = Path(directory, "catalog.sqlite")
        catalog = SqliteCatalog(made)
        for number in range(records):
            _add(catalog, number)
        catalog.close()
        shutil.copyfile(made, path)


def fill_mongodb(uri: str, records: int) -> None:
    """One image as the gateway publishes it, and copies of its document under other names."""
    catalog = MongoCatalog(uri, DATABASE)
    _add(catalog, 0)
    catalog.close()
    with pymongo.MongoClient[dict[str, Any]](uri, directConnection=True) as client:
        images = client[DATABASE]["images"]
        model = images.find_one()
        if model is None:
            raise BenchmarkError("the catalog has published an image, but MongoDB has none")
        for first in range(1, records, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, records))
            images.insert_many([copied(model, number) for number in numbers], ordered=False)


def copied(model: dict[str, Any], number: int) -> dict[str, Any]:
    """The document of image 0 as it would be for image `number`."""
    return model | {
        "_id": ObjectId(),
        "id": image_id(number),
        "tag": [tag(number)],
        "pulltag": tag(number),
    }


def tag(number: int) -> str:
    return f"group{number % 97}/image{number}:v{number % 7}"


def image_id(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def _add(catalog: Catalog, number: int) -> None:
    now = time.time()
    pull = NewPull(system=SYSTEM, image_type="docker", pull_tag=tag(number), format="squashfs")
    catalog.add_pull(pull, now)
    claim = catalog.claim([SYSTEM], "benchmark", timedelta(minutes=1), now)
    if claim is None:
        raise BenchmarkError(f"the catalog gave no claim on its pull number {number}")
    catalog.publish(claim, _published(number), now)


def _published(number: int) -> PublishedImage:
    return PublishedImage(
        image_id=image_id(number),
        format="squashfs",
        architecture="amd64",
        os="linux",
        private=False,
        env=("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"),
        entry=("/usr/local/bin/entrypoint",),
        command=("python3",),
        workdir="/srv",
        labels=None,
        size=1 << 30,
        # As if pulled now: what expires later than a lookup would have it is not written again.
        expiration=time.time() + EXPIRATION,
    )
