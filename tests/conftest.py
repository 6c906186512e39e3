"""Settings of all tests."""

import os

from hypothesis import settings

# No deadline: how long an example takes says more about the machine than about the code. What lands
# is judged on the same examples each time; elsewhere new ones are tried.
settings.register_profile("fsft", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("fsft")
