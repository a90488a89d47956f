# SPDX-License-Identifier: BSD-3-Clause
"""The tables of the SQLite catalog, in the steps by which each release changed them."""

from __future__ import annotations

from shifter_imagegw.records import IN_FLIGHT, PullState


def _quoted(states: frozenset[PullState]) -> str:
    """States as the inside of an SQL `IN (…)`."""
    return ", ".join(f"'{state.value}'" for state in sorted(states))


IN_FLIGHT_SQL = _quoted(IN_FLIGHT)
JOBS_SQL = _quoted(IN_FLIGHT | {PullState.EXPIRING})

# Lists are JSON texts. A record without `token` is nobody's. `tags` says which record carries a
# tag; a tag is on one record at a time. `told` holds who has heard of a failure.
_VERSION_1 = f"""
CREATE TABLE images (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    system TEXT NOT NULL,
    image_type TEXT NOT NULL,
    pull_tag TEXT NOT NULL,
    state TEXT NOT NULL,
    image_id TEXT,
    format TEXT NOT NULL,
    architecture TEXT NOT NULL,
    os TEXT NOT NULL,
    user_acl TEXT,
    group_acl TEXT,
    private INTEGER,
    env TEXT,
    entry TEXT,
    command TEXT,
    workdir TEXT,
    labels TEXT,
    last_pull REAL,
    last_heartbeat REAL,
    expiration REAL,
    status_message TEXT,
    puller INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,
    bytes_done INTEGER,
    bytes_total INTEGER,
    size INTEGER,
    owner TEXT,
    token TEXT,
    lease_end REAL,
    sealed_credentials TEXT
);
CREATE TABLE tags (
    system TEXT NOT NULL,
    image_type TEXT NOT NULL,
    tag TEXT NOT NULL,
    record INTEGER NOT NULL REFERENCES images (key) ON DELETE CASCADE,
    UNIQUE (system, image_type, tag)
);
CREATE TABLE told (
    record INTEGER NOT NULL REFERENCES images (key) ON DELETE CASCADE,
    uid INTEGER NOT NULL,
    PRIMARY KEY (record, uid)
) WITHOUT ROWID;
CREATE UNIQUE INDEX one_pull_in_flight ON images (system, image_type, pull_tag)
    WHERE state IN ({IN_FLIGHT_SQL});
CREATE INDEX pulls ON images (system, image_type, pull_tag);
CREATE INDEX contents ON images (image_id, system) WHERE image_id IS NOT NULL;
CREATE INDEX jobs ON images (key) WHERE state IN ({JOBS_SQL});
CREATE INDEX failures ON images (last_pull) WHERE state = 'FAILURE';
CREATE INDEX states ON images (system, state);
CREATE INDEX owners ON images (owner) WHERE token IS NOT NULL;
CREATE INDEX service ON images (puller, last_heartbeat);
CREATE INDEX tags_of_record ON tags (record);
PRAGMA user_version = 1;
"""

# `holds` is the image that the record's job has for itself.
_VERSION_2 = """
ALTER TABLE images ADD COLUMN digest TEXT;
ALTER TABLE images ADD COLUMN source_path TEXT;
ALTER TABLE images ADD COLUMN source_format TEXT;
ALTER TABLE images ADD COLUMN holds TEXT;
CREATE TABLE lookups (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    user TEXT NOT NULL,
    uid INTEGER NOT NULL,
    system TEXT NOT NULL,
    image_type TEXT NOT NULL,
    tag TEXT NOT NULL,
    image_id TEXT NOT NULL,
    time REAL NOT NULL
);
CREATE TABLE roles (
    role TEXT PRIMARY KEY,
    process TEXT NOT NULL,
    until REAL NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX one_holder ON images (system, holds) WHERE holds IS NOT NULL;
CREATE INDEX expirations ON images (system, expiration) WHERE state = 'READY';
CREATE INDEX lookups_of_system ON lookups (system, key);
PRAGMA user_version = 2;
"""

# `uid` is -1 where it was not kept.
_VERSION_3 = """
CREATE TABLE usage_days (
    system TEXT NOT NULL,
    day TEXT NOT NULL,
    images INTEGER,
    bytes INTEGER,
    lookups INTEGER NOT NULL DEFAULT 0,
    pulls INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (system, day)
) WITHOUT ROWID;
CREATE TABLE usage_counts (
    system TEXT NOT NULL,
    day TEXT NOT NULL,
    image TEXT NOT NULL,
    uid INTEGER NOT NULL,
    restricted INTEGER NOT NULL,
    lookups INTEGER NOT NULL DEFAULT 0,
    pulls INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (system, day, image, uid, restricted)
) WITHOUT ROWID;
PRAGMA user_version = 3;
"""

# `details` are kept apart from `images`, so that lookups and lists need not read them.
_VERSION_4 = """
ALTER TABLE images ADD COLUMN since REAL;
ALTER TABLE images ADD COLUMN layers TEXT;
ALTER TABLE images ADD COLUMN acl_image TEXT;
ALTER TABLE images ADD COLUMN acl_set REAL;
CREATE TABLE details (
    system TEXT NOT NULL,
    image_id TEXT NOT NULL,
    content TEXT NOT NULL,
    first_pull REAL,
    PRIMARY KEY (system, image_id)
) WITHOUT ROWID;
PRAGMA user_version = 4;
"""

# What makes a file of one version one of the next; a new file takes all of the steps.
STEPS = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4)
