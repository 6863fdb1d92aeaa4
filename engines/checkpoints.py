"""The one place that loads models of transformers and diffusers: pinned files, safetensors only, nobody's code."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
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


def load_pipeline(loading: Loading, kind: Any, parts: Mapping[str, Any], **given: Any) -> Any:
    """The engine's checkpoint as a pipeline of ``kind``, a class of diffusers, with its LoRA adapter merged in.

    ``parts`` names the folders of the checkpoint and the class that each is read as, never one that the checkpoint
    names; ``given`` are the pipeline's other parts. Models are in the device's number format for diffusion. Raises
    ConfigurationError where a part is missing, is no safetensors, or is of another architecture.
    """
    torch = loading.device.torch()
    from diffusers.utils import logging

    logging.disable_progress_bar()
    name, folder = loading.registration.name, loading.checkpoint()
    dtype = getattr(torch, loading.device.diffusion_dtype)
    read = {}
    for part, architecture in parts.items():
        place = folder / part
        if not place.is_dir():
            raise ConfigurationError(
                f"engine {name}: {folder} has no folder {part}: pin a pipeline in the form of diffusers, such as "
                f"{loading.registration.hub}"
            )
        options: dict[str, Any] = {}
        if issubclass(architecture, torch.nn.Module):
            safe_folder(place, name)
            options = {"dtype": dtype, "use_safetensors": True, "output_loading_info": True}
        read[part] = _read(loading, architecture, place, **options)
    pipeline = kind(**read, **given)
    adapter = loading.lora()
    if adapter is not None:
        _merge(pipeline, adapter, name)
    return pipeline


def load_network(loading: Loading, kind: Any) -> Any:
    """The engine's checkpoint as one model of diffusers, in the device's number format for diffusion."""
    torch = loading.device.torch()
    folder = safe_folder(loading.checkpoint(), loading.registration.name)
    dtype = getattr(torch, loading.device.diffusion_dtype)
    return _read(loading, kind, folder, dtype=dtype, use_safetensors=True, output_loading_info=True).eval()


def scheduler_class(loading: Loading) -> Any:
    """The class of diffusers that the checkpoint's own scheduler is of. Raises ConfigurationError for any other."""
    import diffusers

    file = loading.checkpoint() / "scheduler" / "scheduler_config.json"
    try:
        named = str(json.loads(file.read_text("utf-8"))["_class_name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"engine {loading.registration.name}: {file} names no scheduler: fetch the checkpoint again"
        ) from error
    kind = getattr(diffusers, named, None)
    if not (isinstance(kind, type) and issubclass(kind, diffusers.SchedulerMixin)):
        raise ConfigurationError(
            f"engine {loading.registration.name}: {file} names {named!r}, which is no scheduler of diffusers: set "
            'options = { scheduler = "ddim" }'
        )
    return kind


def _merge(pipeline: Any, adapter: Path, name: str) -> None:
    """Add a LoRA adapter's matrices to the pipeline's weights."""
    files = sorted(safe_folder(adapter, name).glob("*.safetensors"))
    if len(files) > 1:
        raise ConfigurationError(
            f"engine {name}: the LoRA adapter in {adapter} is {len(files)} files: keep the one that is meant"
        )
    try:
        pipeline.load_lora_weights(str(adapter), weight_name=files[0].name, local_files_only=True)
    except (ValueError, KeyError, RuntimeError) as error:
        told = str(error).strip().partition("\n")[0][:300]
        raise ConfigurationError(
            f"engine {name}: {files[0]} is no LoRA adapter of its checkpoint ({told}): pin another"
        ) from error
    if not pipeline.get_list_adapters():
        raise ConfigurationError(f"engine {name}: {files[0]} changes nothing in its checkpoint: pin another")
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()


def safe_folder(folder: Path, name: str, parts: Sequence[str] = ()) -> Path:
    """``folder``, if it, or each of its ``parts``, holds safetensors.

    Raises ConfigurationError naming the weights that are refused.
    """
    for part in parts:
        safe_folder(folder / part, name)
    if parts or any(folder.glob("*.safetensors")):
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
        options |= given | {"local_files_only": True}
        if kind.__module__.startswith(
            "transformers"
        ):  # diffusers runs no code of a checkpoint's single models.
            options["trust_remote_code"] = False
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
