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

    @property
    def diffusion_dtype(self) -> Literal["float32", "bfloat16"]:
        """Number format of diffusion models: on an accelerator bfloat16, since the VAE of SDXL overflows in float16."""
        return "float32" if self.dtype == "float32" else "bfloat16"

    def diffusion(self, pipeline: Any, *, compiled: bool = False) -> Any:
        """A pipeline of diffusers, brought here and made ready to run.

        Convolutions run channels-last, which is how the kernels of GPUs want them, and pictures are decoded one at
        a time, since a batch of them would take more memory than the rest of the work. ``compiled`` turns what runs at
        every step into kernels of its own: minutes at the first picture of a size, less time at each after it.
        """
        torch = self.torch()
        pipeline.to(self.kind)
        pipeline.set_progress_bar_config(disable=True)
        pipeline.vae.enable_slicing()
        # SDXL's asks to be cast to float32 and back around every encoding, for the sake of float16.
        pipeline.vae.register_to_config(force_upcast=False)
        parts = pipeline.components
        for name in ("unet", "transformer", "controlnet", "vae"):
            if name in parts:
                parts[name].to(memory_format=torch.channels_last).requires_grad_(False)
                if compiled and name != "vae":
                    parts[name].compile()
        return pipeline

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
