"""Import of optional dependencies, with an error that names the missing extra."""

from importlib import import_module
from types import ModuleType


def require(module: str, extra: str) -> ModuleType:
    """Import an optional module, or raise an error that says how to install it.

    Parameters
    ----------
    module : str
        Dotted name of the module, such as ``"healpy"``.
    extra : str
        Extra of this distribution that installs the module.

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    ImportError
        If the module is not installed. The message names the extra.

    Examples
    --------
    >>> require("math", extra="plot").sqrt(4.0)
    2.0
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise  # the module is installed, but one of its dependencies is not
        raise ImportError(
            f"{module} is not installed; install it with: pip install 'deepsphere-keras[{extra}]'"
        ) from error
