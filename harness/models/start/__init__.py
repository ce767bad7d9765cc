"""An earlier winner in place of the pretrained weights (`train.init`)."""
