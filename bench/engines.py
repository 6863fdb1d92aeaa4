"""What an engine costs beside its model alone: batches of eight, in one process, turn about.

*Raw* is what a careful person would write around the same loaded model: prepare the pictures, run them, read the
result. The engine does the same through its protocol, with its checks, its caption cleaned and its tags read. The
checkpoints of the production engines are tiny and random: they show what surrounds the model, and nothing else.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.ground import Ground, Row
from engines.devices import Device
from engines.kit import Kit
from engines.models import Folder, Model, listing_digest
from engines.protocols import RGB, Subject
from engines.registry import Engines, load_adapters, with_models
from storage.pictures import decode
from tests.checkpoints import blip, clip
from tests.checkpoints_vlm import tiny_llava

_BATCH = 8
_ROUNDS = 7
_AIM = 1.10

Pictures = Sequence[RGB]
Work = Callable[[Pictures], Any]


def engines(ground: Ground) -> None:
    """A row an engine: its time over that of its model alone, by the median of alternating rounds."""
    kit = Kit()
    photos = _photos(kit)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        models = {
            "blip": _pinned(blip(root / "blip")),
            "llava": _pinned(tiny_llava(root / "llava")),
            "clip_embedder": _pinned(clip(root / "clip")),
        }
        pool = Engines(kit, Device.choose(), 4096, with_models(load_adapters(), models))
        for name, work in _WORK.items():
            engine, raw = work(pool.get(name))
            ratio, milliseconds = _compare(engine, raw, photos)
            kind = "tiny random checkpoint" if name in models else "embedded"
            ground.rows.append(
                Row(
                    f"engine {name}, batch of {_BATCH}",
                    f"{ratio:.2f} of its model alone",
                    f"at most {_AIM:.2f}",
                    ratio <= _AIM,
                    f"{kind}; {milliseconds:.1f} ms a photo",
                )
            )


def _compare(engine: Work, raw: Work, photos: Pictures) -> tuple[float, float]:
    """Engine over raw, and the engine's milliseconds a photo. No two rounds see the same pixels: engines remember."""
    engine(_changed(photos, 0))
    raw(_changed(photos, 0))
    ratios, spent = [], []
    for turn in range(1, _ROUNDS + 1):
        pictures = _changed(photos, turn)
        order = (engine, raw) if turn % 2 else (raw, engine)
        seconds = {}
        for work in order:
            started = time.perf_counter()
            work(pictures)
            seconds[work] = time.perf_counter() - started
        ratios.append(seconds[engine] / seconds[raw])
        spent.append(seconds[engine] / len(pictures) * 1000)
    return statistics.median(ratios), statistics.median(spent)


def _photos(kit: Kit) -> list[RGB]:
    kit.fetch(["photos-openvto"])
    files = sorted((kit.path("photos-openvto") / "clothes").rglob("*.jpg"))[:_BATCH]
    return [decode(file.read_bytes()).pixels for file in files]


def _changed(photos: Pictures, turn: int) -> list[RGB]:
    """The photos, each shifted by a row or more: the same work on other pixels."""
    return [np.ascontiguousarray(np.roll(photo, 7 * turn, axis=0)) for photo in photos]


def _pinned(folder: Path) -> Model:
    return Model(folder=Folder(path=folder, sha256=listing_digest(folder)), memory_mb=100)


def _u2netp(engine: Any) -> tuple[Work, Work]:
    session, entry, exit_ = engine._session, engine._input, engine._output
    mean, std = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)

    def raw(pictures: Pictures) -> Any:
        found = []
        for picture in pictures:
            small = np.asarray(
                Image.fromarray(picture).resize((320, 320), Image.Resampling.LANCZOS), np.float32
            )
            values = ((small / small.max() - mean) / std).transpose(2, 0, 1)[None]
            (map_,) = session.run([exit_], {entry: np.ascontiguousarray(values)})
            one = (map_[0, 0] - map_.min()) / (map_.max() - map_.min())
            size = picture.shape[1], picture.shape[0]
            found.append(np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BICUBIC)))
        return found

    return engine.segment, raw


def _efficientnet(engine: Any) -> tuple[Work, Work]:
    torch, model = engine._torch, engine._model

    def raw(pictures: Pictures) -> Any:
        squares = []
        for picture in pictures:
            image = Image.fromarray(picture)
            scale = 260 / max(image.size)
            size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
            square = Image.new("RGB", (260, 260), (127, 127, 127))
            square.paste(
                image.resize(size, Image.Resampling.BICUBIC), ((260 - size[0]) // 2, (260 - size[1]) // 2)
            )
            squares.append(np.asarray(square, np.float32))
        batch = torch.from_numpy((np.stack(squares) - 127) / np.float32(128)).permute(0, 3, 1, 2)
        with torch.inference_mode():
            return model(batch.contiguous(memory_format=torch.channels_last)).softmax(dim=1).topk(5)

    return engine.classify, raw


def _oid(engine: Any) -> tuple[Work, Work]:
    interpreter = engine._interpreter

    def raw(pictures: Pictures) -> Any:
        found = []
        for picture in pictures:
            small = Image.fromarray(picture).resize((300, 300), Image.Resampling.BILINEAR)
            interpreter.set_tensor(engine._input, np.asarray(small, np.float32)[None] / np.float32(127.5) - 1)
            interpreter.invoke()
            boxes, scores = (
                interpreter.get_tensor(engine._boxes)[0],
                interpreter.get_tensor(engine._scores)[0],
            )
            found.append((boxes[scores[:, 1:].max(axis=1) > 0], scores.max(axis=1)))
        return found

    return engine.detect, raw


def _blip(engine: Any) -> tuple[Work, Work]:
    torch, model = engine._torch, engine._model

    def raw(pictures: Pictures) -> Any:
        images = engine._images(images=list(pictures), return_tensors="pt", input_data_format="channels_last")
        with torch.inference_mode():
            tokens = model.generate(
                pixel_values=images["pixel_values"], do_sample=False, num_beams=3, max_new_tokens=40
            )
        return engine._tokenizer.batch_decode(tokens, skip_special_tokens=True)

    # The engine refuses what a random model writes; its wording is not what is measured here.
    return engine._write, raw


def _llava(engine: Any) -> tuple[Work, Work]:
    from engines.dialogue.prompts import caption

    torch, model, processor = engine._torch, engine._model, engine._processor

    def asked(pictures: Pictures) -> Any:
        return engine.generate([caption([picture]) for picture in pictures])

    def raw(pictures: Pictures) -> Any:
        one = caption([pictures[0]])
        text = f"USER: {processor.image_token}\n{one.system}\n\n{one.text} ASSISTANT:"
        if processor.chat_template is not None:
            content = [{"type": "image"}, {"type": "text", "text": f"{one.system}\n\n{one.text}"}]
            turn = [{"role": "user", "content": content}]
            text = processor.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        inputs = processor(
            images=[[engine._whole(picture)] for picture in pictures],
            text=[text] * len(pictures),
            padding=True,
            return_tensors="pt",
        )
        with torch.inference_mode():
            tokens = model.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=one.longest)
        return processor.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)

    return asked, raw


def _clip_embedder(engine: Any) -> tuple[Work, Work]:
    encoder = engine._encoder
    torch, model = encoder._torch, encoder._model
    covered: dict[tuple[int, ...], Any] = {}

    def embedded(pictures: Pictures) -> Any:
        for picture in pictures:
            covered.setdefault(picture.shape[:2], np.ones(picture.shape[:2], np.float32))
        return engine.embed_photos([Subject(picture, covered[picture.shape[:2]]) for picture in pictures])

    def raw(pictures: Pictures) -> Any:
        # The photos are square: there is nothing to fill up.
        images = encoder._images(
            images=list(pictures), return_tensors="pt", input_data_format="channels_last"
        )
        with torch.inference_mode():
            rows = model.get_image_features(pixel_values=images["pixel_values"]).pooler_output
        return torch.nn.functional.normalize(rows).numpy()

    return embedded, raw


_WORK: dict[str, Callable[[Any], tuple[Work, Work]]] = {
    "u2netp": _u2netp,
    "efficientnet_lite2": _efficientnet,
    "oid_ssd": _oid,
    "blip": _blip,
    "llava": _llava,
    "clip_embedder": _clip_embedder,
}
