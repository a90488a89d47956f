# SPDX-License-Identifier: BSD-3-Clause
"""A program of the tests: many processes on one catalog. `hammer.py ACTION ADDRESS PROCESSES`

It is a program because fork() is only safe in a process of one thread, which pytest may not be.
Prints what each process found, as a JSON list.
"""

from __future__ import annotations

import json
import multiprocessing
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

from shifter_imagegw.catalog.sqlite import SqliteCatalog
from shifter_imagegw.errors import CatalogError
from shifter_imagegw.records import NewPull

LEASE = timedelta(seconds=600)
fork = multiprocessing.get_context("fork")


def open_catalog(address):
    kind, _, path = address.partition(":")
    assert kind == "sqlite"
    return SqliteCatalog(Path(path))


def ask(catalog, tag):
    new = NewPull(system="mycluster", image_type="docker", pull_tag=tag, format="squashfs")
    return catalog.add_pull(new, time.time()).key


def claim(number, catalog):
    """Claim until nothing is left; the tags."""
    tags = []
    while job := catalog.claim(["mycluster"], f"w{number}", LEASE, time.time()):
        tags.append(job.record.pull_tag)
    return tags


def same(number, catalog):
    """Ask for the same images as everybody else; the keys of the records."""
    return [ask(catalog, f"app:{tag}") for tag in range(20)]


def own(number, catalog):
    return ask(catalog, f"child:{number}")


def write(number, catalog):
    """Ask for image after image, and say so once it is written, until killed."""
    for tag in range(100_000):
        print(ask(catalog, f"app:{tag}"), flush=True)


def open_anew(number, address):
    return ask(open_catalog(address), "app:1")


def main(action, address, count):
    signal.signal(signal.SIGALRM, lambda *_: sys.exit("a process gave no answer"))
    shared = address if action is open_anew else open_catalog(address)
    results, barrier = fork.SimpleQueue(), fork.Barrier(count)

    def start(number):
        barrier.wait(30)
        try:
            results.put(action(number, shared))
        except CatalogError as error:
            results.put(str(error))
            raise

    processes = [fork.Process(target=start, args=(number,), daemon=True) for number in range(count)]
    for process in processes:
        process.start()
    signal.alarm(60)  # should one of them die without a word
    found = [results.get() for _ in processes]
    for process in processes:
        process.join()
    print(json.dumps(found))
    sys.exit(any(process.exitcode for process in processes))


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(0, open_catalog(sys.argv[2]))
    main(globals()[sys.argv[1]], sys.argv[2], int(sys.argv[3]))
