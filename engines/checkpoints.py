"""The one place that loads a model of transformers: pinned files from disk, safetensors only, nobody's code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engines.declaration import Loading
from pipeline.errors import ConfigurationError

_UNSAFE = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")
"""Other forms of weights. The first five are pickles, which run code when they are read."""


Rewriting = Callable[[Path], Mapping[str, Any]]
"""Reads a folder that holds a checkpoint in another library's form: its ``config`` and its ``state_dict`` as
``from_pretrained`` takes them. Raises ValueError or KeyError naming what does not fit."""


def load_model(loading: Loading, kind: Any, *, half: bool = True, rewriting: Rewriting | None = None) -> Any:
    """The engine's checkpoint as a model of ``kind``, a class of transformers, with its LoRA adapter merged in.

    It is on the device, in the device's dtype (``float32`` anywhere without ``half``, for models whose
    code mixes dtypes), in eval mode and without gradients. Raises ConfigurationError where the folder holds no
    safetensors, or weights that are broken, incomplete, or another architecture's.
    """
    folder = safe_folder(loading.checkpoint(), loading.registration.name)
    torch = loading.device.torch()
    dtype = getattr(torch, loading.device.dtype) if half else torch.float32
    options = {"dtype": dtype, "use_safetensors": True, "output_loading_info": True}
    model = _read(loading, kind, folder, rewriting, **options)
    adapter = loading.lora()
    if adapter is not None:
        from peft import PeftModel

        safe_folder(adapter, loading.registration.name)
        model = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    return model.to(loading.device.kind).eval().requires_grad_(False)


def load_processor(loading: Loading, kind: Any, **options: Any) -> Any:
    """What prepares the checkpoint's inputs: a processor, an image processor or a tokenizer of transformers."""
    return _read(loading, kind, loading.checkpoint(), **options)


def load_image_processor(loading: Loading) -> Any:
    """The checkpoint's image processor, the one of Pillow everywhere.

    That of torchvision rounds otherwise: with it, where it is installed would shape the answers.
    """
    from transformers import AutoImageProcessor

    return load_processor(loading, AutoImageProcessor, backend="pil")


def safe_folder(folder: Path, name: str) -> Path:
    """``folder``, if it holds safetensors. Raises ConfigurationError naming the weights that are refused."""
    if any(folder.glob("*.safetensors")):
        return folder
    refused = sorted(path.name for pattern in _UNSAFE for path in folder.glob(pattern))
    found = f"only {', '.join(refused)}, which is not read" if refused else "none"
    raise ConfigurationError(
        f"engine {name} loads weights from safetensors, and {folder} has {found}: pin a revision with "
        "*.safetensors, or convert it with save_pretrained()"
    )


def _read(
    loading: Loading, kind: Any, folder: Path, rewriting: Rewriting | None = None, **options: Any
) -> Any:
    """``kind.from_pretrained`` of a folder; whatever it finds wrong there is a matter of configuration."""
    from safetensors import SafetensorError
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    name = loading.registration.name
    try:
        given = dict(rewriting(folder)) if rewriting else {}
        options |= given | {"local_files_only": True, "trust_remote_code": False}
        read = kind.from_pretrained(None if given else str(folder), **options)
    except SafetensorError as error:
        raise ConfigurationError(
            f"engine {name}: a *.safetensors file in {folder} is broken or is none ({error}): "
            "fetch the checkpoint again"
        ) from error
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        told = str(error).strip().partition("\n")[0][:300]
        raise ConfigurationError(
            f"engine {name} cannot load the checkpoint in {folder} as {kind.__name__} ({told}): "
            f"pin one of the architecture that {loading.registration.hub or name} has"
        ) from error
    if "output_loading_info" not in options:
        return read
    model, told = read
    # What a checkpoint lacks, transformers fills with random numbers and goes on.
    lacking = sorted(set(told["missing_keys"]) & {name for name, _ in model.named_parameters()})
    lacking += sorted(str(entry) for entry in told["mismatched_keys"])
    if lacking:
        raise ConfigurationError(
            f"engine {name}: the checkpoint in {folder} lacks {len(lacking)} weights of a {kind.__name__}, "
            f"{lacking[0]} for one: it is of another architecture, or incomplete; pin a whole one"
        )
    return model
