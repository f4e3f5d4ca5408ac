"""Parts of `worth.py`: the tasks, the sets of images, the results."""
