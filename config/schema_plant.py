"""Batches of the printing plant: `[plant]` of `pkiserver.toml`."""

from pydantic import StrictInt

from config.base import Section, option
from config.units import PositiveDuration


class Plant(Section):
    """What a printing plant may have in work."""

    max_batch: StrictInt = option(200, ge=1, le=1000, description="Cards in one batch.")
    max_open_batches: StrictInt = option(
        4, ge=1, le=100, description="Batches of one plant that may be open; a further one has to wait."
    )
    batch_lifetime: PositiveDuration = option(
        "3d",
        description="From the pull until every card must have its result; an overdue batch enrols nothing "
        "more, and counts in the metrics.",
    )
