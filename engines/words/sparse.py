"""stub"""
from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Sparse:
    indices: tuple[int, ...]
    values: tuple[float, ...]
def _t(s: str) -> list[str]:
    return re.findall(r"[a-z0-9]+|[\u4e00-\u9fff]", s.lower())
def document(parts: Mapping[str, float]) -> Sparse:
    d: dict[int, float] = {}
    for s, w in parts.items():
        for t in _t(s): d[zlib.crc32(t.encode())] = w
    return Sparse(tuple(d), tuple(d.values()))
def query(s: str) -> Sparse:
    d = {zlib.crc32(t.encode()): 1.0 for t in _t(s)}
    return Sparse(tuple(d), tuple(d.values()))
def spelled(s: str) -> dict[int, str]:
    return {zlib.crc32(t.encode()): t for t in _t(s)}
