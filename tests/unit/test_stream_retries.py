from collections.abc import Callable, Sequence
from typing import Any

import pytest

from local.aws.stream_retries import MAX_BACKOFF, NO_LIMIT, Limits, Record, deliver

Behaviour = Callable[[list[str], int], dict[str, Any]]
FAILED = {"error": True, "body": {"errorMessage": "oh"}}


class Delivery:
    """A delivery of records with these numbers to a function that behaves as `behave` returns.

    `behave` gets a batch's numbers and the number of earlier batches. Each record was written at
    the second of its number. The clock starts at second 9 and advances by the pauses.
    """

    def __init__(
        self,
        numbers: str,
        behave: Behaviour,
        *,
        max_retries: int = 10,
        bisect: bool = False,
        max_age: int = NO_LIMIT,
    ) -> None:
        self.invocations: list[str] = []
        self.discarded: list[tuple[str, dict[str, Any], str]] = []
        self.pauses: list[float] = []
        self._behave = behave
        records = [
            {"dynamodb": {"SequenceNumber": number, "ApproximateCreationDateTime": int(number)}}
            for number in numbers
        ]
        deliver(
            records,
            self._invoke,
            lambda *given: self.discarded.append((_numbers(given[0]), given[1], given[2])),
            limits=Limits(max_retries, max_age),
            bisect=bisect,
            wait=self.pauses.append,
            clock=lambda: 9 + sum(self.pauses),
        )

    def _invoke(self, batch: Sequence[Record]) -> dict[str, Any]:
        self.invocations.append(_numbers(batch))
        return self._behave(list(_numbers(batch)), len(self.invocations) - 1)


def _numbers(batch: Sequence[Record]) -> str:
    return "".join(record["dynamodb"]["SequenceNumber"] for record in batch)


def failing(*numbers: str) -> dict[str, Any]:
    return {"body": {"batchItemFailures": [{"itemIdentifier": n} for n in numbers]}}


def poison(*numbers: str) -> Behaviour:
    """Always fail on these records."""
    return lambda batch, _before: failing(*[n for n in batch if n in numbers])


@pytest.mark.parametrize(
    "result",
    [
        {"body": {"batchItemFailures": []}},
        {"body": {"batchItemFailures": None}},
        {"body": {}},
        {"body": None},
        {"body": "text"},
        {},
    ],
)
def test_a_batch_without_reported_failures_is_done(result: dict[str, Any]) -> None:
    delivery = Delivery("123", lambda _batch, _before: result)
    assert delivery.invocations == ["123"]
    assert (delivery.discarded, delivery.pauses) == ([], [])


def test_a_failed_function_gets_the_complete_batch_again() -> None:
    delivery = Delivery("123", lambda _batch, before: FAILED if before < 2 else {})
    assert delivery.invocations == ["123", "123", "123"]
    assert delivery.discarded == []


def test_after_a_partial_failure_delivery_resumes_at_the_first_failed_record() -> None:
    delivery = Delivery("1234", lambda _batch, before: failing("3", "2") if before == 0 else {})
    assert delivery.invocations == ["1234", "234"]


@pytest.mark.parametrize("identifier", ["9", "", None])
def test_an_unknown_identifier_fails_the_complete_batch(identifier: Any) -> None:
    delivery = Delivery(
        "123", lambda _batch, before: failing("3", identifier) if before == 0 else {}
    )
    assert delivery.invocations == ["123", "123"]


def test_a_failed_batch_is_halved_until_only_the_invalid_record_fails() -> None:
    delivery = Delivery("1234", poison("3"), max_retries=1, bisect=True)
    assert delivery.invocations == ["1234", "3", "3", "4"]
    assert [discarded for discarded, _, _ in delivery.discarded] == ["3"]


@pytest.mark.parametrize(
    ("poisoned", "invocations"),
    [
        ("4", ["12345", "12", "345", "3", "45", "4", "5"]),
        ("1", ["12345", "12", "1", "2", "345"]),
    ],
)
def test_a_batch_that_fails_completely_is_bisected_in_order(
    poisoned: str, invocations: list[str]
) -> None:
    delivery = Delivery(
        "12345",
        lambda batch, _before: FAILED if poisoned in batch else {},
        max_retries=0,
        bisect=True,
    )
    assert delivery.invocations == invocations
    assert [discarded for discarded, _, _ in delivery.discarded] == [poisoned]


@pytest.mark.parametrize("max_retries", [0, 1, 3])
def test_a_record_that_fails_all_retries_is_discarded_with_the_reason(max_retries: int) -> None:
    delivery = Delivery("123", poison("2"), max_retries=max_retries)
    assert delivery.invocations == ["123", *["23"] * max_retries]
    assert delivery.discarded == [("23", failing("2"), "RetryAttemptsExhausted")]


def test_without_a_limit_of_retries_there_is_one_of_age_alone() -> None:
    delivery = Delivery("89", poison("8", "9"), max_retries=NO_LIMIT, max_age=300)
    assert len(delivery.invocations) > 100
    assert [(numbers, why) for numbers, _, why in delivery.discarded] == [
        ("8", "MaxRecordAgeExceeded"),
        ("9", "MaxRecordAgeExceeded"),
    ]


def test_the_first_limit_reached_ends_the_retries() -> None:
    delivery = Delivery("89", poison("8", "9"), max_retries=2, max_age=300)
    assert [why for _, _, why in delivery.discarded] == ["RetryAttemptsExhausted"]


def test_records_that_are_too_old_are_discarded_untried() -> None:
    delivery = Delivery("1289", lambda _batch, _before: {}, max_age=5)
    assert delivery.invocations == ["89"]
    assert delivery.discarded == [("12", {}, "MaxRecordAgeExceeded")]


def test_processed_records_are_never_discarded() -> None:
    delivery = Delivery("12", lambda _batch, before: failing("2") if before == 0 else FAILED)
    assert {discarded for discarded, _, _ in delivery.discarded} == {"2"}


def test_there_are_longer_and_longer_pauses_up_to_a_limit() -> None:
    delivery = Delivery("1", lambda _batch, _before: FAILED, max_retries=8)
    assert delivery.pauses == sorted(delivery.pauses)
    assert delivery.pauses[0] < delivery.pauses[1]
    assert delivery.pauses[-1] == MAX_BACKOFF
