"""The two-branch network with its sparse 3D half, and MoCo v2 beside."""
