"""By what the best weights of a run are chosen."""

import pytest
import torch
from common import message

import gapfill
from gapfill import fitting, metrics, registry, trunks
from gapfill.data.faces import generate
from gapfill.metrics import perceptual
from gapfill.report import tables
from gapfill.watcher import Watcher

TRAIN = {"steps": 4, "watch": 2, "device": "cpu", "precision": "fp32", "quiet": True}
FACES = generate(12, 32)


@pytest.fixture
def network(monkeypatch):
    """LPIPS's place taken by the mean difference; returns how many pictures it saw each time."""
    seen = []

    def distance(filled, real):
        seen.append(len(filled))
        return (filled.double() - real.double()).abs().mean((1, 2, 3))

    monkeypatch.setattr(trunks, "find", lambda name: ({}, "here"))
    monkeypatch.setattr(metrics, "load_lpips", lambda device: (distance, ""))
    return seen


@pytest.fixture
def no_network(monkeypatch):
    monkeypatch.setattr(trunks, "_places", lambda name: iter(()))


def created(name):
    torch.manual_seed(0)
    return gapfill.create(name, size=32, width=4)


def fit(model, out=None, **more):
    return model.fit([FACES[:4]] * 2, val=FACES[4:], out=out, **(TRAIN | more))


def lifelike():
    return [name for name in gapfill.list_models() if registry.model_class(name).by_lpips]


def looks(model):
    return [line for line in model.history if "val/score" in line]


def test_adversarial_models_and_flows_and_no_others_are_chosen_by_lpips():
    paper = {"gan", "dcgan", "lsgan", "wgan_gp", "context_encoder", "glcic", "gfc"}
    assert set(lifelike()) == paper | {"flow", "gated", "lama", "pix2pix", "pmrf", "r3gan", "rcgan"}


def test_the_lower_lpips_is_chosen_whatever_the_other_scores_say():
    model = created("gan")
    blurred = {"hole_psnr": 22.0, "sharpness": 1.0, "lpips": 0.09}
    sharp = {"hole_psnr": 19.0, "sharpness": 0.5, "lpips": 0.06}
    assert model.selection(sharp) > model.selection(blurred)
    for scores in (blurred, sharp):
        del scores["lpips"]
    assert model.selection(blurred) == 22
    assert model.selection(sharp) == 17


def test_with_the_network_a_run_says_lpips_and_is_scored_by_it(network):
    model = fit(created("gan"))
    assert model.training_run["chosen_by"] == "lpips"
    assert network == [8, 8]
    assert all(line["val/score"] == -line["val/lpips"] for line in looks(model))


def test_models_that_do_not_go_by_lpips_pay_nothing_for_it(network):
    model = fit(created("cnn"))
    assert model.training_run["chosen_by"] == "hole_psnr"
    assert not network
    assert all(line["val/score"] == line["val/hole_psnr"] for line in looks(model))


@pytest.mark.usefixtures("no_network")
def test_without_the_network_a_run_says_the_other_rule():
    model = fit(created("gan"))
    assert model.training_run["chosen_by"] == "hole_psnr and sharpness"
    assert not any("val/lpips" in line for line in looks(model))


@pytest.mark.usefixtures("network")
def test_pictures_too_small_for_the_network_are_chosen_by_the_other_rule(monkeypatch):
    monkeypatch.setattr(perceptual, "MIN_SIDE", 33)
    assert fit(created("gan")).training_run["chosen_by"] == "hole_psnr and sharpness"


@pytest.mark.usefixtures("network")
def test_without_a_look_nothing_is_chosen():
    assert fit(created("gan"), watch=0).training_run["chosen_by"] is None
    model = created("gan").fit([FACES[:4]], **TRAIN)
    assert model.training_run["chosen_by"] is None


def test_a_look_takes_as_many_pictures_as_keep_it_cheap(network):
    model = created("gan")
    many = FACES[:1].expand(150, -1, -1, -1)
    model.fit([FACES[:4]], val=many, **(TRAIN | {"watch": 1, "steps": 1}))
    assert network == [model.watched] == [128]


@pytest.mark.usefixtures("network")
def test_a_run_does_not_go_on_by_another_rule(tmp_path, monkeypatch):
    fit(created("gan"), out=tmp_path)
    monkeypatch.setattr(metrics, "lpips_missing", lambda side: "no network")
    text = message(fit, created("gan"), tmp_path)
    assert "(chosen_by: lpips there, hole_psnr and sharpness now)" in text


def test_a_watcher_scores_lpips_where_it_is_given_one():
    model = created("gan")
    plain = Watcher(FACES[:4], "center", 0, None)(model, 0)
    assert "lpips" not in plain
    seeing = Watcher(FACES[:4], "center", 0, None, lambda filled, real: torch.full((4,), 0.25))
    scores = seeing(model, 0)
    assert (scores["lpips"], scores["score"]) == (0.25, -0.25)


def test_a_watcher_brings_its_pictures_to_a_gpu_once(monkeypatch):
    class Model:
        device = torch.device("cuda:1")

        def inpaint(self, pictures, mask):
            return pictures.roll(1, 0)

        def selection(self, scores):
            return scores["hole_psnr"]

    sent, copies = [], {}

    def to(tensor, device):
        if copies.get(id(tensor)) != device:
            sent.append((tuple(tensor.shape), device))
        copies[id(tensor)] = device
        return tensor

    watcher = Watcher(FACES[:4], "center", 0, None)
    monkeypatch.setattr(metrics, "score", lambda *given: {"hole_psnr": torch.zeros(4).double()})
    monkeypatch.setattr(torch.Tensor, "to", to)
    for _ in range(2):
        watcher(Model(), 0)
    there = Model.device
    assert sent == [(tuple(FACES[:4].shape), there), ((4, 1, *FACES.shape[2:]), there)]


def test_a_look_takes_two_thousand_pictures_at_most(monkeypatch):
    class LookedError(Exception):
        pass

    def look(pictures, *more):
        raise LookedError(len(pictures))

    monkeypatch.setattr(fitting, "Watcher", look)
    many = FACES[:1].expand(2001, -1, -1, -1)
    with pytest.raises(LookedError, match="2000"):
        created("cnn").fit([FACES[:4]], val=many, **TRAIN)


def test_the_report_names_the_rules_and_who_went_by_which():
    models = [
        {"label": "gan", "chosen_by": "lpips"},
        {"label": "cnn", "chosen_by": "hole_psnr"},
        {"label": "dcgan", "chosen_by": "lpips"},
        {"label": "old", "chosen_by": "hole_psnr and sharpness"},
        {"label": "mean", "chosen_by": None},
        {"label": "elsewhere"},
    ]
    columns = [{"key": "lpips", "title": "LPIPS"}, {"key": "hole_psnr", "title": "hole PSNR"}]
    assert tables.chosen_by({"models": models, "columns": columns}) == [
        ("weights chosen by LPIPS", "gan, dcgan"),
        ("weights chosen by hole PSNR", "cnn"),
        ("weights chosen by hole psnr and sharpness", "old"),
    ]


@pytest.mark.usefixtures("network")
def test_saved_weights_keep_the_rule(tmp_path):
    fit(created("gan")).save(tmp_path / "model")
    assert gapfill.load(tmp_path / "model").training_run["chosen_by"] == "lpips"
