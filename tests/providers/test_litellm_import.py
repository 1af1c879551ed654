"""The import of litellm leaves the process as it was, also if several threads ask for it at once."""

from __future__ import annotations

import gc
import os
from concurrent.futures import ThreadPoolExecutor

from ipycachechat.providers.litellm_import import import_in_portions


def test_threads_that_import_at_once_leave_the_environment_as_it_was() -> None:
    list(import_in_portions())
    before = dict(os.environ)
    with ThreadPoolExecutor(8) as pool:
        portions = list(pool.map(lambda _: list(import_in_portions()), range(200)))
    assert len(portions) == 200 and dict(os.environ) == before and gc.isenabled()
