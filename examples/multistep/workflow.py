"""Run the steps, each as a run of its own; what an earlier run has done already is not done again."""

import hashlib
import json
import re
from argparse import ArgumentParser
from pathlib import Path

import mlflow

HERE = Path(__file__).parent


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("--alpha", type=float, required=True)
    parser.add_argument("--test-share", type=float, required=True)
    given = parser.parse_args()
    with mlflow.start_run():
        prepared = step("prepare", test_share=given.test_share)
        trained = step("train", prepared=prepared, alpha=given.alpha)
        evaluated = step("evaluate", prepared=prepared, trained=trained)
        metrics = mlflow.get_run(evaluated).data.metrics
        mlflow.log_metrics(metrics)
    print(f"alpha={given.alpha}: rmse={metrics['rmse']:.1f} r2={metrics['r2']:.3f}")


def step(entry_point: str, **parameters: str | float) -> str:
    """The id of a finished run of this entry point with these parameters and this code, new or not."""
    identity = f"{entry_point}-{fingerprint(entry_point, parameters)}"
    run_id = finished(identity)
    print(f"{entry_point}: {'reused' if run_id else 'running'}", flush=True)
    if run_id is None:
        # local: every step uses the environment that the workflow itself is running in.
        run_id = mlflow.run(".", entry_point, parameters=parameters, env_manager="local").run_id
        mlflow.MlflowClient().set_tag(run_id, "step", identity)
    return run_id


def finished(identity: str) -> str | None:
    experiment = mlflow.active_run().info.experiment_id
    found = mlflow.MlflowClient().search_runs(
        [experiment], f"tags.step = '{identity}' and attributes.status = 'FINISHED'", max_results=1
    )
    return found[0].info.run_id if found else None


def fingerprint(entry_point: str, parameters: dict[str, str | float]) -> str:
    """Digest of all that determines a step: its parameters, its code, the data in the project.

    A commit would not do: it stays the same while files are being changed.
    """
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode())
    for file in [*code_of(entry_point), HERE / "python_env.yaml", *sorted(HERE.glob("data/*"))]:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def code_of(module: str) -> list[Path]:
    """The file of a module, and those of the modules beside it that it imports, directly or not."""
    files = [HERE / f"{module}.py"]
    for file in files:  # which grows
        for name in re.findall(r"^(?:from|import) (\w+)", file.read_text(), re.MULTILINE):
            beside = HERE / f"{name}.py"
            if beside.exists() and beside not in files:
                files.append(beside)
    return files


if __name__ == "__main__":
    main()
