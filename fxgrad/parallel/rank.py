"""Rank: what runs a script as one process of several. The supervisor starts this file by its path.

It imports nothing of JAX or fxgrad, so that the script finds the environment as it left it. It
dies with the supervisor, tells where Python stands when it is asked to, and ends at once when the
script has failed: JAX would first wait for the other processes, which wait for this one.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import runpy
import signal
import sys
import traceback
from types import TracebackType

TELL = getattr(signal, "SIGUSR1", None)
"""The signal at which a rank prints the stacks of all its threads."""
RESUMABLE = 75
"""The exit status of a training that was told to stop, and has saved: EX_TEMPFAIL."""
PID = "FXGRAD_PID"
"""The environment variable that says whom the others mean; what a rank starts inherits them all."""
ENDS = "FXGRAD_ENDS"
"""The environment variable with the folder where a rank says how its script has ended."""
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


def main(supervisor: int, script: str, arguments: list[str]) -> None:
    """Run `script` as `python script arguments` does. An exit status of failure is immediate."""
    _die_with(supervisor)
    os.environ[PID] = str(os.getpid())
    faulthandler.enable()
    if TELL is not None:
        faulthandler.register(TELL, all_threads=True)
    sys.argv = [script, *arguments]
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.abspath(script))
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        status = _status(end)
        if status not in (0, RESUMABLE):
            _end(status)
        _tell("finished")
        raise
    except BaseException as error:
        _print(error)
        _tell("raised")
        _end(130 if isinstance(error, KeyboardInterrupt) else 1)
    _tell("finished")


def _die_with(supervisor: int) -> None:
    """Have the kernel kill this process when its parent dies; where there is Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != supervisor:  # it has died already
            os._exit(1)


def _tell(how: str) -> None:
    """Tell the supervisor how the script has ended; Python itself may take longer to."""
    folder = os.environ.get(ENDS)
    if folder:
        with contextlib.suppress(OSError):
            open(os.path.join(folder, f"{how}-{os.environ['FXGRAD_PROCESS']}"), "w").close()


def _status(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    print(end.code, file=sys.stderr)
    return 1


def _print(error: BaseException) -> None:
    """The traceback from the script's own first line on."""
    inner: TracebackType | None = error.__traceback__
    while inner is not None and _is_starting(inner):
        inner = inner.tb_next
    traceback.print_exception(type(error), error, inner or error.__traceback__)


def _is_starting(frame: TracebackType) -> bool:
    filename = frame.tb_frame.f_code.co_filename
    return filename in (__file__, runpy.__file__) or filename.startswith("<frozen runpy")


def _end(status: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
