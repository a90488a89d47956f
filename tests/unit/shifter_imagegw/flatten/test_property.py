# SPDX-License-Identifier: BSD-3-Clause
"""Whatever the layers: the merged stream is what applying them one after the other makes."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from hypothesis import assume, given, settings

from shifter_imagegw.flatten import LayerError, Limits, sequential, topdown

from .layers import Entry, flatten_blobs, tar, tree_of
from .oracle import BadLayerError, apply_all
from .stacks import stacks, tidy_stacks


def _expected(stack: list[list[Entry]]) -> object:
    try:
        return apply_all(stack)
    except BadLayerError:
        return "refused"


def _flattened(stack: list[list[Entry]]) -> object:
    with tempfile.TemporaryDirectory() as folder:
        try:
            return tree_of(flatten_blobs([tar(layer) for layer in stack], Path(folder))[0])
        except LayerError:
            return "refused"


@settings(deadline=None, max_examples=400)
@given(stacks)
def test_any_layers_make_what_applying_them_in_order_makes(stack):
    assert _flattened(stack) == _expected(stack)


@settings(deadline=None, max_examples=400)
@given(tidy_stacks)
def test_layers_as_builders_make_them_make_what_applying_them_in_order_makes(stack):
    assert _flattened(stack) == _expected(stack)


@settings(deadline=None, max_examples=200)
@given(tidy_stacks)
def test_both_ways_to_merge_agree(stack):
    with tempfile.TemporaryDirectory() as name:
        layers = []
        for number, layer in enumerate(stack):
            path = Path(name) / str(number)
            path.write_bytes(tar(layer))
            layers.append(lambda path=path: path)
        one, other = io.BytesIO(), io.BytesIO()
        try:
            first = topdown.flatten(layers, one, lambda _: None, Limits())
        except topdown.NotTopDownError:
            assume(False)

        second = sequential.flatten(layers, other, lambda _: None, Limits())

    assert tree_of(one.getvalue()) == tree_of(other.getvalue())
    assert (first.entries, first.bytes) == (second.entries, second.bytes)
    assert (first.dropped_devices, first.dropped_fifos) == (
        second.dropped_devices,
        second.dropped_fifos,
    )
