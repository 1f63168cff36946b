"""Projects in Git repositories."""
