"""A page over the directory of studies, in a browser. It reads; it changes nothing."""
