# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

from pathlib import Path

import pytest

from shifter_runtime import config as configs
from shifter_runtime.errors import ConfigError

GOLDEN = Path(__file__).parents[2] / "golden" / "udi" / "udiRoot.conf"
PATH = "/etc/shifter/udiRoot.conf"
LEAST = """\
udiMount=/var/udiMount
loopMount=/var/loopMount
imagePath=/images
udiRootPath=/opt/shifter
populateEtcDynamically=1
"""


def parse(more: str = "") -> configs.RuntimeConfig:
    return configs.parse(LEAST + more, PATH)


def test_the_original_s_file_is_understood():
    config = configs.load(str(GOLDEN))

    assert config.warnings == []
    assert config.udi_mount == "/var/udiMount"
    assert config.image_path == "/opt/shifter/images"
    assert config.allow_local_chroot is True
    assert config.mount_udi_root_writable is False
    assert config.max_group_count == 31
    assert config.per_node_cache_size_limit == 1 << 30
    assert config.gateway_timeout == 10.0
    assert config.site_fs == ["/home:/home"]
    assert config.site_env == ["SHIFTER_RUNTIME=1"]
    assert config.site_env_append == ["PATH=/opt/udiImage/bin"]
    assert config.image_gateway == ["http://127.0.0.1:5901"]
    assert config.system == "mycluster"
    assert config.default_image_type == "docker"


def test_each_key_sets_an_attribute_of_the_class_and_each_attribute_has_a_key():
    attributes = [attribute for attribute, *_ in configs.KEYS.values()]

    declared = set(configs.RuntimeConfig.__annotations__) - {"path", "warnings", "modules"}

    assert set(attributes) == declared
    assert len(attributes) == len(declared)


def test_every_key_of_the_original_is_known():
    original = """
        udiMount loopMount imagePath udiRootPath optUdiImage etcPath sitePreMountHook
        sitePostMountHook siteFs siteEnv siteEnvAppend siteEnvPrepend siteEnvUnset allowLocalChroot
        allowLibcPwdCalls populateEtcDynamically usersToImport mountUdiRootWritable maxGroupCount
        mountPropagationStyle rootfsType perNodeCachePath perNodeCacheSizeLimit
        perNodeCacheAllowedFsType mkfsXfsPath ddPath cpPath mvPath chmodPath modprobePath insmodPath
        imageGateway gatewayTimeout system defaultImageType batchType defaultModules
        nodeContextPrefix
    """

    assert set(original.split()) <= set(configs.KEYS)


def test_what_is_not_given_has_the_original_s_default():
    config = parse()

    assert config.max_group_count == 0
    assert config.mount_propagation_style == "private"
    assert config.rootfs_type == "tmpfs"
    assert config.gateway_timeout == 0.0
    assert config.per_node_cache_size_limit is None


@pytest.mark.parametrize(
    "attribute",
    [
        *("allow_local_chroot", "allow_libc_pwd_calls", "mount_udi_root_writable"),
        "populate_etc_dynamically",
    ],
)
def test_every_flag_is_off_unless_given(attribute):
    text = LEAST.replace("populateEtcDynamically=1", "etcPath=/opt/shifter/etc")

    assert getattr(configs.parse(text, PATH), attribute) is False


def test_two_configurations_share_no_list():
    parse().site_fs.append("/x")

    assert parse().site_fs == []


def test_lists_gather_their_lines_and_scalars_take_the_last():
    config = parse(
        "siteFs=/a:/a;/b\nsiteFs=/c:/c:ro\nsiteEnv=A=1 B=2\nsiteEnv=C=3\n"
        "imageGateway=http://a:1 http://b:1\nsystem=one\nsystem=two\ndefaultModules=x,y\n"
    )

    assert config.site_fs == ["/a:/a;/b", "/c:/c:ro"]
    assert config.site_env == ["A=1", "B=2", "C=3"]
    assert config.image_gateway == ["http://a:1", "http://b:1"]
    assert config.system == "two"
    assert config.default_modules == ["x", "y"]


def test_a_list_may_go_on_in_the_next_line():
    assert parse("siteFs = /a:/a; \\\n         /b:/b\n").site_fs == ["/a:/a; /b:/b"]


def test_module_keys_are_collected_by_name():
    config = parse(
        "module_gpu_siteEnv=A=1\nmodule_gpu_siteFs=/a;/b\nmodule_gpu_siteFs=/c\nmodule_mpi_enabled=0\n"
    )

    assert config.modules == {
        "gpu": {"siteEnv": ["A=1"], "siteFs": ["/a;/b", "/c"]},
        "mpi": {"enabled": ["0"]},
    }


def test_keys_of_ours():
    config = parse("mungeSocketPath=/run/munge2/socket\nimageOwners=shifter 1234\n")

    assert config.munge_socket == "/run/munge2/socket"
    assert config.image_owners == ["shifter", "1234"]


def test_both_the_gateway_and_the_index_are_asked_in_the_order_that_the_site_says():
    assert parse().image_lookup == ("gateway", "index")
    assert parse("imageLookup=index gateway\nimageLookup = index\n").image_lookup == ("index",)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("maxGroupCount=x", "maxGroupCount must be a number, not 'x'"),
        ("maxGroupCount=-1", "maxGroupCount must be a number, not '-1'"),
        ("maxGroupCount=", "maxGroupCount must be a number, not ''"),
        ("maxGroupCount=" + "9" * 5000, "maxGroupCount must be a number, not '999"),
        ("allowLocalChroot=yes", "allowLocalChroot must be 0 or 1, not 'yes'"),
        ("gatewayTimeout=soon", "gatewayTimeout must be a number of seconds, not 'soon'"),
        ("gatewayTimeout=.", "gatewayTimeout must be a number of seconds, not '.'"),
        ("perNodeCacheSizeLimit=9999E", "perNodeCacheSizeLimit must be a size such as 512M"),
        ("siteEnv=A", "siteEnv must be words of the form NAME=value, not 'A'"),
        ("siteEnvAppend==x", "siteEnvAppend must be words of the form NAME=value, not '=x'"),
        ("mountPropagationStyle=shared", "mountPropagationStyle must be private or slave"),
        ("rootfsType=ext4", "rootfsType must be tmpfs or ramfs, not 'ext4'"),
        ("udiMount=var/udiMount", "udiMount must be an absolute path without '..'"),
        ("loopMount=/var/../x", "loopMount must be an absolute path without '..'"),
        ("imagePath=images", "imagePath must be an absolute path without '..'"),
        ("udiMount=//", "udiMount must be a directory other than /, not '//'"),
        ("imageLookup=", "imageLookup must be gateway, index, or both in either order, not ''"),
        ("imageLookup=index index", "imageLookup must be gateway, index, or both in either order"),
        ("imageLookup=gateways", "imageLookup must be gateway, index, or both in either order"),
        ("etcPath=etc", "etcPath must be an absolute path without '..'"),
        ("hookTimeout=-1", "hookTimeout must be a number of seconds, not '-1'"),
        ("gatewayTimeout=" + "9" * 400, "gatewayTimeout must be a number of seconds, not '999"),
        ("defaultImageType=image", "defaultImageType must be one of docker, custom, id, local"),
        ("siteEnv=A=\0", "siteEnv holds a NUL character"),
        ("module_x_enabled=yes", "module_x_enabled must be 0 or 1, not 'yes'"),
        ("module_x_siteEnv=A", "module_x_siteEnv must be words of the form NAME=value, not 'A'"),
        ("module_x_copyPath=mpi", "module_x_copyPath must be an absolute path without '..'"),
        ("module_x_roothook=/a/../b", "module_x_roothook must be an absolute path without '..'"),
        ("module_x_siteFs=\0", "module_x_siteFs holds a NUL character"),
    ],
)
def test_a_wrong_value_is_named_with_file_line_and_key(line, message):
    with pytest.raises(ConfigError) as raised:
        parse(f"# comment\n{line}\n")

    assert str(raised.value).startswith(f"{PATH}: line 7: {message}")


@pytest.mark.parametrize("other", ["/var/udiMount", "/var/udiMount/x", "/var"])
def test_one_mount_point_cannot_lie_in_the_other(other):
    with pytest.raises(ConfigError, match="udiMount and loopMount must be two directories"):
        parse(f"loopMount={other}\n")


def test_ramfs_is_taken_as_tmpfs_and_warned_of():
    config = parse("rootfsType=ramfs\n")

    assert config.rootfs_type == "tmpfs"
    assert config.warnings == [
        f"{PATH}: line 6: rootfsType = ramfs cannot be had, because the root is an overlay: "
        "tmpfs is used"
    ]


@pytest.mark.parametrize("key", ["udiMount", "loopMount", "imagePath", "udiRootPath"])
def test_a_missing_key_is_named_with_its_meaning(key):
    text = "".join(line for line in LEAST.splitlines(True) if not line.startswith(key))

    with pytest.raises(ConfigError) as raised:
        configs.parse(text, PATH)

    assert str(raised.value) == f"{PATH}: {key} is not set: {configs.KEYS[key][3]}"


def test_static_etc_needs_its_directory():
    with pytest.raises(ConfigError, match="etcPath is not set"):
        parse("populateEtcDynamically=0\n")


@pytest.mark.parametrize(
    ("line", "warning"),
    [
        ("noSuchKey=1", "unknown key 'noSuchKey' ignored"),
        ("cppath=/bin/cp", "unknown key 'cppath' ignored, did you mean cpPath?"),
        ("mverifyPath=/x", "unknown key 'mverifyPath' ignored"),
        ("ystem=x", "unknown key 'ystem' ignored, did you mean system?"),
        ("xxsystem=x", "unknown key 'xxsystem' ignored, did you mean system?"),
        ("xxxsystem=x", "unknown key 'xxxsystem' ignored"),
        ("systexy=x", "unknown key 'systexy' ignored, did you mean system?"),
        ("siteFss=/x", "unknown key 'siteFss' ignored, did you mean siteFs?"),
        (
            "module_gpu_copypath=/x",
            "unknown key 'module_gpu_copypath' ignored, did you mean module_gpu_copyPath?",
        ),
        (
            "module_a_b_siteEnv=A=1",
            "unknown key 'module_a_b_siteEnv' ignored: the name of a module cannot hold '_'",
        ),
        ("kmodBasePath=/x", "kmodBasePath is deprecated and ignored"),
        ("siteFs /home", "not of the form key = value, ignored: 'siteFs /home'"),
    ],
)
def test_what_is_not_understood_warns_with_its_line_and_does_not_stop(line, warning):
    config = parse(line + "\n")

    assert config.warnings == [f"{PATH}: line 6: {warning}"]


def test_needless_slashes_are_taken_from_paths():
    assert parse("imagePath=//images/./x/\n").image_path == "/images/x"


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(
        ConfigError, match=r"cannot read .*/none: there is no such file; start from udiRoot"
    ):
        configs.load(str(tmp_path / "none"))


def test_load_keeps_bytes_that_are_not_utf_8(tmp_path):
    path = tmp_path / "udiRoot.conf"
    path.write_bytes(LEAST.encode() + b"optUdiImage=/caf\xe9\r\n")

    assert configs.load(str(path)).opt_udi_image == "/caf\udce9"


EXAMPLE = Path(__file__).parents[3] / "etc" / "udiRoot.conf.example"


def test_the_example_file_is_understood_with_everything_switched_on():
    lines = EXAMPLE.read_text().splitlines()
    # `#key = value` shows a default or an example; prose has a space after the `#`.
    text = "\n".join(line.removeprefix("#") if line[1:2].isalpha() else line for line in lines)

    assert configs.load(str(EXAMPLE)).warnings == []
    assert configs.parse(text, PATH).warnings == []
