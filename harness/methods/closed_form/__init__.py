"""Methods that fit a head by a formula on frozen features."""
