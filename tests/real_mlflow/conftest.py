"""The endpoint of a run, and the interpreter of a real mlflow client."""

from tests.server.conftest import ask, endpoint, mlflow_python, store

__all__ = ["ask", "endpoint", "mlflow_python", "store"]
