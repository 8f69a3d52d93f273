"""Base class of modules with sparse operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from deepsphere.ops.compiled.torch import prepare
from deepsphere.ops.operator import SparseOperator


class OnGraph(nn.Module):
    """Base class of modules with sparse operators.

    A module prepares its operators when it is made, moved or loaded, so that ``torch.compile``
    finds them as constants of its graph. An operator is saved without what backends made of it.
    """

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._prepare(torch.empty(0))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> OnGraph:
        super()._apply(fn, recurse)
        with torch.no_grad():
            self._prepare(fn(self._like))
        return self

    def _prepare(self, like: Tensor) -> None:
        """Prepare the constants for the device and precision of a tensor."""
        # Neither tensors without data nor the fake ones of tracers say where features will be.
        if type(like) is not Tensor or like.is_meta:
            like = torch.empty(0, device="cpu")
        self._like = like
        working = torch.promote_types(like.dtype, torch.float32)
        for value in vars(self).values():
            if isinstance(value, SparseOperator):
                prepare(value, like.device, working)
