"""What is simulated, and how: shared by checks and active learning."""
