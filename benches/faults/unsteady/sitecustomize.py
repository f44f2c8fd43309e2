"""Read by every Python that the campaign starts under libfaketime: that takes the steady clock, by which `sleep` waits, for the
one that it shifts.
"""

import select
import time


def sleep(seconds: float) -> None:
    select.select((), (), (), seconds)


time.sleep = sleep  # type: ignore[assignment]
