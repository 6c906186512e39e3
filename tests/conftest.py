"""Settings of all tests."""

import os
import signal

from hypothesis import settings

# No deadline: how long an example takes says more about the machine than about the code. What lands
# is judged on the same examples each time; elsewhere new ones are tried.
settings.register_profile("fsft", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("fsft")

# A background job or nohup leaves these ignored, and so would every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
