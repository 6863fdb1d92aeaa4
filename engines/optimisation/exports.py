"""Image towers as files of ONNX: as they are, in int8, in fp16 with int8, in int4."""

from __future__ import annotations

import logging
import math
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from engines.devices import Device
from engines.looks.towers import ORIGIN, ImageTower, Pixels
from pipeline.errors import RejectedInput

BLOCK = 32
"""Weights that share a scale in int4."""

_SENSITIVE = 0.1
"""The share of the matrices that stay in fp16 in the mixed export: those on which int8 errs most."""

_MATRICES = ("MatMul", "Gemm")
_INT8_OPS = ("DynamicQuantizeLinear", "MatMulInteger")
"""What ONNX has in fp32 and int8 only."""


def export(tower: ImageTower, sample: Pixels, file: Path, origin: str) -> None:
    """Write the tower for one photograph at a time, in fp32; ``sample`` is (1, 3, H, W), and fixes the size.

    ``origin`` is the identity of the model, kept in the file.
    """
    import onnx
    import torch
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as scratch, _quiet():
        raw = Path(scratch, "raw.onnx")
        torch.onnx.export(
            tower.module,
            (torch.from_numpy(np.ascontiguousarray(sample)),),
            str(raw),
            input_names=["pixels"],
            output_names=["rows"],
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        quant_pre_process(str(raw), str(file), skip_optimization=True, skip_symbolic_shape=True)
    model = onnx.load(file)
    model.producer_name, model.doc_string = "vitrine", ""
    model.metadata_props.add(key=ORIGIN, value=origin)
    _save(model, file)


def int8(source: Path, file: Path, calibration: Sequence[Pixels]) -> str:
    """Write the fp32 file in int8; says how.

    A transformer's matrices are quantised by column, what they are multiplied with as it comes ("dynamic"). With
    convolutions that costs more than it gains: their inputs' ranges are taken from the calibration photographs,
    each (1, 3, H, W), beforehand ("static").
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static

    model = onnx.load(source)
    file.parent.mkdir(parents=True, exist_ok=True)
    if _weighed(model):
        quantize_dynamic(model, file, op_types_to_quantize=list(_MATRICES), per_channel=True)
        how = "dynamic"
    else:
        quantize_static(
            model,
            file,
            _reader(calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        how = "static"
    _sign(source, file)
    return how


def fp16_int8(source: Path, file: Path, calibration: Sequence[Pixels], device: Device) -> None:
    """Write the fp32 file with its matrices in int8, except those on which int8 errs most; these and everything
    else in fp16. Raises RejectedInput of a tower without matrices."""
    import onnx
    from onnxruntime.quantization import quantize_dynamic
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    errors = int8_errors(source, calibration, device)
    kept = sorted(errors, key=lambda name: (-errors[name], name))[: math.ceil(_SENSITIVE * len(errors))]
    file.parent.mkdir(parents=True, exist_ok=True)
    quantize_dynamic(
        onnx.load(source),
        file,
        op_types_to_quantize=list(_MATRICES),
        per_channel=True,
        # A Gemm is taken apart first, and its product bears another name then.
        nodes_to_exclude=[*kept, *(f"{name}_MatMul" for name in kept)],
    )
    with _quiet():
        mixed = convert_float_to_float16(
            onnx.load(file), keep_io_types=True, op_block_list=[*DEFAULT_OP_BLOCK_LIST, *_INT8_OPS]
        )
    _save(mixed, file)
    _sign(source, file)


def int4(source: Path, file: Path) -> None:
    """Write the fp32 file with the weights of its matrices in int4, each block with a scale; arithmetic stays in
    fp32. Raises RejectedInput of a tower without matrices."""
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    model = onnx.load(source)
    _matrices_of(model)
    quantiser = MatMulNBitsQuantizer(model, bits=4, block_size=BLOCK, is_symmetric=True)
    quantiser.process()
    file.parent.mkdir(parents=True, exist_ok=True)
    _save(quantiser.model.model, file)
    _sign(source, file)


def int8_errors(source: Path, calibration: Sequence[Pixels], device: Device) -> dict[str, float]:
    """By name of each matrix product: how far int8 takes it from fp32 on the photographs, in relation to its size.

    Each is judged alone, with its own inputs in fp32.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load(source)
    nodes = _matrices_of(model)
    weights = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    known = {one.name for one in model.graph.output}
    asked = [name for name in dict.fromkeys(node.input[0] for node in nodes) if name not in known]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in asked)
    with tempfile.TemporaryDirectory() as scratch:
        onnx.save(model, Path(scratch, "open.onnx"))
        session = device.onnx_session(Path(scratch, "open.onnx"))
    errors = dict.fromkeys((node.name for node in nodes), 0.0)
    names = [one.name for one in session.get_outputs()]
    for pixels in calibration:
        seen = dict(zip(names, session.run(None, {"pixels": pixels}), strict=True))
        for node in nodes:
            weight = weights[node.input[1]]
            whole = weight.T if _transposed(node) else weight
            errors[node.name] += _error(seen[node.input[0]], whole) / len(calibration)
    return errors


def _error(inputs: Any, weights: Any) -> float:
    """Of inputs (…, K) by one range, times weights (K, M) by a range a column, both in 8 bits."""
    low, high = min(float(inputs.min()), 0.0), max(float(inputs.max()), 0.0)
    step = (high - low) / 255 or 1.0
    steps = np.abs(weights).max(axis=0) / 127
    steps[steps == 0] = 1
    exact = inputs @ weights
    rough = (np.round(inputs / step) * step) @ (np.round(weights / steps) * steps)
    return float(np.linalg.norm(rough - exact) / max(float(np.linalg.norm(exact)), 1e-12))


def _matrices_of(model: Any) -> list[Any]:
    if found := _weighed(model):
        return found
    raise RejectedInput(
        "not-a-transformer",
        "the image tower is made of convolutions: exports for small devices halve the matrices of a transformer; "
        "--int8 is what there is for this one",
    )


def _weighed(model: Any) -> list[Any]:
    """The nodes that multiply by a matrix of weights."""
    weights = {one.name for one in model.graph.initializer}
    return [node for node in model.graph.node if node.op_type in _MATRICES and node.input[1] in weights]


def _transposed(node: Any) -> bool:
    return any(one.name == "transB" and one.i for one in node.attribute)


def _reader(calibration: Sequence[Pixels]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rest = iter(calibration)

        def get_next(self) -> dict[str, Pixels] | None:
            pixels = next(self._rest, None)
            return None if pixels is None else {"pixels": np.ascontiguousarray(pixels)}

    return Reader()


def _sign(source: Path, file: Path) -> None:
    """Give ``file`` the origin that ``source`` has: quantisers drop it."""
    import onnx

    model = onnx.load(file)
    kept = {one.key: one.value for one in onnx.load(source).metadata_props if one.key == ORIGIN}
    onnx.helper.set_model_props(model, kept)
    _save(model, file)


def _save(model: Any, file: Path) -> None:
    """Equal models, equal bytes: without notes on how they came about."""
    import onnx

    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    onnx.save(model, file)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of libraries that are not asked for and of its own past."""
    exporter = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`")
            # fp16 has no number smaller than 6e-8; such weights are no weights.
            warnings.filterwarnings("ignore", message="the float32 number .* will be truncated")
            yield
    finally:
        exporter.setLevel(level)
