"""``python -m pri3d_zoo.training`` is ``pri3d-train``."""

from .cli import main

if __name__ == "__main__":
    main()
