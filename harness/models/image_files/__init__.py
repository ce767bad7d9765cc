"""Models that read images: which architectures do, how their files are loaded, how images are resized for them."""
