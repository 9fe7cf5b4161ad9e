"""Processes: how the copies of a script come together to one run, on `jax.distributed`.

Who starts them is another matter: `fxgrad train` on one machine, Slurm, Kubernetes or a TPU pod on
many. Whether they do the same belongs to `agreement`.
"""

from __future__ import annotations

import functools
import inspect
import logging
import multiprocessing
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jax

from fxgrad.errors import DisagreementError, OptionError
from fxgrad.recorder import coordination

# What `fxgrad train` tells each copy. It does not import this file: it stays without JAX.
COORDINATOR: Final = "FXGRAD_COORDINATOR"
PROCESSES: Final = "FXGRAD_PROCESSES"
PROCESS: Final = "FXGRAD_PROCESS"
DEVICES: Final = "FXGRAD_DEVICES_PER_PROCESS"
TIMEOUTS: Final = "FXGRAD_TIMEOUTS"
ARRIVALS: Final = "FXGRAD_ARRIVALS"
PID: Final = "FXGRAD_PID"

_NOT_DETECTED: Final = "coordinator_address should be defined"


@dataclass(frozen=True)
class Place:
    """Which of how many processes this one is, from 0."""

    process: int
    processes: int

    @property
    def is_first(self) -> bool:
        """Whether this is process 0, which logs and prints for all."""
        return self.process == 0


def initialize(**options: Any) -> Place:
    """Join the other processes of the run. Call it before anything that touches a device.

    Under `fxgrad train` the place of this process comes from the environment. Else JAX finds it
    out from Slurm, Kubernetes, Open MPI or a TPU pod. Where there is nothing of that, and no
    option is given, this is a run of one process and nothing happens. A second call does nothing.

    In what a process of the run has started, a worker of `multiprocessing` that imports the script
    again or another script, it joins nothing and touches no device, unless an option is given: the
    environment that it inherits means its parent.

    From then on an exception that nothing catches ends this process at once, behind its traceback:
    JAX would have it wait for the others first, which wait for it.

    Args:
      options: what `jax.distributed.initialize` takes, for a run that is started by hand:
        ``coordinator_address="host:port", num_processes=2, process_id=0``. They go before what the
        environment says. Durations are in seconds.

    Returns:
      The `Place` of this process.

    Raises:
      OptionError: this JAX has no such option.
      RuntimeError: JAX has computed something already, or does not reach the coordinator.
    """
    if not options and _is_started_by_one():
        return Place(0, 1)
    if not jax.distributed.is_initialized():
        _check(options)
        options = {**_from_environment(), **options}
        _arrive()
        try:
            jax.distributed.initialize(**options)
        except ValueError as error:
            if options or _NOT_DETECTED not in str(error):
                raise
    if coordination() is not None:
        _end_at_once_on_errors()
    return place()


def place() -> Place:
    """Which of how many processes this one is."""
    return Place(jax.process_index(), jax.process_count())


def is_first() -> bool:
    """Whether this is process 0, which logs and prints for all; true in a run of one."""
    return jax.process_index() == 0


def wait_for_all(name: str, *, seconds: float = 300.0) -> None:
    """Go on when all processes have come here; in a run of one, at once.

    Args:
      name: what is waited for, the same in all processes and only once in a run.
      seconds: how long.

    Raises:
      DisagreementError: not all have come in time.
    """
    client = coordination()
    if client is None:
        return
    try:
        client.wait_at_barrier(f"fxgrad/{name}", int(seconds * 1000))
    except jax.errors.JaxRuntimeError as error:
        raise DisagreementError(
            f"not every process has come to {name!r} within {seconds:g} s, so process "
            f"{jax.process_index()} does not go on: {error}",
            process=jax.process_index(),
            others=(),
        ) from error


def _is_started_by_one() -> bool:
    """Whether this process is no copy of the script, but was started by one."""
    is_meant = os.environ.get(PID) == str(os.getpid())
    is_within_run = COORDINATOR in os.environ and not is_meant
    return is_within_run or multiprocessing.parent_process() is not None


def _from_environment() -> dict[str, Any]:
    """The options that `fxgrad train` gives to this process, or none."""
    address = os.environ.get(COORDINATOR)
    if not address or os.environ.get(PID) != str(os.getpid()):
        return {}
    process = int(os.environ[PROCESS])
    count = int(os.environ.get(DEVICES) or 0)
    heartbeat, shutdown, start = map(int, os.environ[TIMEOUTS].split(","))
    wished = {
        "coordinator_address": address,
        "coordinator_bind_address": address,  # by default it listens on every interface
        "num_processes": int(os.environ[PROCESSES]),
        "process_id": process,
        "local_device_ids": list(range(process * count, process * count + count)) or None,
        "cluster_detection_method": "deactivate",
        "initialization_timeout": start,
        "heartbeat_timeout_seconds": heartbeat,
        "shutdown_timeout_seconds": shutdown,
    }
    return {name: value for name, value in wished.items() if name in _options()}


def _check(options: dict[str, Any]) -> None:
    for name in options:
        if name not in _options():
            raise OptionError(
                f"jax.distributed.initialize of JAX {jax.__version__} has no option {name!r}; it "
                f"has {', '.join(_options())}.",
                option=name,
            )


@functools.cache
def _options() -> tuple[str, ...]:
    return tuple(inspect.signature(jax.distributed.initialize).parameters)


def _arrive() -> None:
    """Tell the supervisor that this process is here, so that it can name one that is not."""
    folder, process = os.environ.get(ARRIVALS), os.environ.get(PROCESS)
    is_meant = os.environ.get(PID) == str(os.getpid())
    if is_meant and folder and process and Path(folder).is_dir():
        Path(folder, process).touch()


@functools.cache
def _end_at_once_on_errors() -> None:
    before = sys.excepthook

    def end(*error: Any) -> None:
        before(*error)
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(130 if issubclass(error[0], KeyboardInterrupt) else 1)

    sys.excepthook = end
