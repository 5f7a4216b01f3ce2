import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gapfill.config import Range, build, nearest, plain
from gapfill.errors import UsageError


@dataclass(frozen=True)
class Inner:
    depth: Annotated[int, Range(1, 9)] = 3
    rate: float = 0.5


@dataclass(frozen=True)
class Outer:
    width: Annotated[int, Range(16, 128, 16)] = 64
    lr: Annotated[float, Range(1e-7, 1)] = 1e-3
    weight: Annotated[float, Range(0)] = 1.0
    flip: bool = True
    title: str = ""
    mode: Literal["paper", "radford"] = "radford"
    steps: Annotated[int | None, Range(1)] = None
    taps: tuple[int, ...] = (1, 2)
    inner: Inner = field(default_factory=Inner)
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Needy:
    model: str
    size: int = 64


def message(values, cls=Outer, where=""):
    with pytest.raises(UsageError) as caught:
        build(cls, values, where)
    text = str(caught.value)
    assert "\n" not in text
    return text


@dataclass(frozen=True)
class Patched:
    """A choice of numbers."""

    patch: Literal[1, 8] = 1


def test_nothing_given_makes_the_defaults():
    assert build(Outer, {}) == Outer()


def test_an_unknown_setting_is_named_with_the_nearest_and_all_that_are_known():
    text = message({"widht": 32}, where="cnn")
    assert text.startswith("cnn: unknown setting 'widht'. Did you mean 'width'? Known: width, lr,")
    assert text.endswith("inner, extra")


def test_a_setting_that_resembles_none_gets_the_list_without_a_guess():
    assert message({"zzz": 1}, Needy) == "unknown setting 'zzz'. Known: model, size"


def test_a_key_that_is_no_text_is_an_unknown_setting():
    assert "unknown setting '3'" in message({3: 4})


def test_a_setting_without_a_default_must_be_given():
    assert message({"size": 32}, Needy, "a.yaml") == "a.yaml: the setting 'model' is missing."


@pytest.mark.parametrize("values", [[1, 2], "text", 3, None])
def test_settings_must_come_by_name(values):
    assert message(values, where="a.yaml").startswith("a.yaml: expected settings by name, got ")


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("width", "wide", "cnn: width must be a whole number; got 'wide' (str)."),
        ("width", 64.0, "cnn: width must be a whole number; got 64.0 (float)."),
        ("width", True, "cnn: width must be a whole number; got True (bool)."),
        ("lr", "fast", "cnn: lr must be a number; got 'fast' (str)."),
        ("lr", True, "cnn: lr must be a number; got True (bool)."),
        ("lr", None, "cnn: lr must be a number; got None (NoneType)."),
        ("flip", 1, "cnn: flip must be true or false; got 1 (int)."),
        ("title", 7, "cnn: title must be text; got 7 (int)."),
        ("taps", 5, "cnn: taps must be a list; got 5 (int)."),
        ("taps", "12", "cnn: taps must be a list; got '12' (str)."),
        ("taps", [1, "b"], "cnn: taps must be a whole number; got 'b' (str)."),
        ("extra", [1], "cnn: extra must be settings by name; got [1] (list)."),
        ("steps", "many", "cnn: steps must be a whole number; got 'many' (str)."),
    ],
)
def test_a_wrong_type_says_what_is_wanted_and_what_came(key, value, text):
    assert message({key: value}, where="cnn") == text


@pytest.mark.parametrize(
    ("came", "spelt"),
    [("2e-4", "2.0e-4"), ("1e3", "1.0e+3"), ("5E-3", "5.0e-3"), ("1e+2", "1.0e+2")],
)
def test_a_number_that_yaml_reads_as_text_gets_its_right_spelling(came, spelt):
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load(came) == came, "YAML reads this as a number after all"
    assert yaml.safe_load(spelt) == float(came), "the cure is none"
    text = message({"lr": came}, where="a.yaml")
    assert text == (
        f"a.yaml: lr must be a number; got '{came}' (str). YAML reads this as text: write {spelt}."
    )


@pytest.mark.parametrize("came", ["0.001", "3", "-2.5", "nan", "inf"])
def test_the_offered_spelling_of_a_quoted_number_is_a_number_or_is_left_out(came):
    yaml = pytest.importorskip("yaml")
    text = message({"lr": came})
    _, offered, spelt = text.partition("write ")
    if offered:
        first = spelt.removesuffix(".").split()[0]
        assert str(float(yaml.safe_load(first))) == str(float(came)), text


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("width", 200, "width must be 16 to 128, a multiple of 16; got 200 (int)."),
        ("width", 20, "width must be 16 to 128, a multiple of 16; got 20 (int)."),
        ("weight", -0.5, "weight must be >= 0; got -0.5 (float)."),
        ("steps", 0, "steps must be >= 1; got 0 (int)."),
        ("lr", 2, "lr must be 1e-07 to 1; got 2.0 (float)."),
        ("lr", float("nan"), "lr must be 1e-07 to 1; got nan (float)."),
        ("inner", {"depth": 10}, "inner: depth must be 1 to 9; got 10 (int)."),
    ],
)
def test_a_value_out_of_range_says_the_range_and_what_came(key, value, text):
    assert message({key: value}) == text


def test_an_infinite_value_is_out_of_every_range():
    assert "weight" in message({"weight": float("inf")})


@pytest.mark.parametrize(("key", "value"), [("width", 16), ("width", 128), ("lr", 1.0)])
def test_both_ends_of_a_range_are_allowed(key, value):
    assert getattr(build(Outer, {key: value}), key) == value


def test_a_choice_that_is_none_gets_the_nearest_and_all():
    text = message({"mode": "papers"}, where="dcgan")
    assert text == ("dcgan: mode: 'papers' (str)? Did you mean 'paper'? Known: paper, radford")
    assert message({"mode": 3}).startswith("mode: 3 (int)? Known: paper, radford")
    for value in (8.0, True):
        with pytest.raises(UsageError, match=r"patch: .* Known: 1, 8"):
            build(Patched, {"patch": value})
    assert build(Patched, {"patch": 8}).patch == 8


def test_none_is_taken_where_it_is_allowed_and_escapes_the_range():
    assert build(Outer, {"steps": None}).steps is None
    assert build(Outer, {"steps": 5}).steps == 5


def test_a_whole_number_becomes_a_float_where_one_is_wanted():
    value = build(Outer, {"weight": 2}).weight
    assert (value, type(value)) == (2.0, float)


def test_a_list_becomes_a_tuple():
    assert build(Outer, {"taps": [3, 4, 5]}).taps == (3, 4, 5)


def test_nested_settings_are_built_and_their_place_is_named():
    assert build(Outer, {"inner": {"depth": 5}}).inner == Inner(depth=5)
    assert build(Outer, {"inner": Inner(7)}).inner == Inner(7)
    text = message({"inner": {"dept": 5}}, where="a.yaml")
    assert text == "a.yaml: inner: unknown setting 'dept'. Did you mean 'depth'? Known: depth, rate"
    assert message({"inner": 4}) == "inner: expected settings by name, got 4 (int)."


def test_settings_taken_by_name_are_copied():
    given = {"a": 1}
    made = build(Outer, {"extra": given})
    given["a"] = 2
    assert made.extra == {"a": 1}


def test_a_dataclass_without_settings_still_refuses_what_it_does_not_know():
    @dataclass(frozen=True)
    class Nothing:
        pass

    assert build(Nothing, {}) == Nothing()
    assert "unknown setting 'size'" in message({"size": 64}, Nothing)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.builds(
        Outer,
        width=st.integers(1, 8).map(lambda n: 16 * n),
        lr=st.floats(1e-7, 1),
        weight=st.floats(0, 1e300),
        flip=st.booleans(),
        title=st.text(st.characters(codec="utf-8")),
        mode=st.sampled_from(["paper", "radford"]),
        steps=st.none() | st.integers(1, 10**9),
        taps=st.lists(st.integers()).map(tuple),
        inner=st.builds(Inner, depth=st.integers(1, 9), rate=st.floats(allow_nan=False)),
        extra=st.dictionaries(st.text(), st.integers() | st.lists(st.integers())),
    )
)
def test_plain_settings_survive_json_and_make_the_same_again(outer):
    text = json.dumps(plain(outer))
    assert build(Outer, json.loads(text)) == outer


def test_plain_turns_nested_tuples_into_lists():
    assert plain(Outer(extra={"a": (1, (2, 3))}))["extra"] == {"a": [1, [2, 3]]}
    assert plain(Outer())["taps"] == [1, 2]
    assert plain(Outer())["inner"] == {"depth": 3, "rate": 0.5}


def test_nearest_names_all_that_are_known():
    assert nearest("telae", ["cnn", "telea"]) == "Did you mean 'telea'? Known: cnn, telea"
    assert nearest("x", iter(["cnn", "telea"])) == "Known: cnn, telea"


def test_a_range_says_itself():
    assert str(Range(1)) == ">= 1"
    assert str(Range(0, 0.5)) == "0 to 0.5"
    assert str(Range(32, 128, 16)) == "32 to 128, a multiple of 16"
