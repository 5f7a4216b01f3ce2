"""Programs that do to gapfill what happens to programs: `python -m tests.torture --minutes 30`.

tests/test_torture.py makes a few tries of each with every run of the tests. docs/reliability.md
holds the counts of a long run.
"""
