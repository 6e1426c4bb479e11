"""``matgraft`` and ``python -m matgraft``: the command line, which hears signals before anything large is imported."""

import gc

from matgraft.core.signals import heard
from matgraft.core.targets import keep_closed


def main() -> None:
    """Run the command line."""
    keep_closed()  # before a pipe is opened
    with heard():
        from matgraft.cli import run_command_line

        try:
            run_command_line()
        finally:
            gc.freeze()  # else the interpreter's last collection walks through all of PyTorch: 0.4 s


if __name__ == "__main__":
    main()
