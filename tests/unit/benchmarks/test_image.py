# SPDX-License-Identifier: BSD-3-Clause
"""The image that benchmarks pull: the same for everybody, and as an image must be."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile

import pytest

from benchmarks import donors, image, layers
from benchmarks.layers import OPAQUE_WHITEOUT, WHITEOUT, Entry, Kind
from benchmarks.programs import BenchmarkError

SCALE = 0.001


@pytest.fixture
def some_donors(tmp_path):
    directory = tmp_path / "donors"
    directory.mkdir()
    for name in ("a.py", "b.pyc", "c.txt", "d.so"):
        (directory / name).write_bytes(f"bytes of {name} ".encode() * 50)
    return donors.find([directory])


def written(directory, layer):
    return (directory / layer.digest.removeprefix("sha256:")).read_bytes()


def test_the_full_image_is_as_large_as_the_budget_says():
    tree = layers.visible(layers.plan(1))

    files = {id(entry): entry.size for entry in tree.values()}
    assert len(tree) == pytest.approx(40_000, rel=0.05)
    assert sum(files.values()) == pytest.approx(700_000_000, rel=0.001)


@pytest.mark.parametrize("scale", [SCALE, 0.02])
def test_layers_hide_replace_and_link(scale):
    plan = layers.plan(scale)

    assert 6 <= len(plan) <= 8
    names = [entry.path.rpartition("/")[2] for layer in plan for entry in layer]
    assert OPAQUE_WHITEOUT in names
    assert any(name.startswith(WHITEOUT) and name != OPAQUE_WHITEOUT for name in names)
    assert {entry.kind for layer in plan for entry in layer} == set(Kind)
    paths = [{entry.path for entry in layer} for layer in plan]
    assert any(paths[0] & later for later in paths[1:])


def test_every_link_and_whiteout_names_what_is_there():
    tree = set()
    for layer in layers.plan(0.02):
        hidden = [entry.path.replace(WHITEOUT, "") for entry in layer if WHITEOUT in entry.path]
        assert all(path in tree for path in hidden if not path.endswith(".opq"))
        for entry in layer:
            if entry.kind is Kind.HARD_LINK:
                assert entry.target in {other.path for other in layer}
        tree |= {entry.path for entry in layer}


def test_whiteouts_do_not_touch_their_own_layer():
    lower = [Entry(path="d", kind=Kind.DIRECTORY), Entry(path="d/old"), Entry(path="gone")]
    upper = [Entry(path="d/new"), Entry(path=f"d/{OPAQUE_WHITEOUT}"), Entry(path=".wh.gone")]

    assert set(layers.visible([lower, upper])) == {"d", "d/new"}


def test_the_same_donors_make_the_same_layers(some_donors, tmp_path):
    plan = layers.plan(SCALE)

    first = image.write(plan, tmp_path / "first", some_donors)
    second = image.write(plan, tmp_path / "second", some_donors)

    assert first == second


def test_layers_hold_what_was_planned(some_donors, tmp_path):
    plan = layers.plan(SCALE)

    made = image.write(plan, tmp_path, some_donors)

    for entries, layer in zip(plan, made, strict=True):
        packed = written(tmp_path, layer)
        plain = gzip.decompress(packed)
        assert layer.digest == f"sha256:{hashlib.sha256(packed).hexdigest()}"
        assert layer.diff_id == f"sha256:{hashlib.sha256(plain).hexdigest()}"
        assert (layer.size, layer.unpacked_size) == (len(packed), len(plain))
        with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
            found = [(member.name, member.size, member.linkname) for member in tar]
        assert found == [(entry.path, entry.size, entry.target) for entry in entries]


def test_the_manifest_describes_config_and_layers(some_donors, tmp_path):
    made = image.write(layers.plan(SCALE), tmp_path, some_donors)

    config = image.config_of(made)
    manifest = json.loads(image.manifest_of(config, made))

    assert manifest["schemaVersion"] == 2
    assert manifest["config"]["digest"] == f"sha256:{hashlib.sha256(config).hexdigest()}"
    assert manifest["config"]["size"] == len(config)
    described = [(layer["digest"], layer["size"]) for layer in manifest["layers"]]
    assert described == [(layer.digest, layer.size) for layer in made]
    diff_ids = json.loads(config)["rootfs"]["diff_ids"]
    assert diff_ids == [layer.diff_id for layer in made]


def test_donors_without_a_byte_are_refused(tmp_path):
    (tmp_path / "empty").touch()
    nothing = donors.find([tmp_path])

    with pytest.raises(BenchmarkError, match="no bytes"):
        image.write([[Entry(path="file", size=1)]], tmp_path / "layers", nothing)
