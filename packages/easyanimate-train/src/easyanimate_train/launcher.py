"""`python -m easyanimate_train.launcher`: accelerate's launcher, which ends like one program.

Its own ends with a traceback of itself where a process of the training fails or Ctrl-C stops it.
"""

from __future__ import annotations

import signal
import subprocess
import sys

from easyanimate_train.launch import STOPPED


def main() -> int:
    """Launch with the options of `accelerate launch`; the exit code is that of the process that failed first."""
    try:
        from accelerate.commands.launch import launch_command, launch_command_parser
        from torch.distributed.elastic.multiprocessing.api import SignalException
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    except KeyboardInterrupt:
        return STOPPED
    try:
        launch_command(launch_command_parser().parse_args())
    except (KeyboardInterrupt, SignalException):
        return STOPPED
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return failure.exitcode if failure.exitcode > 0 else 1
    except subprocess.CalledProcessError as error:  # of one process alone, and of DeepSpeed
        return STOPPED if error.returncode == -signal.SIGINT else max(error.returncode, 1)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
