"""Sets of images that models are shown: kept patches of synthetic images, real images, and controls."""
