"""The registry with small real adapters: loading once, evicting, revisions, refusals."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from engines.declaration import Engine, Loading, Registration, engine
from engines.devices import Device
from engines.kit import Artifact, Kit, manifest
from engines.protocols import RGB, Alpha, Captioner, CatalogFacts, Embedder, Segmenter
from engines.registry import Engines, load_adapters
from pipeline.errors import ConfigurationError

CPU = Device("cpu", "float32", 1)


class Whole:
    """Takes the whole picture for the subject."""

    version: ClassVar[int] = 1

    def __init__(self, loading: Loading) -> None:
        self.warm = False
        self.loading = loading

    def warm_up(self) -> None:
        self.warm = True

    def segment(self, pictures: Sequence[RGB], facts: Sequence[CatalogFacts] = ()) -> list[Alpha]:
        return [np.ones(picture.shape[:2], np.float32) for picture in pictures]


def register(name: str, adapter: type[Engine] = Whole, **changes: Any) -> Registration:
    plain = Registration(
        name=name,
        adapter=adapter,
        capabilities=("Segmenter",),
        artifacts=(),
        needs=(),
        data=(),
        parts=(),
        reads=(),
        licence="MIT",
        batch=8,
        memory_mb=40,
        template=False,
        remote=False,
        hub="",
        extra="kit",
    )
    return dataclasses.replace(plain, **changes)


def engines(*registrations: Registration, memory_mb: int = 100, kit: Kit | None = None) -> Engines:
    kit = kit or Kit(Path("unused"), [])
    return Engines(kit, CPU, memory_mb, {item.name: item for item in registrations})


def test_loads_once_however_many_ask_at_once() -> None:
    asking, loads, threads = threading.Semaphore(0), [], 8

    class Slow(Whole):
        def __init__(self, loading: Loading) -> None:
            loads.append(threading.get_ident())
            for _ in range(threads):
                assert asking.acquire(timeout=10)
            super().__init__(loading)

    pool = engines(register("slow", Slow))

    def ask(_: int) -> Any:
        asking.release()
        return pool.get("slow")

    with ThreadPoolExecutor(threads) as executor:
        found = list(executor.map(ask, range(threads)))
    assert len(loads) == 1
    assert all(one is found[0] for one in found)
    assert found[0].warm


def test_a_loaded_engine_is_served_while_another_loads() -> None:
    loading, proceed = threading.Event(), threading.Event()

    class Slow(Whole):
        def __init__(self, context: Loading) -> None:
            loading.set()
            assert proceed.wait(10)
            super().__init__(context)

    pool = engines(register("ready"), register("slow", Slow))
    ready = pool.get("ready")
    with ThreadPoolExecutor(1) as executor:
        slow = executor.submit(pool.get, "slow")
        assert loading.wait(10)
        assert pool.get("ready") is ready
        proceed.set()
        slow.result(10)


def test_evicts_the_least_recently_used_beyond_the_budget() -> None:
    pool = engines(register("a"), register("b"), register("c"))
    first = pool.get("a")
    pool.get("b")
    pool.get("a")
    pool.get("c")
    assert pool.loaded() == ("a", "c")
    assert pool.get("a") is first


def test_keeps_what_a_loaded_engine_needs() -> None:
    class Upper(Whole):
        def __init__(self, loading: Loading) -> None:
            super().__init__(loading)
            self.lower = loading.engine("lower")

    pool = engines(register("lower"), register("upper", Upper, needs=("lower",)), register("other"))
    upper = pool.get("upper")
    assert pool.loaded() == ("lower", "upper")
    pool.get("other")
    # "lower" was used longest ago, but "upper" held it: dropping it alone would have freed nothing.
    assert pool.loaded() == ("lower", "other")
    assert upper.lower is pool.get("lower")


def test_refuses_what_can_never_fit() -> None:
    with pytest.raises(ConfigurationError, match=r"engine big takes 101 MiB .* the budget is 100 MiB"):
        engines(register("big", memory_mb=101)).get("big")


def test_an_engine_that_fails_to_load_can_be_asked_again() -> None:
    class Flaky(Whole):
        tries = 0

        def __init__(self, loading: Loading) -> None:
            Flaky.tries += 1
            if Flaky.tries == 1:
                raise MemoryError
            super().__init__(loading)

    pool = engines(register("flaky", Flaky))
    with pytest.raises(MemoryError):
        pool.get("flaky")
    assert pool.get("flaky").warm


def test_unknown_engine_lists_the_known_ones() -> None:
    pool = engines(register("a"), register("b"))
    with pytest.raises(ConfigurationError, match="no engine 'c'; known engines: a, b"):
        pool.get("c")
    with pytest.raises(ConfigurationError, match="known engines: a, b"):
        pool.spec("c")


def test_a_missing_library_names_the_extra() -> None:
    class Needy(Whole):
        def __init__(self, loading: Loading) -> None:
            import a_library_nobody_has  # type: ignore[import-not-found]  # noqa: F401

    with pytest.raises(ConfigurationError, match=r'a_library_nobody_has.*pip install "vitrine\[kit\]"'):
        engines(register("needy", Needy)).get("needy")


def test_an_adapter_reaches_only_what_it_declares() -> None:
    pool = engines(register("a"), register("b"))
    loading = pool.get("a").loading
    with pytest.raises(ConfigurationError, match="does not declare artifact 'weights'"):
        loading.path("weights")
    with pytest.raises(ConfigurationError, match="does not declare that it needs 'b'"):
        loading.engine("b")


def weights(sha256: str) -> Artifact:
    entry = manifest()[0].model_dump() | {"name": "weights", "sha256": sha256 * 64}
    return Artifact(**entry)


def test_revision_follows_everything_that_shapes_the_answers() -> None:
    class Newer(Whole):
        version: ClassVar[int] = 2

    lower = register("lower", artifacts=("weights",))
    upper = register("upper", needs=("lower",))

    def revisions(lower: Registration, sha256: str = "a") -> tuple[str, str]:
        pool = engines(lower, upper, kit=Kit(Path("unused"), [weights(sha256)]))
        return pool.spec("lower").revision, pool.spec("upper").revision

    plain = revisions(lower)
    assert plain == revisions(lower)
    for changed in (
        revisions(lower, sha256="b"),
        revisions(dataclasses.replace(lower, adapter=Newer)),
        revisions(dataclasses.replace(lower, data=("words/vocabulary.toml",))),
    ):
        assert changed[0] != plain[0]
        assert changed[1] != plain[1], "an engine's revision covers the engines it needs"


def test_an_adapter_must_have_its_capabilitys_methods() -> None:
    with pytest.raises(ConfigurationError, match="Whole lacks the methods of a Captioner"):
        engine("whole", capability=Captioner, licence="MIT", memory_mb=1)(Whole)
    with pytest.raises(ConfigurationError, match="'whole' has no dimension, embed_photos, embed_texts"):
        engine("whole", capability=Embedder, licence="MIT", memory_mb=1)(Whole)


def test_a_name_is_given_once() -> None:
    load_adapters()
    with pytest.raises(ConfigurationError, match="engine 'u2netp' is defined twice"):
        engine("u2netp", capability=Segmenter, licence="MIT", memory_mb=1)(Whole)


def test_specs_are_known_without_any_heavy_library() -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from engines.devices import Device\n"
        "from engines.kit import Kit\n"
        "from engines.registry import Engines\n"
        "engines = Engines(Kit(Path('nowhere')), Device('cpu', 'float32', 1))\n"
        "assert {'u2netp', 'template'} <= {spec.name for spec in engines.specs()}\n"
        "templates = {spec.name for spec in engines.specs() if spec.template}\n"
        "assert templates == {'attributes', 'template', 'template_pitch'}\n"
        "loaded = {'torch', 'onnxruntime'} & set(sys.modules)\n"
        "sys.exit(f'imported {loaded}' if loaded else 0)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
