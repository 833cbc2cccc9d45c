"""A sample of log lines: the first ones of every minute."""

from roomkeeper.log_sample import LogSample


def test_the_first_lines_of_every_minute_are_admitted() -> None:
    now = [59.0]
    sample = LogSample(2, clock=lambda: now[0])
    assert [sample.admits_one_more() for _ in range(4)] == [True, True, False, False]
    now[0] = 60.0
    assert [sample.admits_one_more() for _ in range(3)] == [True, True, False]
