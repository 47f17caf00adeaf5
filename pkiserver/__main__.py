"""Where the program begins: Ctrl-C ends it without a traceback, also while it is still being loaded."""

import gc
import sys

INTERRUPTED = 130  # as shells number it: 128 and SIGINT
_YOUNG_OBJECTS = (
    50_000  # nearly all that is made while modules are loaded stays: a fifth of the time of loading
)


def start() -> None:
    """Run the command line; does not return."""
    gc.set_threshold(_YOUNG_OBJECTS)
    try:
        from pkiserver.cli import main
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    main(prog_name="pkiserver")


if __name__ == "__main__":
    start()
