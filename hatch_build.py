"""Builds the accelerator in C for a wheel, if that can be done here; without it all works, too.

It is one file in the limited API, so that a wheel serves CPython 3.11 and all later versions.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NAME = "trio_wsclient._protocol.frames_c"
SOURCE = "trio_wsclient/_protocol/frames_c.c"


class AcceleratorHook(BuildHookInterface):
    """Adds the accelerator to a wheel; not if ``TRIO_WSCLIENT_PURE`` is set in the environment."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build, and tell hatchling of the file, and for what the wheel is good then."""
        self._directory = tempfile.mkdtemp()
        if os.environ.get("TRIO_WSCLIENT_PURE") or not has_limited_api():
            return
        try:
            built = build(Path(self.root, SOURCE), self._directory)
        except Exception as exc:  # noqa: BLE001 a missing compiler shows itself in many ways
            self.app.display_warning(f"built without the accelerator, in pure Python: {exc}")
            return
        if version == "editable":
            # Imported from where the source lies.
            shutil.copy(built, Path(self.root, SOURCE).parent)
            return
        build_data["force_include"][str(built)] = f"trio_wsclient/_protocol/{built.name}"
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"cp311-abi3-{platform}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what is in the wheel now."""
        del version, build_data, artifact_path
        shutil.rmtree(self._directory)


def has_limited_api() -> bool:
    """Whether this interpreter loads what is built: CPython, and not the free-threaded one."""
    is_free_threaded = sysconfig.get_config_var("Py_GIL_DISABLED")
    return sys.implementation.name == "cpython" and not is_free_threaded


def build(source: Path, directory: str) -> Path:
    """Compile a file into a directory; return the library."""
    from setuptools import Distribution, Extension  # noqa: PLC0415 not needed for pure Python

    extra = [] if sys.platform == "win32" else ["-O3", "-std=c11"]
    extension = Extension(NAME, [str(source)], py_limited_api=True, extra_compile_args=extra)
    command = Distribution({"ext_modules": [extension]}).get_command_obj("build_ext")
    command.build_lib = command.build_temp = directory
    command.ensure_finalized()
    command.run()
    return Path(command.get_ext_fullpath(NAME))
