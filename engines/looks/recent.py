"""Answers kept for a while: two stages of a photo ask the same of the same picture, often in one process."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from engines.protocols import RGB

_Answer = TypeVar("_Answer")

_MOST = 256
"""Pictures: over three batches of photos with three views each. Their answers take some megabytes."""


class Recent(Generic[_Answer]):
    """The answers to the pictures last asked about, by what the pictures hold. Thread-safe."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, _Answer] = OrderedDict()
        self._guard = threading.Lock()

    def answers(
        self, pictures: Sequence[RGB], ask: Callable[[Sequence[RGB]], Sequence[_Answer]]
    ) -> list[_Answer]:
        """One answer a picture; ``ask`` is given those only that are not known, each once.

        Two threads with the same picture may both ask: answers are equal, so nothing is lost but time.
        """
        keys = [_key(picture) for picture in pictures]
        with self._guard:
            known = {key: self._kept[key] for key in keys if key in self._kept}
        wanting = {key: picture for key, picture in zip(keys, pictures, strict=True) if key not in known}
        if wanting:
            known |= zip(wanting, ask(list(wanting.values())), strict=True)
        with self._guard:
            for key in keys:
                self._kept[key] = known[key]
                self._kept.move_to_end(key)
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return [known[key] for key in keys]


def _key(picture: RGB) -> bytes:
    whole = hashlib.blake2b(repr(picture.shape).encode(), digest_size=16)
    whole.update(picture.tobytes())
    return whole.digest()
