"""PP-OCRv6 (small) through RapidOCR: text of Chinese and Latin script, https://github.com/RapidAI/RapidOCR.

The detector is that of Liao et al. 2020 (DB), https://arxiv.org/abs/1911.08947.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from engines.declaration import Loading, engine
from engines.looks.frames import shrunk
from engines.protocols import RGB, Printed, TextReader
from engines.words.text import one_line

_LONGEST = 2048
"""Pixels: a larger picture is scaled down first. The detector sees less anyway, and lines are cut out of this."""

_DETECTOR_LONGEST = 960
"""Pixels of the longest side where lines are looked for.

On 54 catalog photos, of the lines over the floor, right and wrong: 18 and 1 at 1280, 14 and 1 at 960, 11 and
1 at 736, 10 and 1 at 640; at 1280 a photo takes twice the time.
"""

_FLOOR = 0.85
"""Least confidence of a line. On the same photos what lay under it was no word: "DA" on a handlebar has 0.81."""

_FEWEST = 2
"""A line has at least so many letters or digits: one alone is as often a shadow as a character, at any
confidence. It costs a keyboard its keys, and a garment its size M."""

_MOST_LINES, _MOST_CHARACTERS = 50, 200
"""Of a picture's lines the largest are read, of a line its beginning: a page of print is no product."""


@engine(
    "rapidocr",
    capability=TextReader,
    artifacts=("pp-ocr-det", "pp-ocr-rec"),
    licence="Apache-2.0",
    batch=8,
    memory_mb=500,
)
class RapidTextReader:
    """Reads upright and slanted lines; what stands on its head, or is one character alone, it leaves out."""

    version: ClassVar[int] = 1

    def __init__(self, loading: Loading) -> None:
        # Its parts, not the whole of it: given sessions of ours it downloads nothing and minds our threads,
        # and its own scaling raises on a picture that is long and thin.
        from omegaconf import OmegaConf
        from rapidocr.ch_ppocr_det import TextDetector
        from rapidocr.ch_ppocr_rec import TextRecognizer
        from rapidocr.utils.log import logger
        from rapidocr.utils.typings import EngineType

        def settings(artifact: str, **more: Any) -> Any:
            session = loading.device.onnx_session(loading.path(artifact))
            common = {"engine_type": EngineType.ONNXRUNTIME, "session": session}
            return OmegaConf.create({**common, **more}, flags={"allow_objects": True})

        logger.setLevel("ERROR")
        self._detector = TextDetector(
            settings(
                "pp-ocr-det",
                limit_type="max",
                limit_side_len=_DETECTOR_LONGEST,
                mean=[0.5, 0.5, 0.5],
                std=[0.5, 0.5, 0.5],
            )
        )
        # A batch is as wide as its widest line: one at a time a line is read alike whatever stands beside it.
        self._recogniser = TextRecognizer(
            settings(
                "pp-ocr-rec", lang_type="ch", font_path=None, rec_batch_num=1, rec_img_shape=[3, 48, 320]
            )
        )

    def warm_up(self) -> None:
        self.read_text([np.full((64, 64, 3), 255, np.uint8)])

    def read_text(self, pictures: Sequence[RGB]) -> list[list[Printed]]:
        return [self._read(picture) for picture in pictures]

    def _read(self, picture: RGB) -> list[Printed]:
        from rapidocr.ch_ppocr_rec import TextRecInput
        from rapidocr.utils.process_img import get_rotate_crop_image

        pixels = _bgr(picture)
        corners = self._detector(pixels).boxes
        if corners is None:
            return []
        height, width = pixels.shape[:2]
        # (N, 4, 2) in pixels: the upright boxes around lines that may be slanted.
        spans = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
        sizes = (spans[:, 2] - spans[:, 0]) * (spans[:, 3] - spans[:, 1])
        largest = np.argsort(-sizes, kind="stable")[:_MOST_LINES]
        crops = [get_rotate_crop_image(pixels, corners[n].copy()) for n in largest]
        read = self._recogniser(TextRecInput(img=crops, return_word_box=False))
        assert read.txts is not None, "there is a text for each crop, empty or not"
        shares = spans[largest] / np.array([width, height, width, height])
        lines = (
            Printed(
                one_line(text, _MOST_CHARACTERS),
                float(confidence),
                (float(left), float(top), float(right), float(bottom)),
            )
            for text, confidence, (left, top, right, bottom) in zip(
                read.txts, read.scores, shares.clip(0.0, 1.0), strict=True
            )
        )
        return reading_order(line for line in lines if line.confidence >= _FLOOR and is_word(line.text))


def is_word(text: str) -> bool:
    """Whether there is enough of it to be more than a stain that looks like a letter."""
    return sum(one.isalnum() for one in text) >= _FEWEST


def reading_order(lines: Iterable[Printed]) -> list[Printed]:
    """From top to bottom; lines whose middle lies within the height of one further up, from left to right."""
    rows: list[list[Printed]] = []
    for line in sorted(lines, key=lambda item: (item.box[1] + item.box[3], item.box)):
        if rows and line.box[1] + line.box[3] < 2 * rows[-1][0].box[3]:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda item: item.box)]


def _bgr(picture: RGB) -> RGB:
    small = np.asarray(shrunk(picture, _LONGEST, Image.Resampling.LANCZOS))
    return np.ascontiguousarray(small[..., ::-1])
