"""One image tower, the exports that are made of it, and what was measured of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.declaration import Registration
from engines.devices import Device
from engines.evaluation.labels import PICTURES
from engines.looks.towers import FILE, ImageTower, OnnxTower, Pixels
from engines.optimisation.exports import export, fp16_int8, int4, int8
from engines.optimisation.heads import attentions, importance, least_important, pruned
from engines.optimisation.measuring import TIMED, Way, in_onnx, in_torch, rows_of, speeds
from engines.optimisation.retrieval import Cost, cost
from pipeline.errors import RejectedInput
from storage.pictures import decode

_APART, _MOST_APART = 8, 64
"""Every eighth photograph, and no more than so many, is looked at while a tower is changed; none of these is
measured."""


@dataclass(frozen=True, slots=True)
class Photos:
    """Files in the order of their content; ``apart`` are those that are looked at, ``measured`` the others."""

    folder: Path
    apart: Sequence[Path]
    measured: Sequence[Path]

    @classmethod
    def of(cls, folder: Path, limit: int | None) -> Photos:
        files = [path for path in folder.rglob("*") if path.suffix.lower() in PICTURES and path.is_file()]
        by_content = {
            hashlib.sha256(path.read_bytes()).hexdigest(): path for path in sorted(files, reverse=True)
        }
        ordered = [path for _, path in sorted(by_content.items())][:limit]
        if not ordered:
            raise RejectedInput(
                "no-photos",
                f"{folder} holds no photograph ({', '.join(sorted(PICTURES))}): name another folder",
            )
        apart = ordered[::_APART][:_MOST_APART]
        return cls(folder, apart, [path for path in ordered if path not in set(apart)])

    def classes(self) -> list[str] | None:
        """Of the measured ones; None where the folder does not sort them."""
        parts = [path.relative_to(self.folder).parts for path in self.measured]
        names = [part[0] for part in parts if len(part) > 1]
        return names if len(names) == len(parts) and len(set(names)) > 1 else None


@dataclass(frozen=True, slots=True)
class Export:
    """One file: ``size`` in bytes, ``pace`` in photographs a second, ``cost`` beside torch in fp32."""

    name: str
    file: Path
    size: int
    pace: float
    cost: Cost


@dataclass(frozen=True, slots=True)
class Report:
    """One run. ``torch`` is its pace in photographs a second; ``removed`` are heads by layer."""

    engine: str
    threads: int
    photos: int
    looked_at: int
    classes: int
    torch: Mapping[str, float]
    removed: Sequence[Sequence[int]]
    exports: Sequence[Export]


class Run:
    """One tower, its exports as they are made, and their measure."""

    def __init__(
        self,
        registration: Registration,
        tower: ImageTower,
        photos: Photos,
        out: Path,
        device: Device,
        say: Callable[[str], None],
    ) -> None:
        self._tower, self._photos, self._out, self._device, self._say = tower, photos, out, device, say
        self._apart = list(self._pixels(photos.apart))
        self._origin = registration.model.origin if registration.model else registration.name
        self._files: dict[str, Path] = {}
        self._removed: list[list[int]] = []
        self._plain = out / "fp32" / FILE
        self._say("exporting the tower as it is")
        export(tower, self._apart[0], self._plain, self._origin)

    def make_int8(self) -> None:
        self._say("quantising to int8")
        file = self._out / "int8" / FILE
        self._files[f"int8, {int8(self._plain, file, self._apart)}"] = file

    def make_pruned(self, share: float) -> None:
        attentions(self._tower)
        self._say("weighing the attention heads")
        importances = importance(self._tower, self._apart)
        self._removed = least_important(importances, share)
        file = self._out / "pruned" / FILE
        export(pruned(self._tower, self._removed), self._apart[0], file, self._origin)
        gone, heads = sum(map(len, self._removed)), sum(map(len, importances))
        self._files[f"pruned, {gone} of {heads} heads"] = file

    def make_device(self) -> None:
        self._say("quantising for small devices")
        mixed, small = self._out / "fp16-int8" / FILE, self._out / "int4" / FILE
        fp16_int8(self._plain, mixed, self._apart[:TIMED], self._device)
        self._files["fp16 with int8"] = mixed
        int4(self._plain, small)
        self._files["int4 weights"] = small

    def measured(self, label: str) -> Report:
        files = {"fp32": self._plain, **self._files}
        self._say(f"measuring on {len(self._photos.measured)} photographs")
        torch = in_torch(self._tower, batched=False)
        ways: dict[str, Way] = {name: in_onnx(OnnxTower(file, self._device)) for name, file in files.items()}
        rows = rows_of({"torch": torch, **ways}, self._pixels(self._photos.measured))
        classes = self._photos.classes()
        costs = {name: cost(rows["torch"], rows[name], classes) for name in ways}
        timed = {"torch, batches of 8": in_torch(self._tower, batched=True), "torch": torch, **ways}
        paces = speeds(timed, (self._apart * TIMED)[:TIMED])
        return Report(
            engine=label,
            threads=self._device.threads,
            photos=len(self._photos.measured),
            looked_at=len(self._apart),
            classes=len(set(classes or ())),
            torch={name: paces[name] for name in paces if name.startswith("torch")},
            removed=self._removed,
            exports=[
                Export(name, file.relative_to(self._out), file.stat().st_size, paces[name], costs[name])
                for name, file in files.items()
            ],
        )

    def _pixels(self, files: Sequence[Path]) -> Iterator[Pixels]:
        """Each (1, 3, H, W)."""
        for file in files:
            try:
                picture = decode(file.read_bytes()).pixels
            except RejectedInput as error:
                raise RejectedInput(error.reason, f"{file}: {error}: take it out of the folder") from error
            yield self._tower.prepared([picture])
