# SPDX-License-Identifier: BSD-3-Clause
"""The keys of imagemanager.json: what each takes, its default, and what it means.

The tables in etc/README.md and in the manual are written from this one, and tests hold it against
what is read: every key is here, and every default is the one that counts.
"""

from __future__ import annotations

REQUIRED = "must be given"

# key -> (what it takes, default, meaning); `*` stands for a name of the site's. A default in
# brackets is told in words; an empty one is none.
KEYS: dict[str, tuple[str, str, str]] = {
    "Locations": (
        "a section by name",
        REQUIRED,
        "registries by name. The first part of an image's name may be one: "
        "`registry.example.org/ns/tool:1`",
    ),
    "Locations.*.url": (
        "a URL",
        "(the name, by https)",
        "`https://host[:port]`, or `http://…` for a registry without TLS",
    ),
    "Locations.*.remotetype": (
        "dockerv2",
        "dockerv2",
        "`dockerv2`, which OCI registries are too",
    ),
    "Locations.*.sslcacert": (
        "a file",
        "(the system's)",
        "certificate authority of a registry with a private one",
    ),
    "Locations.*.authMethod": (
        "token or basic",
        "token",
        "`token` or `basic`: how the registry wants credentials",
    ),
    "DefaultImageLocation": (
        "a name",
        REQUIRED,
        "the location of images that name none",
    ),
    "DefaultImageFormat": (
        "squashfs, ext4 or vfs",
        REQUIRED,
        "`squashfs`, `ext4` or `vfs` (a plain directory)",
    ),
    "Platforms": (
        "a section by name",
        REQUIRED,
        'clusters ("systems") that images are delivered to, by name; `system` in udiRoot.conf'
        " is one of them",
    ),
    "Platforms.*.accesstype": (
        "local or remote",
        "local",
        "`local`: the gateway's host has the image directory mounted; `remote`: images go "
        "there by ssh",
    ),
    "Platforms.*.local.imageDir": (
        "a path",
        REQUIRED,
        "of a local system: where image files go; `imagePath` in udiRoot.conf",
    ),
    "Platforms.*.host": (
        "a list of hosts",
        "",
        "of a remote system: the hosts that write to its filesystem, tried in this order",
    ),
    "Platforms.*.ssh.imageDir": (
        "a path",
        REQUIRED,
        "where image files go on those hosts",
    ),
    "Platforms.*.ssh.username": (
        "an account",
        "(the gateway's own account)",
        "whom to log in as",
    ),
    "Platforms.*.ssh.key": (
        "a file",
        "(as ssh finds one)",
        "the private key to log in with, readable to the gateway's account alone",
    ),
    "Platforms.*.ssh.sshCmdOptions": (
        "words",
        "",
        "further arguments of `ssh`, a list or a text",
    ),
    "Platforms.*.ssh.scpCmdOptions": (
        "words",
        "",
        "further arguments of `scp`",
    ),
    "Platforms.*.ssh.everyHost": (
        "true or false",
        "false",
        "true: each host has a filesystem of its own, so images go to all of them",
    ),
    "Platforms.*.mungeSocketPath": (
        "a path",
        "",
        "the socket of the munge daemon that vouches for that cluster's users",
    ),
    "Platforms.*.admins": (
        "a list of users",
        "",
        "user names that may expire any image and see metrics",
    ),
    "Platforms.*.groupsFrom": (
        "gateway or credential",
        "gateway",
        "`gateway`: a user's groups are looked up on the gateway's host; `credential`: only "
        "the group in the munge credential counts, for sites whose gateway does not know the "
        "users",
    ),
    "Platforms.*.platform": (
        "os/architecture",
        "(the gateway's own)",
        "OCI platform that is chosen where a tag has several, such as `linux/arm64`",
    ),
    "MongoDBURI": (
        "a URL",
        "(none: the catalog is an SQLite file)",
        "the catalog's MongoDB server; may hold a password, which is never logged. A replica "
        "set, of one server at least",
    ),
    "MongoDB": (
        "a name",
        "",
        "the database there, `Shifter` as a rule",
    ),
    "Broker": (
        "a URL",
        "(none: workers look by themselves)",
        "URL of the Redis server that wakes Celery workers: "
        "`redis://[:password@]host[:port]/number`",
    ),
    "KeyFile": (
        "a file",
        "(a key of this start's own)",
        "a file with the key that seals logins of queued pulls, the same for all processes "
        "and hosts; `shifter-gateway key --write FILE` makes one",
    ),
    "CatalogPath": (
        "a path",
        "(`catalog.sqlite` in CacheDirectory)",
        "the SQLite catalog, where MongoDBURI is not set",
    ),
    "CacheDirectory": (
        "a path",
        REQUIRED,
        "downloaded layers, each kept under its digest, in `sha256` below it",
    ),
    "CacheSize": (
        "a size",
        "200G",
        "how much they may take; what was used least recently is removed",
    ),
    "ExpandDirectory": (
        "a path",
        "(`expand` in CacheDirectory)",
        "where image files in the making go, if not beside the finished ones",
    ),
    "PullUpdateTimeout": (
        "seconds",
        "300",
        "seconds for which an image that was pulled is not asked for again",
    ),
    "PullTimeout": (
        "seconds",
        "21600",
        "seconds that one pull or import may take",
    ),
    "ImageExpirationTimeout": (
        "a duration",
        "90:00:00:00",
        "how long an unused image stays, `days:hours:minutes:seconds`",
    ),
    "MaxImageSize": (
        "a size",
        "512G",
        "how much the files in one image may take, unpacked",
    ),
    "MaxEntries": (
        "a number",
        "2000000",
        "how many files, directories and links one image may have",
    ),
    "MaxQueuedPullsPerUser": (
        "a number",
        "100",
        "pulls and imports of one user that may wait or run at the same time",
    ),
    "MaxImagesPerUser": (
        "a number",
        "(no limit)",
        "images on one system that one user was the first to pull",
    ),
    "MaxBytesPerUser": (
        "a size",
        "(no limit)",
        "how much these may take there, as image files",
    ),
    "WorkerThreads": (
        "a number",
        "1",
        "pulls at the same time, by the embedded gateway",
    ),
    "ConverterOptions": (
        "words by format",
        "",
        'further arguments of the converter, by format: `{"squashfs": ["-comp", "zstd", '
        '"-Xcompression-level", "3"]}`',
    ),
    "DefaultOstCount": (
        "a number",
        "0",
        "Lustre: OSTs that an image file is spread over, -1 for all, 0 as its directory says",
    ),
    "examiner": (
        "a program",
        "(none)",
        "a program that is shown every image before it is published: `PROGRAM DIRECTORY "
        "IMAGE-ID`; other than 0 refuses the image, with what it wrote",
    ),
    "ExaminerTimeout": (
        "seconds",
        "600",
        "seconds that it may take",
    ),
    "AllowAnonymous": (
        "true or false",
        "false",
        "true: public images may be listed and looked up without a munge credential",
    ),
    "Authentication": (
        "munge or mock",
        "munge",
        "`munge`, or `mock` for tests",
    ),
    "ImportUsers": (
        "a list of users",
        "",
        'who may import image files: names, `"all"` or `"None"`. Root, accounts of the system'
        " (uids below 1000) and the gateway's own account read what all may read, unless they"
        " are named",
    ),
    "TrustedImporters": (
        "a list of users",
        "(nobody)",
        "whose squashfs files are taken as they are, not packed anew: names",
    ),
    "Metrics": (
        "true or false",
        "false",
        "true: keep who looked up what",
    ),
    "UsageDays": (
        "a number",
        "400",
        "days for which it is kept how much was pulled, looked up and stored, by day and image; "
        "pulls by user, too, and lookups with `Metrics`",
    ),
    "WebPage": (
        "true or false",
        "true",
        "true: the gateway shows images and jobs in browsers, too, to those who log in by "
        "`shifterimg web`; public ones to everybody with `AllowAnonymous`",
    ),
    "WebUrl": (
        "a URL",
        "(as the client has asked)",
        "where browsers reach the gateway: `https://images.example.org`, that of a reverse proxy "
        "as a rule, whose path may be longer",
    ),
    "LogLevel": (
        "a word",
        "info",
        "`debug`, `info`, `warn`, `error` or `critical`",
    ),
    "LogFormat": (
        "text or json",
        "(`text` for `serve`, `json` for gunicorn and Celery)",
        "`text`, or `json`: one object a line",
    ),
}
