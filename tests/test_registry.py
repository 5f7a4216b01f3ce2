import importlib
import pickle
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint

import pytest
import torch
from common import message

import gapfill
from gapfill import checkpoint, registry
from gapfill.errors import GapfillError
from gapfill.inpainter import Inpainter

BUILT_IN = {"cnn", "dcgan", "gan", "mean", "telea"}

PLUG_IN = """
from dataclasses import dataclass
import torch
from gapfill import Inpainter

class Grey(Inpainter):
    "Fills with one grey."

    multiple = 1

    @dataclass(frozen=True)
    class Config:
        "Settings."
        level: float = 0.0

    def fill(self, known, mask):
        return torch.full_like(known, self.config.level)

not_a_class = 3
"""


class Grey(Inpainter):
    """Fills with mid-grey."""

    multiple = 1

    @dataclass(frozen=True)
    class Config:
        """Settings."""

    def fill(self, known, mask):
        return torch.zeros_like(known)


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    """Forget what a test registers and imports."""
    registry.list_models()
    monkeypatch.setattr(registry, "_classes", dict(registry._classes))
    modules = set(sys.modules)
    yield
    for name in set(sys.modules) - modules:
        if name.startswith("plug_"):
            del sys.modules[name]


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a package with entry points, as pip leaves it on the path."""

    def installed(package, points, code=PLUG_IN, module=None):
        folder = tmp_path / "site" / package
        info = folder / f"{package.replace('-', '_')}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {value}\n" for name, value in points.items()]
        (info / "entry_points.txt").write_text("[gapfill.models]\n" + "".join(lines))
        if code is not None:
            (folder / f"{module or package.replace('-', '_')}.py").write_text(code)
        monkeypatch.syspath_prepend(str(folder))
        importlib.invalidate_caches()

    return installed


def saved(folder, name="cnn", **settings):
    settings = settings or {"size": 32, "width": 4}
    model = gapfill.create(name, **settings)
    model.trained = True
    model.save(folder)
    return model


def test_the_built_in_models_are_found_by_walking_their_package():
    names = gapfill.list_models()
    assert set(names) >= BUILT_IN
    assert names == sorted(names)


def test_wildcards_choose_names():
    assert set(gapfill.list_models("*gan")) >= {"gan", "dcgan"}
    assert not {"cnn", "mean"} & set(gapfill.list_models("*gan"))
    assert set(gapfill.list_models("?nn")) >= {"cnn"}
    assert "gan" not in gapfill.list_models("[cd]*")
    assert gapfill.list_models("nothing*") == []


def test_a_near_miss_gets_the_nearest_name_and_all():
    text = message(gapfill.create, "dcgam")
    known = ", ".join(gapfill.list_models())
    assert text == f"unknown model 'dcgam'. Did you mean 'dcgan'? Known: {known}"


def test_settings_are_checked_at_the_same_door():
    assert message(gapfill.create, "cnn", widht=4).startswith(
        "cnn: unknown setting 'widht'. Did you mean 'width'?"
    )
    assert message(gapfill.create, "cnn", width=3) == "cnn: width must be 4 to 512; got 3 (int)."
    assert gapfill.create("cnn", width=4, size=32).config.width == 4


def test_a_registered_class_can_be_made_by_name():
    cls = gapfill.register("grey")(Grey)
    assert cls is Grey
    assert Grey.name == "grey"
    assert "grey" in gapfill.list_models("gr*")
    assert isinstance(gapfill.create("grey"), Grey)


def test_registering_the_same_class_again_is_no_mistake():
    gapfill.register("grey")(Grey)
    gapfill.register("grey")(Grey)


def test_a_taken_name_raises_and_names_both():
    gapfill.register("grey")(Grey)

    class Other(Grey):
        pass

    text = message(gapfill.register("grey"), Other)
    assert text.startswith(f"the name 'grey' is taken by {Grey.__module__}.Grey; ")
    assert "Other" in text
    assert isinstance(gapfill.create("grey"), Grey)
    assert "taken by gapfill.models.cnn.CNN" in message(gapfill.register("cnn"), Other)


def test_the_name_of_a_built_in_model_is_taken_from_the_first_moment(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import gapfill\n"
        "class Mine(gapfill.Inpainter):\n"
        "    def fill(self, known, mask):\n"
        "        return known\n"
        "try:\n"
        "    gapfill.register('cnn')(Mine)\n"
        "except gapfill.UsageError as error:\n"
        "    print(error)\n"
        "print(len(gapfill.list_models()) > 3, gapfill.create('cnn', width=4).name)\n"
    )
    done = subprocess.run(
        [sys.executable, str(tmp_path / "mine.py")],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": ":".join(path for path in sys.path if path), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr.splitlines()[-1]
    first, second = done.stdout.splitlines()
    assert first == "the name 'cnn' is taken by gapfill.models.cnn.CNN; __main__.Mine wants it."
    assert second == "True cnn"


def test_a_plug_in_is_listed_unimported_and_made_when_it_is_asked_for(install):
    install("plug-good", {"grey": "plug_good:Grey"})
    assert "grey" in gapfill.list_models()
    assert "plug_good" not in sys.modules
    model = gapfill.create("grey", level=1)
    assert model.name == "grey"
    image, mask = torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 8)
    mask[..., 2:4] = 1
    assert torch.equal(model.inpaint(image, mask), mask.expand(1, 3, 8, 8))
    assert type(gapfill.create("grey")) is type(model)


def test_a_plug_ins_settings_are_checked_like_any_other(install):
    install("plug-good", {"grey": "plug_good:Grey"})
    assert message(gapfill.create, "grey", levl=1).startswith("grey: unknown setting 'levl'. Did")


def test_a_saved_plug_in_model_comes_back(install, tmp_path):
    install("plug-good", {"grey": "plug_good:Grey"})
    gapfill.create("grey", level=0.5).save(tmp_path / "saved")
    again = gapfill.load(tmp_path / "saved")
    assert (again.name, again.config.level) == ("grey", 0.5)


def test_a_broken_plug_in_breaks_nothing_until_it_is_asked_for(install):
    install("plug-broken", {"broken": "plug_broken:Model"}, "raise RuntimeError('no such chip')")
    assert "broken" in gapfill.list_models()
    assert gapfill.create("telea").name == "telea"
    assert "plug_broken" not in sys.modules
    text = message(gapfill.create, "broken", error=GapfillError)
    assert text == (
        "the plug-in plug-broken (plug_broken:Model) for 'broken' cannot be imported: "
        "RuntimeError: no such chip"
    )


def test_a_plug_in_that_is_not_there_says_so(install):
    install("plug-gone", {"a": "plug_gone:Model", "b": "plug_here:Model"}, module="plug_here")
    text = message(gapfill.create, "a", error=GapfillError)
    assert "plug-gone (plug_gone:Model)" in text
    assert "ModuleNotFoundError: No module named 'plug_gone'" in text
    text = message(gapfill.create, "b", error=GapfillError)
    assert "plug-gone (plug_here:Model)" in text
    assert "AttributeError" in text


def test_a_plug_in_that_is_no_inpainter_says_so(install):
    install("plug-odd", {"odd": "plug_odd:not_a_class", "odder": "plug_odd:dataclass"})
    for name in ("odd", "odder"):
        text = message(gapfill.create, name, error=GapfillError)
        assert text.endswith(f"for '{name}' is no Inpainter class.")
        assert "plug-odd" in text


def test_a_plug_in_cannot_take_the_name_of_a_built_in_model(install):
    install("plug-thief", {"telea": "plug_thief:Grey"})
    assert gapfill.list_models().count("telea") == 1
    text = message(gapfill.create, "telea")
    assert (
        text == "the name 'telea' is taken twice: by gapfill and by plug-thief (plug_thief:Grey)."
    )
    assert gapfill.create("mean").name == "mean"


def test_two_plug_ins_of_one_name_are_both_named(install):
    install("plug-one", {"grey": "plug_one:Grey"})
    install("plug-two", {"grey": "plug_two:Grey"})
    text = message(gapfill.create, "grey")
    assert "taken twice" in text
    assert "plug-one" in text
    assert "plug-two" in text


def test_a_plug_in_without_a_package_is_called_by_its_value(monkeypatch):
    point = EntryPoint("lost", "plug_lost:Model", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    text = message(gapfill.create, "lost", error=GapfillError)
    assert text.startswith("the plug-in plug_lost:Model for 'lost' cannot be imported: ")


@pytest.mark.parametrize("name", ["cnn", "gan"])
def test_a_saved_model_comes_back_whole(tmp_path, name):
    model = saved(tmp_path, name, size=32, width=4)
    again = gapfill.load(str(tmp_path))
    assert (again.name, again.config) == (model.name, model.config)
    assert not again.training
    assert again.trained
    for (key, one), other in zip(
        model.state_dict().items(), again.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), key


def test_a_folder_without_a_model_says_so(tmp_path):
    text = message(gapfill.load, tmp_path)
    assert text == f"{tmp_path} holds no saved model: there is no config.json."
    text = message(gapfill.load, tmp_path / "nowhere")
    assert text.startswith(f"there is no saved model at {tmp_path / 'nowhere'}, ")


def test_a_saved_model_without_its_weights_says_so(tmp_path):
    saved(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    assert "there are no weights at" in message(gapfill.load, tmp_path, error=GapfillError)


def test_damaged_weights_are_refused(tmp_path):
    saved(tmp_path)
    path = tmp_path / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    text = message(gapfill.load, tmp_path, error=checkpoint.DamagedError)
    assert text == f"weights {path} are damaged (sha256 mismatch)."


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe\x00"])
def test_a_damaged_description_is_refused(tmp_path, content):
    saved(tmp_path)
    (tmp_path / "config.json").write_bytes(content)
    text = message(gapfill.load, tmp_path, error=GapfillError)
    assert "config.json is damaged" in text


def test_a_description_of_another_model_than_the_weights_is_refused(tmp_path):
    saved(tmp_path / "cnn")
    saved(tmp_path / "gan", "gan", size=32, width=4)
    other = (tmp_path / "gan" / "config.json").read_bytes()
    (tmp_path / "cnn" / "config.json").write_bytes(other)
    message(gapfill.load, tmp_path / "cnn", error=GapfillError)


def test_weights_that_do_not_fit_their_model_are_refused_in_one_line(tmp_path):
    model = saved(tmp_path)
    tensors = dict(model.state_dict())
    name = next(iter(tensors))
    about = {"model": "cnn", "config": {"size": 32, "width": 4}}
    tensors[name] = tensors[name][:1]
    checkpoint.save_weights(tmp_path / "model.safetensors", tensors, about)
    checkpoint.write_json(tmp_path / "config.json", about)
    text = message(gapfill.load, tmp_path, error=GapfillError)
    assert text.startswith(f"the weights in {tmp_path} do not fit 'cnn': ")
    assert name in text


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": 3},
        {"model": None},
        {"config": []},
        {"config": {"width": "wide"}},
        {"config": {"wide": 1}},
        {"training": 3},
        {"run": []},
        {"strange": 1},
    ],
    ids=str,
)
def test_a_card_that_is_none_is_one_line_with_its_file(tmp_path, wrong):
    about = {"model": "cnn", "config": {"size": 32, "width": 4}} | wrong
    checkpoint.save_weights(tmp_path / "model.safetensors", {}, about)
    checkpoint.write_json(tmp_path / "config.json", about)
    text = message(gapfill.load, tmp_path, error=GapfillError)
    assert text.startswith(f"{tmp_path / 'config.json'}")


def test_a_card_asks_for_no_memory_before_its_weights_are_compared(tmp_path, monkeypatch):
    made = []
    real = torch.nn.Module.register_parameter

    def noted(module, name, parameter):
        if parameter is not None:
            made.append((parameter.device.type, parameter.numel()))
        real(module, name, parameter)

    about = {"model": "cnn", "config": {"size": 32, "width": 512}}
    checkpoint.save_weights(tmp_path / "model.safetensors", {"a": torch.ones(3)}, about)
    checkpoint.write_json(tmp_path / "config.json", about)
    monkeypatch.setattr(torch.nn.Module, "register_parameter", noted)
    text = message(gapfill.load, tmp_path, error=GapfillError)
    assert text.startswith(f"the weights in {tmp_path} do not fit 'cnn': ")
    assert sum(count for _, count in made) > 10**7
    assert {device for device, _ in made} == {"meta"}


@pytest.mark.parametrize("bank", [(0, 3, 32, 32), (2, 3, 16, 16), (2, 1, 32, 32), (3,), ()])
def test_a_bank_of_another_shape_is_one_line(tmp_path, bank):
    about = {"model": "nearest", "config": {"size": 32}}
    tensors = {"bank": torch.zeros(bank, dtype=torch.uint8)}
    checkpoint.save_weights(tmp_path / "model.safetensors", tensors, about)
    checkpoint.write_json(tmp_path / "config.json", about)
    text = message(gapfill.load, tmp_path, error=GapfillError)
    assert text.startswith(
        f"the weights in {tmp_path} do not fit 'nearest': a bank of pictures is "
    )


def test_weights_of_another_type_are_refused(tmp_path):
    about = {"model": "nearest", "config": {"size": 32}}
    tensors = {"bank": torch.zeros(2, 3, 32, 32)}
    checkpoint.save_weights(tmp_path / "model.safetensors", tensors, about)
    checkpoint.write_json(tmp_path / "config.json", about)
    text = message(gapfill.load, tmp_path, error=GapfillError)
    assert text.endswith("'bank' is torch.float32, not torch.uint8.")


def test_loading_leaves_torchs_random_numbers_where_they_were(tmp_path):
    gapfill.testing.trained(gapfill.create("cnn", size=32, width=4)).save(tmp_path)
    before = torch.get_rng_state()
    gapfill.load(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_saved_model_of_a_plug_in_that_is_gone_is_named(tmp_path):
    saved(tmp_path)
    about = {"model": "lost", "config": {}}
    checkpoint.save_weights(tmp_path / "model.safetensors", {}, about)
    checkpoint.write_json(tmp_path / "config.json", about)
    text = message(gapfill.load, tmp_path)
    assert text.startswith(f"{tmp_path / 'config.json'}: unknown model 'lost'.")


def test_loading_a_model_never_unpickles(tmp_path, monkeypatch):
    saved(tmp_path)

    def forbidden(*args, **kwargs):
        raise AssertionError("unpickled")

    for module, name in ((torch, "load"), (pickle, "load"), (pickle, "loads")):
        monkeypatch.setattr(module, name, forbidden)
    monkeypatch.setattr(pickle, "Unpickler", forbidden)
    gapfill.load(tmp_path)
