"""``python -m bench.scene_diffusion``: what painting scenes costs at full size, on an accelerator.

It builds Stable Diffusion 1.5 and its ControlNet in their published shapes, with random weights, saves them, and loads
them as a deployment would; nothing is fetched. What it paints is noise: time and memory do not depend on what weights
hold. ``--tiny`` runs the same on the tests' checkpoints, on any machine, to see that it runs.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from engines.devices import Device
from engines.kit import Kit
from engines.models import Folder, Model, listing_digest
from engines.protocols import Bilingual
from engines.protocols.scenes import Placement, SceneRequest, Scenery, Setting
from engines.registry import Engines, load_adapters, with_models
from tests import checkpoints_diffusion as tiny

_BATCHES = (1, 2, 4, 8)
_CANVAS = 1024


_SETTING = Setting("", "standing", "sweep", "soft-left", "none")


def main() -> None:
    chosen = _arguments()
    device = Device.choose()
    options: dict[str, Any] = {"steps": chosen.steps, "side": chosen.side}
    console, table = (
        Console(),
        Table("engine", "batch", "s a picture", "gain", "peak GPU memory, GiB", "loading, s"),
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        console.print(f"building checkpoints with random weights, {'tiny' if chosen.tiny else 'full size'} …")
        build = _tiny if chosen.tiny else _full
        guide, checkpoint = build(root)
        for compiled in (False, True) if chosen.compile else (False,):
            models = {
                "controlnet_canny": guide,
                "controlnet_inpaint": checkpoint.model_copy(
                    update={"options": options | {"compiled": compiled}, "memory_mb": 1}
                ),
            }
            started = time.perf_counter()
            engine = Engines(Kit(), device, 100_000, with_models(load_adapters(), models)).get(
                "controlnet_inpaint"
            )
            loading = time.perf_counter() - started
            alone = 0.0
            for batch in _BATCHES:
                seconds, memory = _measured(engine, batch, chosen.rounds, device)
                alone = alone or seconds
                name = "controlnet_inpaint, compiled" if compiled else "controlnet_inpaint"
                table.add_row(
                    name, str(batch), f"{seconds:.3f}", f"{alone / seconds:.2f}", memory, f"{loading:.1f}"
                )
    where = "CPU" if device.kind == "cpu" else device.torch().cuda.get_device_name()
    console.print(f"{where}, {device.diffusion_dtype}, {chosen.steps} steps at {chosen.side} x {chosen.side}")
    console.print(table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="the tests' checkpoints, two steps at 64 x 64")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--side", type=int, default=768)
    parser.add_argument("--rounds", type=int, default=5, help="calls a row; the median counts")
    parser.add_argument("--compile", action="store_true", help="compiled as well")
    chosen = parser.parse_args()
    if chosen.tiny:
        chosen.steps, chosen.side, chosen.rounds = 2, 64, 1
    return chosen


def _measured(engine: Any, batch: int, rounds: int, device: Device) -> tuple[float, str]:
    """Seconds a picture, the median of the calls, and the peak of the GPU's memory; a first call is not counted."""
    torch = device.torch()
    _render(engine, _requests(batch, 0))
    if device.kind == "cuda":
        torch.cuda.reset_peak_memory_stats()
    taken = []
    for turn in range(1, rounds + 1):
        requests = _requests(batch, turn)
        started = time.perf_counter()
        _render(engine, requests)
        taken.append(time.perf_counter() - started)
    peak = f"{torch.cuda.max_memory_allocated() / 2**30:.2f}" if device.kind == "cuda" else "-"
    return float(np.median(taken)) / batch, peak


def _render(engine: Any, requests: Sequence[SceneRequest]) -> None:
    """Every picture comes back to the CPU: then the accelerator has done its work."""
    assert all(isinstance(one, Scenery) for one in engine.render(requests))


def _requests(batch: int, turn: int) -> list[SceneRequest]:
    rows, columns = np.mgrid[:_CANVAS, :_CANVAS]
    alpha = (np.hypot(rows - 600, columns - 512) < 250).astype(np.float32)
    stripes = ((rows // 20) % 2 * 120 + 60).astype(np.uint8) * (alpha > 0)
    canvas = Placement(_CANVAS, _CANVAS, (0, 0, 500, 500), 1.0, 262, 350, 850)
    words = Bilingual("product photo of a red lamp, standing on an oak table, bright room", "红色台灯")
    product = np.dstack([stripes] * 3).astype(np.uint8)
    return [
        SceneRequest(product, alpha, canvas, _SETTING, (), words, words, seed=100 * turn + at, hold=0.5)
        for at in range(batch)
    ]


def _tiny(root: Path) -> tuple[Model, Model]:
    return _pinned(tiny.sd_controlnet(root / "lines")), _pinned(tiny.stable_diffusion(root / "sd"))


def _full(root: Path) -> tuple[Model, Model]:
    """The shapes of ``stable-diffusion-v1-5`` and ``sd-controlnet-canny``, over the tiny one's words."""
    from transformers import CLIPTextConfig, CLIPTextModel

    # diffusers has no types for its constructors.
    diffusers: Any = import_module("diffusers")
    sd = tiny.stable_diffusion(root / "sd")
    shape: Mapping[str, Any] = {"cross_attention_dim": 768, "attention_head_dim": 8}
    diffusers.ControlNetModel(**shape).save_pretrained(root / "lines")
    diffusers.UNet2DConditionModel(**shape, sample_size=64).save_pretrained(sd / "unet")
    diffusers.AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        sample_size=512,
    ).save_pretrained(sd / "vae")
    CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408,
            hidden_size=768,
            intermediate_size=3072,
            num_hidden_layers=12,
            num_attention_heads=12,
            eos_token_id=1,
        )
    ).save_pretrained(sd / "text_encoder")
    return _pinned(root / "lines"), _pinned(sd)


def _pinned(folder: Path) -> Model:
    return Model(folder=Folder(path=folder, sha256=listing_digest(folder)))


if __name__ == "__main__":
    main()
