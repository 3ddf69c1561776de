from __future__ import annotations

import numpy as np
import pytest

from rom import threads
from rom.threads import in_threads, slices


@pytest.mark.parametrize("n_parts", [1, 2, 50])
@pytest.mark.parametrize("limit_blas", [False, True])
def test_every_part_is_done_once_and_comes_in_its_place(n_parts, limit_blas, monkeypatch):
    monkeypatch.setattr(threads, "N_THREADS", 3)
    count = np.zeros(100)

    def work(part):
        count[part] += 1
        return part

    parts = slices(100, n_parts)
    assert in_threads(work, parts, limit_blas=limit_blas) == parts
    assert (count == 1).all()


def test_an_error_in_any_part_is_raised_and_the_rest_is_left(monkeypatch):
    monkeypatch.setattr(threads, "N_THREADS", 2)
    seen = []

    def work(part):
        seen.append(part.start)
        raise ValueError(part.start)

    with pytest.raises(ValueError, match=r"^\d+$"):
        in_threads(work, slices(1000, 1000))
    assert len(seen) <= 2
