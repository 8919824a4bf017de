"""Lines that wait for the thread that writes them: all of them, once, in their order, and no more than there is room for."""

from threading import Event, Thread

from meshproxy.observe.line_buffer import LineBuffer


def line(number: int) -> bytes:
    return b"%d\n" % number


def made(number: int) -> bytes:
    return line(number)


def taken(buffer: LineBuffer, most: int = 2000) -> list[int]:
    return [int(one) for piece in buffer.take(most, made) for one in piece.splitlines()]


def test_lines_and_what_lines_are_made_of_keep_their_order() -> None:
    buffer = LineBuffer(1000, lambda: None)
    assert not buffer
    for number in range(400):
        if number % 7 == 0 or number > 390:
            buffer.add(number)
        else:
            buffer.add_line(line(number))
    assert buffer
    first = taken(buffer, most=3)
    assert 0 < len(first) < 400
    assert first + taken(buffer) == list(range(400))
    assert not buffer


def test_what_there_is_no_room_for_is_counted_until_there_is_room_again() -> None:
    buffer = LineBuffer(100, lambda: None)
    for number in range(150):
        buffer.add_line(line(number))
    buffer.add(150)
    assert buffer.lost == 51
    assert taken(buffer) == list(range(100))
    buffer.add(7)
    assert taken(buffer) == [7]
    assert buffer.lost == 51


def test_whoever_writes_is_woken_when_there_is_something_after_there_was_nothing() -> None:
    woken: list[None] = []
    buffer = LineBuffer(1000, lambda: woken.append(None))
    for count, add in enumerate([buffer.add_line, buffer.add], 1):
        add(b"1\n")
        assert len(woken) == count
        add(b"2\n")
        assert taken(buffer) == [1, 2]
        assert len(woken) == count


def test_nothing_is_lost_or_told_twice_while_one_adds_and_another_takes() -> None:
    wake, count = Event(), 50_000
    buffer = LineBuffer(count, wake.set)
    found: list[int] = []

    def take() -> None:
        while len(found) < count:
            wake.wait()
            wake.clear()
            while buffer:
                found.extend(taken(buffer))

    thread = Thread(target=take)
    thread.start()
    for number in range(count):
        if number % 1000 == 999:
            buffer.add(number)
        else:
            buffer.add_line(line(number))
    thread.join()
    assert found == list(range(count))
