"""The report of a finished comparison: the page, the pictures and the plain table."""

import copy
import json
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from gapfill import report
from gapfill.errors import GapfillError
from gapfill.metrics.paired import Bootstrap
from gapfill.report import charts, duels, findings, learning, load, page, panels, seal
from gapfill.report.scores import contenders, winner

SIDE, K, W, N = 16, 8, 3, 40
GENERATED = "generated faces, not CelebA: numbers are not comparable with papers"


def scored(psnr, se=0.1, sharpness=0.5):
    return {
        "hole_psnr": {"mean": psnr, "se": se, "n": 400},
        "lpips": {"mean": None, "se": None, "n": 0, "reason": "no AlexNet weights here"},
        "sharpness": {"mean": sharpness, "se": 0.01, "n": 400},
    }


def made(label, psnr, *, se=0.1, learned=True, sharpness=0.5, kinds=("center",)):
    """One entry of `models`, as a comparison writes it."""
    run = {
        "seed": 0,
        "diverged": False,
        "below_floor": False,
        "log": f"models/{label.strip('<>')}/seed-0/log.jsonl",
        "scores": {kind: {"hole_psnr": psnr} for kind in kinds},
        "critic_accuracy": {"mean": 0.7, "sd": 0.05},
        "generator_loss": None,
    }
    return {
        "name": label, "label": label, "summary": "One line.", "learned": learned,
        "stochastic": False, "parameters": 7_900_000 if learned else 0,
        "macs": 210_000_000 if learned else None,
        "weights_digest": "a" * 64 if learned else None,
        "config": {"width": 64} if learned else {},
        "training": {"steps": 400, "images": 25600, "seconds": 120.0, "images_per_second": 213.0,
                     "precision": "bf16", "batch_size": 64} if learned else None,
        "cost": {"latency_ms": 6.1, "throughput": 900.0, "batch_size": 64, "device": "cpu",
                 "precision": "fp32"},
        "scores": {kind: scored(psnr, se, sharpness) for kind in kinds},
        "runs": [run] if learned else [],
        "stability": None,
        "worst": [{"picture": n, "name": f"{n:06d}.jpg", "hole_psnr": 11.0 + n} for n in range(W)],
    }  # fmt: skip


def results_of(*models, kinds=("center",), generated=False):
    """A whole results.json."""
    columns = [("hole_psnr", "hole PSNR", "dB", "higher", 2), ("lpips", "LPIPS", "", "lower", 3),
               ("sharpness", "sharpness", "", "one", 2)]  # fmt: skip
    masks = [{"kind": kind, "seed": 0, "digest": "e" * 64, "area": 0.25} for kind in kinds]
    names = ("key", "title", "unit", "better", "digits")
    results = {
        "schema": 2,
        "command": "python -m gapfill.compare --models cnn",
        "created": "2026-01-01T12:00:00+00:00",
        "environment": {
            "gapfill": "0.1.0", "torch": "2.14.1", "device": "cpu", "device_name": None,
            "threads": 2, "precision": "bf16",
        },
        "data": {
            "title": "CelebA", "generated": generated, "note": "", "size": SIDE, "crop": "celeba",
            "train": 3400, "val": 200, "test": 400, "digest": "d" * 64,
        },
        "protocol": {
            "masks": masks, "seeds": [0], "limit": "2m of training each", "batch_size": 64,
            "rounding": "uint8",
        },
        "columns": [dict(zip(names, column, strict=True)) for column in columns],
        "models": list(models),
    }  # fmt: skip
    return compared(results)


def compared(results):
    """The results with the differences of their models, as a comparison writes them."""
    scores = per_picture(results)
    boot, lead = Bootstrap(scores, 500), {}
    for kind in [mask["kind"] for mask in results["protocol"]["masks"]]:
        lead[kind] = {
            column["key"]: boot.lead((kind, column["key"]), column["better"])
            for column in results["columns"]
        }
    results["paired"] = {"resamples": 500, "seed": 0, "level": 0.95, "lead": lead}
    return results


def per_picture(results):
    """Scores with the means of `results`; what a model has to itself has a standard error of 5 %
    of a dB, and of 0.005 in other units, and what is hard for all is much larger.
    """
    found = {}
    hard = np.random.default_rng(0).normal(0, 1, N)
    for model in results["models"]:
        own = np.random.default_rng(zlib.crc32(model["label"].encode())).normal(0, 1, N)
        own = (own - own.mean()) / own.std(ddof=1) * np.sqrt(N)
        found[model["label"]] = {
            (kind, key): (entry["mean"] + (hard - hard.mean() + 0.05 * own) * scale)[None]
            for kind, metrics in model["scores"].items()
            for key, entry in metrics.items()
            if entry["mean"] is not None
            for scale in [1.0 if "psnr" in key else 0.1]
        }
    return found


def fill_folder(folder, results, *, logs=True, samples=None):
    """Write what a comparison leaves behind; the pictures are noise."""
    compared(results)
    rng = np.random.default_rng(0)

    def pictures(*shape):
        return rng.integers(0, 256, (*shape, 3, SIDE, SIDE), dtype=np.uint8)

    mask = np.zeros((K, 1, SIDE, SIDE), np.uint8)
    mask[..., 4:12, 4:12] = 1
    arrays = {"real": pictures(K), "mask": mask}
    for model in results["models"]:
        label = model["label"]
        arrays |= {f"filled/{label}": pictures(K), f"worst_real/{label}": pictures(W)}
        arrays |= {f"worst_mask/{label}": mask[:W], f"worst_filled/{label}": pictures(W)}
        for run in model["runs"] if logs else ():
            path = folder / run["log"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(log_lines(rng, adversarial=label != "cnn")))
    if samples:
        arrays[f"samples/{samples}"] = pictures(4, K)
    np.savez(folder / "pictures.npz", allow_pickle=False, **arrays)
    scores = {
        f"{label}/{kind}/{key}": array
        for label, columns in per_picture(results).items()
        for (kind, key), array in columns.items()
    }
    np.savez(folder / "scores.npz", allow_pickle=False, **scores)
    logs = [run["log"] for model in results["models"] for run in model["runs"] if logs]
    whole = seal.seal(results, folder, ["pictures.npz", "scores.npz", *logs])
    results |= whole
    (folder / "results.json").write_text(json.dumps(whole), "utf-8")
    return folder


def log_lines(rng, adversarial):
    for step in range(1, 301):
        entry = {"step": step, "lr": 2e-4, "generator/l1": 0.1, "generator/loss": rng.random()}
        if adversarial:
            entry |= {"critic/loss": rng.random(), "critic/report/accuracy": 0.8}
        yield json.dumps(entry)
        if step % 100 == 0:
            yield json.dumps({"step": step, "val/hole_psnr": 20 + step / 300})


class Page(HTMLParser):
    """What the tests ask of a page: its tags with their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.source = text
        self.tags, self.open, self.words, self.best = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "br", "line", "circle", "polyline"}:
            self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in {"line", "circle", "polyline"}:
            assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open and self.open[-1][0] != "style":
            self.words.append(data)
        if self.open and self.open[-1] == ("td", {**self.open[-1][1], "class": "best"}):
            self.best.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def usual_results():
    """Telea, cnn and dcgan; cnn is best beyond doubt, and dcgan the sharpest."""
    return results_of(
        made("telea", 15.85, learned=False, sharpness=0.2),
        made("cnn", 21.07, sharpness=0.31),
        made("dcgan", 20.52, sharpness=0.66),
    )


@pytest.fixture
def usual():
    return usual_results()


def page_of(folder, results, **how):
    fill_folder(folder, results, **how)
    read = load.pictures, load.scores
    found = [each(folder, results) for each in read]
    return Page(page.render(results, *found, *load.histories(folder, results)))


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The page of the usual comparison, made once."""
    return page_of(tmp_path_factory.mktemp("usual"), usual_results())


def test_the_three_files_are_written_and_returned(tmp_path, usual):
    written = report.write(fill_folder(tmp_path, usual))
    assert [path.name for path in written] == ["report.html", "grid.png", "losses.png"]
    assert all(path.parent == tmp_path and path.stat().st_size > 0 for path in written)


def test_the_page_needs_nothing_beside_itself(shown):
    for tag, attributes in shown.tags:
        assert tag not in {"script", "link", "iframe", "object"}
        for name in ("src", "href", "srcset", "data", "poster"):
            assert attributes.get(name, "data:").startswith("data:")
    assert "http" not in shown.source.replace("http-equiv", "")
    assert "url(" not in shown.source


def test_all_tags_are_closed_in_order(shown):
    assert shown.open == []


def test_every_picture_says_what_it_shows(shown):
    alts = [a["alt"] for tag, a in shown.tags if tag == "img"]
    assert len(alts) == 3 + K * 5 + 3 * W * 3
    assert "picture 1 filled by dcgan" in alts
    assert all(alts)


def test_every_table_head_has_a_scope_and_every_chart_a_description(shown):
    assert all(a["scope"] in {"row", "col"} for tag, a in shown.tags if tag == "th")
    assert any("cnn 21.07 dB" in a.get("aria-label", "") for tag, a in shown.tags if tag == "svg")


def test_pictures_come_through_unchanged(tmp_path, usual):
    fill_folder(tmp_path, usual)
    found = load.pictures(tmp_path, usual)
    real, columns = found["real"], dict(panels.grid_columns(usual, found))
    assert np.array_equal(columns["real"], real)
    assert (columns["corrupted"][:, :, 4:12, 4:12] == 206).all()
    assert np.array_equal(columns["corrupted"][:, :, :4], real[:, :, :4])


@pytest.mark.parametrize("generated", [True, False])
def test_the_banner_is_there_for_generated_faces_only(tmp_path, usual, generated):
    usual["data"]["generated"] = generated
    found = page_of(tmp_path, usual)
    assert any(a.get("class") == "banner" for _, a in found.tags) == generated
    assert (GENERATED in found.text) == generated
    assert report.table(usual).startswith(GENERATED) == generated


def test_a_note_on_the_data_takes_the_place_of_the_usual_banner(usual):
    usual["data"] |= {"generated": True, "note": "drawn faces: a test only"}
    assert report.table(usual).startswith("drawn faces: a test only")


def test_the_best_is_marked_where_its_differences_are_certain(shown):
    assert shown.best == ["21.07", "0.66"]
    assert "cnn restores the missing pixels best, with 21.07 ± 0.10 dB" in shown.text
    assert "0.55 dB (95 % interval 0.4" in shown.text
    assert ") ahead of dcgan; dcgan comes closest to real sharpness" in shown.text


def test_a_difference_may_be_certain_where_the_means_intervals_overlap(tmp_path):
    found = page_of(tmp_path, results_of(made("cnn", 21.07, se=1.0), made("dcgan", 20.8, se=1.0)))
    assert found.best == ["21.07"]


def test_nothing_is_marked_where_the_difference_may_be_nothing(tmp_path):
    found = page_of(tmp_path, results_of(made("cnn", 21.07), made("dcgan", 21.0)))
    assert found.best == []
    assert "cnn and dcgan restore the missing pixels equally well" in found.text
    assert "so none is marked" in found.text


def test_the_best_must_beat_every_other_model(usual):
    lead = usual["paired"]["lead"]["center"]["hole_psnr"]
    assert winner(usual, "center", "hole_psnr") == "cnn"
    lead["ahead"]["telea"] = [5.2, -0.1, 10.5]
    assert contenders(usual, "center", "hole_psnr") == ["cnn", "telea"]
    assert winner(usual, "center", "hole_psnr") is None
    del lead["ahead"]["telea"]  # whose difference nobody knows
    assert winner(usual, "center", "hole_psnr") is None


def test_closest_to_one_may_lie_on_either_side():
    models = made("over", 20, sharpness=1.05), made("under", 20, sharpness=0.8)
    assert winner(results_of(*models), "center", "sharpness") == "over"
    models = made("over", 20, sharpness=1.05), made("under", 20, sharpness=0.94)
    assert winner(results_of(*models), "center", "sharpness") is None


def test_a_column_without_scores_of_each_picture_marks_nobody(tmp_path, usual):
    del usual["paired"]
    assert "*" not in report.table(usual)
    assert "cnn has the highest hole PSNR, 21.07 ± 0.10 dB" in findings.finding(usual, "center")


def test_who_beats_whom_stands_in_a_matrix(tmp_path, usual):
    found = page_of(tmp_path, usual)
    assert "Who beats whom, by how much" in found.text
    (matrix,) = duels.matrices(usual, per_picture(usual), "center")  # LPIPS has no values here
    assert (matrix["title"], matrix["direction"]) == ("hole PSNR in dB", "higher is better")
    assert matrix["labels"] == ["cnn", "dcgan", "telea"]
    assert [[cell["text"] for cell in row["cells"]] for row in matrix["rows"]] == [
        ["", "+0.55", "+5.22"],
        ["−0.55", "", "+4.67"],
        ["−5.22", "−4.67", ""],
    ]
    assert [cell["verdict"] for cell in matrix["rows"][1]["cells"]] == ["behind", "self", "ahead"]
    low, high = usual["paired"]["lead"]["center"]["hole_psnr"]["ahead"]["dcgan"][1:]
    assert matrix["rows"][0]["cells"][1]["interval"] == f"+{low:.2f} to +{high:.2f}"


def test_the_matrix_says_of_lpips_that_less_is_better_and_brackets_what_is_not_certain():
    results = results_of(made("a", 20.0), made("b", 20.0), made("c", 20.02))
    for model, mean in zip(results["models"], (0.05, 0.15, 0.152), strict=True):
        model["scores"]["center"]["lpips"] = {"mean": mean, "se": 0.01, "n": N}
    psnr, lpips = duels.matrices(compared(results), per_picture(results), "center")
    assert psnr["rows"][0]["cells"][1]["text"] == "(+0.02)"
    assert lpips["labels"] == ["a", "b", "c"]
    assert [cell["text"] for cell in lpips["rows"][0]["cells"]] == ["", "+0.100", "+0.102"]
    assert lpips["rows"][1]["cells"][2]["text"] == "(+0.002)"
    assert lpips["rows"][1]["cells"][2]["verdict"] == "level"


def test_names_are_escaped_everywhere(tmp_path):
    found = page_of(tmp_path, results_of(made("<b>", 21.0), made("cnn", 20.0)))
    assert not any(tag == "b" for tag, _ in found.tags)
    assert "Filling the gap: <b> and cnn" in found.text


def test_names_in_a_models_line_are_set_as_code(tmp_path, usual):
    usual["models"][0]["summary"] = "Sharper than `cnn` & `gan`."
    found = page_of(tmp_path, usual)
    assert "<small>Sharper than <code>cnn</code> &amp; <code>gan</code>.</small>" in found.source


def test_missing_numbers_are_dashes_with_their_reason(tmp_path, usual):
    usual["models"][1]["scores"]["center"]["hole_psnr"] = {"mean": None, "se": None, "n": 0}
    usual["models"][1] |= {"cost": None, "training": None, "parameters": None, "macs": None}
    found = page_of(tmp_path, usual)
    assert "– LPIPS: no AlexNet weights here" in found.text
    assert "dcgan restores the missing pixels best" in found.text
    assert "None" not in found.text
    assert "nan" not in found.text.lower()
    row = next(line for line in report.table(usual).splitlines() if line.startswith("cnn"))
    assert row.split() == ["cnn", "–", "–", "0.31", "±", "0.01", "–", "–", "–"]


def test_without_training_there_are_no_losses(tmp_path):
    written = report.write(fill_folder(tmp_path, results_of(made("telea", 15.8, learned=False))))
    assert [path.name for path in written] == ["report.html", "grid.png"]
    found = Page((tmp_path / "report.html").read_text("utf-8"))
    assert "How training went" not in found.text
    assert "Stability" not in found.text


def test_one_model_alone_is_not_called_best(tmp_path):
    found = page_of(tmp_path, results_of(made("cnn", 21.0)))
    assert found.best == []
    assert "no other model stood beside it" in found.text


def test_each_kind_of_mask_has_its_table(tmp_path):
    kinds = ("center", "brush")
    results = results_of(
        made("cnn", 21.0, kinds=kinds), made("gan", 19.0, kinds=kinds), kinds=kinds
    )
    found = page_of(tmp_path, results)
    assert "Under center masks, cnn restores" in found.text
    regions = [a.get("aria-label", "") for _, a in found.tags]
    assert {"Scores, center masks", "Scores, brush masks"} <= set(regions)
    assert report.table(results).count("hole PSNR dB") == 2


def test_the_kinds_of_masks_stand_side_by_side(tmp_path):
    kinds = ("center", "brush")
    models = made("cnn", 21.0, kinds=kinds), made("old", 19.0, kinds=kinds)
    models[1]["scores"]["brush"] = scored(17.0)
    results = results_of(*models, kinds=kinds)
    results["protocol"]["trained_under"] = "center"
    results["protocol"]["masks"][1]["square"] = False
    models[1]["holes"] = "square"
    found = page_of(tmp_path, results)
    assert "hole PSNR, dB, under each kind of mask" in found.text
    assert "Every model was trained under center masks." in found.text
    assert "17.00†" in found.text
    assert "19.00†" not in found.text
    note = "† built for one square hole; the holes of brush are others"
    assert note in found.text
    first, second, last, _ = report.table(results).split("\n\n")
    assert "old†" not in first
    assert [line.split() for line in second.splitlines()] == [
        ["hole", "PSNR", "dB", "center", "brush"],
        ["cnn", "21.00", "±", "0.10*", "21.00", "±", "0.10*"],
        ["old", "19.00", "±", "0.10", "17.00", "±", "0.10", "†"],
    ]
    assert note in last


def test_a_single_kind_of_other_holes_marks_the_model_itself(tmp_path, usual):
    usual["models"][1]["holes"] = "square"
    assert "†" not in report.table(usual)
    usual["protocol"]["masks"][0]["square"] = False
    assert "\ncnn†" in report.table(usual)
    assert "cnn†" in page_of(tmp_path, usual).text


def test_models_that_were_left_out_are_named(tmp_path, usual):
    usual["left_out"] = {"other": "needs a library"}
    assert "other is left out: needs a library" in report.table(usual)
    assert "other is left out: needs a library" in page_of(tmp_path, usual).text


def test_many_models_stand_below_one_another(tmp_path):
    found = page_of(tmp_path, results_of(*(made(f"m{n}", 20.0 + n) for n in range(9))))
    tables = [a["class"] for tag, a in found.tags if tag == "table" and "class" in a]
    assert "pictures rows" in tables
    assert "pictures" not in tables
    assert len([a for tag, a in found.tags if tag == "img"]) == 3 + K * 11 + 9 * W * 3
    assert found.open == []


def test_a_missing_log_leaves_a_note_and_no_curves(tmp_path, usual):
    found = page_of(tmp_path, usual, logs=False)
    assert "cnn, seed 0: its curves are missing." in found.text
    assert "models/cnn/seed-0/log.jsonl cannot be read (No such file" in found.text
    assert "losses.png" not in [path.name for path in report.write(tmp_path)]


def test_a_log_survives_torn_lines_repeats_and_nan():
    lines = [
        '{"step": 1, "critic/loss": 1.0, "critic/report/loss": 9.0, "val/loss": 5.0}',
        '{"step": 2, "critic/loss": 2.0}',
        '{"step": 3, "critic/lo',
        '{"step": 2, "critic/loss": 4.0, "generator/loss": NaN}',
        "[]",
        "[" * 100_000,
    ]
    found, damaged = load.log("\n".join(lines).encode())
    assert damaged == 3
    assert list(found) == ["critic/loss"]
    assert found["critic/loss"].steps.tolist() == [1, 2]
    assert found["critic/loss"].values.tolist() == [1.0, 4.0]


def test_who_had_the_perceptual_distance_for_a_loss_is_named(tmp_path, usual):
    assert "training loss" not in page_of(tmp_path / "plain", usual).text
    usual["models"][2]["config"]["perceptual"] = 2.0
    found = page_of(tmp_path / "looked", usual).text
    assert "dcgan had a perceptual distance in the training loss" in found


def test_a_run_that_diverged_is_named(tmp_path, usual):
    usual["models"][2]["runs"][0]["diverged"] = True
    assert "dcgan: its only run diverged." in page_of(tmp_path, usual).text


def test_a_run_that_ended_below_the_floor_has_not_diverged(tmp_path, usual):
    usual["models"][0] |= {"label": "average", "baseline": "floor"}
    run = usual["models"][2]["runs"][0]
    run["below_floor"] = True
    found = page_of(tmp_path, usual)
    assert "dcgan: its only run ended below average." in found.text
    assert "its only run diverged" not in found.text
    assert "below average" in found.text
    usual["models"][2]["runs"] = [run, {**run, "seed": 1}, {**run, "seed": 2, "diverged": True}]
    said = findings.caveats(usual, "center")[0]
    assert said == "dcgan: 1 of 3 runs diverged and 2 of 3 runs ended below average."


def test_places_within_the_spread_of_runs_are_called_close(tmp_path, usual):
    for model in usual["models"][1:]:
        again = copy.deepcopy(model["runs"][0]) | {"seed": 1}
        model["runs"].append(again)
        model["stability"] = {"runs": 2, "diverged": 0, "hole_psnr": {"mean": 20.0, "sd": 0.4}}
    found = page_of(tmp_path, usual)
    assert "cnn and dcgan lie 0.55 dB apart, while training runs of one model" in found.text
    assert "Each run" in found.text


def test_samples_of_a_stochastic_model_are_shown(tmp_path, usual):
    found = page_of(tmp_path, usual, samples="dcgan")
    assert "Different fills by dcgan" in found.text
    assert "Diversity" not in found.text
    assert any(a.get("alt") == "picture 1, fill 4 by dcgan" for _, a in found.tags)


def test_the_page_holds_all_that_a_repeat_needs(shown):
    command = "python -m gapfill.compare --models cnn"
    for needed in (command, "2.14.1", "d" * 64, "e" * 64, "a" * 64, "width = 64"):
        assert needed in shown.text


@pytest.mark.parametrize(("schema", "named"), [(1, "schema 1"), (None, "no schema")])
def test_an_unknown_schema_is_refused_with_both_named(tmp_path, usual, schema, named):
    usual["schema"] = schema
    with pytest.raises(GapfillError, match=rf"{named}, but this gapfill reads schema 2"):
        report.write(fill_folder(tmp_path, usual))
    with pytest.raises(GapfillError, match=named):
        report.table(usual)


def test_a_folder_without_results_says_what_to_do(tmp_path):
    with pytest.raises(GapfillError, match=r"results\.json cannot be read .*Run a comparison"):
        report.write(tmp_path)


def test_the_plain_table_is_aligned_and_narrow(usual):
    usual["models"] = [made(f"model-{n}", 20 + n / 10) for n in range(6)]
    lines = report.table(usual).split("\n\n")[0].splitlines()
    assert lines[0].split("  ")[0] == "model"
    assert len({line.index("±") for line in lines[1:]}) == 1
    assert len({len(line) for line in lines}) == 1
    assert max(map(len, lines)) <= 110


def test_the_plain_table_stars_only_the_certain_best(usual):
    table = report.table(usual)
    assert "21.07 ± 0.10*" in table
    assert table.count("*") == 3  # hole PSNR, sharpness, and the line that explains the star
    assert "LPIPS: no AlexNet weights here" in table


def test_the_grid_repeats_pixels_exactly():
    pictures = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8), dtype=np.uint8)
    drawn = report.grid([("a", pictures), ("a heading far too long for it", pictures[:1])], scale=3)
    assert isinstance(drawn, Image.Image)
    pixels = np.asarray(drawn)
    big = pictures[0].repeat(3, 1).repeat(3, 2).transpose(1, 2, 0)
    assert np.array_equal(pixels[34:58, 6:30], big)
    assert (pixels[64:88, 36:60] == 255).all()


@pytest.mark.parametrize(("count", "spread"), [(8, 50), (20, 10)])
def test_labels_of_a_crowded_chart_do_not_overlap(count, spread):
    points = [
        charts.Point(f"a-model-{n}", 6 + n / spread, 20 + n / spread, 0.1, True)
        for n in range(count)
    ]
    assert len(charts.scatter(points, x_title="", y_title="", described="").marks) == count
    chart = charts.scatter(points, x_title="", y_title="", described="")
    boxes = []
    for mark in chart.marks:
        length = len(mark.text) * 7
        left = mark.text_x - {"start": 0, "middle": length / 2, "end": length}[mark.anchor]
        boxes.append((left, mark.text_y - 7, left + length, mark.text_y + 7))
    for n, a in enumerate(boxes):
        assert a[0] >= 0
        assert a[2] <= chart.width
        for b in boxes[:n]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_thinning_keeps_the_peaks():
    values = np.zeros(10_000)
    values[7_777] = 5.0
    thin = load.Curve(np.arange(10_000), values).thin()
    assert len(thin.values) <= 2 * 240 + 2
    assert thin.values.max() == 5.0


def test_the_protocol_names_test_pictures_from_elsewhere():
    results = results_of(made("cnn", 21.0))
    assert "400 test pictures under the same masks" in findings.protocol(results)
    results["data"]["test_title"] = "lfw"
    assert "400 test pictures of lfw under the same masks" in findings.protocol(results)


def test_the_protocol_names_the_masks_of_training():
    results = results_of(made("cnn", 21.0))
    assert "trained on 3,400 pictures, with" in findings.protocol(results)
    results["protocol"]["trained_under"] = "rect+brush"
    assert "trained on 3,400 pictures under rect+brush masks, with" in findings.protocol(results)


def taught(where="elsewhere", among=0, **other):
    """What a comparison says of one model's training."""
    found = {
        "where": where, "steps": 900, "mask": "center", "seed": 3, "batch_size": 64, "flip": True,
        "pictures": "f" * 64, "initial_weights": "b" * 64, "trainings": 1, "count": 3000,
        "others": False,
        "test_pictures": {"among": among, "of": 400, "names": ["1.jpg", "2.jpg", "3.jpg"][:among]},
    }  # fmt: skip
    return found | other


def test_of_models_trained_elsewhere_only_that_is_said_which_was_kept(tmp_path, usual):
    usual["protocol"]["trained_under"] = "brush"
    usual["models"][1]["learned_from"] = taught()
    usual["models"][2]["learned_from"] = taught("here", mask="brush", steps=400)
    found = page_of(tmp_path, usual)
    note = "cnn was trained elsewhere: 900 steps under center masks, seed 3"
    assert note in found.text
    assert note in report.table(usual)
    assert "dcgan learned here, on 3,400 pictures under brush masks" in found.text
    assert "cnn elsewhere 900 center 3 3,000 none" in found.text
    assert learning.under(usual) == (
        "dcgan was trained under brush masks; cnn was trained elsewhere, as said below."
    )
    assert learning.under(results_of(made("cnn", 20.0))) == ""
    usual["models"][1]["learned_from"] = taught(steps=None, mask=None, seed=None, others=True)
    assert (
        "cnn was trained elsewhere: how is not known; nobody can say that no test picture"
        in report.table(usual)
    )


def test_test_pictures_that_were_learned_from_are_told(tmp_path, usual):
    for model in usual["models"][1:]:
        model["learned_from"] = taught("here", among=2)
    found = page_of(tmp_path, usual)
    note = "2 of the 400 test pictures were among the training pictures of cnn and dcgan"
    assert note in found.text
    assert note in report.table(usual)
    assert "2 of 400 (1.jpg, 2.jpg)" in found.text
