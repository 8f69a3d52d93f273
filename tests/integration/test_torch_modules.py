"""PyTorch modules match the Keras layers and follow PyTorch's conventions."""

import copy
import os
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

import deepsphere.torch as ds  # noqa: E402
from deepsphere.ops import filters  # noqa: E402
from harness import SINGLE, relative_error, to_numpy  # noqa: E402
from torch_pairs import CONV, GRID, MESH, PAIRS, SPHERE, data, made, operators_of  # noqa: E402


@pytest.mark.parametrize("name", PAIRS)
def test_the_numbers_of_the_keras_layer(name):
    module, layer, x = made(name)
    for training in (False, True):
        module.train(training)
        expected = to_numpy(layer(x, training=True) if training and layer.weights else layer(x))
        assert relative_error(module(torch.tensor(x)).detach().numpy(), expected) < 5 * SINGLE
    module.eval()  # with the running averages that the step has left
    assert relative_error(module(torch.tensor(x)).detach().numpy(), to_numpy(layer(x))) < 5 * SINGLE


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
