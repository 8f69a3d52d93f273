"""Optional dependencies: import them where they are used, and say which extra is missing."""

from importlib import import_module
from types import ModuleType


def require(module: str, extra: str) -> ModuleType:
    """Import an optional module or say how to install it.

    Parameters
    ----------
    module : str
        Dotted name of the module, such as ``"healpy"``.
    extra : str
        Name of the extra of this distribution that installs it.

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    ImportError
        If the module is not installed; the message names the extra.

    Examples
    --------
    >>> require("math", extra="plot").sqrt(4.0)
    2.0
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise  # the module is there and one of its own dependencies is not
        raise ImportError(
            f"{module} is not installed; install it with: pip install 'deepsphere-keras[{extra}]'"
        ) from error
