"""Rows from torch tensors and datasets."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from deepmixture.data import open_rows


def test_tensors_of_every_sort() -> None:
    X = torch.arange(6.0).reshape(2, 3)
    assert_array_equal(open_rows(X.clone().requires_grad_()).values, X.numpy())
    assert open_rows(X.to(torch.bfloat16)).values.dtype == np.float32
    assert open_rows(X.double()).values.dtype == np.float64
    rows = open_rows(X.to_sparse())
    assert_array_equal(rows.values, X.numpy())
    assert rows.was_sparse


def test_channels_of_tensors_go_last() -> None:
    X = torch.rand(4, 3, 8, 9)
    rows = open_rows(X)
    assert rows.image_shape == (8, 9, 3)
    assert_array_equal(rows.values.reshape(4, 8, 9, 3), X.permute(0, 2, 3, 1).numpy())
    assert open_rows(torch.rand(4, 8, 9, 3)).image_shape == (8, 9, 3)


class Listed(Dataset[Any]):
    """Items of a given form."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def test_datasets_are_stacked_with_or_without_targets() -> None:
    X = torch.rand(5, 3)
    labelled = open_rows(TensorDataset(X, torch.arange(5)))
    assert_array_equal(labelled.values, X.numpy())
    assert labelled.source == "torch dataset TensorDataset"
    assert_array_equal(open_rows(Listed(list(X))).values, X.numpy())
    mixed = open_rows(Listed([np.array([1, 2]), np.array([0.5, 1.5])]))
    assert_array_equal(mixed.values, [[1, 2], [0.5, 1.5]])
    images = open_rows(Listed([(torch.rand(1, 8, 9), 0), (torch.rand(1, 8, 9), 1)]))
    assert images.image_shape == (8, 9, 1)


class Stream(IterableDataset[Any]):
    """A stream without length."""

    def __iter__(self) -> Iterator[Any]:
        return iter(())


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (Listed([]), ValueError, r"Found array with 0 sample\(s\)"),
        (Listed([np.ones(2), np.ones(3)]), ValueError, r"item 1 .*\(3,\), item 0 has \(2,\)"),
        (Listed([{"x": 1}]), TypeError, "dictionaries"),
        (Stream(), TypeError, "X is a Stream: expected a map-style Dataset"),
    ],
)
def test_bad_datasets_get_a_clear_sentence(data: object, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        open_rows(data)
