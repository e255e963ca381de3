"""A session with AWS: clients by region, all regions at once, errors in one sentence."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    ProxyConnectionError,
)
from botocore.parsers import ResponseParserError

from latency_sweep.collector.errors import SweepError
from latency_sweep.contract.exit_codes import ExitCode
from latency_sweep.runtime import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_pricing import PricingClient
    from mypy_boto3_resourcegroupstaggingapi import ResourceGroupsTaggingAPIClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_service_quotas import ServiceQuotasClient
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_sts import STSClient

_LOG: Final = logs.logger(__name__)
# Where questions go that concern no region in particular; every account has it.
HOME_REGION: Final = "us-east-1"

_PARALLEL_REGIONS: Final = 16
_CONFIG: Final = Config(
    connect_timeout=10,
    read_timeout=60,
    retries={"mode": "standard", "total_max_attempts": 5},
)
_DENIED: Final = frozenset(
    {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403", "Forbidden"}
)
_BAD_CREDENTIALS: Final = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_SKEWED: Final = frozenset({"RequestTimeTooSkewed", "RequestInTheFuture"})
_THROTTLED: Final = frozenset(
    {
        "RequestLimitExceeded",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)

# What a call raises where AWS cannot be asked or refuses.
AWS_ERRORS: Final = (BotoCoreError, ClientError)
# What reading an answer raises that lacks what AWS's would have.
_INCOMPLETE: Final = (KeyError, TypeError)
_NOT_AWS: Final = (
    "check AWS_ENDPOINT_URL, the proxy, and whether this network wants you to sign in first"
)
_LONGEST_QUOTE: Final = 300

T = TypeVar("T")


class AwsError(SweepError):
    """AWS is unreachable or rejected a request."""

    code = ExitCode.AWS_FAILED


@dataclass(frozen=True, slots=True)
class Answers(Generic[T]):
    """What regions answered.

    Attributes:
        found: by region.
        failed: why a region did not answer.
    """

    found: dict[str, T]
    failed: dict[str, AwsError]


class Aws:
    """A session with AWS, with the usual credentials. Safe to use from several threads.

    `AWS_ENDPOINT_URL` sends everything to another address, such as a simulated AWS.
    """

    def __init__(self) -> None:
        """Find the credentials; nothing is sent yet.

        Raises:
            AwsError: the configuration or the environment cannot be used.
        """
        self._lock = threading.Lock()  # a session may not be used by several threads, clients may
        try:
            self._session = boto3.Session()
        except Exception as error:  # of the files and variables that boto3 reads
            raise AwsError(explain(error)) from error
        self._made: dict[tuple[str, str], Any] = {}

    def ec2(self, region: str) -> EC2Client:
        """EC2 of a region."""
        client: EC2Client = self._client("ec2", region)
        return client

    def ssm(self, region: str) -> SSMClient:
        """Systems Manager of a region, for its parameters."""
        client: SSMClient = self._client("ssm", region)
        return client

    def quotas(self, region: str) -> ServiceQuotasClient:
        """Service Quotas of a region."""
        client: ServiceQuotasClient = self._client("service-quotas", region)
        return client

    def tagging(self, region: str) -> ResourceGroupsTaggingAPIClient:
        """The tags of all services of a region."""
        client: ResourceGroupsTaggingAPIClient = self._client("resourcegroupstaggingapi", region)
        return client

    def s3(self, region: str = HOME_REGION) -> S3Client:
        """S3, asked in a region."""
        client: S3Client = self._client("s3", region)
        return client

    def sts(self) -> STSClient:
        """The service that knows whose credentials these are."""
        client: STSClient = self._client("sts", HOME_REGION)
        return client

    def pricing(self) -> PricingClient:
        """AWS's price list."""
        client: PricingClient = self._client("pricing", HOME_REGION)
        return client

    def _client(self, service: str, region: str) -> Any:
        """A client whose calls raise `AWS_ERRORS`, or `AwsError` where what answers is not AWS.

        Raises:
            AwsError: the configuration, the credentials or the endpoint cannot be used.
        """
        with self._lock:
            key = service, region
            if key not in self._made:
                # The overloads of boto3's stubs want a literal; the callers above give the type.
                make: Callable[..., Any] = self._session.client
                try:
                    client = make(service, region_name=region, config=_CONFIG)
                except Exception as error:  # of credential processes, endpoints, proxies, files
                    raise AwsError(explain(error, region)) from error
                client.meta.events.register("after-call", partial(_log_call, region))
                client.meta.events.register("after-call", _expect_aws)
                # Paginators and waiters call it too.
                client._make_api_call = partial(_call, client._make_api_call, region)  # noqa: SLF001
                self._made[key] = client
            return self._made[key]

    def enabled_regions(self) -> tuple[str, ...]:
        """The regions that this account can use, sorted.

        Raises:
            AwsError: EC2 does not answer.
        """
        try:
            answer = self.ec2(HOME_REGION).describe_regions()
            return tuple(sorted(region["RegionName"] for region in answer["Regions"]))
        except (*AWS_ERRORS, *_INCOMPLETE) as error:
            raise AwsError(explain(error, HOME_REGION)) from error


def _log_call(region: str, *, model: Any, http_response: Any, parsed: Any, **_: object) -> None:
    """Log a call of AWS's API once it is answered; a handler of botocore's `after-call`."""
    metadata = parsed.get("ResponseMetadata", {})
    extra = {
        "service": model.service_model.service_name,
        "operation": model.name,
        "region": region,
        "status": http_response.status_code,
        "error": parsed.get("Error", {}).get("Code"),
        "retries": metadata.get("RetryAttempts"),
        "request_id": metadata.get("RequestId"),
    }
    _LOG.debug("AWS answered", extra=extra)


def _expect_aws(*, model: Any, http_response: Any, parsed: Any, **_: object) -> None:
    """Refuse what is not AWS's answer: a web page or nothing at all, without even a request's id.

    Raises:
        ResponseParserError: it is not AWS's.
    """
    # To HEAD there is no more to an answer than its status.
    if parsed.get("ResponseMetadata", {}).get("RequestId") or model.http["method"] == "HEAD":
        return
    page = http_response.headers.get("Content-Type", "").startswith("text/html")
    if page or not set(parsed) - {"ResponseMetadata"}:
        raise ResponseParserError(f"HTTP {http_response.status_code} that is not AWS's")


def _call(call: Callable[..., Any], region: str, *arguments: Any) -> Any:
    """One call of AWS's API; boto3 lets many errors of what it reads pass as they are."""
    try:
        return call(*arguments)
    except (BotoCoreError, ClientError):
        raise
    except Exception as error:  # of answers, credential processes, endpoints, proxies, files
        raise AwsError(explain(error, region)) from error


def ask_regions(regions: Iterable[str], question: Callable[[str], T]) -> Answers[T]:
    """Ask every region the same at the same time.

    Args:
        regions: AWS region codes.
        question: given a region, asks AWS; its errors are kept by region.
    """

    def ask(region: str) -> T | AwsError:
        try:
            return question(region)
        except (*AWS_ERRORS, *_INCOMPLETE) as error:
            return AwsError(explain(error, region))
        except AwsError as error:
            return error

    asked = tuple(dict.fromkeys(regions))
    with ThreadPoolExecutor(_PARALLEL_REGIONS) as pool:
        answers = dict(zip(asked, pool.map(ask, asked), strict=True))
    found = {region: a for region, a in answers.items() if not isinstance(a, AwsError)}
    failed = {region: a for region, a in answers.items() if isinstance(a, AwsError)}
    return Answers(found, failed)


def error_code(error: ClientError) -> str:
    """AWS's own code for an error, `UnauthorizedOperation`."""
    return str(error.response.get("Error", {}).get("Code", "Unknown"))


def explain(error: Exception, region: str | None = None) -> str:  # noqa: PLR0911 - one for each
    """What an error of boto3 means and how to fix it, in one sentence."""
    where = f" in {region}" if region else ""
    match error:
        case NoCredentialsError() | PartialCredentialsError():
            return "There are no AWS credentials; run aws configure sso, or set AWS_PROFILE."
        case ProfileNotFound() | NoRegionError():
            return f"AWS is not configured: {error}."
        case EndpointConnectionError():
            return f"AWS cannot be reached{where}: {error}"
        case ProxyConnectionError():
            return (
                f"AWS cannot be reached{where}: the proxy refuses or is not there "
                f"({_one_line(str(error))}); check HTTPS_PROXY, HTTP_PROXY and NO_PROXY."
            )
        case ClientError():
            return _explain_refusal(error, where)
        case ResponseParserError():
            return f"The server that answers{where} is not AWS; {_NOT_AWS}."
        case KeyError() | TypeError():
            return f"AWS answered{where} in an unknown form; {_NOT_AWS}."
        case _:
            reason = _one_line(str(error)) or type(error).__name__
            return (
                f"AWS could not be queried{where}: {reason}; check ~/.aws/config, the credential "
                "process and the variables AWS_*."
            )


def _explain_refusal(error: ClientError, where: str) -> str:
    code, operation = error_code(error), error.operation_name
    message = _one_line(str(error.response.get("Error", {}).get("Message", "")))
    if code in _DENIED:
        return f"AWS denied {operation}{where}: allow it in the IAM policy of these credentials."
    if code == "OptInRequired":
        return f"AWS denied {operation}{where}: the region is not enabled for this account."
    if code in _BAD_CREDENTIALS:
        return (
            f"AWS rejected the credentials{where} ({code}); sign in again, and check that the "
            "region is enabled for the account."
        )
    if code in _SKEWED:
        return f"AWS rejected {operation}{where} ({code}): set this machine's clock right."
    if code in _THROTTLED:
        return f"AWS throttled {operation}{where} ({code}); try again in a minute."
    return f"AWS rejected {operation}{where}: {code}{': ' if message else ''}{message}."


def _one_line(text: str) -> str:
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= _LONGEST_QUOTE else f"{line[:_LONGEST_QUOTE]}…"
