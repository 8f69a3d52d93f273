"""PyTorch's graph convolutions and batch normalization."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import deepsphere.torch as ds  # noqa: E402
from harness import relative_error  # noqa: E402
from torch_pairs import CONV, PAIRS, SPHERE, data, made  # noqa: E402


def test_half_precision():
    module, _, x = made("conv")
    expected = module(torch.tensor(x))
    half = module.to(torch.bfloat16)(torch.tensor(x, dtype=torch.bfloat16))
    assert half.dtype == torch.bfloat16
    # Inputs, weights and output are rounded to 8 bits.
    assert relative_error(half.float().detach().numpy(), expected.detach().numpy()) < 3e-2


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
