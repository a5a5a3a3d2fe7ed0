"""`python -m zoo VERB ...`, the same as the console script `zoo`."""

from zoo.stopping import leave_at_once


def main() -> int:
    """The exit code of a verb; a signal is heeded from here on, before anything large is imported."""
    leave_at_once()
    from zoo import cli

    return cli.main()


if __name__ == "__main__":
    raise SystemExit(main())
