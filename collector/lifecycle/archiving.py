"""Keeps a sweep's raw evidence, on this machine and in S3, before anything is torn down."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from boto3.exceptions import Boto3Error
from botocore.exceptions import ClientError

from latency_sweep.analysis.evidence import archive, collect
from latency_sweep.collector.aws.session import AWS_ERRORS, Aws, AwsError, error_code, explain
from latency_sweep.collector.lifecycle import schedule
from latency_sweep.collector.state import Archived, Stage, Sweep
from latency_sweep.contract.timeline import NS_PER_SEC

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mypy_boto3_s3 import S3Client

    from latency_sweep.analysis.prometheus_api import PrometheusClient
    from latency_sweep.contract.experiment import Experiment

PREFIX: Final = "binance-latency-sweep"
_DIGEST: Final = "sha256"


def keep(
    sweep: Sweep,
    experiment: Experiment,
    client: PrometheusClient,
    aws: Aws,
    *,
    report: Callable[[str], None],
) -> Archived:
    """Write the evidence to the sweep's folder, and a verified copy to its bucket.

    Doing it again replaces both by what Prometheus knows then.

    Raises:
        NoDataError, SelectionError, PrometheusError: Prometheus has no evidence to keep.
        AttributionError: it is not known where a probe ran.
        ArchiveError: the file cannot be written.
        AwsError: S3 does not take it.
    """
    runs = schedule.runs_of_labels(experiment, sweep.state.schedule)
    request = collect.EvidenceRequest(
        experiment=sweep.plan.experiment_id,
        since=runs[0].start_ns / NS_PER_SEC,
        until=runs[-1].end_ns / NS_PER_SEC,
    )
    found = collect.collect(client, experiment, request)
    path = sweep.evidence_file
    archive.write(path, archive.Archive(found, experiment))
    kept = Archived(
        file=str(path),
        uri=f"s3://{sweep.plan.bucket}/{PREFIX}/{sweep.plan.experiment_id}/{path.name}",
        sha256=sha256_of(path),
        runs=len({run.run for run in found.runs}),
        candidates=len(found.candidates()),
    )
    for file in (path, sweep.experiment_file):
        key = f"{PREFIX}/{sweep.plan.experiment_id}/{file.name}"
        upload(aws, file, bucket=sweep.plan.bucket, key=key, region=sweep.plan.bucket_region)
    sweep.reach(Stage.ARCHIVED, archive=kept)
    report(f"Kept {kept.runs} runs of {kept.candidates} candidates: {path} and {kept.uri}")
    return kept


def upload(aws: Aws, file: Path, *, bucket: str, key: str, region: str) -> None:
    """Copy a file to S3, encrypted, and see that it arrived whole; skipped if it is there.

    Raises:
        AwsError: S3 refuses, or has something else afterwards.
    """
    digest = sha256_of(file)
    client = aws.s3(region)
    try:
        if is_stored(client, bucket, key, digest):
            return
        client.upload_file(
            str(file),
            bucket,
            key,
            ExtraArgs={
                "Metadata": {_DIGEST: digest},
                # S3 compares this with what it received.
                "ChecksumAlgorithm": "SHA256",
                "ServerSideEncryption": "AES256",
            },
        )
        stored = is_stored(client, bucket, key, digest)
    except AWS_ERRORS as error:
        raise AwsError(explain(error, region)) from error
    except (Boto3Error, OSError) as error:
        raise AwsError(f"{file} could not be copied to s3://{bucket}/{key}: {error}") from error
    if not stored:
        raise AwsError(f"s3://{bucket}/{key} is not what was sent; run sweep archive again.")


def is_stored(client: S3Client, bucket: str, key: str, digest: str) -> bool:
    """Whether an object is there that was uploaded from a file with this SHA-256."""
    try:
        found = client.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error_code(error) in {"404", "NoSuchKey", "NotFound"}:
            return False
        raise
    return found["Metadata"].get(_DIGEST) == digest


def sha256_of(file: Path) -> str:
    """Hexadecimal SHA-256 of a file.

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
