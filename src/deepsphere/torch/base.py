"""What modules that hold sparse operators share."""

from __future__ import annotations

from typing import Any

from torch import nn

from deepsphere.ops.native.torch import prepare
from deepsphere.ops.operator import SparseOperator


class OnGraph(nn.Module):
    """Base of the modules that hold sparse operators.

    An operator is saved without what backends made of it. A module that was saved as a whole
    prepares its operators again, so that ``torch.compile`` can trace it at once.
    """

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for value in vars(self).values():
            if isinstance(value, SparseOperator):
                prepare(value)
