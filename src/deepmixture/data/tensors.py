"""Torch tensors and datasets as arrays, without importing torch for those who pass neither."""

import sys
from typing import Any

import numpy as np


def is_tensor(data: object) -> bool:
    """Tell a torch tensor from anything else."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(data, torch.Tensor)


def is_dataset(data: object) -> bool:
    """Tell a torch Dataset from anything else."""
    # A Dataset can only have been made by someone who has imported this module.
    torch_data = sys.modules.get("torch.utils.data")
    return torch_data is not None and isinstance(data, torch_data.Dataset)


def is_loader(data: object) -> bool:
    """Tell a torch DataLoader from anything else."""
    torch_data = sys.modules.get("torch.utils.data")
    return torch_data is not None and isinstance(data, torch_data.DataLoader)


def from_tensor(tensor: Any) -> tuple[np.ndarray, bool]:  # noqa: ANN401
    """Return a tensor's values, channels last, and whether they were sparse."""
    import torch

    was_sparse = tensor.layout is not torch.strided
    if was_sparse:
        tensor = tensor.to_dense()
    if tensor.is_floating_point() and tensor.dtype not in (
        torch.float16,
        torch.float32,
        torch.float64,
    ):
        tensor = tensor.float()  # numpy has no bfloat16
    values: np.ndarray = tensor.detach().cpu().numpy()
    return (_channels_last(values) if values.ndim == 4 else values), was_sparse


def from_dataset(dataset: Any) -> np.ndarray:  # noqa: ANN401
    """Stack the items of a map-style Dataset, each x or (x, ...)."""
    from torch.utils.data import IterableDataset

    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        raise TypeError(
            f"X is a {type(dataset).__name__}: "
            "expected a map-style Dataset, with __len__ and __getitem__"
        )
    if not len(dataset):
        return np.empty((0, 1), np.float32)
    first = _item(dataset, 0)
    values = np.empty((len(dataset), *first.shape), first.dtype)
    values[0] = first
    for index in range(1, len(dataset)):
        item = _item(dataset, index)
        if item.shape != first.shape:
            raise ValueError(
                f"item {index} of the {type(dataset).__name__} has shape {item.shape}, "
                f"item 0 has {first.shape}: expected one shape"
            )
        if item.dtype != values.dtype:
            values = values.astype(np.result_type(values, item), copy=False)
        values[index] = item
    return values


def _item(dataset: Any, index: int) -> np.ndarray:  # noqa: ANN401
    item = dataset[index]
    if isinstance(item, tuple | list) and len(item):
        item = item[0]
    if is_tensor(item):
        values: np.ndarray = from_tensor(item[None])[0][0]
        return values
    if isinstance(item, dict):
        raise TypeError(
            f"the items of the {type(dataset).__name__} are dictionaries: expected x or (x, ...)"
        )
    return np.asarray(item)


def _channels_last(images: np.ndarray) -> np.ndarray:
    """Bring (N, C, H, W), torch's habit, to (N, H, W, C); leave (N, H, W, C) alone."""
    channels_first = images.shape[1] <= 4 < images.shape[3]
    return np.ascontiguousarray(np.moveaxis(images, 1, -1)) if channels_first else images
