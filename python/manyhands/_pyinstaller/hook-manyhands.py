"""PyInstaller's hook for the package: a frozen program takes all of its modules along."""

from PyInstaller.utils.hooks import collect_submodules  # type: ignore[import-not-found]

# The hook itself needs PyInstaller, which a frozen program has not.
hiddenimports = [
    *collect_submodules("manyhands", filter=lambda name: "_pyinstaller" not in name),
    *("multiprocessing.queues", "multiprocessing.managers", "multiprocessing.resource_tracker"),
]
