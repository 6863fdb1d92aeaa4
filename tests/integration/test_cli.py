"""The commands against a whole running stack: ``vitrine up``, with real servers, workers, models and Flower."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import text

from tests.running import Running, draw, until, whole_stack
from workers.commands.ask import _subjects
from workers.settings import settings


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with whole_stack() as stack:
        yield stack


@pytest.fixture(scope="module")
def bag(running: Running) -> str:
    """A product that went through every stage."""
    product = running.publish("red-bag", "firebrick")
    assert running.settled(product)["plans"][0]["verdict"] == "done"
    return product


def test_a_question_is_answered_from_the_tags_or_declined(running: Running, bag: str) -> None:
    told = running.json("ask", bag, "What colour is it?")
    assert "red" in told["answer"]
    assert told["engine"].startswith("attributes@")
    assert told["because"].startswith("red ")
    assert 0 < told["confidence"] <= 1
    assert running.ok("ask", bag, "是红色的吗？").startswith("是的，红色。\nbecause: 红色 ")
    declined = running.vitrine("ask", bag, "Is it waterproof?")
    assert declined.returncode == 1
    assert declined.stdout.startswith("I can only tell")
    assert "waterproof" in declined.stdout
    unknown = running.vitrine("ask", "nobody", "What is it?")
    assert unknown.returncode == 1
    assert "unknown-product" in unknown.stderr


def test_an_engine_that_asks_for_the_photos_gets_them(
    running: Running, bag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VITRINE_HOME", str(running.home))
    settings.cache_clear()
    try:
        (subject,) = _subjects(running.timeline.show(bag))
    finally:
        settings.cache_clear()
    assert subject.picture.shape == (400, 400, 3)
    assert subject.alpha.shape == (400, 400)
    assert subject.alpha[200, 200] > 0.9


def test_show_tells_what_the_shop_shows_and_how_it_came_about(running: Running, bag: str) -> None:
    known = running.json("show", bag)
    stages = {"photo", "screen", "read_text", "cutout", "caption", "tag", "pitch", "garment"}
    stages |= {"embed_image", "embed_text", "index"}
    assert {run["stage"] for run in known["runs"]} == stages
    told = running.ok("show", bag)
    served = known["presentation"]
    assert served["images"][0]["caption"]["zh"] in told
    assert served["images"][0]["cutout"]["digest"] in told
    assert [run["engine"] for run in known["runs"] if run["engine"] not in told] == []
    assert [tag["value"] for tag in served["tags"] if tag["value"] not in told] == []
    assert known["events"][0]["event_id"] in told
    assert "\x1b" not in told


def test_words_in_both_languages_find_it_and_say_why(running: Running, bag: str) -> None:
    for words in ("red bag", "红色的包"):
        found = running.json("search", words)
        assert found["hits"][0]["product_id"] == bag
        assert "colour:red" in found["understood"]["wanted"]
        assert {reason["kind"] for reason in found["hits"][0]["reasons"]} >= {"photo", "text"}
    assert bag in running.ok("search", "red bag")
    nothing = running.vitrine("search", "red bag under 5 euros")
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert "price ≤ 5 EUR" in nothing.stderr


def test_a_photo_finds_it_and_the_hits_are_drawn(running: Running, bag: str) -> None:
    photo = running.photos / bag / f"{bag}.jpg"
    sheet = running.photos / "sheet.png"
    arguments = ("search", "--image", str(photo), "--text", "in blue", "--sheet", str(sheet))
    assert running.json(*arguments)["hits"][0]["product_id"] == bag
    with Image.open(sheet) as drawn:
        assert drawn.width > 300


def test_the_index_and_the_assets_agree_with_postgres(running: Running, bag: str) -> None:
    report = until(lambda: (told := running.json("reconcile"))["agrees"] and told)
    assert report["index"][0]["points"] >= 1
    assert report["assets"]["blobs"] >= 3


def test_publishing_again_changes_nothing(running: Running, bag: str) -> None:
    before = running.json("show", bag)
    assert json.loads(running.ok("publish", bag, "--source", "urn:test:cli", "--json")) == {"accepted": 1}
    # Behind the duplicate in the queue, so that the duplicate was taken in before it.
    running.settled(running.publish("green-bag", "seagreen"))
    assert running.json("show", bag)["plans"] == before["plans"]


def test_process_reuses_what_has_not_changed(running: Running, bag: str) -> None:
    told = running.ok("process", bag).splitlines()
    assert told[-1] == "done"
    assert len(told) == 12
    assert [line for line in told[:-1] if "reused" not in line] == ["index done"]


def test_status_shows_everything_at_work(running: Running, bag: str) -> None:
    standing = until(lambda: (found := running.json("status"))["workers"] and found)
    assert standing["database"] == standing["broker"] == ""
    assert {"vitrine intake", "vitrine relay", "vitrine worker"} <= standing["processes"].keys()
    assert standing["ledger"]["events"]["done"] >= 1
    told = running.ok("status")
    assert standing["workers"][0] in told
    assert "caption" in told


def test_flower_shows_the_products_of_each_batch(running: Running, bag: str) -> None:
    def batches() -> Any:
        tasks = running.flower_says("/api/tasks").values()
        found = [task for task in tasks if task["name"] == "stage.caption" and bag in (task["kwargs"] or "")]
        return [task for task in found if task["state"] == "SUCCESS"]

    [task, *_] = until(batches)
    assert task["kwargs"] == f"products: {bag}"
    assert task["args"] == "(1 jobs, live)"
    for wrong in (None, "operator:s", "operator:ecret"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            running.flower_says("/api/tasks", wrong)
        with refused.value as answer:
            assert answer.code == 401


def test_metrics_are_served(running: Running, bag: str) -> None:
    address = f"http://127.0.0.1:{running.env['VITRINE_METRICS_PORT']}/metrics"

    def told() -> bool:
        with urllib.request.urlopen(address, timeout=10) as response:
            return b'vitrine_jobs_total{engine=""' in response.read()

    until(told)


def test_a_correction_outranks_the_model_until_it_is_taken_back(running: Running, bag: str) -> None:
    key = "caption/1"
    words = {"en": "A bag by hand.", "zh": "手工包。"}
    for wrong in ("text", '{"en": "half"}'):
        done = running.vitrine("correct", bag, key, wrong, "--by", "ana")
        assert done.returncode == 1
        assert "wrong-form" in done.stderr
    assert "unknown-field" in running.vitrine("correct", bag, "captoin/1", "x", "--by", "ana").stderr
    model = running.json("show", bag)["presentation"]["images"][0]["caption"]
    running.ok("correct", bag, key, json.dumps(words), "--by", "ana")
    assert running.json("show", bag)["presentation"]["images"][0]["caption"] == words
    assert "was corrected by ana" in running.ok("show", bag)
    running.ok("correct", bag, key, "--remove")
    assert running.json("show", bag)["presentation"]["images"][0]["caption"] == model


def test_a_replay_is_quoted_and_then_runs_to_its_end(running: Running, bag: str) -> None:
    chosen = ("replay", "start", "--product", bag, "--stage", "caption", "--force")
    quote = running.json(*chosen, "--dry-run")
    counts = {stage["stage"]: (stage["compute"], stage["reuse"]) for stage in quote["stages"]}
    assert quote["products"] == 1
    assert counts["caption"] == (1, 0)
    assert counts["photo"] == (0, 1)
    assert quote["seconds_by_queue"]["vision"] > 0
    unanswered = running.vitrine(*chosen)
    assert unanswered.returncode == 2
    assert "--yes" in unanswered.stderr
    assert running.json("replay", "list") == []
    number = running.json(*chosen, "--review", "--yes")["id"]
    done = until(lambda: (found := running.json("replay", "show", str(number)))["state"] == "done" and found)
    assert done["items"] == {"done": 1}
    assert "1 products" in running.ok("replay", "promote", str(number))
    for verb in ("pause", "cancel", "discard"):
        assert running.vitrine("replay", verb, str(number)).returncode == 1
    assert "unknown-replay" in running.vitrine("replay", "promote", "999").stderr
    assert str(number) in running.ok("replay", "list")


def test_what_is_parked_is_explained_and_released(running: Running) -> None:
    folder = running.photos / "lost"
    folder.mkdir()
    photo = folder / "lost-mug.jpg"
    event = {
        "specversion": "1.0",
        "id": "lost-1",
        "source": "urn:test:cli",
        "type": "product.uploaded.v1",
        "time": "2026-01-01T00:00:00Z",
        "data": {"product_id": "lost-mug", "revision": 1, "images": [{"id": "a", "url": photo.as_uri()}]},
    }
    published = running.vitrine("publish", "-", stdin=json.dumps(event))
    assert published.returncode == 0, published.stderr
    assert running.settled("lost-mug")["plans"][0]["verdict"] == "rejected"
    assert running.vitrine("process", "lost-mug").returncode == 1
    [job] = [job for job in running.json("parked", "list")["jobs"] if job["products"] == ["lost-mug"]]
    told = running.ok("parked")
    assert "lost-mug" in told
    assert job["reason"] in told
    assert job["error"].splitlines()[0] in running.ok("parked", "explain", str(job["id"]))
    draw(photo, "teal")
    running.ok("parked", "release", str(job["id"]))
    running.settled("lost-mug", "done")
    assert running.vitrine("parked", "release", str(job["id"])).returncode == 1
    assert running.vitrine("parked", "explain", str(job["id"])).returncode == 1


def test_a_withdrawal_is_followed_until_nothing_is_left(running: Running) -> None:
    product = running.publish("blue-cup", "navy")
    running.settled(product)
    assert running.ok("withdraw", product).strip() == f"{product}: done"
    known = running.json("show", product)
    assert known["presentation"] is None
    assert known["facts"] is None
    assert "withdrawn" in running.ok("show", product)
    again = running.vitrine("process", product)
    assert again.returncode == 1
    assert "only a new event brings it back" in again.stderr
    assert "unknown-product" in running.vitrine("withdraw", "never-seen").stderr


def test_doctor_finds_nothing_wrong_with_a_running_stack(running: Running) -> None:
    checks = running.json("doctor")
    assert {"database", "broker", "migrations", "kit"} <= {check["name"] for check in checks}
    assert "WRONG" not in running.ok("doctor")


def test_migrating_again_changes_nothing(running: Running) -> None:
    assert running.ok("migrate").strip().endswith("already")


def test_engines_tell_their_licences(running: Running) -> None:
    listed = running.json("engines")
    told = running.ok("engines")
    for engine in listed["engines"]:
        assert engine["name"] in told
        assert engine["licence"] in told
    assert {e["name"] for e in listed["engines"] if e["template"]} == {
        "attributes",
        "template",
        "template_pitch",
    }
    assert "captioner" in next(e["roles"] for e in listed["engines"] if e["name"] == "template")
    for artifact in listed["kit"]:
        assert len(artifact["sha256"]) == 64
        assert artifact["version"] in told


PARK = """
WITH job AS (
    INSERT INTO jobs (fingerprint, stage, recipe, engine, queue, lane, source, turn, state, reason, error, finished_at)
    VALUES ('\\x00', 'scene', 'r', 'studio@1', 'scenes', 0, 'urn:test:cli', 1, 'parked', 'below-the-bar',
            'a second bag', now()) RETURNING id
)
INSERT INTO reviews (job_id, outcome, digest) SELECT id, CAST(:outcome AS jsonb), '\\x01' FROM job RETURNING job_id
"""


def test_a_scene_is_made_now_and_what_is_not_proven_is_judged(running: Running, bag: str) -> None:
    picture = running.photos / "scene.png"
    made = running.vitrine(
        "scene", bag, "--preset", "paper-flat", "--no-open", "--json", "--out", str(picture)
    )
    assert made.returncode in (0, 1), made.stderr
    told = json.loads(made.stdout)
    assert made.returncode == bool(told["proof"]["failures"])
    assert told["preset"] == "paper-flat"
    assert told["engine"].startswith("studio@")
    with Image.open(picture) as shown:
        assert shown.size == (1024, 1024)
    unknown = running.vitrine("scene", bag, "--preset", "moon", "--no-open")
    assert unknown.returncode == 2
    assert "none of seamless" in unknown.stderr

    assert running.ok("review").strip() == "nothing waits for review"
    outcome = json.dumps({key: value for key, value in told.items() if key not in ("picture", "engine")})
    with running.database.begin() as connection:
        job = str(connection.execute(text(PARK), {"outcome": outcome}).scalar_one())
    listed = running.ok("review")
    assert job in listed
    assert "a second bag" in listed
    look = running.photos / "look.png"
    assert "paper-flat, square" in running.ok("review", "show", job, "--out", str(look))
    assert look.read_bytes() == picture.read_bytes()
    assert "rejected by ana" in running.ok("review", "reject", job, "--by", "ana", "--why", "a second bag")
    assert "rejected by ana: a second bag" in running.ok("review", "list", "--decided")
    again = running.vitrine("review", "accept", job, "--why", "no")
    assert (again.returncode, "served" in again.stdout) == (0, True), "a person may change their mind"
    assert running.vitrine("review", "accept", job, "--why", "twice").returncode == 1


def test_the_model_that_embeds_is_swapped_and_back(running: Running, bag: str) -> None:
    assert "numbers a vector" in running.ok("models", "plan", "embed=tiny")
    refused = running.vitrine("models", "cutover")
    assert refused.returncode == 1
    assert "no-shadow" in refused.stderr
    before = running.json("search", "red bag")["engine"]
    running.ok("models", "shadow", "embed=tiny", "--wait")
    queries = running.photos / "queries.txt"
    queries.write_text("red bag\n红色的包\n")
    compared = json.loads(running.ok("models", "compare", "--queries", str(queries), "--json"))
    assert [one["query"] for one in compared["queries"]] == ["red bag", "红色的包"]
    assert running.json("search", "red bag")["engine"] == before
    assert "tiny@" in running.ok("models", "cutover")
    after = running.json("search", "red bag")
    assert after["engine"].startswith("tiny@")
    assert bag in [hit["product_id"] for hit in after["hits"]]
    late = running.publish("late-bag", "navy")
    running.settled(late)
    assert before in running.ok("models", "rollback")
    assert late in [hit["product_id"] for hit in running.json("search", "late bag")["hits"]]
    assert "tiny@" in running.ok("models", "retire")
