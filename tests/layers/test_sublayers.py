"""Layers inside layers, found wherever they are kept."""

import keras

from deepsphere.layers import ChebyshevConv, ResidualBlock
from deepsphere.layers.sublayers import walk_sublayers
from deepsphere.models import Sequential
from deepsphere.sampling import Healpix


@keras.saving.register_keras_serializable("tests")
class Branches(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.one = keras.layers.Dense(2)
        self.again = self.one
        self.several = [keras.layers.Dense(2), {"name": keras.layers.ReLU()}]


def test_paths_are_attributes_and_positions():
    layer = Branches()
    found = dict(walk_sublayers(layer))
    assert sorted(found) in (
        ["again", "several/0", "several/1/name"],
        ["one", "several/0", "several/1/name"],
    )
    assert found["several/1/name"] is layer.several[1]["name"]


def test_parents_come_before_children_and_each_layer_once():
    conv = ChebyshevConv(2, name="shared")
    block = ResidualBlock(ChebyshevConv(order=2))
    model = Sequential(Healpix(2), [conv, block], graph=8)
    model.build((None, 48, 2))
    paths = [path for path, _ in walk_sublayers(model)]
    layers = [id(layer) for _, layer in walk_sublayers(model)]
    assert len(set(layers)) == len(layers)
    inside = [path for path in paths if path.startswith("layers/1/")]
    assert {"layers/1/conv1", "layers/1/conv2"} <= set(inside)
    assert paths.index("layers/1") < min(map(paths.index, inside))
