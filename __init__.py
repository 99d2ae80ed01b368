"""A clone named bayesprune, seen from the folder that contains it: it stands for the package that lies in it.

Python looks for ``bayesprune`` in the folder it was started in first. Without this file it takes the clone there for a
namespace package, in which nothing is, before it asks an editable install where the package is.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from os.path import dirname, join

if __name__ == "bayesprune":
    _folder = join(dirname(__file__), "bayesprune")
    _spec = spec_from_file_location(__name__, join(_folder, "__init__.py"), submodule_search_locations=[_folder])
    assert _spec is not None and _spec.loader is not None
    sys.modules[__name__] = _package = module_from_spec(_spec)
    _spec.loader.exec_module(_package)
