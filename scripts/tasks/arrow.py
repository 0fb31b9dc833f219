"""Reads the stream format of Apache Arrow as far as small sets of rows need it: columns of texts and of numbers, not compressed, no missing
values. Standard library only (https://arrow.apache.org/docs/format/Columnar.html)."""

import struct

SCHEMA, BATCH = 1, 3
INT, TEXT = 2, 5


class Table:
    """A table of a FlatBuffer: field `i` lies where the table's vtable says, or is not there."""

    def __init__(self, data, at):
        self.data, self.at = data, at
        self.vtable = at - struct.unpack_from("<i", data, at)[0]
        self.fields = (struct.unpack_from("<H", data, self.vtable)[0] - 4) // 2

    def place(self, i):
        offset = struct.unpack_from("<H", self.data, self.vtable + 4 + 2 * i)[0] if i < self.fields else 0
        return self.at + offset if offset else None

    def number(self, i, form, otherwise=0):
        place = self.place(i)
        return otherwise if place is None else struct.unpack_from("<" + form, self.data, place)[0]

    def target(self, i):
        place = self.place(i)
        return place + struct.unpack_from("<I", self.data, place)[0]

    def table(self, i):
        return Table(self.data, self.target(i))

    def text(self, i):
        at = self.target(i)
        return self.data[at + 4:at + 4 + struct.unpack_from("<I", self.data, at)[0]].decode()

    def tables(self, i):
        at = self.target(i)
        places = [at + 4 + 4 * k for k in range(struct.unpack_from("<I", self.data, at)[0])]
        return [Table(self.data, p + struct.unpack_from("<I", self.data, p)[0]) for p in places]

    def pairs(self, i):
        """A vector of structs of two 64-bit numbers."""
        at = self.target(i)
        return [struct.unpack_from("<qq", self.data, at + 4 + 16 * k) for k in range(struct.unpack_from("<I", self.data, at)[0])]


def messages(data):
    """(header type, header, body) of each message of a stream."""
    at = 0
    while at + 8 <= len(data):
        mark, length = struct.unpack_from("<Ii", data, at)
        if mark != 0xFFFFFFFF:
            raise ValueError(f"no Arrow stream: no message at byte {at}")
        if length == 0:
            return
        header = data[at + 8:at + 8 + length]
        message = Table(header, struct.unpack_from("<I", header)[0])
        body = at + 8 + length
        size = message.number(3, "q")
        yield message.number(1, "B"), message.table(2), data[body:body + size]
        at = body + size


def columns(schema):
    """(name, kind, bits) of each column."""
    found = []
    for field in schema.tables(1):
        kind = field.number(2, "B")
        if kind not in (INT, TEXT):
            raise ValueError(f"column {field.text(0)}: only texts and numbers can be read, this is Arrow's type {kind}")
        found.append((field.text(0), kind, field.table(3).number(0, "i") if kind == INT else 0))
    return found


def values(kind, bits, count, buffers):
    """The values of one column; takes its buffers from the iterator."""
    next(buffers)  # which values are missing
    if kind == INT:
        return list(struct.unpack_from(f"<{count}{ {8: 'b', 16: 'h', 32: 'i', 64: 'q'}[bits] }", next(buffers)))
    ends = struct.unpack_from(f"<{count + 1}i", next(buffers)) if count else (0,)
    data = next(buffers)
    return [data[begin:end].decode() for begin, end in zip(ends, ends[1:])]


def read_arrow(data):
    """Rows of a stream, each a dict."""
    rows, described = [], None
    for kind, header, body in messages(data):
        if kind == SCHEMA:
            described = columns(header)
        elif kind == BATCH:
            nodes = header.pairs(1)
            if header.place(3) is not None or any(missing for _, missing in nodes):
                raise ValueError("compressed batches and missing values cannot be read")
            buffers = iter([body[at:at + length] for at, length in header.pairs(2)])
            parts = [values(kind, bits, count, buffers) for (_, kind, bits), (count, _) in zip(described, nodes)]
            rows += [dict(zip([name for name, _, _ in described], row)) for row in zip(*parts)]
        else:
            raise ValueError(f"messages of Arrow's type {kind} cannot be read")
    return rows
