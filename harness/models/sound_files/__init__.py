"""Models that read sounds: which architectures do, how their files are loaded, how waveforms become their input."""
