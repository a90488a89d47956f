# SPDX-License-Identifier: BSD-3-Clause
"""Take the pictures of the web page that the documentation shows, from invented images and jobs.

    .venv/bin/python tools/screenshots.py [DIRECTORY]

Needs chromium, and what `./check` installs into .venv.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple

from playwright.sync_api import Browser, sync_playwright
from werkzeug.serving import make_server

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from shifter_imagegw.api import long_answers  # noqa: E402
from shifter_imagegw.api.application import create_app  # noqa: E402
from shifter_imagegw.catalog.sqlite import SqliteCatalog  # noqa: E402
from shifter_imagegw.config import GatewayConfig  # noqa: E402
from shifter_imagegw.credentials import Sealer, new_key  # noqa: E402
from shifter_imagegw.details import BuildStep, ImageDetails, Layer, LayerProgress  # noqa: E402
from shifter_imagegw.operation.usage import day_of  # noqa: E402
from shifter_imagegw.records import NewPull, PublishedImage, PullState, UsageCount  # noqa: E402
from shifter_imagegw.rules import accounts  # noqa: E402

SYSTEM = "aurora"
ADMIN = "good:sam:sam::3000:3000"
USERS = {3000: "sam", 3001: "maria", 3002: "jonas", 3003: "li", 3004: "amara"}
DAY = 86400.0
GIB = 1 << 30
LEASE = timedelta(days=1)
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

IMAGES = (
    ("ubuntu:24.04", 29 << 20, 3001, 1),
    ("python:3.13-slim", 44 << 20, 3002, 2),
    ("nvcr.example.org/hpc/gromacs:2026.2", 1.4 * GIB, 3003, 3),
    ("climate/e3sm-diags:3.0", 1.9 * GIB, 3004, 0.3),
    ("genomics/nextflow-rnaseq:4.1.0", 2.6 * GIB, 3001, 5),
    ("lattice/chroma-mpich:2026-11", 640 << 20, 3002, 8),
    ("pytorch/pytorch:2.9-cuda13", 5.8 * GIB, 3003, 0.1),
    ("registry.example.org/team/private-model:v7", 3.2 * GIB, 3001, 0.6),
    ("alpine:3.22", 4 << 20, 3004, 21),
    ("julia:1.12", 210 << 20, 3002, 14),
    ("openfoam/openfoam:v2606", 820 << 20, 3004, 34),
    ("bioconductor/bioconductor_docker:3.22", 1.7 * GIB, 3003, 12),
)
ENVIRONMENT = (
    "PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG=C.UTF-8",
    "GMX_MAXBACKUP=-1",
    "OMP_PROC_BIND=spread",
    "CUDA_VERSION=13.0.2",
    "LD_LIBRARY_PATH=/usr/local/gromacs/lib",
)
LABELS = {
    "org.opencontainers.image.title": "GROMACS",
    "org.opencontainers.image.version": "2026.2",
    "org.opencontainers.image.licenses": "LGPL-2.1-or-later",
    "org.opencontainers.image.source": "https://git.example.org/hpc/gromacs-image",
}


class Shot(NamedTuple):
    """A page, and what it is looked at with."""

    name: str
    page: str
    scheme: Literal["light", "dark"]
    width: int
    height: int


HISTORY = (
    ("/bin/sh -c #(nop) ADD file:9d7c in /", False),
    ('CMD ["/bin/bash"]', True),
    ("RUN apt-get update && apt-get install -y --no-install-recommends cuda-runtime-13-0", False),
    ("ENV LD_LIBRARY_PATH=/usr/local/gromacs/lib", True),
    ("COPY --from=build /usr/local/gromacs /usr/local/gromacs", False),
    ('ENTRYPOINT ["/usr/local/bin/entrypoint.sh"]', True),
)

SHOTS = (
    Shot("images", "", "light", 1200, 760),
    Shot("image", "image/docker/nvcr.example.org/hpc/gromacs:2026.2", "light", 1200, 900),
    Shot("queue-dark", "queue", "dark", 1200, 860),
    Shot("usage", "usage", "light", 1200, 1050),
    Shot("phone", "", "light", 360, 740),
    Shot("phone-queue", "queue", "dark", 360, 740),
)


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs/images"
    target.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as directory,
        serving(Path(directory)) as (url, link),
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", chromium_sandbox=False
        )
        for shot in SHOTS:
            png = shoot(browser, shot, f"{url}/web/{SYSTEM}/{shot.page}", link())
            (target / f"web-{shot.name}.png").write_bytes(png)
            print(f"web-{shot.name}.png: {len(png) // 1000} kB")


def shoot(browser: Browser, shot: Shot, url: str, link: str) -> bytes:
    context = browser.new_context(
        color_scheme=shot.scheme, viewport={"width": shot.width, "height": shot.height}
    )
    page = context.new_page()
    page.goto(link)
    page.click("main button")
    page.wait_for_url("**/web/*/")
    page.goto(url)
    if shot.page == "queue":
        page.wait_for_selector(".live.on")
        page.click("summary >> nth=0")
    png = page.screenshot()
    context.close()
    return png


@contextlib.contextmanager
def serving(directory: Path) -> Iterator[tuple[str, Any]]:
    """A gateway with invented content: its URL, and what makes a link to log in by."""
    accounts.name_of = USERS.get  # type: ignore[assignment]
    config = GatewayConfig.from_mapping(configuration(directory))
    catalog = SqliteCatalog(config.catalog_path)
    fill(catalog, time.time())
    app = create_app(config, catalog, Sealer(new_key()))

    def patient(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        with long_answers.allowed():
            yield from app(environ, start_response)

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = make_server("127.0.0.1", 0, patient, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()

    def link() -> str:
        headers = {"authentication": ADMIN}
        answer = app.test_client().post(f"/api/web/{SYSTEM}/", headers=headers).get_json()
        path: str = answer["url"].partition("localhost")[2]
        return f"http://127.0.0.1:{server.server_port}{path}"

    try:
        yield f"http://127.0.0.1:{server.server_port}", link
    finally:
        long_answers.end()
        server.shutdown()
        catalog.close()


def configuration(directory: Path) -> dict[str, Any]:
    return {
        "Authentication": "mock",
        "CacheDirectory": str(directory / "cache"),
        "DefaultImageFormat": "squashfs",
        "DefaultImageLocation": "docker.io",
        "Locations": {"docker.io": {"url": "https://registry-1.docker.io"}},
        "Metrics": True,
        "LogLevel": "error",
        "Platforms": {
            SYSTEM: {
                "accesstype": "local",
                "admins": ["sam"],
                "local": {"imageDir": "/global/shifter/images"},
            }
        },
    }


def fill(catalog: SqliteCatalog, now: float) -> None:
    chance = random.Random(7)
    for name, size, uid, days in IMAGES:
        add_image(catalog, name, int(size), uid, now - days * DAY)
    add_image(catalog, "mine/pipeline:latest", 310 << 20, 3000, now - 0.05 * DAY)
    for number in range(180):
        name = f"{chance.choice(('lab', 'astro', 'bio', 'cfd'))}/tool-{number}:{number % 9}.2"
        size = int(chance.lognormvariate(19.5, 1.3))
        uid = chance.choice(list(USERS))
        add_image(catalog, name, size, uid, now - chance.uniform(36, 88) * DAY)
    add_jobs(catalog, now)
    add_usage(catalog, chance, now)


def add_image(catalog: SqliteCatalog, name: str, size: int, uid: int, pulled: float) -> None:
    is_private = "private" in name
    catalog.add_pull(pull_of(name, uid), pulled)
    claim = catalog.claim([SYSTEM], "worker", LEASE, pulled)
    assert claim is not None
    digest = hashlib.sha256(name.encode()).hexdigest()
    image = PublishedImage(
        image_id=digest,
        format="squashfs",
        architecture="amd64",
        os="linux",
        private=is_private,
        env=ENVIRONMENT,
        entry=("/usr/local/bin/entrypoint.sh",),
        command=("gmx", "--version"),
        workdir="/work",
        labels=LABELS,
        size=size,
        expiration=pulled + 90 * DAY,
        digest=f"sha256:{digest}",
        details=details_of(name, size),
    )
    catalog.publish(claim, image, pulled)


def details_of(name: str, size: int) -> ImageDetails:
    layers = [
        Layer(digest_of(f"{name} {part}"), int(size * part / 100), _LAYER)
        for part in (4, 61, 22, 9, 3, 1)
    ]
    history = [BuildStep("2026-11-20T09:12:44Z", text, "", empty) for text, empty in HISTORY]
    return ImageDetails(
        created="2026-11-20T09:12:44Z",
        author="HPC support <help@example.org>",
        layers=tuple(layers),
        history=tuple(history),
    )


def digest_of(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def pull_of(name: str, uid: int) -> NewPull:
    return NewPull(system=SYSTEM, image_type="docker", pull_tag=name, format="squashfs", puller=uid)


def add_jobs(catalog: SqliteCatalog, now: float) -> None:
    failures = (
        ("climate/e3sm-diags:3.1", 3004, "the registry docker.io has no image "
         "climate/e3sm-diags:3.1: check the spelling, or list its tags with "
         "'shifterimg search climate/e3sm-diags'"),
        ("registry.example.org/team/model:v8", 3001, "the registry registry.example.org refuses "
         "user 'maria': authentication required; 'shifterimg login registry.example.org' "
         "stores another password"),
    )  # fmt: skip
    for name, uid, reason in failures:
        catalog.add_pull(pull_of(name, uid), now - 400)
        claim = catalog.claim([SYSTEM], "worker", LEASE, now)
        assert claim is not None
        catalog.fail(claim, reason)
    running = (
        ("pytorch/pytorch:2.10-cuda13", 3003, PullState.PULLING, "Fetching layers", 3.1, 5.9),
        ("quantum/qiskit-aer:0.18", 3000, PullState.CONVERSION, "Writing the image", 0.6, 0.6),
    )
    for age, (name, uid, state, message, done, total) in enumerate(running):
        catalog.add_pull(pull_of(name, uid), now - 95 + 40 * age)
        claim = catalog.claim([SYSTEM], "worker", LEASE, now)
        assert claim is not None
        catalog.report(
            claim,
            state,
            message,
            bytes_done=int(done * GIB),
            bytes_total=int(total * GIB),
            layers=[
                LayerProgress(
                    digest_of(f"{name} {part}"), int(total * part * GIB), int(total * have * GIB)
                )
                for part, have in ((0.06, 0.06), (0.31, 0.31), (0.55, 0.14), (0.08, 0.015))
            ]
            if state is PullState.PULLING
            else None,
        )
    catalog.add_pull(pull_of("rocker/geospatial:4.5", 3002), now - 12)


def add_usage(catalog: SqliteCatalog, chance: random.Random, now: float) -> None:
    now_used = sum(each.bytes for each in catalog.holdings(SYSTEM))
    count = sum(each.images for each in catalog.holdings(SYSTEM))
    for back in range(120):
        day = day_of(now - back * DAY)
        weight = 0.35 if (back + 1) % 7 < 2 else 1.0
        images = count - back + chance.randint(-2, 2)
        catalog.set_stock(SYSTEM, day, images, now_used * images // count)
        counts = []
        for place, (name, _, uid, _) in enumerate(IMAGES):
            busy = weight * (1.25 - back / 160) * chance.uniform(0.6, 1.4)
            for user in {uid, chance.choice(list(USERS))}:
                counts.append(
                    UsageCount(
                        system=SYSTEM,
                        day=day,
                        image=f"docker:{name}",
                        uid=user,
                        restricted="private" in name,
                        lookups=int(260 * busy / (place + 1.5)),
                        pulls=int(chance.random() < 0.35 * weight),
                        failures=int(chance.random() < 0.06),
                    )
                )
        catalog.add_usage(counts)


if __name__ == "__main__":
    main()
