#!/usr/bin/env python3
"""Check the files in deploy/ as the engines that read them do. Run by scripts/check_deploy.sh, which installs what it needs.

Kubernetes objects are validated against the schemas of Kubernetes, without unknown fields. KEDA's objects are checked for
unknown and missing fields here, and the Job in a ScaledJob as a Job. SkyPilot's task is validated against the schemas in
skypilot_schema.json, which `sky.utils.schemas` of skypilot 0.14.1 (Apache-2.0) returned. In addition, every worker must run
without privileges, must get its keys from a secret, and must leave ending the machine to the engine.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, Iterator

import jsonschema
import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = "1.37"

# Fields of KEDA 2.21 by kind: those that are required end with "!".
KEDA = {
    "ScaledJob": "jobTargetRef! triggers! pollingInterval successfulJobsHistoryLimit failedJobsHistoryLimit "
    "envSourceContainerName minReplicaCount maxReplicaCount rollout scalingStrategy",
    "rollout": "strategy propagationPolicy",
    "scalingStrategy": "strategy customScalingQueueLengthDeduction customScalingRunningJobPercentage "
    "pendingPodConditions multipleScalersCalculation",
    "trigger": "type! metadata! name authenticationRef useCachedMetrics metricType",
    "metrics-api": "url! valueLocation! targetValue! format activationTargetValue unsafeSsl timeout authMode method "
    "keyParamName aggregateFromKubeServiceEndpoints aggregationType",
    "TriggerAuthentication": "secretTargetRef env podIdentity hashiCorpVault",
    "secretTargetRef": "parameter! name! key!",
}
SECRETS = ("R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "COURTSIDE_TOKEN", "HF_TOKEN")


class Invalid(Exception):
    pass


def require(condition: object, message: str) -> None:
    if not condition:
        raise Invalid(message)


def check_fields(kind: str, value: dict[str, Any]) -> None:
    """Reject a missing required field and an unknown one."""
    fields = KEDA[kind].split()
    missing = {f[:-1] for f in fields if f.endswith("!")} - value.keys()
    unknown = value.keys() - {f.rstrip("!") for f in fields}
    require(not missing and not unknown, f"{kind}: missing {sorted(missing)}, unknown {sorted(unknown)}")


def check_pod(spec: dict[str, Any]) -> None:
    pod = spec["securityContext"]
    require(pod["runAsNonRoot"] is True and pod["runAsUser"] == 10001, "the pod must run as uid 10001")
    require(pod["seccompProfile"]["type"] == "RuntimeDefault", "the pod needs a seccomp profile")
    require(spec["automountServiceAccountToken"] is False, "the pod must not get a token of the cluster")
    (container,) = spec["containers"]
    context = container["securityContext"]
    require(context["readOnlyRootFilesystem"] is True, "the root file system must be read-only")
    require(context["allowPrivilegeEscalation"] is False, "privileges must not grow")
    require(context["capabilities"] == {"drop": ["ALL"]}, "all capabilities must be dropped")
    require(container["resources"]["limits"]["nvidia.com/gpu"] == 1, "a worker needs one GPU")
    env = {variable["name"]: variable.get("value") for variable in container["env"]}
    require(env["WORKER_WHEN_DONE"] == "exit", "WORKER_WHEN_DONE must be exit")
    require(not set(env) & set(SECRETS) and container["envFrom"], "the keys must come from a secret")


def check_job(spec: dict[str, Any]) -> None:
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}, "spec": spec}
    kubernetes_validate.validate(job, KUBERNETES, strict=True)
    (worker,) = spec["template"]["spec"]["containers"]
    for rule in spec["podFailurePolicy"]["rules"]:
        codes = rule.get("onExitCodes", {"containerName": worker["name"]})
        require(codes["containerName"] == worker["name"], "a rule names another container")
    check_pod(spec["template"]["spec"])


def check_scaled_job(spec: dict[str, Any]) -> None:
    check_fields("ScaledJob", spec)
    check_fields("rollout", spec["rollout"])
    check_fields("scalingStrategy", spec["scalingStrategy"])
    for trigger in spec["triggers"]:
        check_fields("trigger", trigger)
        check_fields(trigger["type"], trigger["metadata"])
        require(all(isinstance(v, str) for v in trigger["metadata"].values()), "a trigger's metadata must be strings")
        metric = trigger["metadata"]["valueLocation"].split("{")[0]
        counters = (ROOT / "crates/http/src/monitoring/counters.rs").read_text()
        require(f'"{metric}"' in counters, f"courtside has no metric {metric}")
    check_job(spec["jobTargetRef"])


def check_authentication(spec: dict[str, Any]) -> None:
    check_fields("TriggerAuthentication", spec)
    for reference in spec["secretTargetRef"]:
        check_fields("secretTargetRef", reference)


def check_kubernetes(path: Path) -> None:
    objects = list(yaml.safe_load_all(path.read_text()))
    require(objects, "the file is empty")
    for value in objects:
        require(value.keys() == {"apiVersion", "kind", "metadata", "spec"}, "a field is missing or unknown")
        match f"{value['apiVersion']} {value['kind']}":
            case "batch/v1 Job":
                check_job(value["spec"])
                kubernetes_validate.validate(
                    {**value, "metadata": {"name": "job", **value["metadata"]}}, KUBERNETES, strict=True
                )
            case "keda.sh/v1alpha1 ScaledJob":
                check_scaled_job(value["spec"])
            case "keda.sh/v1alpha1 TriggerAuthentication":
                check_authentication(value["spec"])
            case other:
                raise Invalid(f"no check for {other}")


def check_skypilot(path: Path) -> None:
    task = yaml.safe_load(path.read_text())
    schemas = json.loads((Path(__file__).parent / "skypilot_schema.json").read_text())
    jsonschema.validate(task, schemas["task"])
    jsonschema.validate(task["resources"], schemas["resources"])
    require(task["envs"]["WORKER_WHEN_DONE"] == "exit", "WORKER_WHEN_DONE must be exit")
    require(not set(task["envs"]) & set(SECRETS), "the keys must be secrets")
    require(all(value is None for value in task["secrets"].values()), "a secret has a value")
    require(130 in task["resources"]["job_recovery"]["recover_on_exit_codes"], "exit code 130 must start a worker again")


def check_settings() -> None:
    """Every setting that a file or a guide sets is one of Courtside's."""
    known = set(re.findall(r"`([A-Z0-9_]+)`", (ROOT / "docs/configuration.md").read_text()))
    for path in sorted(DEPLOY.rglob("*")):
        if path.is_file():
            used = set(re.findall(r"\b(?:R2|WORKER|CLOUD|HF|COURTSIDE)_[A-Z0-9_]+\b", path.read_text()))
            unknown = sorted(used - known)
            require(not unknown, f"{path.relative_to(ROOT)} sets {unknown}, which are not in docs/configuration.md")


def checks() -> Iterator[tuple[str, Any]]:
    kubernetes = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    require(kubernetes, "deploy/kubernetes has no files")
    for path in kubernetes:
        yield str(path.relative_to(ROOT)), lambda path=path: check_kubernetes(path)
    yield "deploy/skypilot/worker.yaml", lambda: check_skypilot(DEPLOY / "skypilot/worker.yaml")
    yield "settings in deploy/", check_settings


def main() -> int:
    failed = 0
    for name, check in checks():
        try:
            check()
        except (Invalid, KeyError, jsonschema.ValidationError, kubernetes_validate.ValidationError, yaml.YAMLError) as error:
            reason = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
            print(f"error: {name}: {reason}", file=sys.stderr)
            failed += 1
        else:
            print(f"ok    {name}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
