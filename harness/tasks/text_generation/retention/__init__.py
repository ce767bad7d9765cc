"""What a tuned model keeps: its texts or questions, and how they are measured."""
