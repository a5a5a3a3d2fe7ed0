"""The manifests of deploy/kubernetes: their keys, what refers to what in them, and the commands that they run.

No cluster is asked. Each check is seen failing on a bad manifest.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import jsonschema
import pytest
import yaml
from commands_known import ROOT, text_of, unknown_in
from test_deploy import GRACE, SETTINGS

HOPELESS = {2, 3, 5, 70}
"""Exit codes that another start does not change."""
MANIFESTS = tuple(path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("deploy/kubernetes/*.yaml")))


def group(required: str = "", **keys: Any) -> dict[str, Any]:
    """JSON Schema of an object with these keys and no others."""
    return {"type": "object", "required": required.split(), "properties": keys, "additionalProperties": False}


def array(of: Any) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": of}


TEXT = {"type": "string", "minLength": 1}
NAME = {"type": "string", "pattern": r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}
COUNT = {"type": "integer", "minimum": 0}
QUANTITIES = {"type": "object", "additionalProperties": {"type": ["string", "integer"], "pattern": r"^\d+([KMG]i)?$"}}
METADATA = group("name", name=NAME)
CONTAINER = group(
    "name image args volumeMounts securityContext",
    name=NAME,
    image={"type": "string", "pattern": r"^text-zoo:[a-z-]+$"},
    args=array(TEXT),
    env=array(group("name value", name={"enum": list(SETTINGS)}, value=TEXT)),
    resources=group("requests limits", requests=QUANTITIES, limits=QUANTITIES),
    volumeMounts=array(group("name mountPath", name=NAME, mountPath={"enum": ["/cache", "/runs"]})),
    securityContext=group(
        "allowPrivilegeEscalation capabilities",
        allowPrivilegeEscalation={"const": False},
        capabilities=group("drop", drop={"const": ["ALL"]}),
    ),
)
POD = group(
    "restartPolicy securityContext containers volumes",
    restartPolicy={"const": "Never"},  # as a podFailurePolicy has to have it
    terminationGracePeriodSeconds={"type": "integer", "minimum": GRACE},
    securityContext=group(
        "runAsNonRoot runAsUser fsGroup seccompProfile",
        runAsNonRoot={"const": True},
        runAsUser={"const": 1000},  # the image's
        runAsGroup={"const": 1000},
        fsGroup={"const": 1000},
        seccompProfile=group("type", type={"const": "RuntimeDefault"}),
    ),
    initContainers=array(CONTAINER),
    containers=array(CONTAINER),
    volumes=array(
        group("name persistentVolumeClaim", name=NAME, persistentVolumeClaim=group("claimName", claimName=NAME))
    ),
)
RULE = {
    "oneOf": [
        group(
            "action onPodConditions",
            action={"const": "Ignore"},
            onPodConditions={"const": [{"type": "DisruptionTarget"}]},
        ),
        group(
            "action onExitCodes",
            action={"const": "FailJob"},
            onExitCodes=group(
                "operator values", operator={"const": "In"}, values={"type": "array", "items": {"enum": [*HOPELESS]}}
            ),
        ),
    ]
}
JOB_SPEC = group(
    "backoffLimit template",
    backoffLimit=COUNT,
    completionMode={"const": "Indexed"},
    completions=COUNT,
    parallelism=COUNT,
    podReplacementPolicy={"const": "Failed"},
    podFailurePolicy=group("rules", rules=array(RULE)),
    template=group("spec", spec=POD),
)
KINDS = {
    ("v1", "PersistentVolumeClaim"): group(
        "accessModes resources",
        accessModes={"const": ["ReadWriteMany"]},
        resources=group("requests", requests=group("storage", storage={"type": "string", "pattern": r"^\d+Gi$"})),
    ),
    ("batch/v1", "Job"): JOB_SPEC,
    ("jobset.x-k8s.io/v1alpha2", "JobSet"): group(
        "replicatedJobs",
        failurePolicy=group(
            "maxRestarts rules",
            maxRestarts=COUNT,
            rules=array(
                group(
                    "name action onJobFailureReasons",
                    name=TEXT,
                    action={"const": "FailJobSet"},
                    onJobFailureReasons={"const": ["PodFailurePolicy"]},
                )
            ),
        ),
        replicatedJobs=array(
            group(
                "name template",
                name=NAME,
                dependsOn={"type": "array", "maxItems": 1, "items": group("name status", name=NAME, status=TEXT)},
                template=group("spec", spec=JOB_SPEC),
            )
        ),
    ),
}
"""apiVersion and kind -> what of its `spec` is used here, as the two projects define it."""


def manifest_faults(text: str, claims: Sequence[str]) -> Iterator[str]:
    """What is wrong with the objects of a manifest; `claims` are the volumes that there are."""
    for each in yaml.safe_load_all(text):
        kind = KINDS.get((each.get("apiVersion"), each.get("kind")))
        if kind is None:
            yield f"{each.get('apiVersion')} {each.get('kind')}: not known here"
            continue
        whole = group("apiVersion kind metadata spec", apiVersion=TEXT, kind=TEXT, metadata=METADATA, spec=kind)
        errors = sorted(jsonschema.Draft202012Validator(whole).iter_errors(each), key=str)
        yield from (f"{error.json_path}: {error.message}" for error in errors)
        if errors or each["kind"] == "PersistentVolumeClaim":
            continue
        jobs = each["spec"].get("replicatedJobs") or [{"name": "", "template": each}]
        names = list[str]()
        for job in jobs:
            yield from (
                f"{job['name']} waits for {on['name']}" for on in job.get("dependsOn", ()) if on["name"] not in names
            )
            names.append(job["name"])
            yield from job_faults(job["template"]["spec"], claims)


def job_faults(job: dict[str, Any], claims: Sequence[str]) -> Iterator[str]:
    """What in a Job does not go together."""
    pod = job["template"]["spec"]
    volumes = {volume["name"]: volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"]}
    yield from (f"no claim {claim}" for claim in volumes.values() if claim not in claims)
    containers = [*pod.get("initContainers", ()), *pod["containers"]]
    used = set[str]()
    for container in containers:
        mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        used |= set(mounted.values())
        yield from (f"no volume {name}" for name in mounted.values() if name not in volumes)
        words = container["args"]
        if job.get("completionMode") == "Indexed":  # then Kubernetes itself sets it
            words = [word.replace("$(JOB_COMPLETION_INDEX)", "0") for word in words]
        unset = [word for word in words if "$" in word]
        yield from (f"nobody sets {word}" for word in unset)
        if not unset and (fault := unknown_in(shlex.join(["zoo", *words]))):
            yield fault
        settings = {each["name"]: each["value"] for each in container.get("env", ())}
        yield from (f"{name}={value}" for name, value in settings.items() if not re.fullmatch(SETTINGS[name], value))
        if words[0] != "run":
            continue
        out = container["args"][words.index("--out") + 1] if "--out" in words else ""
        if not ("--resume" in words and out.startswith("/runs/")):
            yield f"{shlex.join(words)}: expected --out in /runs, with --resume"
        if {"/runs", "/cache"} - mounted.keys():
            yield f"mounts {', '.join(mounted)}, expected /runs and /cache"
        if job.get("completions", 1) > 1 and "$(JOB_COMPLETION_INDEX)" not in out:
            yield f"several pods in {out}"
        if pod.get("terminationGracePeriodSeconds", 30) < GRACE:
            yield "no time for a checkpoint"
        if "podFailurePolicy" not in job:
            yield "no podFailurePolicy"
        backend = settings.get("KERAS_BACKEND")
        if backend and not container["image"].partition(":")[2].startswith(backend):
            yield f"{container['image']} for {backend}"
    yield from (f"volume {name} is not mounted" for name in volumes if name not in used)


def claims() -> list[str]:
    return [each["metadata"]["name"] for each in yaml.safe_load_all(text_of("deploy/kubernetes/volumes.yaml"))]


@pytest.mark.parametrize("path", MANIFESTS)
def test_a_manifest(path: str) -> None:
    assert list(manifest_faults(text_of(path), claims())) == []


def test_there_are_manifests() -> None:
    kinds = [each["kind"] for path in MANIFESTS for each in yaml.safe_load_all(text_of(path))]
    assert sorted(kinds) == ["Job", "JobSet", "PersistentVolumeClaim", "PersistentVolumeClaim"]


@pytest.mark.parametrize("path", [path for path in MANIFESTS if "volumes" not in path])
@pytest.mark.parametrize(
    ("right", "wrong", "fault"),
    [
        ("backoffLimit:", "backofLimit:", "'backofLimit' was unexpected"),
        ("kind: Job", "kind: Jobs", "not known here"),
        ("restartPolicy: Never", "restartPolicy: OnFailure", "'Never' was expected"),
        ("claimName: text-zoo-runs", "claimName: text-zoo-run", "no claim text-zoo-run"),
        (r"name: runs(\n +persistent)", r"name: run\1", "no volume runs"),
        (r"name: runs(\n +mountPath: /)runs", r"name: cache\1cache", "expected /runs and /cache"),
        ("runAsNonRoot: true", "runAsNonRoot: false", "True was expected"),
        ("GracePeriodSeconds: 300", "GracePeriodSeconds: 30", "less than the minimum"),
        ("(?m)^ +terminationGracePeriodSeconds.*\n", "", "no time for a checkpoint"),
        ("2, 3, 5, 70", "2, 3, 5, 143", "not valid under any"),
        ("- run\n", "- train\n", "no verb train"),
        ("- imdb_bert\n", "- imdb_bret\n", "did you mean imdb_bert?"),
        ("- --resume", "- --resumed", "no option --resumed"),
        ("value: jax", "value: torch", "text-zoo:jax-cuda for torch"),
        ("/runs/imdb_bert", "/tmp/imdb_bert", "expected --out in /runs"),
    ],
)
def test_a_wrong_manifest_is_noticed(path: str, right: str, wrong: str, fault: str) -> None:
    text, changed = re.subn(right, wrong, text_of(path))
    assert changed
    assert any(fault in each for each in manifest_faults(text, claims()))


@pytest.mark.parametrize(
    ("right", "wrong", "fault"),
    [
        ("- name: fetch\n          status", "- name: fetched\n          status", "jax waits for fetched"),
        (r"jax-seed-\$\(JOB_COMPLETION_INDEX\)", "jax-seed", "several pods in /runs/imdb_bert/jax-seed"),
        ("(?m)^ +completionMode: Indexed\n", "", "nobody sets seed=$(JOB_COMPLETION_INDEX)"),
    ],
)
def test_a_wrong_set_is_noticed(right: str, wrong: str, fault: str) -> None:
    test_a_wrong_manifest_is_noticed("deploy/kubernetes/jobset.yaml", right, wrong, fault)
