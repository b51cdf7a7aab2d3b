"""Reads weight files of all kinds: tensors, and nothing that is in a file is ever run."""

import os
import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors.torch import load_file
from torch import Tensor

from .convert import detect_format, printable
from .weights import WeightsError

_WRAPPERS = ("model", "state_dict", "model_state")  # the authors and detectron2; Lightning and MoCo; pycls
# where NumPy has, by its version, what the pickles of arrays call
_ARRAY_MODULES = (
    *("collections", "numpy", "numpy.core.multiarray", "numpy.core.numeric"),
    *("numpy._core.multiarray", "numpy._core.numeric"),
)


def read_state_dict(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], str]:
    """The tensors of a weight file, and the format of their names as `detect_format` tells it.

    `.safetensors` is read as that, `.pkl` as a pickle of arrays of NumPy's that may call for nothing else, any other
    file as torch's with `weights_only=True`. What a checkpoint has around its state dict is taken off, and so is the
    `module.` that `DataParallel` puts before every name.

    Raises:
        WeightsError: the file is missing, broken, a pickle that wants to run code, or of no such format.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path} is not a file: give a weight file, such as checkpoint.pth or model.safetensors")
    tensors = _unwrap(_read(path), path)
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    try:
        return tensors, detect_format(tensors)
    except WeightsError as error:
        raise WeightsError(f"{path} cannot be converted: {error}") from None


def _read(path: Path) -> Any:
    """What is in a file, by its suffix, on the CPU."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix == ".pkl":
            with path.open("rb") as stream:
                return _ArrayUnpickler(stream).load()
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # from bytes that are no weights, the readers raise whatever they lead them to
        if called := re.search(r"GLOBAL (\S+)", str(error)):
            raise WeightsError(
                f"{path} is refused: it is a pickle that wants to call {printable(called[1])}, "
                "and weights need no more than tensors; save its state dict alone"
            ) from None
        with path.open("rb") as stream:
            page = stream.read(512).lstrip().startswith(b"<")
        # of what torch says when it cannot read a pickle, the most is advice to read it without the protection
        reason = (
            "it is a web page"
            if page
            else f"{type(error).__name__}: {error}".splitlines()[0].split(". ")[0].rstrip(": ")
        )
        raise WeightsError(f"{path} is not weights, or broken ({printable(reason)}); fetch it again") from None


def _unwrap(content: Any, path: Path) -> dict[str, Tensor]:
    """The state dict in what a file holds."""
    wrappers = [key for key in _WRAPPERS if isinstance(content, dict) and isinstance(content.get(key), dict)]
    if len(wrappers) > 1:
        raise WeightsError(
            f"{path} holds several state dicts, {' and '.join(wrappers)}; save the one that is meant alone"
        )
    state_dict: object = content[wrappers[0]] if wrappers else content
    if not isinstance(state_dict, dict) or not state_dict:
        raise WeightsError(
            f"{path} holds no tensors but {type(state_dict).__name__}; give a checkpoint or a state dict"
        )
    import numpy as np

    tensors = {}
    for name, value in state_dict.items():
        try:
            tensor: object = torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        except (TypeError, ValueError):  # of text, of times, of records
            raise WeightsError(f"{path} is no state dict: {name!r} in it is an array of {value.dtype}") from None
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise WeightsError(f"{path} is no state dict: {name!r} in it is {type(value).__name__} and not a tensor")
        if not _is_plain(tensor):
            raise WeightsError(
                f"{path} is refused: {name!r} in it is sparse, quantised, without data or larger than its data; "
                "save plain tensors"
            )
        tensors[name] = tensor
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors.values()}
    if sum(tensor.nbytes for tensor in tensors.values()) > 2 * sum(storages.values()):
        raise WeightsError(f"{path} is refused: many of its tensors are the same bytes; save them one by one")
    return tensors


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is dense and has all of its elements; one of a terabyte may be a repetition of four bytes."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler that knows how to make arrays of NumPy's, and refuses to look up anything else."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream, encoding="latin1")  # as detectron2 reads them: some were written by Python 2
        import numpy as np  # comes with torchvision; the zoo has no other use for it

        # the functions that arrays name in their pickles, of protocols to 4 and from 5 on
        reconstruct: Any = np.empty(0).__reduce__()[0]
        from_buffer: Any = np.empty(0).__reduce_ex__(5)[0]
        self._known = {part.__name__: part for part in (np.ndarray, np.dtype, OrderedDict, reconstruct, from_buffer)}

    def find_class(self, module: str, name: str) -> Any:
        if module not in _ARRAY_MODULES or name not in self._known:
            raise pickle.UnpicklingError(f"unsupported GLOBAL {module}.{name}")  # as torch words it
        return self._known[name]
