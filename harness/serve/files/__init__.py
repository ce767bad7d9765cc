"""Files in requests: images and sounds, as forms or as base64 in JSON."""
