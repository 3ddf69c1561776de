"""No compression: the states are the latent coordinates."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rom.base import Compressor


class Identity(Compressor):
    """Leave states as they are: for data that are low-dimensional already, such as indices.

    Attributes
    ----------
    rank_ : int
        The number of variables.

    Examples
    --------
    >>> import numpy as np
    >>> Identity().fit_transform(np.eye(3)).shape
    (3, 3)
    """

    def _fit(self, X: Any) -> None:
        self.rank_ = X.shape[1]

    def _transform(self, X: Any) -> NDArray:
        return np.array(X)

    def _inverse_transform(self, Z: NDArray) -> NDArray:
        return np.array(Z)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
