"""``pri3d-train``, also as ``python -m pri3d_zoo.training``."""

import sys


def main() -> None:
    """Run the command line, or say which extra is missing."""
    try:
        from .cli import main as run
    except ModuleNotFoundError as error:
        sys.exit(f"pri3d-train needs {error.name}: install the extra, pip install 'pri3d-zoo[train]'")
    run()


if __name__ == "__main__":
    main()
