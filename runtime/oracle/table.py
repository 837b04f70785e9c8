"""Which function evaluates which node."""

from __future__ import annotations

from ...dsl import core
from . import arrays, attention, folds, order, reductions
from .scope import Evaluator

EVALUATORS: dict[type, Evaluator] = {
    core.Arg: arrays.arg,
    core.Const: arrays.const,
    core.Param: arrays.param,
    core.Draw: arrays.draw,
    core.Index: arrays.index,
    core.Position: arrays.position,
    core.Distances: arrays.distances,
    core.AtDistance: arrays.at_distance,
    core.Length: arrays.length,
    core.Valid: arrays.valid,
    core.KvHead: arrays.kv_head,
    core.Fill: arrays.fill,
    core.Range: arrays.range_,
    core.Eye: arrays.eye,
    core.Scores: arrays.scores,
    core.Map: arrays.map_,
    core.Contract: arrays.contract,
    core.Linear: arrays.linear,
    core.Norm: arrays.norm,
    core.Dropout: arrays.dropout,
    core.Read: arrays.read,
    core.ReadDim: arrays.read_dim,
    core.Split: arrays.split,
    core.Stencil: arrays.stencil,
    core.ConcatDims: arrays.concat_dims,
    core.AxisToDim: arrays.axis_to_dim,
    core.DimToAxis: arrays.dim_to_axis,
    core.Reshape: arrays.reshape,
    core.Transpose: arrays.transpose,
    core.StackAxis: arrays.stack_axis,
    core.Tree: arrays.tree,
    core.Reduce: reductions.reduce,
    core.Scan: reductions.scan,
    core.Simplex: reductions.simplex,
    core.Top: order.top,
    core.Choose: order.choose,
    core.Sort: order.sort,
    core.Rank: order.rank,
    core.Segment: order.segment,
    core.Scatter: order.scatter,
    core.Attend: attention.attend,
    core.Part: attention.part,
    core.Recur: folds.recur,
    core.Use: folds.use,
}
