"""What generated pictures say of themselves, read back by C2PA's own reader and by Pillow."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import c2pa
import numpy as np
import pytest
from PIL import Image

from pipeline.errors import ConfigurationError
from storage.provenance import Origin, Signer, xmp
from storage.renditions import master, placeholder, renditions

PIXELS = np.random.default_rng(3).integers(0, 255, (128, 160, 3), dtype=np.uint8)
ORIGIN = Origin("compositeSynthetic", "a" * 64, "studio@1234", {"seed": 7, "prompt": "on marble"})
TOLD = xmp("compositeSynthetic", {"en": 'a <red> "bag" & more', "zh": "红色的包"})


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer.test(tmp_path_factory.mktemp("signer"))


def read(data: bytes, media_type: str) -> Any:
    with c2pa.Reader(media_type, io.BytesIO(data)) as reader:
        return json.loads(reader.json())


def test_every_shape_carries_a_manifest_that_holds(signer: Signer) -> None:
    shapes = [master(PIXELS, TOLD), *renditions(PIXELS, TOLD)]
    assert [(one.media_type, one.width) for one in shapes] == [
        ("image/png", 160),
        ("image/avif", 160),
        ("image/webp", 160),
    ]
    for one in shapes:
        told = read(signer.sign(one.data, one.media_type, ORIGIN), one.media_type)
        assert told["validation_state"] == "Valid"
        manifest = told["manifests"][told["active_manifest"]]
        assertions = {one["label"]: one["data"] for one in manifest["assertions"]}
        [action] = assertions["c2pa.actions.v2"]["actions"]
        assert action["digitalSourceType"].endswith("/compositeSynthetic")
        assert assertions["org.vitrine.scene"] == {
            "photo": {"alg": "sha256", "hash": "a" * 64},
            "engine": "studio@1234",
            "seed": 7,
            "prompt": "on marble",
        }


def test_a_changed_pixel_breaks_the_manifest(signer: Signer) -> None:
    shape = master(PIXELS, TOLD)
    signed = bytearray(signer.sign(shape.data, shape.media_type, ORIGIN))
    signed[-200] ^= 1
    assert read(bytes(signed), "image/png")["validation_state"] == "Invalid"


def test_signing_keeps_the_masters_pixels_and_its_xmp(signer: Signer) -> None:
    shape = master(PIXELS, TOLD)
    picture = Image.open(io.BytesIO(signer.sign(shape.data, shape.media_type, ORIGIN)))
    assert (np.asarray(picture) == PIXELS).all()
    told = picture.info["XML:com.adobe.xmp"]
    assert "digitalsourcetype/compositeSynthetic" in told
    assert '<rdf:li xml:lang="zh">红色的包</rdf:li>' in told
    assert "a &lt;red&gt;" in told


def test_sizes_are_those_that_fit() -> None:
    wide = np.zeros((576, 1024, 3), np.uint8)
    assert [(one.width, one.height) for one in renditions(wide, TOLD)][::2] == [
        (1024, 576),
        (640, 360),
        (320, 180),
    ]


def test_the_placeholder_is_the_pictures_colour() -> None:
    assert placeholder(np.full((50, 40, 3), (200, 16, 32), np.uint8)) == "#c81020"


def test_the_test_certificate_is_made_once_and_kept_from_others(tmp_path: Path) -> None:
    first = Signer.test(tmp_path)
    assert Signer.test(tmp_path) == first
    assert (tmp_path / "test-signer.pem").stat().st_mode & 0o077 == 0


def test_a_certificate_of_ones_own(tmp_path: Path, signer: Signer) -> None:
    certificates, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    certificates.write_bytes(signer.certificates)
    key.write_bytes(signer.key)
    assert Signer.read(certificates, key) == signer
    key.write_bytes(b"nonsense")
    with pytest.raises(ConfigurationError, match="VITRINE_C2PA_KEY"):
        Signer.read(certificates, key)
    with pytest.raises(ConfigurationError, match=r"missing\.pem"):
        Signer.read(tmp_path / "missing.pem", key)
