"""CPython 3.11's tests of multiprocessing with the start method "fork".

An installed 3.11 has the tests, but not the module that makes them into a suite of this method.
"""

from __future__ import annotations

from test._test_multiprocessing import install_tests_in_module_dict

install_tests_in_module_dict(globals(), "fork")
