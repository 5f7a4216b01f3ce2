import pytest

import gapfill
import gapfill.testing


@pytest.mark.parametrize("check", gapfill.testing.CHECKS, ids=lambda check: check.__name__)
def test_dilated_keeps_the_contract(check, tmp_path):
    model = gapfill.create("dilated", size=32, width=8)
    reason = gapfill.testing.run(check, model, tmp_path)
    if reason is not None:
        pytest.skip(reason)
