# SPDX-License-Identifier: BSD-3-Clause
"""A plan is a pure function of request, configuration and image, and says what will be done."""

from __future__ import annotations

import pytest

from shifter_common.metadata import ImageMetadata
from shifter_runtime import config, plan, request
from shifter_runtime.errors import VolumeError
from shifter_runtime.identity import Identity
from shifter_runtime.image import Image
from shifter_runtime.node import NodeFiles, User
from shifter_runtime.operations.root import SealRoot
from shifter_runtime.operations.tree import BindSite, WriteFile
from shifter_runtime.operations.volume import BindVolume

IMAGE_ID = "c" * 64
CONFIG = """\
udiMount = /var/udiMount
loopMount = /var/loopMount
imagePath = /images
udiRootPath = /opt/shifter
populateEtcDynamically = 1
maxGroupCount = 8
"""
ALICE = Identity(
    uid=1001, gid=1001, groups=[1001, 1002], name="alice", gecos="", home="/home/alice",
    shell="/bin/bash", group_names=[("alice", 1001), ("project", 1002)],
)  # fmt: skip


def make(
    *words: str,
    settings: str = "",
    files: NodeFiles | None = None,
    imported=(),
    format: str = "squashfs",
):
    image = Image(IMAGE_ID, f"/images/{IMAGE_ID}.{format}", -1, ImageMetadata(format=format))
    asked = request.parse([f"--image=id:{IMAGE_ID}", *words], {})
    site = config.parse(CONFIG + settings, "udiRoot.conf")
    return plan.make(image, asked, site, ALICE, files or NodeFiles({}, {}), list(imported), [])


def written(made: plan.Plan, path: str) -> str:
    (content,) = [
        operation.content
        for operation in made.operations
        if isinstance(operation, WriteFile) and operation.path == path
    ]
    return content.decode()


def binds(made: plan.Plan) -> list[str]:
    return [operation.target for operation in made.operations if isinstance(operation, BindSite)]


def test_it_begins_with_the_image_and_the_root():
    lines = str(make()).splitlines()

    assert lines[0] == f"mount /images/{IMAGE_ID}.squashfs on /var/loopMount (ro,nosuid,nodev)"
    assert lines[1] == ("mount overlay of /var/loopMount and tmpfs on /var/udiMount (nosuid,nodev)")


def test_an_image_that_is_a_directory_is_bound():
    first, *_ = str(make(format="VFS")).splitlines()

    assert first == f"bind /images/{IMAGE_ID}.VFS on /var/loopMount (ro,nosuid,nodev)"


def test_it_ends_by_making_the_root_read_only():
    assert isinstance(make().operations[-1], SealRoot)


def test_a_site_may_leave_the_root_writable():
    assert not any(
        isinstance(operation, SealRoot)
        for operation in make(settings="mountUdiRootWritable = 1\n").operations
    )


def test_every_container_has_the_nodes_temporary_directories():
    assert {"/tmp", "/var/tmp", "/proc", "/sys", "/dev"} <= set(binds(make()))


def test_what_the_site_puts_on_tmp_is_not_covered_again():
    made = make(settings="siteFs = /scratch/tmp:/tmp\n")

    assert binds(made).count("/tmp") == 1
    assert "bind /scratch/tmp on /tmp (rw,nosuid,nodev,private)" in str(made)


def test_flags_of_site_directories_are_honoured():
    made = make(settings="siteFs = /gpfs:/gpfs:ro:rec:slave\n")

    assert "bind /gpfs on /gpfs (rec,ro,nosuid,nodev,slave)" in str(made)


def test_only_dev_has_devices():
    for operation in make(settings="siteFs = /home\n").operations:
        if isinstance(operation, BindSite):
            assert ("nodev" in str(operation)) == (operation.target != "/dev")


def test_volumes_come_after_the_sites_directories_so_that_they_may_start_there():
    kinds = [type(operation) for operation in make("-V/home/alice:/data").operations]

    last_site = len(kinds) - 1 - kinds[::-1].index(BindSite)
    assert kinds.index(BindVolume) > last_site


def test_the_user_and_the_imported_accounts_are_in_passwd():
    guest = User("guest", 3000, 3000, "", "/", "/bin/false")

    passwd = written(make(imported=[guest]), "/etc/passwd")

    assert [line.split(":")[0] for line in passwd.splitlines()] == ["root", "alice", "guest"]


def test_group_lists_the_user_where_the_kernel_does():
    assert written(make(), "/etc/group") == "root:x:0:\nalice:x:1001:alice\nproject:x:1002:alice\n"


def test_static_files_of_the_site_win_over_the_nodes():
    files = NodeFiles({"hosts": b"node\n"}, {"hosts": b"site\n", "motd": b"hello\n"})

    made = make(files=files)

    assert written(made, "/etc/hosts") == "site\n"
    assert written(made, "/etc/motd") == "hello\n"


def test_the_volume_signature_is_told_to_the_container():
    text = written(make("-V/b:/y;/a:/x:ro"), "/var/shifterConfig.json")

    assert '"volMap":"/a:/x:ro;/b:/y"' in text


CACHES = "perNodeCachePath = /scratch/caches\n"


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        (["-V/a:/b:perNodeCache=size=1G"], CACHES),
        ([], f"{CACHES}siteFs = /a:/b:perNodeCache=size=1G\n"),
    ],
)
def test_user_and_site_can_have_a_cache(words, settings):
    expected = (
        "mount xfs of 1073741824 bytes, in a file in /scratch/caches, on /b as alice "
        "(rw,nosuid,nodev)"
    )

    assert expected in str(make(*words, settings=settings)).splitlines()


def test_a_cache_is_as_large_as_whole_blocks_allow():
    made = make("-V/a:/b:perNodeCache=size=314576895", settings=CACHES)

    assert "mount xfs of 314572800 bytes" in str(made)


@pytest.mark.parametrize(
    ("size", "settings", "sentence"),
    [
        ("1G", "", "the site sets no perNodeCachePath"),
        ("1G", f"{CACHES}perNodeCacheSizeLimit = 512M\n", "at most 536870912 bytes"),
        ("314572799", CACHES, "at least 314572800 bytes"),
        ("1125899906842625", CACHES, "at most 1125899906842624 bytes"),
    ],
)
@pytest.mark.parametrize("by_site", [False, True])
def test_a_cache_that_the_site_does_not_allow_is_refused(size, settings, sentence, by_site):
    text = f"/a:/b:perNodeCache=size={size}"
    words = [] if by_site else [f"-V{text}"]

    with pytest.raises(VolumeError, match=sentence):
        make(*words, settings=settings + (f"siteFs = {text}\n" if by_site else ""))


def test_a_cache_of_just_the_limit_is_allowed():
    make("-V/a:/b:perNodeCache=size=1G", settings=f"{CACHES}perNodeCacheSizeLimit = 1G\n")


def test_one_container_cannot_take_all_loop_devices():
    few = [f"-V/a:/m{number}:perNodeCache=size=1G" for number in range(16)]
    make(*few, settings=CACHES)

    with pytest.raises(VolumeError, match="more than 16 perNodeCache volumes"):
        make(*few, "-V/a:/x:perNodeCache=size=1G", settings=CACHES)


def test_a_writable_root_is_the_users_and_never_closed():
    made = make("--writable=1G")

    assert (
        "mount overlay of /var/loopMount and tmpfs on /var/udiMount for alice "
        "(size=1073741824,rw,nosuid,nodev)"
    ) in str(made)
    assert made.root.lend
    assert not any(isinstance(operation, SealRoot) for operation in made.operations)


def test_a_writable_root_without_a_size_is_limited_by_the_kernel():
    assert "for alice (rw,nosuid,nodev)" in str(make("--writable"))


def test_a_directory_that_the_user_named_is_bound_as_the_user_and_not_lent():
    image = Image("/home/alice/tree", "/home/alice/tree", -1, ImageMetadata(format="VFS"))
    image.is_local = True
    asked = request.parse(["--image=local:/home/alice/tree", "--writable"], {}, allow_local=True)
    site = config.parse(CONFIG, "udiRoot.conf")

    made = plan.make(image, asked, site, ALICE, NodeFiles({}, {}), [], [])

    assert str(made.image) == "bind /home/alice/tree on /var/loopMount (ro,nosuid,nodev) as alice"
    assert not made.root.lend


def test_a_filesystem_in_memory_comes_before_the_volumes_within_it_and_after_the_others():
    words = (
        "-V/a:/work/in",
        "-V/b:/data",
        "--mount=tmpfs:/work",
        "--mount=tmpfs:/data/tmp:size=1M",
    )

    lines = [line for line in str(make(*words)).splitlines() if "alice" in line]

    assert lines == [
        "mount tmpfs on /work for alice (rw,nosuid,nodev)",
        "bind /a on /work/in as alice (rw,nosuid,nodev)",
        "bind /b on /data as alice (rw,nosuid,nodev)",
        "mount tmpfs on /data/tmp for alice (size=1048576,rw,nosuid,nodev)",
    ]


@pytest.mark.parametrize("target", ["/home", "/tmp", "/var/tmp"])
def test_mounts_of_the_site_that_the_user_names_are_left_out(target):
    image = Image(IMAGE_ID, "/images/x", -1, ImageMetadata(format="squashfs"))
    asked = request.parse([f"--image=id:{IMAGE_ID}"], {})
    asked.no_mounts = [target]
    site = config.parse(CONFIG + "siteFs = /home\n", "udiRoot.conf")

    made = plan.make(image, asked, site, ALICE, NodeFiles({}, {}), [], [])

    assert {"/home", "/tmp", "/var/tmp"} - set(binds(made)) == {target}


def test_devices_are_denied_where_dev_holds_files():
    lines = str(make()).splitlines()

    place = lines.index("deny devices on /dev/shm, /dev/mqueue, /dev/hugepages")
    assert lines[place - 1].startswith("bind /dev on /dev (rec,")
