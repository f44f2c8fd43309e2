"""Read by every Python that the campaign starts under libfaketime: that takes the steady clock, by which `sleep` waits, for the
one that it shifts.
"""

import select
import time

time.sleep = lambda seconds: select.select((), (), (), seconds)
