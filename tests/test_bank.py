"""Pictures for other programs to fill, and what they made of them in the table."""

import json
import shutil

import numpy as np
import pytest
import torch
from common import message
from PIL import Image

import gapfill
from gapfill import compare, masks, metrics
from gapfill.commands import main as cli
from gapfill.compare import bank, elsewhere
from gapfill.data.faces import generate
from gapfill.data.table import Table
from gapfill.errors import GapfillError

COUNT, SIZE = 12, 32
WORDS = ["--size", "32", "--quiet", "--device", "cpu", "--precision", "fp32"]


@pytest.fixture
def faces(monkeypatch):
    """A few generated faces, of which twelve are for the test."""
    images = generate(20, SIZE)
    split = torch.zeros(20, dtype=torch.int8)
    split[20 - COUNT :] = 2
    names = tuple(f"some/face {n}.jpg" for n in range(20))
    table = Table(images, names, split, "generated faces, not CelebA", generated=True)
    monkeypatch.setattr("gapfill.data.open_table", lambda *a, **k: table)
    monkeypatch.setattr("gapfill.compare.evaluate._median_seconds", lambda *a: 0.01)
    return table.part("test")


@pytest.fixture
def home(faces, tmp_path):
    """Their bank, under two kinds of masks."""
    assert bank.write(tmp_path / "bank", faces, ("center", "brush"))
    return tmp_path / "bank"


def fill(home, out, change=lambda filled, real, mask: filled, suffix=".png"):
    """Fill every picture of a bank by its files alone, as another program would."""
    model = gapfill.create("telea")
    for each in (home / "masks").iterdir():
        (out / each.name).mkdir(parents=True)
        for file in each.iterdir():
            real, hole = picture(home / "holes" / each.name / file.name), picture(file)[:1] / 255
            filled = model.inpaint(real[None], hole[None])[0]
            save(out / each.name / f"{file.stem}{suffix}", change(filled, real, hole))
    return out


def picture(path):
    with Image.open(path) as opened:
        return torch.from_numpy(np.array(opened.convert("RGB"))).movedim(-1, 0)


def save(path, image):
    Image.fromarray(image.movedim(0, -1).contiguous().numpy()).save(path)


def compared(out, *words):
    assert compare.main(["--models", *words, *WORDS, "--out", str(out)]) == 0
    results = json.loads((out / "results.json").read_text())
    return {row["label"]: row for row in results["models"]}


def refused(capsys, *words, code=2):
    """The one line that a command says no with."""
    assert cli.main([str(word) for word in words]) == code
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    return said.removeprefix("gapfill: ")


def test_a_bank_holds_what_a_comparison_is_scored_on(faces, home):
    manifest = bank.read(home)
    assert [one.name for one in manifest.pictures] == list(faces.names)
    assert manifest.data.digest == faces.digest()
    files = [one.file for one in manifest.pictures]
    assert files[0] == "face-8.png"
    real = torch.stack([picture(home / "pictures" / file) for file in files])
    assert torch.equal(real, faces.images)
    for kind, about in zip(("center", "brush"), manifest.masks, strict=True):
        drawn = masks.draw(kind, range(COUNT), SIZE, seed=0)
        assert (about.kind, about.digest) == (kind, masks.digest(drawn))
        for number, file in enumerate(files):
            with Image.open(home / "masks" / kind / file) as mask:
                assert mask.mode == "L"
                assert torch.equal(torch.from_numpy(np.array(mask)), drawn[number, 0].byte() * 255)
            hole = picture(home / "holes" / kind / file)
            missing = drawn[number].bool().expand_as(hole)
            assert (hole[missing] == bank.GREY).all()
            assert torch.equal(hole[~missing], faces.images[number][~missing])


def test_a_bank_that_is_there_is_checked_and_kept(faces, home):
    assert not bank.write(home, faces, ("center", "brush"))
    assert not bank.write(home, faces, ("brush",))
    file = home / "pictures" / "face-9.png"
    save(file, 255 - picture(file))
    assert message(bank.write, home, faces, ("brush",), error=GapfillError) == (
        f"{file} is not the picture that manifest.json speaks of."
    )


def test_a_changed_mask_and_a_missing_picture_are_named(faces, home):
    shutil.copy(home / "masks" / "brush" / "face-9.png", home / "masks" / "brush" / "face-8.png")
    assert message(bank.write, home, faces, ("center", "brush"), error=GapfillError) == (
        f"{home / 'masks' / 'brush'} does not hold the masks that manifest.json speaks of."
    )
    (home / "pictures" / "face-9.png").unlink()
    text = message(bank.write, home, faces, ("center", "brush"), error=GapfillError)
    assert str(home / "pictures" / "face-9.png") in text


def test_a_folder_with_something_else_is_left_alone(faces, home, tmp_path):
    assert message(bank.write, home, faces, ("half",)) == (
        f"{home} holds a bank of other masks (center, brush there, half here). Give another --out."
    )
    other = tmp_path / "other"
    other.mkdir()
    (other / "letter.txt").write_text("dear")
    assert message(bank.write, other, faces, ("half",)) == (
        f"{other} is not empty and holds no bank. Give another --out."
    )
    assert [path.name for path in other.iterdir()] == ["letter.txt"]
    (other / "letter.txt").unlink()
    assert bank.write(other, faces, ("half",))


def test_an_interrupted_bank_leaves_nothing(faces, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bank, "write_json", full)
    text = message(bank.write, tmp_path / "bank", faces, ("center",), error=GapfillError)
    assert text == f"cannot write {tmp_path / 'bank'}: No space left on device."
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update(format="gapfill bank 2"), "format: 'gapfill bank 2' (str)?"),
        (lambda m: m.update(missing="black"), "missing: 'black' (str)?"),
        (lambda m: m.update(note="mine"), "unknown setting 'note'."),
        (lambda m: m.pop("masks"), "the setting 'masks' is missing."),
        (lambda m: m.update(masks=[]), "masks is empty."),
        (lambda m: m["data"].update(size="32"), "data: size must be a whole number"),
        (lambda m: m["data"].update(size=4), "data: size must be 8 to 2048; got 4"),
        (lambda m: m["data"].update(split="train"), "data: split: 'train' (str)?"),
        (lambda m: m["data"].update(digest="12"), "'12' is no SHA-256"),
        (lambda m: m["masks"][0].update(seed=1), "masks: seed: 1 (int)?"),
        (lambda m: m["masks"][0].update(folder="../x"), "'../x' in masks is no plain file name."),
        (lambda m: m["pictures"][0].update(file="/etc/x.png"), "'/etc/x.png' in pictures is no"),
        (lambda m: m["pictures"][0].update(file="FACE-9.png"), "a name stands twice in pictures."),
        (lambda m: m.update(pictures="all"), "pictures must be a list; got 'all'"),
    ],
)
def test_a_manifest_that_is_not_exactly_one_is_refused(home, change, said):
    path = home / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    text = message(bank.read, home)
    assert text.startswith(str(path))
    assert said in text


def test_a_manifest_that_is_missing_or_torn_says_so(home):
    path = home / "manifest.json"
    path.write_text(path.read_text()[:100])
    assert f"{path} is damaged (" in message(bank.read, home, error=GapfillError)
    path.write_text("[" * 100_000)
    assert not bank.is_bank(home)
    assert f"{path} is damaged (" in message(bank.read, home, error=GapfillError)
    path.unlink()
    assert "`gapfill bank` writes one" in message(bank.read, home, error=GapfillError)


def test_file_names_are_plain_and_each_stands_once():
    names = ("a/Mary Ann.jpg", "b/mary ann.png", "../.x")
    found = bank.file_names(names)
    assert found == ("0-Mary-Ann.png", "1-mary-ann.png", "2-x.png")
    assert bank.file_names(names) == found


def test_pictures_filled_elsewhere_stand_in_the_table_like_any_row(home, tmp_path, capsys):
    fill(home, tmp_path / "bank" / "mine")  # its bank's manifest lies beside it
    word = f"pictures:{tmp_path / 'bank' / 'mine'}"
    rows = compared(tmp_path / "out", word, "--masks", "center", "brush")
    assert list(rows) == ["mean", "telea", "mine"]
    mine = rows["mine"]
    for kind, scores in rows["telea"]["scores"].items():
        assert mine["scores"][kind] == {key: pytest.approx(each) for key, each in scores.items()}
    assert mine["worst"] == rows["telea"]["worst"]
    assert (mine["parameters"], mine["macs"], mine["cost"]) == (None, None, None)
    assert mine["training"] == {"where": "elsewhere"}
    unchanged = {"pictures": COUNT, "changed": 0, "mean": 0.0, "most": 0}
    assert mine["known"] == {"center": unchanged, "brush": unchanged}
    note = "mine: filled by another program; known pixels unchanged"
    assert note in capsys.readouterr().out
    page = (tmp_path / "out" / "report.html").read_text()
    assert note in page
    assert "filled by mine" in page  # in the grid
    assert "<td>elsewhere</td>" in page  # in the table of costs
    assert "nobody measured what it cost: mine." in page
    pictures = np.load(tmp_path / "out" / "pictures.npz", allow_pickle=False)
    assert np.array_equal(pictures["filled/mine"], pictures["filled/telea"])


def test_changed_known_pixels_are_said_and_pasted_back(faces, home, tmp_path):
    def brighter(filled, real, hole):
        """The whole picture, known pixels too, but for the first row."""
        return torch.cat([filled[:, :1], filled[:, 1:].clamp(max=250) + 5], 1)

    fill(home, tmp_path / "mine", brighter)
    rows = compared(tmp_path / "out", f"pictures:{tmp_path / 'mine' / 'center'}")
    mine, hole = rows["mine"], masks.draw("center", range(COUNT), SIZE, seed=0)
    telea = gapfill.create("telea").inpaint(faces.images, hole)
    delivered = torch.where(hole.bool(), telea.clamp(max=250) + 5, faces.images)
    expected = metrics.psnr(delivered, faces.images, hole).mean().item()
    assert mine["scores"]["center"]["psnr"]["mean"] == pytest.approx(expected)
    known = mine["known"]["center"]
    assert (known["pictures"], known["changed"], known["most"]) == (COUNT, COUNT, 5)
    # All but the first row and the hole of 16×16; the brightest have no room for 5 levels.
    assert known["mean"] == pytest.approx(5 * (31 * 32 - 256) / (32 * 32 - 256), rel=0.02)
    assert "known pixels changed in 12 of 12 pictures, by 4." in mine["note"]
    assert mine["note"].endswith("levels on average and 5 at most, and pasted back")


def test_under_several_kinds_the_note_says_which_kind_changed(home, tmp_path):
    fill(home, tmp_path / "mine")
    file = tmp_path / "mine" / "brush" / "face-8.png"
    image = picture(file)
    mask = picture(home / "masks" / "brush" / "face-8.png")
    place = (mask == 0).nonzero()[0]
    image[tuple(place)] ^= 1
    save(file, image)
    rows = compared(tmp_path / "out", f"pictures:{tmp_path / 'mine'}", "--masks", "center", "brush")
    assert rows["mine"]["note"].startswith(
        "filled by another program; center: known pixels unchanged; "
        "brush: known pixels changed in 1 of 12 pictures, by "
    )


def test_other_formats_than_png_are_taken_by_their_name(home, tmp_path):
    fill(home, tmp_path / "mine", suffix=".jpg")
    rows = compared(tmp_path / "out", f"pictures:{tmp_path / 'mine' / 'center'}")
    assert rows["mine"]["known"]["center"]["changed"] == COUNT
    near = [rows[name]["scores"]["center"]["hole_psnr"]["mean"] for name in ("mine", "telea")]
    assert near[0] == pytest.approx(near[1], abs=0.5)


def test_a_name_that_a_model_has_gets_a_number(home, tmp_path):
    fill(home, tmp_path / "telea")
    rows = compared(tmp_path / "out", f"pictures:{tmp_path / 'telea'}")
    assert list(rows) == ["mean", "telea", "telea-2"]


def test_a_missing_picture_is_named_before_anything_is_trained(home, tmp_path, monkeypatch, capsys):
    mine = fill(home, tmp_path / "mine")
    monkeypatch.setattr("gapfill.fitting.Trainer", None)
    monkeypatch.setattr("gapfill.compare.jobs.train", None)
    words = ("compare", "--models", "cnn", f"pictures:{mine}", *WORDS, "--out", tmp_path / "out")
    (mine / "center" / "face-9.png").unlink()
    assert refused(capsys, *words).endswith(
        f"{mine / 'center'} lacks 1 of 12 pictures: face-9.png."
    )
    for number in (10, 11, 12, 13):
        (mine / "center" / f"face-{number}.png").unlink()
    assert refused(capsys, *words).endswith(
        "5 of 12 pictures: face-9.png, face-10.png, face-11.png and 2 more."
    )


def test_pictures_that_do_not_fit_get_one_line(faces, home, tmp_path):
    drawn = {kind: masks.draw(kind, range(COUNT), SIZE) for kind in ("center", "brush")}
    first = {"center": drawn["center"]}
    mine = fill(home, tmp_path / "mine")
    file = mine / "center" / "face-9.png"
    whole = picture(file)
    save(file, whole[:, :, :30])
    assert message(elsewhere.load, mine, faces, first) == (
        f"{file} is 30×32 but face-9.png is 32×32. They must match."
    )
    file.write_text("no picture")
    assert str(file) in message(elsewhere.load, mine, faces, first, error=GapfillError)
    save(file, whole)
    shutil.copy(file, file.with_suffix(".webp"))
    assert "holds face-9.png and face-9.webp: one of them" in message(
        elsewhere.load, mine, faces, first
    )
    file.with_suffix(".webp").unlink()
    shutil.rmtree(mine / "brush")
    assert message(elsewhere.load, mine, faces, drawn) == (
        f"pictures:{mine} has no folder 'brush', where the pictures filled under brush masks "
        "belong."
    )
    assert message(elsewhere.check, tmp_path / "gone") == (
        f"pictures:{tmp_path / 'gone'}: there is no such folder."
    )


def test_pictures_of_another_bank_are_refused(faces, home, tmp_path):
    mine = fill(home, tmp_path / "mine", lambda filled, *_: 255 - filled)
    center = {"center": masks.draw("center", range(COUNT), SIZE)}
    text = message(elsewhere.load, mine, faces, center)
    assert text.startswith(f"{mine / 'center'} holds other pictures: their known pixels differ")
    shutil.move(mine, home / "mine")
    other = Table(255 - faces.images, faces.names, faces.split, "negatives")
    assert message(elsewhere.load, home / "mine", other, center) == (
        f"pictures:{home / 'mine'}: {home} is a bank of other pictures (title: generated faces, "
        "not CelebA there, negatives here)."
    )


def test_the_command_writes_the_bank_of_its_data(faces, tmp_path, capsys):
    words = ["bank", "--size", "32", "--masks", "center", "rect+brush", "center"]
    assert cli.main([*words, "--out", str(tmp_path / "bank")]) == 0
    assert "12 pictures of generated faces, not CelebA, 32×32" in capsys.readouterr().err
    manifest = bank.read(tmp_path / "bank")
    assert [each.kind for each in manifest.masks] == ["center", "rect+brush"]
    assert refused(capsys, "bank", "--masks", "centre", "--out", tmp_path / "x").startswith(
        "unknown mask kind 'centre'; did you mean 'center'?"
    )
    assert not (tmp_path / "x").exists()


def test_score_says_what_a_comparison_says(home, tmp_path, capsys):
    mine = fill(home, tmp_path / "mine")
    rows = compared(tmp_path / "out", "telea", "--masks", "brush")
    capsys.readouterr()
    paths = home / "pictures", mine / "brush", home / "masks" / "brush"
    assert cli.main(["score", *map(str, paths), "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    wanted = rows["telea"]["scores"]["brush"]
    assert {"hole_psnr", "lpips", "seam"} <= found["scores"].keys()
    for key, value in found["scores"].items():
        assert value == pytest.approx(wanted[key])
    assert len(found["pictures"]) == COUNT
    assert found["known"]["changed"] == 0
    assert cli.main(["score", *map(str, paths)]) == 0
    table = capsys.readouterr().out
    assert table.startswith("12 pictures, ")
    mean = found["scores"]["hole_psnr"]["mean"]
    assert f"hole PSNR dB {mean:.2f} ± " in " ".join(table.split())


def test_score_takes_pictures_of_any_size_and_one_mask(tmp_path, capsys):
    random = np.random.default_rng(0)
    for folder in ("real", "filled", "masks"):
        (tmp_path / folder).mkdir()
    sizes = {"a": (40, 50), "b": (40, 50), "c": (20, 30)}
    for name, size in sizes.items():
        pixels = torch.from_numpy(random.integers(0, 256, (3, *size), dtype=np.uint8))
        hole = torch.zeros(3, *size, dtype=torch.uint8)
        hole[:, 5:15, 8:18] = 255
        save(tmp_path / "real" / f"{name}.png", pixels)
        save(tmp_path / "filled" / f"{name}.png", pixels ^ (hole & 8))
        save(tmp_path / "masks" / f"{name}.png", hole)
    command = ["score", *(str(tmp_path / folder) for folder in ("real", "filled", "masks"))]
    assert cli.main([*command, "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    # Every missing value is off by 8.
    assert found["scores"]["hole_psnr"]["mean"] == pytest.approx(10 * np.log10(255**2 / 64))
    assert [each["name"] for each in found["pictures"]] == ["a.png", "b.png", "c.png"]
    one = [str(tmp_path / folder / "a.png") for folder in ("real", "filled", "masks")]
    assert cli.main(["score", *one]) == 0
    assert capsys.readouterr().out.startswith("1 picture, 5.0 % missing; known pixels unchanged")
    assert refused(capsys, "score", *command[1:3], one[2]) == (
        f"{one[2]} is 50×40 but {tmp_path / 'real' / 'c.png'} is 30×20. They must match."
    )
    assert refused(capsys, "score", one[0], command[2], one[2]).endswith("or both be pictures.")
    assert cli.main(["score", *one, "--invert-mask"]) == 0
    inverse = capsys.readouterr().out
    assert inverse.startswith("1 picture, 95.0 % missing; known pixels changed in 1 of 1 pictures")
    assert "1 of 1 values are not finite: no mean" in inverse
    save(tmp_path / "empty.png", torch.zeros(3, 40, 50, dtype=torch.uint8))
    assert refused(capsys, "score", *one[:2], tmp_path / "empty.png") == (
        f"{tmp_path / 'empty.png'} marks nothing as missing: there is no hole to score."
    )
