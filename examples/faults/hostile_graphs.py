"""Hostile graphs, as the bytes of ONNX models without the metadata of an export."""

from collections.abc import Callable, Mapping
from functools import cache
from itertools import pairwise

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MAKERS: dict[str, Callable[[], bytes]] = {}
LATER: dict[str, Callable[[], bytes]] = {}
"""Graphs that are correct only for scenes with as many agents as the golden inputs."""
GOLDEN_AGENTS = 18
FUTURE = (12, 2)
VERSIONS = [helper.make_opsetid("", 18)]


def carrying(graph: bytes, metadata: Mapping[str, str]) -> bytes:
    """Append metadata pairs to the bytes of a model (which may be invalid)."""
    pairs = (_piece(1, k.encode()) + _piece(2, v.encode()) for k, v in metadata.items())
    return graph + b"".join(_piece(14, pair) for pair in pairs)


def _piece(number: int, content: bytes) -> bytes:
    """A Protocol Buffers field of bytes."""
    return _number(number << 3 | 2) + _number(len(content)) + content


def _number(value: int) -> bytes:
    low = bytes([value & 127 | 128 * (value > 127)])
    return low + _number(value >> 7) if value > 127 else low


@cache
def plain_graph() -> bytes:
    """The smallest valid graph: its futures are its noise."""
    return _model([]).SerializeToString()


def _model(nodes: list[onnx.NodeProto], **constants: np.ndarray) -> onnx.ModelProto:
    """The plain graph with additional nodes and constants."""
    constants = {"shape": np.array([0, 0, 0, *FUTURE]), "zeroth": np.array(0), **constants}
    own = [
        helper.make_node("Reshape", ["noise", "shape"], ["futures"]),
        helper.make_node("Gather", ["noise", "zeroth"], ["context"]),
    ]
    inputs = [
        helper.make_tensor_value_info("past", TensorProto.FLOAT, ["B", "A", 8, 2]),
        helper.make_tensor_value_info("noise", TensorProto.FLOAT, ["S", "B", "K", 24]),
    ]
    outputs = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("futures", "context")
    ]
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph([*nodes, *own], "futures", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=VERSIONS, ir_version=9)


def _changed(name: str) -> Callable[[Callable[[onnx.ModelProto], None]], None]:
    """Register a function that spoils the plain graph."""

    def register(spoil: Callable[[onnx.ModelProto], None]) -> None:
        def make() -> bytes:
            model = _model([])
            spoil(model)
            return model.SerializeToString()

        MAKERS[name] = make

    return register


def _nodes(name: str, nodes: Callable[[], list[onnx.NodeProto]], **constants: np.ndarray) -> None:
    """Register a graph with more nodes; the last result is an output, so none is optimised away."""

    def make() -> bytes:
        more = nodes()
        model = _model(more, **constants)
        model.graph.output.append(helper.make_tensor_value_info(more[-1].output[0], 1, None))
        return model.SerializeToString()

    MAKERS[name] = make


def _external(name: str, place: str) -> None:
    @_changed(name)
    def spoil(model: onnx.ModelProto) -> None:
        _make_external(model.graph.initializer[0], place)


def _make_external(tensor: onnx.TensorProto, place: str) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)


_external("numbers from /etc/passwd", "/etc/passwd")
_external("numbers from a file above", "../../../../etc/passwd")
_external("numbers from a device", "/dev/zero")


@_changed("numbers from elsewhere inside an attribute")
def _hidden(model: onnx.ModelProto) -> None:
    tensor = numpy_helper.from_array(np.zeros(3), "t")
    _make_external(tensor, "/etc/passwd")
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))


@_changed("a tensor that claims 10^15 numbers")
def _claims(model: onnx.ModelProto) -> None:
    model.graph.initializer.add(name="c", dims=[10**15], data_type=TensorProto.FLOAT)
    model.graph.node.append(helper.make_node("Neg", ["c"], ["d"]))


@_changed("a tensor of negative size")
def _negative(model: onnx.ModelProto) -> None:
    model.graph.initializer.add(name="c", dims=[-(2**40), 3], data_type=TensorProto.FLOAT)
    model.graph.node.append(helper.make_node("Neg", ["c"], ["d"]))


def _filled(size: str, out: str, value: float = 1.0) -> onnx.NodeProto:
    one = numpy_helper.from_array(np.full(1, value, np.float32))
    return helper.make_node("ConstantOfShape", [size], [out], value=one)


def _many(count: int, size: str) -> list[onnx.NodeProto]:
    made = [_filled(size, f"c{n}", n) for n in range(count)]
    return [*made, helper.make_node("Sum", [f"c{n}" for n in range(count)], ["all"])]


_nodes("a constant of 10^15 numbers", lambda: [_filled("size", "c")], size=np.array([10**15]))
_nodes("a constant of 10^9 numbers", lambda: [_filled("size", "c")], size=np.array([10**9]))
_nodes("a hundred constants of 10^7 numbers", lambda: _many(100, "size"), size=np.array([10**7]))
_nodes(
    "numbers that swell when it runs",
    lambda: [
        helper.make_node("Shape", ["past"], ["s"]),
        helper.make_node("Mul", ["s", "size"], ["large"]),
        _filled("large", "c"),
    ],
    size=np.array([9, 99, 99, 99]),
)
_nodes(
    "ten thousand large products",
    lambda: [
        _filled("size", "c0"),
        *(helper.make_node("MatMul", [f"c{n}", f"c{n}"], [f"c{n + 1}"]) for n in range(10_000)),
    ],
    size=np.array([700, 700]),
)
_nodes("a million nodes", lambda: _chain(10**6))
_nodes("thirty thousand nodes", lambda: [*_chain(30_000), helper.make_node("No", ["c1"], ["no"])])
_nodes("six thousand products that do nothing", lambda: _idle(6_000), none=np.array([0, 0]))
_nodes("an operator of a stranger", lambda: [_foreign_operator()])
_nodes("a loop", lambda: [helper.make_node("Loop", ["", ""], ["l"], body=_inner(1))])
_nodes("graphs in graphs, twenty deep", lambda: [_nested(20)])


def _idle(count: int) -> list[onnx.NodeProto]:
    """Products of empty matrices: computed fast, but slow to optimise."""
    names = [f"c{n}" for n in range(count + 1)]
    products = [helper.make_node("MatMul", [a, a], [b]) for a, b in pairwise(names)]
    return [_filled("none", "c0"), *products]


def _chain(count: int) -> list[onnx.NodeProto]:
    names = ["past", *(f"c{n}" for n in range(1, count + 1))]
    node = helper.make_node("Neg", ["a"], ["b"])
    made = []
    for before, after in pairwise(names):
        node.input[0], node.output[0] = before, after
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        made.append(copy)
    return made


def _foreign_operator() -> onnx.NodeProto:
    return helper.make_node("Run", ["past"], ["c"], domain="evil.\x1b]0;owned\x07")


def _inner(depth: int) -> onnx.GraphProto:
    return helper.make_graph([] if depth <= 1 else [_nested(depth - 1)], "g", [], [])


def _nested(depth: int) -> onnx.NodeProto:
    return helper.make_node("Inner", [], ["i"], body=_inner(depth))


def _deep(levels: int) -> bytes:
    """The plain graph with a value of a deeply nested list type."""
    kind = b""
    for _ in range(levels):
        kind = _piece(4, _piece(1, kind))
    return plain_graph() + _piece(7, _piece(13, _piece(1, b"v") + _piece(2, kind)))


MAKERS["types in types, ten thousand deep"] = lambda: _deep(10_000)


@_changed("functions of its own")
def _functions(model: onnx.ModelProto) -> None:
    node = helper.make_node("F", ["a"], ["b"], domain="own")
    model.functions.append(helper.make_function("own", "F", ["a"], ["b"], [node], VERSIONS))


@_changed("no futures")
def _nothing(model: onnx.ModelProto) -> None:
    model.graph.node[0].output[0] = "other"


@_changed("futures of another shape")
def _other(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array([0, 0, 0, 24]), "shape"))


@_changed("futures that are not finite")
def _not_finite(model: onnx.ModelProto) -> None:
    model.graph.node[0].output[0] = "f"
    model.graph.node.append(helper.make_node("Log", ["f"], ["futures"]))


def _later(name: str, nodes: Callable[[], list[onnx.NodeProto]], **constants: np.ndarray) -> None:
    """Register a graph that fails for other numbers of agents than the golden inputs have.

    Its nodes compute `futures` from `own`, the futures of the plain graph, and from `odd`, [1]: 0
    for the number of agents in the golden inputs, 1 for other numbers.
    """

    def make() -> bytes:
        sizes = {"place": np.array([1]), "golden": np.array([GOLDEN_AGENTS]), "one": np.array([1])}
        model = _model([], **sizes, **constants)
        model.graph.node[0].output[0] = "own"
        model.graph.node.extend([
            helper.make_node("Shape", ["past"], ["sizes"]),
            helper.make_node("Gather", ["sizes", "place"], ["agents"]),
            helper.make_node("Sub", ["agents", "golden"], ["off"]),
            helper.make_node("Abs", ["off"], ["away"]),
            helper.make_node("Min", ["away", "one"], ["odd"]),
            helper.make_node("Cast", ["odd"], ["odd.f"], to=TensorProto.FLOAT),
            *nodes(),
        ])  # fmt: skip
        return model.SerializeToString()

    LATER[name] = make


def _allocate(size: str) -> list[onnx.NodeProto]:
    """Allocate an array of a size without changing the futures."""
    return [
        _filled(size, "waste"),
        helper.make_node("ReduceSum", ["waste"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "none"], ["nothing"]),
        helper.make_node("Add", ["own", "nothing"], ["futures"]),
    ]


_later(
    "other shapes for other crowds",
    lambda: [
        helper.make_node("Mul", ["odd", "change"], ["more"]),
        helper.make_node("Add", ["five", "more"], ["new_shape"]),
        helper.make_node("Reshape", ["own", "new_shape"], ["futures"]),
    ],
    change=np.array([0, 0, 0, 12, -1]),
    five=np.array([0, 0, 0, *FUTURE]),
)
_later(
    "no numbers for other crowds",
    lambda: [
        helper.make_node("Sub", ["whole", "odd.f"], ["left"]),
        helper.make_node("Log", ["left"], ["endless"]),
        helper.make_node("Add", ["own", "endless"], ["futures"]),
    ],
    whole=np.ones(1, np.float32),
)
_later(
    "commands to the terminal for other crowds",
    lambda: [
        helper.make_node("Reshape", ["own", "tried"], ["r"], name="\x1b]0;owned\x07\n\x1b[31m"),
        helper.make_node("ReduceSum", ["r"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "none"], ["nothing"]),
        helper.make_node("Add", ["own", "nothing"], ["futures"]),
    ],
    tried=np.array([4 * 2 * 3, 24]),
    none=np.zeros((), np.float32),
)
_later(
    "all memory for other crowds",
    lambda: [helper.make_node("Mul", ["odd", "huge"], ["n"]), *_allocate("n")],
    huge=np.array([10**9]),
    none=np.zeros((), np.float32),
)
_later(
    "no futures for other crowds",
    lambda: [
        helper.make_node("Equal", ["odd", "one"], ["no"]),
        helper.make_node("Shape", ["own"], ["of"]),
        helper.make_node("Gather", ["of", "first"], ["draws"]),
        helper.make_node("Not", ["no"], ["yes"]),
        helper.make_node("Tile", ["yes", "draws"], ["all"]),
        helper.make_node("Compress", ["own", "all"], ["futures"], axis=0),
    ],
    first=np.array([0]),
)
_later(
    "hours for other crowds",
    lambda: [
        helper.make_node("Mul", ["odd", "wide"], ["more"]),
        helper.make_node("Concat", ["more", "more"], ["size"], axis=0),
        _filled("size", "c0"),
        *(helper.make_node("MatMul", [f"c{n}", f"c{n}"], [f"c{n + 1}"]) for n in range(3_000)),
        helper.make_node("ReduceSum", ["c3000"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "none"], ["nothing"]),
        helper.make_node("Add", ["own", "nothing"], ["futures"]),
    ],
    wide=np.array([700]),
    none=np.zeros((), np.float32),
)
