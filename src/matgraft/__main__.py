"""``matgraft`` and ``python -m matgraft``: the command line, which hears signals before anything large is imported."""

from matgraft.core.signals import heard


def main() -> None:
    """Run the command line."""
    with heard():
        from matgraft.cli import main as command

        command()


if __name__ == "__main__":
    main()
