# SPDX-License-Identifier: BSD-3-Clause
"""What is taken along of an MPI or a driver, from trees laid out as theirs are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shifter_cli.modules import gpu, mpi, tree
from shifter_cli.modules.content import Content
from shifter_cli.modules.errors import NotALibraryError, PrepareError
from shifter_cli.modules.root_tree import RootTree
from shifter_cli.modules.search import Loader
from tests.shared_objects import make_cache, make_library

LIB = "usr/lib/x86_64-linux-gnu"


def loader_of(root: Path, source: str = f"/{LIB}") -> Loader:
    return Loader(RootTree(str(root)), [source])


@pytest.fixture(scope="module")
def mpich(tmp_path_factory) -> Path:
    """MPICH over UCX as Debian installs it, with Open MPI beside it."""
    root = tmp_path_factory.mktemp("mpich")
    lib = root / LIB
    libc = make_library(lib / "libc.so.6", versions=["GLIBC_2.36"])
    cxx = make_library(lib / "libstdc++.so.6")
    verbs = make_library(root / "opt/verbs/libibverbs.so.1.14", soname="libibverbs.so.1")
    (root / "opt/verbs/libibverbs.so.1").symlink_to("libibverbs.so.1.14")
    make_library(root / "opt/verbs/libibverbs/libmlx5-rdmav34.so")
    ucs = make_library(lib / "libucs.so.0.0.0", soname="libucs.so.0", uses={"GLIBC_2.36": libc})
    (lib / "libucs.so.0").symlink_to("libucs.so.0.0.0")
    make_library(
        lib / "ucx/libuct_ib.so.0.0.0", soname="libuct_ib.so.0", needs=[verbs],
        rpath="$ORIGIN/../../../../opt/verbs",
    )  # fmt: skip
    (lib / "ucx/libuct_ib.so.0").symlink_to("libuct_ib.so.0.0.0")
    main = make_library(
        lib / "libmpich.so.12.2.2", soname="libmpich.so.12", needs=[ucs, libc], runpath="/nowhere"
    )
    (lib / "libmpich.so.12").symlink_to("libmpich.so.12.2.2")
    make_library(lib / "libmpichcxx.so.12", needs=[main, cxx, libc])
    make_library(lib / "libmpi.so.40")
    (lib / "ucx/libuct_ib.a").write_text("an archive")
    make_cache(root)
    return root


def gathered(root: Path, **options: frozenset[str]) -> Content:
    return mpi.gather(mpi.FLAVOURS["mpich"], "mpich", "/usr", loader_of(root), **options)


def names_in(content: Content, directory: str) -> set[str]:
    return {os.path.basename(path) for path in content.files if os.path.dirname(path) == directory}


def test_an_mpi_comes_with_what_it_needs_and_with_its_plugins(mpich):
    content = gathered(mpich)

    assert names_in(content, "lib") == {
        "libmpich.so.12.2.2", "libmpichcxx.so.12", "libucs.so.0.0.0", "libibverbs.so.1.14",
        "libmlx5-rdmav34.so",
    }  # fmt: skip
    assert names_in(content, "lib/ucx") == {"libuct_ib.so.0.0.0"}
    assert content.notes == []


def test_libraries_are_found_by_every_name_of_the_mpich_abi(mpich):
    links = gathered(mpich).links

    assert links["lib/libmpich.so.12"] == "libmpich.so.12.2.2"
    assert links["lib/libmpi.so.12"] == "libmpich.so.12.2.2"
    assert links["lib/libmpicxx.so.12"] == "libmpichcxx.so.12"
    assert links["lib/ucx/libuct_ib.so.0"] == "libuct_ib.so.0.0.0"
    assert "lib/libmpifort.so.12" not in links


def test_glibc_is_never_taken_along_even_if_asked_for(mpich):
    content = gathered(mpich, take=frozenset(["libstdc++.so.6", "libc.so.6"]))

    assert "lib/libc.so.6" not in content.files
    assert "lib/libstdc++.so.6" in content.files


def test_a_library_can_be_left_to_the_image(mpich):
    content = gathered(mpich, leave=frozenset(["libibverbs.so.1"]))

    assert not any("libibverbs" in path for path in content.files)


def test_what_udiroot_conf_must_say_names_the_plugins(mpich):
    lines = gathered(mpich).lines("/opt/modules/mpich")

    inside = "/opt/udiImage/modules/mpich/lib"
    assert lines == [
        "module_mpich_copyPath = /opt/modules/mpich",
        f"module_mpich_siteEnvPrepend = LD_LIBRARY_PATH={inside}",
        f"module_mpich_siteEnv = SHIFTER_MPI=mpich UCX_MODULE_DIR={inside}/ucx IBV_DRIVERS=mlx5",
        "module_mpich_conflict = openmpi",
    ]


def test_a_missing_library_is_told(tmp_path):
    gone = make_library(tmp_path / "libgone.so.3")
    make_library(tmp_path / LIB / "libmpich.so.12", needs=[gone])
    gone.unlink()

    content = gathered(tmp_path)

    assert content.notes == ["libmpich.so.12 needs libgone.so.3, which is missing"]


def test_a_library_of_another_class_is_passed_over(tmp_path):
    wide = make_library(tmp_path / "lib64/libz.so.1")
    make_library(tmp_path / LIB / "libmpich.so.12", needs=[wide])
    make_library(tmp_path / LIB / "libz.so.1", bits=32)

    assert gathered(tmp_path).files["lib/libz.so.1"] == "/lib64/libz.so.1"


def test_where_there_is_no_mpi_the_places_looked_at_are_named(tmp_path):
    with pytest.raises(
        PrepareError, match=r"no libmpich.so.12 or libmpi.so.12 in /usr or .*--from"
    ):
        gathered(tmp_path)


def test_open_mpi_comes_with_components_parameters_and_pmix(tmp_path):
    lib = tmp_path / LIB
    pal = make_library(lib / "libopen-pal.so.40")
    pmix = make_library(lib / "pmix2/lib/libpmix.so.2")
    (lib / "libpmix.so.2").symlink_to("pmix2/lib/libpmix.so.2")
    make_library(lib / "pmix2/lib/pmix/pmix_mca_gds.so")
    make_library(lib / "openmpi/lib/openmpi3/mca_pmix_ext3x.so", needs=[pmix, pal])
    make_library(lib / "libmpi.so.40", needs=[pal])
    make_library(lib / "libmpi_java.so.40")
    (tmp_path / "etc/openmpi").mkdir(parents=True)
    (tmp_path / "etc/openmpi/openmpi-mca-params.conf").write_text("pml = ob1\n")

    content = mpi.gather(mpi.FLAVOURS["openmpi"], "ompi", "/usr", loader_of(tmp_path))

    inside = "/opt/udiImage/modules/ompi"
    assert content.variables == {
        "SHIFTER_MPI": "openmpi",
        "OPAL_PKGLIBDIR": f"{inside}/lib/openmpi",
        "PMIX_PKGLIBDIR": f"{inside}/lib/pmix",
        "OPAL_SYSCONFDIR": f"{inside}/etc",
    }
    assert names_in(content, "lib") == {"libmpi.so.40", "libopen-pal.so.40", "libpmix.so.2"}
    assert names_in(content, "lib/openmpi") == {"mca_pmix_ext3x.so"}
    assert names_in(content, "lib/pmix") == {"pmix_mca_gds.so"}
    assert content.files["etc/openmpi-mca-params.conf"] == "/etc/openmpi/openmpi-mca-params.conf"


@pytest.fixture(scope="module")
def driver(tmp_path_factory) -> Path:
    """NVIDIA's driver as its installer leaves it, over one that was there before; and ROCm."""
    root = tmp_path_factory.mktemp("driver")
    for name, links in {
        "libcuda.so.550.54.14": ("libcuda.so.1",),
        "libnvidia-ml.so.550.54.14": ("libnvidia-ml.so.1",),
        "libnvidia-gpucomp.so.550.54.14": (),
        "libnvidia-ml.so.535.104.05": (),
        "libnvidia-glcore.so.550.54.14": (),
    }.items():
        soname = links[0] if links else name
        if name.endswith("535.104.05"):
            soname = "libnvidia-ml.so.1"
        make_library(root / LIB / name, soname=soname)
        for link in links:
            (root / LIB / link).symlink_to(name)
    make_library(root / "usr/lib32/libcuda.so.550.54.14", soname="libcuda.so.1", bits=32)
    (root / "usr/lib32/libcuda.so.1").symlink_to("libcuda.so.550.54.14")
    (root / "usr/bin").mkdir()
    (root / "usr/bin/nvidia-smi").write_bytes((root / LIB / "libcuda.so.1").read_bytes())
    (root / "usr/bin/nvidia-smi").chmod(0o755)
    drm = make_library(root / "opt/amdgpu/lib/x86_64-linux-gnu/libdrm_amdgpu.so.1")
    make_library(root / "opt/rocm/lib/libhsa-runtime64.so.1", needs=[drm])
    (root / "opt/rocm/libexec/rocm_smi").mkdir(parents=True)
    (root / "opt/rocm/libexec/rocm_smi/rocm_smi.py").write_text("#!/usr/bin/env python3\n")
    (root / "opt/rocm/bin").mkdir()
    (root / "opt/rocm/bin/rocm-smi").symlink_to("../libexec/rocm_smi/rocm_smi.py")
    (root / "dev").mkdir()
    for name in ("nvidia0", "nvidiactl", "kfd", "null"):
        (root / "dev" / name).touch()
    (root / "etc").mkdir()
    (root / "etc/ld.so.conf").write_text(
        "/usr/lib32\n/opt/rocm/lib\n/opt/amdgpu/lib/x86_64-linux-gnu\n"
    )
    make_cache(root)
    return root


def gathered_gpu(root: Path, source: str = "/usr") -> Content:
    return gpu.gather("gpu", source, Loader(RootTree(str(root)), [source]), machine="x86_64")


def test_the_drivers_of_both_vendors_are_found_by_class(driver):
    content = gathered_gpu(driver)

    assert names_in(content, "lib") == {
        "libcuda.so.550.54.14", "libnvidia-ml.so.550.54.14", "libnvidia-gpucomp.so.550.54.14",
        "libhsa-runtime64.so.1", "libdrm_amdgpu.so.1",
    }  # fmt: skip
    assert names_in(content, "lib32") == {"libcuda.so.550.54.14"}
    assert content.files["lib32/libcuda.so.550.54.14"] == "/usr/lib32/libcuda.so.550.54.14"
    assert content.links["lib/libcuda.so"] == "libcuda.so.550.54.14"
    assert content.variables["SHIFTER_GPU"] == "nvidia,amd"


def test_programs_of_the_driver_are_on_the_path_inside(driver):
    content = gathered_gpu(driver)

    assert content.files["bin/nvidia-smi"] == "/usr/bin/nvidia-smi"
    assert content.prepended["PATH"] == ["/opt/udiImage/modules/gpu/bin"]
    inside = "/opt/udiImage/modules/gpu"
    assert content.prepended["LD_LIBRARY_PATH"] == [f"{inside}/lib", f"{inside}/lib32"]


def test_a_script_of_rocm_comes_with_where_it_leads(driver):
    content = gathered_gpu(driver, "/opt")

    assert content.links["bin/rocm-smi"] == "../libexec/rocm_smi/rocm_smi.py"
    assert content.files["libexec/rocm_smi/rocm_smi.py"] == "/opt/rocm/libexec/rocm_smi/rocm_smi.py"
    assert content.variables["SHIFTER_GPU"] == "amd"


def test_what_an_earlier_driver_left_behind_stays_out(driver):
    content = gathered_gpu(driver)

    assert content.notes == [f"left out /{LIB}/libnvidia-ml.so.535.104.05: the driver is 550.54.14"]
    assert content.links["lib/libnvidia-ml.so.1"] == "libnvidia-ml.so.550.54.14"


@pytest.fixture
def node(tmp_path) -> Path:
    """A node with an NVIDIA GPU whose driver lies in a place of its own, behind wrappers."""
    place = tmp_path / "usr/local/nvidia"
    libcrypto = make_library(tmp_path / LIB / "libcrypto.so.3")
    for name in ("libcuda.so.1", "libnvidia-ml.so.1"):
        make_library(place / "lib64" / name, needs=[libcrypto])
    make_library(tmp_path / LIB / "libhsa-runtime64.so.1")
    (place / "bin").mkdir()
    (place / "bin/nvidia-smi").write_bytes((place / "lib64/libcuda.so.1").read_bytes())
    (tmp_path / "usr/bin").mkdir()
    (tmp_path / "usr/bin/nvidia-smi").write_text(
        "#!/bin/sh\nexec /usr/local/nvidia/bin/nvidia-smi\n"
    )
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidiactl").touch()
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/ld.so.conf").write_text("/usr/local/nvidia/lib64\n")
    make_cache(tmp_path)
    return tmp_path


def test_the_driver_of_a_gpu_that_the_node_has_not_is_left_out(node):
    content = gathered_gpu(node)

    assert content.variables["SHIFTER_GPU"] == "nvidia"
    assert names_in(content, "lib") == {"libcuda.so.1", "libnvidia-ml.so.1"}


def test_without_any_gpu_each_driver_that_is_installed_is_taken(node):
    (node / "dev/nvidiactl").unlink()

    assert gathered_gpu(node).variables["SHIFTER_GPU"] == "nvidia,amd"


def test_libraries_of_the_system_do_not_come_along_with_nvidias_driver(node):
    assert "libcrypto.so.3" not in names_in(gathered_gpu(node), "lib")


def test_programs_are_found_beside_the_libraries_behind_a_wrapper(node):
    assert gathered_gpu(node).files["bin/nvidia-smi"] == "/usr/local/nvidia/bin/nvidia-smi"


def test_device_nodes_of_gpus_are_told(driver):
    found = gpu.devices(loader_of(driver))

    assert found == ["/dev/kfd", "/dev/nvidia0", "/dev/nvidiactl"]


def test_a_node_without_a_gpu_driver_is_told_so(mpich):
    with pytest.raises(PrepareError, match="no libcuda.so.1 .NVIDIA. and no libhsa-runtime64"):
        gathered_gpu(mpich)


def test_a_module_is_readable_by_all_and_writable_by_its_owner_alone(mpich, tmp_path):
    umask = os.umask(0o077)
    try:
        made = tree.write(gathered(mpich), RootTree(str(mpich)), tmp_path, replace=False)
    finally:
        os.umask(umask)

    modes = {path.stat().st_mode & 0o777 for path in [made, *made.rglob("*")]}
    assert modes <= {0o755, 0o644}
    assert (made / "lib/libmpi.so.12").resolve() == made / "lib/libmpich.so.12.2.2"
    assert os.listdir(tmp_path) == ["mpich"]


def test_a_module_is_made_anew_only_if_asked_for_and_the_last_one_is_kept(mpich, tmp_path):
    node, content = RootTree(str(mpich)), gathered(mpich)
    made = tree.write(content, node, tmp_path, replace=False)
    (made / "mark").touch()

    with pytest.raises(PrepareError, match="is there already: --replace"):
        tree.write(content, node, tmp_path, replace=False)
    tree.write(content, node, tmp_path, replace=True)

    assert sorted(os.listdir(tmp_path)) == [".mpich.old", "mpich"]
    assert (tmp_path / ".mpich.old/mark").exists() and not (made / "mark").exists()


def test_a_large_file_that_is_no_library_is_not_copied_and_nothing_is_left(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "secret").write_bytes(b"x" * (2 << 20))
    content = Content("bad", files={"lib/libx.so": "/secret"})

    with pytest.raises(NotALibraryError, match="/secret is not a shared object"):
        tree.write(content, RootTree(str(root)), tmp_path / "into", replace=False)

    assert os.listdir(tmp_path / "into") == []


def test_why_the_runtime_would_refuse_a_directory_is_told(tmp_path):
    tmp_path.chmod(0o777)

    assert f"{tmp_path} is writable by others than root" in " ".join(tree.doubts(tmp_path))
