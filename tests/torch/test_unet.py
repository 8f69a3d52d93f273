"""PyTorch's U-Net."""

import pytest

torch = pytest.importorskip("torch")

import deepsphere.torch as ds  # noqa: E402
from torch_pairs import MESH, SPHERE, data  # noqa: E402


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
