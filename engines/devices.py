"""Device, number format and thread count of every model, decided in one place."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Device:
    """Where models run. ``threads`` is how many CPU threads one call of a model may use."""

    kind: Literal["cpu", "cuda"]
    dtype: Literal["float32", "float16"]
    threads: int

    @classmethod
    def choose(cls, threads: int | None = None) -> Device:
        """CUDA with half precision where torch finds it, else the CPU with all cores this process may use.

        Call it in the process that will load models: it imports torch where torch is installed.
        """
        cores = threads or _usable_cores()
        if importlib.util.find_spec("torch"):
            import torch

            if torch.cuda.is_available():
                return cls("cuda", "float16", cores)
        return cls("cpu", "float32", cores)

    def torch(self) -> ModuleType:
        """The module torch with this device's thread count.

        Imported at the first load and never before a fork: a forked child of a process that has run a
        threaded torch operation hangs.
        """
        import torch

        torch.set_num_threads(self.threads)
        return torch

    def onnx_session(self, path: Path) -> Any:
        """An ``onnxruntime.InferenceSession`` over the file, on the CPU: the kit's models are small."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        # Threads that spin between two calls would take the cores from the worker beside this one.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
