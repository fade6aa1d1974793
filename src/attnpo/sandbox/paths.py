"""Which of the parent's folders a program may see."""

from __future__ import annotations

import os
import sysconfig

_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")


def package_paths() -> list[str]:
    """Return the folders of installed packages, which programs may import."""
    return list(dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib")))


def readable_paths() -> list[str]:
    """Return the folders that Python and its packages need; none inside another."""
    paths = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), *package_paths()]
    paths += [sysconfig.get_config_var("LIBDIR") or "", *_LIBRARIES]
    found = [path for path in paths if path and os.path.exists(path)]
    found = sorted({os.path.realpath(path) for path in found} | set(found), key=lambda path: (len(path), path))
    return [path for n, path in enumerate(found) if not any(path.startswith(f"{other}/") for other in found[:n])]
