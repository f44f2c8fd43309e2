"""What a report can print, by name: `stage.show` and `sweep.show` choose from it."""

from __future__ import annotations

from collections.abc import Sequence

from chexreason.errors import suggestion

TABLES = (
    "headline",
    *(f"table{number}" for number in range(1, 7)),
    "transfer",
    "transfer_published",
    "prevalence",
    "claims",
    "resources",
)
PARTS = (*TABLES, "figure1", "figure2", "figure3")  # "transfer" is a table and a figure
# What goes on with the name of a model or of a reward of one's own is only known from the runs.
OPEN = ("figure1_", "figure_grpo_")


def refuse_unknown(show: Sequence[str] | None) -> None:
    """Raises ValueError for a name that no report has; the config's reader puts the group's name before it."""
    for name in show or ():
        if name not in PARTS and not name.startswith(OPEN):
            raise ValueError(f"show: there is no {name}.{suggestion(name, set(PARTS))}")
