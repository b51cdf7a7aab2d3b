"""The forty classes of indoor scenes that all label images here are numbered by (Gupta et al., CVPR 2013)."""

# ids 1 to 40, in their order; 0 is void
NYU40 = (
    *("wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf"),
    *("picture", "counter", "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor_mat"),
    *("clothes", "ceiling", "books", "refrigerator", "television", "paper", "towel", "shower_curtain", "box"),
    *("whiteboard", "person", "night_stand", "toilet", "sink", "lamp", "bathtub", "bag"),
    *("otherstructure", "otherfurniture", "otherprop"),
)
NYU40_IDS = {name: id for id, name in enumerate(NYU40, start=1)}
