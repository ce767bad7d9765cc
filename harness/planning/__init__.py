"""What a study would take: runs, hours, memory, disk, dollars."""
