"""PyTorch modules match the Keras layers and follow PyTorch's conventions."""

import copy
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

torch = pytest.importorskip("torch")

import deepsphere.torch as ds  # noqa: E402
from deepsphere import Graph, layers, models  # noqa: E402
from deepsphere.ops import SparseOperator, filters  # noqa: E402
from deepsphere.sampling import Equiangular, Healpix, Icosahedral  # noqa: E402
from harness import SINGLE, relative_error, to_numpy  # noqa: E402

SPHERE = Healpix(4)
GRID = Equiangular(8, 16)
MESH = Icosahedral(2)


def data(sampling, channels=3, batch=2, seed=0):
    values = np.random.default_rng(seed).standard_normal((batch, len(sampling), channels))
    return values.astype(np.float32)


def randomize(layer, seed=1):
    rng = np.random.default_rng(seed)
    for variable in layer.variables:
        if "seed" not in variable.path and "steps" not in variable.path:
            variable.assign(rng.uniform(0.2, 1, variable.shape))


PAIRS = {
    "conv": lambda: (
        ds.ChebyshevConv(3, 4, 3, sampling=SPHERE, graph=8, activation="relu"),
        layers.ChebyshevConv(4, 3, sampling=SPHERE, graph=8, activation="relu"),
    ),
    "tanh, no bias": lambda: (
        ds.ChebyshevConv(3, 2, 2, sampling=GRID, activation=torch.tanh, bias=False),
        layers.ChebyshevConv(2, 2, sampling=GRID, activation="tanh", use_bias=False),
    ),
    "depthwise": lambda: (
        ds.ChebyshevConv(3, 3, 2, sampling=SPHERE, graph=8, depthwise=True, activation="gelu"),
        layers.ChebyshevConv(order=2, sampling=SPHERE, graph=8, depthwise=True, activation="gelu"),
    ),
    "normalized": lambda: (
        ds.ChebyshevConv(
            3,
            4,
            2,
            sampling=SPHERE,
            graph=Graph(8, laplacian="random_walk"),
            normalization="batch",
        ),
        layers.ChebyshevConv(
            4, 2, sampling=SPHERE, graph=Graph(8, laplacian="random_walk"), normalization="batch"
        ),
    ),
    "pool": lambda: (ds.Pool(sampling=SPHERE), layers.Pool(sampling=SPHERE)),
    "mean of 2": lambda: (
        ds.Pool(2, "mean", sampling=SPHERE),
        layers.Pool(2, "mean", sampling=SPHERE),
    ),
    "mesh max": lambda: (ds.Pool(sampling=MESH), layers.Pool(sampling=MESH)),
    "area": lambda: (ds.Pool(1, "area", sampling=MESH), layers.Pool(1, "area", sampling=MESH)),
    "smooth": lambda: (
        ds.SmoothPool(1, "mean", sampling=SPHERE, graph=8),
        layers.SmoothPool(1, "mean", sampling=SPHERE, graph=8),
    ),
    "unpool": lambda: (ds.Unpool(sampling=SPHERE), layers.Unpool(sampling=SPHERE)),
    "mesh unpool": lambda: (ds.Unpool(sampling=MESH), layers.Unpool(sampling=MESH)),
    "patch": lambda: (
        ds.PatchConvTranspose(3, 2, sampling=SPHERE),
        layers.PatchConvTranspose(2, sampling=SPHERE),
    ),
    "resample": lambda: (
        ds.Resample(GRID, sampling=SPHERE),
        layers.Resample(GRID, sampling=SPHERE),
    ),
    "unet": lambda: (
        ds.UNet(3, 2, sampling=SPHERE, filters=(4, 5, 6), order=2, graph=8),
        models.UNet(SPHERE, 2, filters=(4, 5, 6), order=2, graph=8),
    ),
    "grid unet": lambda: (
        ds.UNet(3, 1, sampling=GRID, filters=(2, 3), order=1, pooling="smooth_max", skip="add"),
        models.UNet(GRID, 1, filters=(2, 3), order=1, pooling="smooth_max", skip="add"),
    ),
}


def made(name):
    module, layer = PAIRS[name]()
    layer.build((None, len(module.sampling), 3))
    randomize(layer)
    ds.load_keras_weights(module, layer)
    return module, layer, data(module.sampling)


@pytest.mark.parametrize("name", PAIRS)
def test_the_numbers_of_the_keras_layer(name):
    module, layer, x = made(name)
    for training in (False, True):
        module.train(training)
        expected = to_numpy(layer(x, training=True) if training and layer.weights else layer(x))
        assert relative_error(module(torch.tensor(x)).detach().numpy(), expected) < 5 * SINGLE
    module.eval()  # with the running averages that the step has left
    assert relative_error(module(torch.tensor(x)).detach().numpy(), to_numpy(layer(x))) < 5 * SINGLE


@pytest.mark.parametrize("name", ["conv", "normalized", "patch", "unet", "grid unet"])
def test_weights_there_and_back(name):
    module, layer, _ = made(name)
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            tensor.fill_(7) if "tracked" in key else tensor.add_(1)
    ds.copy_to_keras(module, layer)
    again, _ = PAIRS[name]()
    ds.load_keras_weights(again, layer)
    for one, other in zip(module.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", PAIRS)
def test_a_state_dict_loads_into_another_instance(name):
    module, _, x = made(name)
    other, _ = PAIRS[name]()
    other.load_state_dict(module.state_dict())
    module.eval(), other.eval()
    assert torch.equal(module(torch.tensor(x)), other(torch.tensor(x)))


@pytest.mark.parametrize("name", PAIRS)
def test_gradients_in_double_precision(name):
    """Against central differences; every module follows `.to(dtype)`."""
    module, _, x = made(name)
    module.to(torch.float64).eval()
    small = torch.tensor(x[:1, :, :3], dtype=torch.float64, requires_grad=True)
    y = module(small)
    assert y.dtype == torch.float64
    direction = torch.tensor(data(module.sampling, 3, 1, 2), dtype=torch.float64)
    weights = torch.randn_like(y)
    (gradient,) = torch.autograd.grad((y * weights).sum(), small)
    step = 1e-6
    with torch.no_grad():
        ahead, behind = module(small + step * direction), module(small - step * direction)
    numeric = ((ahead - behind) * weights).sum() / (2 * step)
    # Central differences: step^2 of truncation, 1e-16 / step of rounding; kinks are that rare.
    torch.testing.assert_close((gradient * direction).sum(), numeric, rtol=1e-5, atol=1e-6)


def test_half_precision():
    module, _, x = made("conv")
    expected = module(torch.tensor(x))
    half = module.to(torch.bfloat16)(torch.tensor(x, dtype=torch.bfloat16))
    assert half.dtype == torch.bfloat16
    # Inputs, weights and output are rounded to 8 bits.
    assert relative_error(half.float().detach().numpy(), expected.detach().numpy()) < 3e-2


@pytest.mark.filterwarnings("default")  # PyTorch's compiler warns about itself
@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("form", ["compiled", "portable"])
def test_compiles_whole(name, form, monkeypatch):
    """With the backend that only traces, since every backend compiles the same trace."""
    if form == "portable":
        monkeypatch.setattr("deepsphere.ops.compiled.torch.available", lambda *_: False)
    module, layer, x = made(name)
    with monkeypatch.context() as patch:  # operators are shared: Keras' backend keeps its own here
        patch.setattr(filters._operations.compiled, "available", lambda *_: False)
        layer(x)
    module.eval()
    x = torch.tensor(x, requires_grad=True)
    torch._dynamo.reset()
    whole = torch.compile(module, fullgraph=True, backend="aot_eager")
    y, expected = whole(x), module(x)
    torch.testing.assert_close(y, expected)
    (found,) = torch.autograd.grad(y.square().sum(), x)
    (gradient,) = torch.autograd.grad(expected.square().sum(), x)
    torch.testing.assert_close(found, gradient)


def operators_of(module):
    values = [value for part in module.modules() for value in vars(part).values()]
    return [value for value in values if isinstance(value, SparseOperator)]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", ["conv", "smooth", "resample"])
def test_compiles_before_any_other_call(name):
    """In a precision that the kernels do not support, constants must exist before tracing."""
    module, _, x = made(name)
    for operator in operators_of(module):  # others may have used the same
        for each in (operator, operator.transpose):
            each._constants.clear()
    module.eval().double()
    key = ("torch", torch.device("cpu"), torch.float64)
    for operator in operators_of(module):
        for each in (operator, operator.transpose):
            assert each.known_constant(key, "torch") is not None
    torch._dynamo.reset()
    x = torch.tensor(x).double()
    whole = torch.compile(module, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(whole(x), module(x), rtol=1e-12, atol=1e-12)


def test_half_precision_and_back_keeps_the_low_pass():
    module = ds.SmoothPool(sampling=SPHERE)
    x = torch.tensor(data(SPHERE))
    expected = module(x)
    assert torch.equal(module.bfloat16().float()(x), expected)
    exact = module.double()(x.double())
    torch.testing.assert_close(exact.float(), expected)
    single = ds.SmoothPool(sampling=SPHERE).low_pass.coefficients.double()
    assert not torch.equal(module.low_pass.coefficients, single)


def test_made_without_data():
    """Created on the meta device and then loaded, as large models are."""
    made = ds.UNet(2, 1, sampling=MESH, filters=(3, 4), order=1, pooling="smooth_max")
    x = torch.tensor(data(MESH, 2))
    expected = made(x)
    state = made.state_dict()
    with torch.device("meta"):
        module = ds.UNet(2, 1, sampling=MESH, filters=(3, 4), order=1, pooling="smooth_max")
    module.to_empty(device="cpu")
    for part in module.modules():
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()
    for name, norm in module.named_modules():
        if isinstance(norm, ds.BatchNorm):
            assert (norm.running_mean == 0).all(), name
            assert norm.num_batches_tracked == 0, name
    module.load_state_dict(state)
    torch.testing.assert_close(module.eval()(x), made.eval()(x))
    assert expected.shape == (2, len(MESH), 1)


def test_saved_as_a_whole(tmp_path):
    """Without the operators' constants, which belong to a device and a backend."""
    for name in ("conv", "resample", "smooth"):
        module, _, x = made(name)
        expected = module.eval()(torch.tensor(x))
        torch.save(module, tmp_path / "module.pt")
        loaded = torch.load(tmp_path / "module.pt", weights_only=False, map_location="meta")
        operators = operators_of(loaded)
        held = [t for o in operators for t in o.known_constant("compiled torch", "torch") or []]
        assert operators
        assert all(tensor.device.type == "cpu" for tensor in held)
        loaded = torch.load(tmp_path / "module.pt", weights_only=False)
        assert torch.equal(loaded(torch.tensor(x)), expected)


@pytest.mark.parametrize("form", ["compiled", "portable"])
def test_autocast_and_default_types(form, monkeypatch):
    if form == "portable":
        monkeypatch.setattr("deepsphere.ops.compiled.torch.available", lambda *_: False)
    for name in ("conv", "smooth", "pool"):
        module, _, x = made(name)
        x = torch.tensor(x, requires_grad=True)
        expected = module(x)
        (gradient,) = torch.autograd.grad(expected.square().sum(), x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = module(x)
        torch.testing.assert_close(y.float(), expected)
        (found,) = torch.autograd.grad(y.square().sum(), x)
        torch.testing.assert_close(found, gradient)
        torch.set_default_dtype(torch.float64)
        try:
            torch.testing.assert_close(module(x), expected)
        finally:
            torch.set_default_dtype(torch.float32)


def test_statistics_can_be_frozen_and_an_empty_batch_changes_none():
    module, _, x = made("normalized")
    x = torch.tensor(x)
    module.train()
    module.norm.eval()
    expected = module(x)
    before = module.norm.running_mean.clone()
    assert torch.equal(module(x), expected)
    assert torch.equal(module.eval()(x), expected)
    module.train()
    assert module(x[:0]).shape == (0, len(SPHERE), 4)
    assert torch.equal(module.norm.running_mean, before)
    module(x)
    assert not torch.equal(module.norm.running_mean, before)
    for name in PAIRS:
        module, _, x = made(name)
        assert len(module.train()(torch.tensor(x[:0]))) == 0


def test_batch_norm_by_itself():
    norm = ds.BatchNorm(3)
    x = torch.tensor(data(SPHERE)) * 2 + 5
    y = norm(x)
    torch.testing.assert_close(y.mean((0, 1)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.var((0, 1), correction=0), torch.ones(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(norm.eval()(x), y)  # the first step moves the averages all the way


@pytest.mark.filterwarnings("default")
def test_compiles_whole_in_training():
    module, _, x = made("normalized")
    module.train()
    other = copy.deepcopy(module)
    whole = torch.compile(module, fullgraph=True, backend="aot_eager")
    for batch in (2, 1, 2):
        y = torch.tensor(x[:batch])
        torch.testing.assert_close(whole(y), other(y))
    for one, another in zip(module.buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(one, another)


def test_parameters_are_there_before_the_first_call():
    module = ds.UNet(2, 1, sampling=SPHERE, filters=(3, 4), order=1)
    optimizer = torch.optim.SGD(module.parameters(), 1e-2)
    x, target = torch.tensor(data(SPHERE, 2)), torch.zeros(2, len(SPHERE), 1)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(module(x), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[2] < losses[1] < losses[0]
    module.eval()
    assert torch.nn.functional.mse_loss(module(x), target).item() < losses[0]


def test_keras_is_not_imported():
    code = """
import sys, torch
from deepsphere import Healpix
from deepsphere.torch import ChebyshevConv, Pool, Unpool, UNet
sphere = Healpix(2)
model = torch.nn.Sequential(
    ChebyshevConv(1, 2, sampling=sphere, normalization="batch", activation="relu"),
    Pool(sampling=sphere),
    Unpool(sampling=sphere.coarsen()),
)
model(torch.zeros(2, 48, 1)).sum().backward()
UNet(1, 1, sampling=sphere, filters=(2, 2), order=1)(torch.zeros(2, 48, 1))
heavy = {"keras", "tensorflow", "jax"} & set(sys.modules)
assert not heavy, heavy
"""
    environment = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


CONV = {"in_channels": 2, "out_channels": 3, "sampling": SPHERE}


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ds.ChebyshevConv(**CONV | {"in_channels": 0}), ValueError, "in_channels must be"),
        (lambda: ds.ChebyshevConv(**CONV | {"order": 2.5}), TypeError, "order must be an integer"),
        (lambda: ds.ChebyshevConv(**CONV | {"sampling": 4}), TypeError, "Sampling such as"),
        (lambda: ds.ChebyshevConv(**CONV | {"graph": "x"}), ValueError, "graph must be"),
        (lambda: ds.ChebyshevConv(**CONV, normalization="layer"), ValueError, "None or 'batch'"),
        (
            lambda: ds.ChebyshevConv(**CONV, activation="mish"),
            ValueError,
            "one of linear, relu",
        ),
        (lambda: ds.ChebyshevConv(**CONV, scale=2), ValueError, "scale must be in"),
        (lambda: ds.ChebyshevConv(**CONV, depthwise=True), ValueError, "equal in_channels = 2"),
        (lambda: ds.Pool(mode="min", sampling=SPHERE), ValueError, "mode must be one of"),
        (lambda: ds.SmoothPool(cutoff=0, sampling=SPHERE), ValueError, "cutoff must be in"),
        (lambda: ds.Resample(GRID, "x", sampling=SPHERE), ValueError, "method must be one of"),
        (lambda: ds.Unpool(sampling=SPHERE, finer=SPHERE), ValueError, "coarsened by 1"),
        (lambda: ds.UNet(1, 1, sampling=SPHERE, filters=()), ValueError, "must not be empty"),
        (lambda: ds.UNet(1, 1, sampling=SPHERE, skip="x"), ValueError, "skip must be one of"),
        (lambda: ds.PatchConvTranspose(1, 1, sampling=MESH), ValueError, "use Unpool"),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.zeros(2, 3, 192), ValueError, r"\(batch, 192, 2\) on .*, got \(2, 3, 192\)"),
        (torch.zeros(192, 2), ValueError, "must have shape"),
        (torch.zeros(2, 192, 2, dtype=torch.int64), TypeError, "use x.float"),
        (torch.zeros(2, 192, 2, dtype=torch.complex64), TypeError, "floating-point"),
        (np.zeros((2, 192, 2)), TypeError, "must be a torch.Tensor, got ndarray"),
    ],
)
def test_bad_input(x, error, message):
    with pytest.raises(error, match=message):
        ds.ChebyshevConv(**CONV)(x)


def test_weights_that_do_not_fit():
    module = ds.ChebyshevConv(**CONV)
    layer = layers.ChebyshevConv(3, 4, sampling=SPHERE)
    with pytest.raises(ValueError, match="not built"):
        ds.load_keras_weights(module, layer)
    layer.build((None, 192, 5))
    with pytest.raises(
        ValueError, match=r"has shape \(5, 5, 3\), but the module needs \(5, 2, 3\)"
    ):
        ds.load_keras_weights(module, layer)
    for other, message in (
        (
            layers.ChebyshevConv(3, 4, sampling=SPHERE, graph=8),
            r"graph Graph\(20, .* has Graph\(8, ",
        ),
        (layers.ChebyshevConv(3, 4, sampling=SPHERE, scale=1.0), "has the scale 0.75, .* has 1.0"),
        (layers.ChebyshevConv(3, 3, sampling=SPHERE), "has the order 4, .* has 3"),
    ):
        other.build((None, 192, 2))
        with pytest.raises(ValueError, match=message):
            ds.load_keras_weights(module, other)
    monomial = layers.MonomialConv(3, 4, sampling=SPHERE)
    monomial.build((None, 192, 2))
    with pytest.raises(TypeError, match="not a ChebyshevConv"):
        ds.load_keras_weights(module, monomial)
    with pytest.raises(TypeError, match="ReLU has no counterpart"):
        ds.load_keras_weights(torch.nn.ReLU(), layer)
    bare = layers.ChebyshevConv(3, 4, sampling=SPHERE, use_bias=False)
    bare.build((None, 192, 2))
    before = module.weight.clone()
    with pytest.raises(ValueError, match="has a bias"):
        ds.load_keras_weights(module, bare)
    assert torch.equal(module.weight, before)  # all or nothing


def test_a_stack_of_both():
    ours = torch.nn.Sequential(
        ds.ChebyshevConv(3, 4, 2, sampling=SPHERE, activation="relu"),
        ds.Pool(sampling=SPHERE),
        ds.ChebyshevConv(4, 2, 2, sampling=SPHERE.coarsen()),
    )
    conv = layers.ChebyshevConv
    theirs = models.Sequential(
        SPHERE, [conv(4, 2, activation="relu"), layers.Pool(), conv(2, 2), keras.layers.ReLU()]
    )
    theirs.build((None, 192, 3))
    ds.load_keras_weights(ours, theirs)
    x = data(SPHERE)
    y = torch.relu(ours(torch.tensor(x))).detach().numpy()
    assert relative_error(y, to_numpy(theirs(x))) < SINGLE
