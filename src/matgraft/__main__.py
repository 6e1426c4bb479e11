"""``matgraft`` and ``python -m matgraft``: the command line, which hears signals before anything large is imported."""

from matgraft.core.signals import heard
from matgraft.core.targets import keep_closed


def main() -> None:
    """Run the command line."""
    keep_closed()  # before a pipe is opened
    with heard():
        from matgraft.cli import run_command_line

        run_command_line()


if __name__ == "__main__":
    main()
