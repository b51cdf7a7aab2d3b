"""The two-branch network and its sparse 3D half."""
