"""The command ``deepsphere``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import deepsphere

BACKENDS = ("tensorflow", "jax", "torch")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows the command's name. Default: those of the process.

    Returns
    -------
    int
        0 if all went well.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow tells of its own start
    asked = os.environ.get("KERAS_BACKEND")
    if options.backend and options.backend not in (_current_backend(), asked):
        # Keras took its backend when this process began: start one that takes the other. If that
        # one was asked for already and is not there, another process would not find it either.
        environment = {**os.environ, "KERAS_BACKEND": options.backend}
        command = [sys.executable, "-m", "deepsphere.cli", *arguments]
        return subprocess.run(command, env=environment, check=False).returncode
    try:
        return options.run(options)
    except (ImportError, ValueError) as error:
        print(f"deepsphere: {error}", file=sys.stderr)
        return 1


def _current_backend() -> str | None:
    if "ops" not in vars(deepsphere):
        return None  # that of Keras is not installed
    import keras

    return keras.backend.backend()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deepsphere", description="Graph convolutional neural networks for the sphere."
    )
    parser.add_argument("--version", action="version", version=deepsphere.__version__)
    commands = parser.add_subparsers(title="commands", required=True)
    demo = commands.add_parser(
        "demo",
        help="train a network on simulated skies and show what it learned",
        description="Simulate weak-lensing skies of two cosmologies, train the quick-start "
        "network to tell them apart, compare it with two baselines, and write pictures, figures "
        "and the network. Takes a few minutes.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    demo.set_defaults(run=_demo)
    demo.add_argument("--output", type=Path, default=Path("demo"), help="directory for the results")
    demo.add_argument("--backend", choices=BACKENDS, help="Keras backend (default: Keras' own)")
    demo.add_argument("--seed", type=int, default=0, help="seed of all random numbers")
    demo.add_argument("--lognormal", action="store_true", help="lognormal maps, not Gaussian ones")
    demo.add_argument(
        "--signal-to-noise", type=float, default=1.0, help="power of the signal over the noise's"
    )
    demo.add_argument("--nside", type=int, default=64, help="resolution of the maps")
    demo.add_argument("--maps", type=int, default=100, help="number of maps of each class")
    demo.add_argument("--epochs", type=int, default=25, help="passes over the training maps")
    demo.add_argument("--cache", type=Path, help="directory for simulated maps (in the output's)")
    return parser


def _demo(options: argparse.Namespace) -> int:
    deepsphere.models  # noqa: B018  says which backend is missing, if one is
    from deepsphere.data.skies import SkySimulation
    from deepsphere.demo.run import Demo, run_demo

    simulation = SkySimulation(
        maps_per_class=options.maps,
        nside=options.nside,
        signal_to_noise=options.signal_to_noise,
        lognormal=options.lognormal,
        seed=options.seed,
    )
    run_demo(Demo(simulation, epochs=options.epochs), options.output, options.cache)
    return 0


if __name__ == "__main__":
    sys.exit(main())
