"""What the registry knows of its models: as data, as a table, as docs/models.md."""

import dataclasses
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

import gapfill
from gapfill import registry
from gapfill.about import GROUPS
from gapfill.commands import listing
from gapfill.compare import evaluate
from gapfill.config import plain
from gapfill.inpainter import Inpainter
from gapfill.recipe import read_recipe
from gapfill.report.scores import quantity

ROOT = Path(__file__).parents[1]
BUILT_IN = sorted(registry.built_in())


@pytest.fixture(scope="module")
def found():
    """The facts of every built-in model."""
    found, broken = listing.gather(BUILT_IN)
    assert not broken
    return found


@pytest.fixture
def as_before(monkeypatch):
    """Forget what a test registers."""
    registry.list_models()
    monkeypatch.setattr(registry, "_classes", dict(registry._classes))


def test_docs_models_is_current(found):
    made = listing.markdown(found)
    kept = (ROOT / "docs" / "models.md").read_text()
    assert kept.rstrip() == made.rstrip(), (
        "run: python -m gapfill.commands.listing > docs/models.md"
    )


def test_the_page_has_a_section_for_every_built_in_model(found):
    lines = listing.markdown(found).splitlines()
    assert [line[4:] for line in lines if line.startswith("### ")] == [one.name for one in found]
    assert sorted(one.name for one in found) == BUILT_IN


def test_every_setting_is_explained_with_its_default(found):
    for one in found:
        defaults = plain(registry.model_class(one.name).Config())
        assert {setting.name: setting.default for setting in one.settings} == defaults
        assert all(len(setting.text) > 5 for setting in one.settings), one.name


def test_multiplications_are_counted_where_they_are_asked_for(found):
    model = gapfill.create("cnn")
    cnn = next(one for one in found if one.name == "cnn")
    assert cnn.parameters == evaluate.count_parameters(model)
    assert cnn.macs == evaluate.count_macs(model, listing.SIZE)
    assert dataclasses.replace(cnn, macs=None) == listing.facts("cnn", macs=False)


def test_attention_counts_among_the_multiplications():
    class Attends(Inpainter):
        """Fills with what it attends to."""

        def fill(self, known, mask):
            tokens = known.flatten(2).transpose(1, 2)
            torch.nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)
            return known

    assert evaluate.count_macs(Attends(None), 8) == 2 * 64 * 64 * 3


def test_a_search_through_the_network_counts_with_its_gradients():
    class Searching(Inpainter):
        """Fills with what a search finds."""

        def __init__(self, config):
            super().__init__(config)
            self.layer = torch.nn.Linear(8, 8, bias=False)

        def fill(self, known, mask):
            code = torch.zeros(1, 8, device=known.device)
            with torch.enable_grad():
                made = self.layer(code.requires_grad_())
                torch.autograd.grad(made.sum(), code)
            return known

    # Once forward, once back to the code; the weights need gradients too, but nobody asks.
    assert evaluate.count_macs(Searching(None), 8) == 2 * 64


@pytest.mark.parametrize("name", ["flow", "semantic"])
def test_iterations_are_counted_without_making_them_all(name):
    cls = registry.model_class(name)
    one, five = (gapfill.create(name, width=4, **{cls.iterated: n}) for n in (1, 5))
    assert evaluate.count_macs(five, 64) == evaluate._count(five, 64)
    assert getattr(five.config, cls.iterated) == 5
    assert evaluate.count_macs(one, 64) == evaluate._count(one, 64)


def test_models_stand_in_the_order_of_their_groups(found):
    places = [list(GROUPS).index(one.about.group) for one in found]
    assert places == sorted(places)


def test_every_learned_model_has_a_recipe_of_its_name():
    for name in BUILT_IN:
        if registry.model_class(name).optimised():
            assert read_recipe(ROOT / "configs" / f"{name}.yaml").model == name


def test_a_table_keeps_to_its_width_and_cuts_the_works_alone(found):
    long = dataclasses.replace(
        found[0], name="a_model_of_a_long_name", about=dataclasses.replace(
            found[0].about, authors="Somebody et al.", title="A Title " * 20
        )
    )  # fmt: skip
    for width in (100, 110, 160):
        lines = listing.table([*found, long], width).splitlines()
        assert max(map(len, lines)) <= width
        assert lines[-1].startswith("a_model_of_a_long_name  ")
        assert "…" in lines[-1]
    assert quantity(found[-1].parameters) in lines[-2]


def test_a_model_without_defaults_is_named_with_the_reason(as_before):
    @gapfill.register("needy")
    class Needy(Inpainter):
        """Cannot be made without being told how."""

        @dataclass(frozen=True)
        class Config:
            """Settings."""

            width: int

        def fill(self, known, mask):
            return known

    found, broken = listing.gather(["telea", "needy"])
    assert [one.name for one in found] == ["telea"]
    assert broken == {"needy": "needy: the setting 'width' is missing."}


def test_a_model_that_cannot_fill_untrained_is_described_too(as_before):
    @gapfill.register("raw")
    class Raw(Inpainter):
        """Fills only when it has learned."""

        @dataclass(frozen=True)
        class Config:
            """Settings."""

        def __init__(self, config):
            super().__init__(config)
            self.layer = torch.nn.Linear(2, 3)

        def fill(self, known, mask):
            raise RuntimeError("it has learned nothing")

    one = listing.facts("raw")
    assert one.parameters == 9
    assert one.macs is None


def test_a_broken_plug_in_is_named_and_the_rest_is_told(monkeypatch):
    point = EntryPoint("lost", "plug_lost:Model", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    found, broken = listing.gather(gapfill.list_models())
    assert sorted(one.name for one in found) == BUILT_IN
    assert broken["lost"].startswith("the plug-in plug_lost:Model for 'lost' cannot be imported")
