"""A user's own data: folders, ``.npz`` files and tables of images, read right or refused, and always counted."""
