"""Gradio Spaces that show what was published: its images, and a model's answers to a user's own picture."""
