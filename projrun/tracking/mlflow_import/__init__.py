"""Import what MLflow's own stores hold."""
