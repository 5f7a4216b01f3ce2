"""Files of a comparison that are damaged, changed, or another comparison's."""

import json

import numpy as np
import pytest
from common import message
from test_report import fill_folder, log_lines, made, results_of, usual_results

from gapfill import report
from gapfill.errors import GapfillError
from gapfill.report import load


@pytest.fixture
def folder(tmp_path):
    """What a comparison left behind."""
    return fill_folder(tmp_path, usual_results())


def refusal(folder):
    """The line that the report is refused with; nothing is written then."""
    before = sorted(folder.iterdir())
    text = message(report.write, folder, error=GapfillError)
    assert sorted(folder.iterdir()) == before
    return text


def test_what_was_written_is_read(folder):
    report.write(folder)
    assert load.results(folder)["files"].keys() == {
        "pictures.npz", "scores.npz",
        "models/cnn/seed-0/log.jsonl", "models/dcgan/seed-0/log.jsonl",
    }  # fmt: skip


def test_no_change_of_the_results_goes_unseen(folder):
    path = folder / "results.json"
    whole, right = path.read_bytes(), load.results(folder)
    draws = np.random.default_rng(0)
    refused = 0
    for number in range(400):
        at, kind = int(draws.integers(len(whole))), number % 3
        piece = bytes([draws.integers(256)]) if kind else b""
        path.write_bytes(whole[:at] + piece + whole[at + (kind != 2) :])
        try:
            found = load.results(folder)
        except GapfillError as error:
            refused += "results.json" in str(error) and "\n" not in str(error)
        else:  # another blank, or another spelling of the same
            refused += found == right
    assert refused == 400


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "is no valid JSON"),
        (b"[" * 100_000, "is no valid JSON"),
        (b"\xff\xfe", "is no valid JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "is no valid JSON"),
        (b"[1, 2]", "holds a list, not the results of a comparison"),
        (b"{}", "has no schema, but this gapfill reads schema 2"),
        (b'{"schema": 2}', "was changed or damaged after it was written"),
        (b'{"schema": 2, "digest": NaN}', "was changed or damaged after it was written"),
    ],
)
def test_what_is_no_results_of_a_comparison_is_said_in_a_line(folder, text, said):
    (folder / "results.json").write_bytes(text)
    assert said in refusal(folder)


def test_a_number_edited_by_hand_is_refused_with_the_cure(folder):
    path = folder / "results.json"
    path.write_text(path.read_text().replace("21.07", "31.07"))
    assert refusal(folder) == (
        f"{path} was changed or damaged after it was written (sha256 mismatch). Run the "
        "comparison again into the same folder: what it has trained is kept."
    )


@pytest.mark.parametrize("name", ["pictures.npz", "scores.npz"])
def test_another_comparisons_arrays_are_refused_by_name(folder, tmp_path_factory, name):
    other = fill_folder(tmp_path_factory.mktemp("other"), results_of(made("cnn", 20.0)))
    (folder / name).write_bytes((other / name).read_bytes())
    assert f"{folder / name} is not the file that results.json was written with" in refusal(folder)
    (folder / name).unlink()
    assert f"{folder / name} cannot be read (No such file or directory)." in refusal(folder)
    (folder / name).mkdir()
    assert f"{folder / name} is no regular file." in refusal(folder)


def test_a_changed_log_loses_its_curves_and_the_page_says_so(folder):
    path = folder / "models" / "cnn" / "seed-0" / "log.jsonl"
    path.write_text(path.read_text().replace("0.1", "0.2", 1))
    report.write(folder)
    page = (folder / "report.html").read_text()
    assert "cnn, seed 0: its curves are missing." in page
    assert "log.jsonl is not the file that results.json was written with" in page


def test_lines_of_a_log_that_were_damaged_before_are_counted_on_the_page(tmp_path):
    results = results_of(made("cnn", 20.0))
    fill_folder(tmp_path, results)
    path = tmp_path / "models" / "cnn" / "seed-0" / "log.jsonl"
    lines = list(log_lines(np.random.default_rng(0), adversarial=False))
    path.write_text("\n".join([*lines, "{", "[]"]))
    found = report.seal.seal(results, tmp_path, results["files"])
    (tmp_path / "results.json").write_text(json.dumps(found))
    report.write(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "cnn, seed 0: models/cnn/seed-0/log.jsonl has 2 lines damaged, left out." in page


def test_a_picture_of_losses_from_before_does_not_outlive_its_logs(folder):
    assert report.write(folder)[-1].name == "losses.png"
    for path in folder.glob("models/*/*/log.jsonl"):
        path.write_text("")
    assert report.write(folder)[-1].name == "grid.png"
    assert not (folder / "losses.png").exists()
