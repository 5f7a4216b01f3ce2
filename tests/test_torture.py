"""A few tries of every program of tests/torture; `python -m tests.torture` makes thousands."""

import pytest

from tests.torture import programs
from tests.torture.harness import PROGRAMS, Entry, carry_out, mutated, refused

assert programs


@pytest.mark.parametrize("name", sorted(name for name in PROGRAMS if PROGRAMS[name].short))
def test_nothing_breaks(name, tmp_path):
    entry = PROGRAMS[name]
    count = carry_out(entry, tmp_path, entry.short)
    assert count.tried == entry.short
    assert not count.failed, "\n".join(count.failed)


def test_a_program_that_finds_a_fault_is_heard(tmp_path):
    def finds(chance, folder):
        yield None
        yield "it broke"
        raise KeyError("in the program")

    count = carry_out(Entry("a", finds, 3, 3, 1.0), tmp_path, 5)
    assert (count.tried, len(count.failed)) == (3, 2)
    assert count.failed[0] == "it broke"
    assert "KeyError" in count.failed[1]


def test_only_the_librarys_own_errors_count_as_refusals():
    from gapfill.errors import UsageError

    def raising(error):
        def call():
            raise error

        return call

    assert refused(lambda: 1) is None
    assert refused(raising(UsageError("one line"))) is None
    assert "no single line" in refused(raising(UsageError("")))
    assert "KeyError" in refused(raising(KeyError("x")))
    assert refused(raising(KeyError("x")), KeyError) is None


def test_a_mutation_is_never_the_same_bytes():
    import random

    chance = random.Random(0)
    for data in (b"", b"a", b"\x00" * 9, bytes(range(99))):
        assert all(mutated(data, chance)[0] != data for _ in range(200))
