"""`manyhands.multiprocessing` as a package: its names, its contexts, its submodules."""

import importlib
import multiprocessing as standard
import os
import pickle
import pkgutil
import subprocess
import sys
import textwrap

import pytest
from manyhands import multiprocessing
from manyhands.multiprocessing import context as contexts

SUBMODULES = [
    module.name
    for module in pkgutil.walk_packages(standard.__path__, "multiprocessing.")
    if not module.name.endswith("win32")
]


def test_every_name_of_the_standard_module_is_there():
    missing = [name for name in standard.__all__ if not hasattr(multiprocessing, name)]
    assert missing == []
    assert set(standard.__all__) <= set(multiprocessing.__all__)


@pytest.mark.parametrize("name", SUBMODULES)
def test_every_submodule_and_its_public_names_are_there(name):
    ours = importlib.import_module(f"manyhands.{name}")
    theirs = importlib.import_module(name)
    names = getattr(theirs, "__all__", [])
    assert [each for each in names if not hasattr(ours, each)] == []


SUBMODULE_ATTRIBUTES = f"""
    from manyhands import multiprocessing
    for name in {[name.partition(".")[2] for name in SUBMODULES if name.count(".") == 1]}:
        getattr(multiprocessing, name)
    from multiprocessing import util
    print(multiprocessing.util.Finalize is util.Finalize)
"""


def test_submodules_are_attributes_without_being_imported(program):
    status, out, err = program(textwrap.dedent(SUBMODULE_ATTRIBUTES)).wait()
    assert (status, out.split()) == (0, ["True"]), err


@pytest.mark.parametrize("method", ["template", "spawn", "fork", "forkserver"])
def test_a_context_is_of_the_standard_kind(method):
    context = multiprocessing.get_context(method)
    assert isinstance(context, standard.context.BaseContext)
    assert context.get_start_method() == method
    assert context.get_context() is context
    assert context.get_context("spawn").get_start_method() == "spawn"
    assert issubclass(context.Process, standard.process.BaseProcess)
    with pytest.raises(ValueError, match="cannot set start method"):
        context.set_start_method("spawn")


def test_an_unknown_start_method_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="template, fork, spawn, forkserver"):
        multiprocessing.get_context("teleport")


def test_a_start_method_is_chosen_once():
    context = contexts.DefaultContext(multiprocessing.get_context("template"))
    assert context.get_start_method(allow_none=True) is None
    context.set_start_method("spawn")
    with pytest.raises(RuntimeError):
        context.set_start_method("fork")
    context.set_start_method("fork", force=True)
    assert context.get_start_method() == "fork"
    assert context.get_all_start_methods()[0] == "template"


def test_the_start_method_is_not_that_of_the_standard_module():
    assert standard.get_start_method(allow_none=True) != "template"
    assert multiprocessing.get_start_method() == "template"


CHOICE = """
    from manyhands import multiprocessing
    multiprocessing.set_start_method("spawn")
    def method():
        import os
        from manyhands import multiprocessing
        return multiprocessing.get_start_method(), os.getppid()
    process = multiprocessing.Process(target=method)
    process.start()
    print(*process.result(), __import__("os").getpid())
"""


def test_a_child_has_the_start_method_of_its_parent(program):
    status, out, err = program(textwrap.dedent(CHOICE)).wait()
    assert status == 0, err
    method, parent, pid = out.split()
    assert (method, parent) == ("spawn", pid)


PRELOAD = """
    import sys
    from manyhands import multiprocessing
    multiprocessing.set_forkserver_preload(["__main__", "fractions", "there_is_no_such_module"])
    def loaded():
        import sys
        return "fractions" in sys.modules
    process = multiprocessing.Process(target=loaded)
    process.start()
    print(process.result(), "fractions" in sys.modules)
"""


def test_preloaded_modules_are_there_at_the_start(program):
    status, out, _ = program(textwrap.dedent(PRELOAD)).wait()
    assert (status, out.split()) == (0, ["True", "False"])


def test_preload_takes_names():
    with pytest.raises(TypeError):
        multiprocessing.set_forkserver_preload([os])


LAZY_MAIN = """
    import multiprocessing, pickle, sys
    from manyhands.multiprocessing import Process
    print("imported as", __name__, flush=True)
    class Dish:
        def __init__(self, name):
            self.name = name
    def cook(data):
        return pickle.loads(data).name
    if __name__ == "__main__":
        data = pickle.dumps(Dish("rice"))
        process = Process(target=cook, args=(data,))
        process.start()
        print(process.result())
"""


def test_a_pickle_that_names_the_main_module_imports_it_then(program):
    status, out, err = program(textwrap.dedent(LAZY_MAIN)).wait()
    assert status == 0, err
    assert out.splitlines() == ["imported as __main__", "imported as __mp_main__", "rice"]


UNGUARDED = """
    from manyhands.multiprocessing import Process
    print("once", flush=True)
    process = Process(target=print, args=("in the process",))
    process.start()
    process.join()
"""


@pytest.mark.parametrize("method", ["template", "spawn"])
def test_a_script_without_a_guard_runs_once(program, method):
    source = f"""
    from manyhands import multiprocessing
    multiprocessing.set_start_method({method!r})
    """
    status, out, err = program(textwrap.dedent(source) + textwrap.dedent(UNGUARDED)).wait()
    assert (status, out.splitlines()) == (0, ["once", "in the process"]), err


def test_a_process_object_is_pickled_only_into_a_process():
    process = multiprocessing.Process(target=int)
    with pytest.raises(TypeError, match="AuthenticationString"):
        pickle.dumps(process)


def test_the_command_line_of_a_frozen_program_is_left_alone():
    assert multiprocessing.freeze_support() is None
    multiprocessing.allow_connection_pickling()


LOGGING = """
    import logging
    from manyhands import multiprocessing
    logger = multiprocessing.log_to_stderr(logging.INFO)
    assert logger is multiprocessing.get_logger()
    def tell():
        multiprocessing.get_logger().info("from the process")
    process = multiprocessing.Process(target=tell, name="teller")
    process.start()
    process.join()
"""


def test_the_logger_of_multiprocessing_reaches_processes(program):
    status, _, err = program(textwrap.dedent(LOGGING)).wait()
    assert status == 0
    assert "[INFO/teller] from the process" in err


def test_starting_a_process_settles_no_start_method_of_the_standard_package(tmp_path):
    source = """
import multiprocessing as standard
from manyhands import multiprocessing
import manyhands.multiprocessing.managers

if __name__ == "__main__":
    for method in ("template", "spawn", "fork"):
        process = multiprocessing.get_context(method).Process(target=print)
        process.start()
        process.join()
    with multiprocessing.managers.SyncManager() as manager:
        assert manager.dict(a=1)["a"] == 1
    assert standard.get_start_method(allow_none=True) is None
"""
    script = tmp_path / "script.py"
    script.write_text(source)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
