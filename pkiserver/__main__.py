"""Where the program begins: Ctrl-C ends it without a traceback, also while it is still being loaded."""

import sys

INTERRUPTED = 130  # as shells number it: 128 and SIGINT


def start() -> None:
    """Run the command line; does not return."""
    try:
        from pkiserver.cli import main
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    main(prog_name="pkiserver")


if __name__ == "__main__":
    start()
