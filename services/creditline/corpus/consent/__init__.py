"""What is said about the use of works for machine learning, in each vocabulary that says it."""
