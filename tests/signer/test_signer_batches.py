"""How many signatures a worker is given at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkiserver.signer.pool import BATCH_AIM_S, LONGEST_BATCH_S, MAX_TOGETHER, together


@pytest.mark.parametrize(
    ("each_s", "asked", "workers", "wanted"),
    [
        (0.000_1, 1, 1, 20),
        (0.000_1, 256, 1, MAX_TOGETHER),
        (0.005, 1, 1, 0),
        (0.005, 64, 32, 1),
        (0.005, 128, 32, 2),
        (0.005, 256, 32, 4),
        (0.005, 256, 1, 10),
        (0.1, 256, 4, 0),
    ],
    ids=[
        "a quick token with nothing to do",
        "a quick token with a long queue",
        "an HSM with nothing to do",
        "an HSM with one waiting for each worker",
        "an HSM with three waiting for each worker",
        "an HSM with a full queue",
        "one session of an HSM with a full queue",
        "a token so slow that each goes by itself",
    ],
)
def test_batches_of(each_s: float, asked: int, workers: int, wanted: int) -> None:
    assert together(each_s, asked, workers) == wanted


@given(st.floats(1e-6, 10), st.integers(1, 512), st.integers(1, 64))
def test_a_batch_is_bounded_in_number_and_time(each_s: float, asked: int, workers: int) -> None:
    number = together(each_s, asked, workers)
    assert number <= MAX_TOGETHER
    assert number * each_s <= LONGEST_BATCH_S * 1.001
    assert number * each_s <= BATCH_AIM_S * 1.001 or number <= asked / workers / 2 + 0.5
